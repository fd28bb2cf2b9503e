"""Records, journals and whole stores to test with: one factory per noun."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from riverrun.base.ids import uuid7
from riverrun.server.db.engine import Database
from riverrun.server.db.tables import metadata
from riverrun.server.runs import rollups
from riverrun.wire.journal import FLOW_RUN, TASK_RUN, FlowRunRecord, LogRecord, StateRecord, TaskRunRecord, encode

SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED, PAUSED, CANCELLING = range(1, 10)
T0 = 1_800_000_000_000_000
_clock = itertools.count(T0, 10)


def tick() -> int:
    """A later instant than any before."""
    return next(_clock)


def make_flow_run(flow: str = "etl", name: str = "brave-otter", **fields: Any) -> FlowRunRecord:
    return FlowRunRecord(**{"id": uuid7().bytes, "flow_name": flow, "name": name, "created": tick(), **fields})


def make_task_run(flow_run: FlowRunRecord | None, number: int = 0, **fields: Any) -> TaskRunRecord:
    values = {
        "id": uuid7().bytes,
        "flow_run_id": None if flow_run is None else flow_run.id,
        "task_key": "load-1a2b3c4d",
        "dynamic_key": str(number),
        "name": f"load-{number}",
        "created": tick(),
    }
    return TaskRunRecord(**(values | fields))


def make_state(run: FlowRunRecord | TaskRunRecord, type: int, **fields: Any) -> StateRecord:
    kind = TASK_RUN if isinstance(run, TaskRunRecord) else FLOW_RUN
    values = {"kind": kind, "run_id": run.id, "id": uuid7().bytes, "type": type, "timestamp": tick()}
    return StateRecord(**(values | fields))


def make_log(run: FlowRunRecord | TaskRunRecord, message: str, level: int = 20, **fields: Any) -> LogRecord:
    task = isinstance(run, TaskRunRecord)
    ids = (run.flow_run_id, run.id) if task else (run.id, None)
    return LogRecord(*ids, fields.get("timestamp", tick()), level, "riverrun.flow_runs", message)


def make_story(tasks: int = 3, end: int = COMPLETED, **flow_fields: Any) -> list[Any]:
    """The records of one flow run with task runs of three states each and a log line per task run."""
    flow_run = make_flow_run(**flow_fields)
    records: list[Any] = [flow_run, make_state(flow_run, PENDING), make_state(flow_run, RUNNING)]
    for number in range(tasks):
        task_run = make_task_run(flow_run, number)
        records += [task_run, *(make_state(task_run, kind) for kind in (PENDING, RUNNING))]
        records.append(make_log(task_run, f"line {number}"))
        records.append(make_state(task_run, COMPLETED))
    records.append(make_state(flow_run, end))
    return records


def items(records: Iterable[Any], first: int = 1) -> list[tuple[int, bytes]]:
    """Records as a journal gives them: numbered and encoded; bytes are taken as they are."""
    return [
        (seq, record if isinstance(record, bytes) else encode(record))
        for seq, record in enumerate(records, start=first)
    ]


#: made anew by every store, or different from one ingestion to the next
_UNSTABLE = {
    "flow": {"key", "id"},
    "journal_writer": {"key", "first_seen", "last_seen"},
    "journal_lost": {"key", "noticed"},
    "journal_aside": {"key", "noticed"},
    "log": {"key"},
    "workspace": {"created"},
}


def _added_up(*parts: Sequence[Any]) -> list[dict[str, Any]]:
    """The sums of runs with the changes that are not in them yet; what sums up to nothing is left out."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in itertools.chain(*parts):
        values = [row[name] for name in rollups.COLUMNS]
        there = sums.setdefault(tuple(values[:6]), [0, 0, 0])
        there[:] = [old + new for old, new in zip(there, values[6:], strict=True)]
    return [dict(zip(rollups.COLUMNS, (*key, *values), strict=True)) for key, values in sums.items() if any(values)]


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in a store in a comparable form: integer keys replaced by what they stand for, rows sorted."""
    with database.read() as connection:
        rows = {table.name: connection.execute(sa.select(table)).mappings().all() for table in metadata.sorted_tables}
    rows["run_rollup"] = _added_up(rows["run_rollup"], rows.pop("run_rollup_delta"))
    names: dict[str, dict[Any, Any]] = {
        "flow_key": {0: "", **{row["key"]: row["name"] for row in rows["flow"]}},
        "writer_key": {row["key"]: row["id"] for row in rows["journal_writer"]},
        "flow_run_key": {row["key"]: row["id"] for row in rows["flow_run"]},
        "task_run_key": {row["key"]: row["id"] for row in rows["task_run"]},
    }
    result = {}
    for table, found in rows.items():
        by_run = names["task_run_key" if table.startswith("task_run") else "flow_run_key"]
        plain = []
        for row in found:
            values = []
            for column, value in row.items():
                if column in _UNSTABLE.get(table, ()) or (column == "key" and table in ("flow_run", "task_run")):
                    continue
                known = by_run if column == "run_key" else names.get(column)
                values.append((column, value if known is None or value is None else known[value]))
            plain.append(tuple(values))
        result[table] = sorted(plain, key=repr)
    return result
