"""Sums of runs by minute, hour, state and flow, kept in step with the ledger so that counts and histories need not read it.

A run stands in the sums by its expected start and by its start (`AXES`), by the minute and by the hour of it (`LEVELS`), and a
flow run with its flow and with all flows. Whoever moves a run on says
where it stood and where it stands now (`change`, or `tally` and `write` for many), in the transaction that moves it. SQLite has one
writer, which adds to the sums at once. On PostgreSQL the rows of the present minute would be hot: changes are appended to
`run_rollup_delta`, which `fold` adds up from time to time; readers add both.

`run_time` and `lateness` are those of runs that have ended; what is still under way has none that stand still.
"""

from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import sqlalchemy as sa

from riverrun.server.db.names import index_key
from riverrun.server.db.tables import flow_run, run_rollup, run_rollup_delta, task_run
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.ingest.rows import Place
from riverrun.wire.journal import FLOW_RUN, TASK_RUN

MINUTE = 60_000_000
HOUR = 60 * MINUTE
#: the kind of a sum is that of its runs, plus the axis of its time, plus the length of it
EXPECTED, STARTED = 0, 2
AXES = (EXPECTED, STARTED)
BY_MINUTE, HOURLY = 0, 4
LEVELS = (BY_MINUTE, HOURLY)

#: kind of run, flow key, place before and after (None: there was no run, or it had no state; there is none any more)
Change = tuple[int, int | None, Place | None, Place | None]
#: kind of run, flow key, minutes of expected start and start, code and name of the state -> number, run time, lateness
Sums = dict[tuple[int, int | None, int, int | None, int, str | None], list[int]]

COLUMNS = ("workspace_id", "kind", "flow_key", "minute", "state_type", "state_name", "n", "run_time", "lateness")
_KEYS = COLUMNS[:6]
#: of `ingest.rows.LEDGER_COLUMNS`
_EXPECTED, _START, _TOTAL, _CODE, _NAME = 0, 2, 4, 8, 9


def place_of(ledger: Sequence[Any]) -> Place | None:
    """The place of a run from the values of its `ingest.rows.LEDGER_COLUMNS`; None without a state."""
    if ledger[_CODE] is None:
        return None
    return ledger[_EXPECTED], ledger[_START], ledger[_TOTAL], ledger[_CODE], ledger[_NAME]


def place_in(row: Any) -> Place | None:
    """The place of a run from a row with its columns; None without a state."""
    if row.state_type is None:
        return None
    return row.expected_start_time, row.start_time, row.total_run_time, row.state_type, row.state_name


def tally(sums: Sums, kind: int, flow_key: int | None, place: Place | None, sign: int) -> None:
    """Add a run at its place to the sums (`sign` 1), or take it away (-1)."""
    if place is None:
        return
    expected, start, total, code, name = place
    late = start - expected if start is not None and start > expected else 0
    if start is None and kind == FLOW_RUN:
        start = expected
    key = (kind, flow_key, expected // MINUTE, None if start is None else start // MINUTE, code, name)
    found = sums.get(key)
    if found is None:
        sums[key] = [sign, sign * total, sign * late]
    else:
        found[0] += sign
        found[1] += sign * total
        found[2] += sign * late


def rows_of(sums: Sums, workspace: int) -> list[tuple[Any, ...]]:
    """The rows of `COLUMNS` that change, in one order everywhere."""
    rows: dict[tuple[int, int, int, int, str], list[int]] = {}
    for (kind, flow_key, expected, start, code, name), values in sums.items():
        state = index_key(name) if name else ""
        for axis, minute in ((EXPECTED, expected), (STARTED, start)):
            if minute is None:
                continue
            for level, unit in ((BY_MINUTE, minute), (HOURLY, minute - minute % 60)):
                for flow in (0, flow_key) if flow_key else (0,):
                    found = rows.setdefault((kind + axis + level, flow, unit, code, state), [0, 0, 0])
                    for at, value in enumerate(values):
                        found[at] += value
    return [(workspace, *key, *values) for key, values in sorted(rows.items()) if any(values)]


def write(verbs: ModuleType, cursor: Any, rows: list[tuple[Any, ...]]) -> None:
    """Add the rows to the sums."""
    if rows:
        verbs.accumulate(cursor, run_rollup, run_rollup_delta, COLUMNS, len(_KEYS), rows)


def change(transaction: Transaction, changes: Iterable[Change]) -> None:
    """Move runs from where they stood to where they stand, in the transaction that moves them."""
    sums: Sums = {}
    for kind, flow_key, before, after in changes:
        tally(sums, kind, flow_key, before, -1)
        tally(sums, kind, flow_key, after, 1)
    write(transaction.verbs, transaction.cursor, rows_of(sums, transaction.workspace))


def sources(reader: Reader) -> list[sa.FromClause]:
    """The tables whose sums together are the sums as they are now."""
    tables = [run_rollup] if reader.is_sqlite else [run_rollup, run_rollup_delta]
    # a type's own name is not stored with runs, and is empty here
    empty: sa.ColumnElement[str] = sa.literal_column("''")
    return [
        sa.select(
            *(table.c[name] for name in COLUMNS if name != "state_name"),
            sa.func.nullif(table.c.state_name, empty).label("state_name"),
        ).subquery("rollup")
        for table in tables
    ]


def fold(transaction: Transaction) -> int:
    """Add up what was appended; returns the number of changes. Does nothing on SQLite."""
    if transaction.is_sqlite:
        return 0
    gone = sa.delete(run_rollup_delta).returning(*(run_rollup_delta.c[name] for name in COLUMNS))
    sums: dict[tuple[Any, ...], list[int]] = {}
    rows = transaction.execute(gone).all()
    for row in rows:
        values = sums.setdefault(tuple(row[: len(_KEYS)]), [0, 0, 0])
        for index, value in enumerate(row[len(_KEYS) :]):
            values[index] += value
    insert = sa.dialects.postgresql.insert(run_rollup)
    add = {name: run_rollup.c[name] + insert.excluded[name] for name in COLUMNS[len(_KEYS) :]}
    found = [dict(zip(COLUMNS, (*key, *values), strict=True)) for key, values in sorted(sums.items()) if any(values)]
    if found:
        transaction.execute(insert.on_conflict_do_update(index_elements=_KEYS, set_=add), found)
    return len(rows)


def rebuild(transaction: Transaction) -> None:
    """Make all sums anew from the ledger; nobody else may write meanwhile."""
    transaction.execute(sa.delete(run_rollup))
    transaction.execute(sa.delete(run_rollup_delta))
    for kind, run in ((FLOW_RUN, flow_run), (TASK_RUN, task_run)):
        for axis in AXES:
            for level in LEVELS:
                for by_flow in (False, True) if kind == FLOW_RUN else (False,):
                    query = _summed(run, kind, axis, level, by_flow=by_flow)
                    transaction.execute(sa.insert(run_rollup).from_select(COLUMNS, query))


def _summed(run: sa.Table, kind: int, axis: int, level: int, *, by_flow: bool) -> sa.Select[Any]:
    expected, start = run.c.expected_start_time, run.c.start_time
    instant = expected if axis == EXPECTED else sa.func.coalesce(start, expected) if kind == FLOW_RUN else start
    length = HOUR if level else MINUTE
    keys: tuple[sa.ColumnElement[Any], ...] = (
        run.c.workspace_id,
        sa.literal_column(str(kind + axis + level)),
        run.c.flow_key if by_flow else sa.literal_column("0"),
        (instant // length) * (length // MINUTE),
        run.c.state_type,
        sa.func.coalesce(run.c.state_name, ""),
    )
    late = sa.case((start > expected, start - expected), else_=0)
    numbered = [key.label(label) for label, key in zip(_KEYS, keys, strict=True)]
    sums = (sa.func.count(), sa.func.sum(run.c.total_run_time), sa.func.sum(late))
    wanted = [run.c.state_type.is_not(None), instant.is_not(None), *([run.c.flow_key.is_not(None)] if by_flow else [])]
    query = sa.select(*numbered, *sums).where(*wanted)
    return query.group_by(*(sa.literal_column(str(index)) for index in range(1, len(_KEYS) + 1)))
