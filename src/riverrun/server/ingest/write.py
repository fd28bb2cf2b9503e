"""Write the folded runs and states of one unit: one statement for many rows, table by table.

Knows rows and verbs, not records' meaning: folding is `unit.py`'s.
"""

from collections.abc import Sequence
from operator import itemgetter
from types import ModuleType
from typing import Any

import msgspec
from sqlalchemy import Table

from riverrun.base.ids import uuid7
from riverrun.server.db import tables
from riverrun.server.db.names import index_key
from riverrun.server.ingest import rows as r
from riverrun.server.ingest.clean import clean_rows, clean_text
from riverrun.server.ingest.order import Entry, refold, scheduled_time
from riverrun.server.runs import rollups
from riverrun.wire.journal import FLOW_RUN, TASK_RUN

Row = tuple[Any, ...]
Runs = dict[bytes, r.Run]

_SCHEDULED = 1
_TAG_COLUMNS = ("workspace_id", "tag", "run_key")
_FLOW_COLUMNS = ("created", "workspace_id", "id", "name", "name_key")


class Kind(msgspec.Struct, frozen=True):
    """The tables of one kind of run. `settable` columns may be changed by an update before the creation record arrives."""

    run: Table
    state: Table
    tag: Table
    columns: tuple[str, ...]
    settable: tuple[str, ...]


KINDS = {
    FLOW_RUN: Kind(
        tables.flow_run,
        tables.flow_run_state,
        tables.flow_run_tag,
        r.FLOW_RUN_COLUMNS,
        ("name", "tags", "parameters"),
    ),
    TASK_RUN: Kind(
        tables.task_run,
        tables.task_run_state,
        tables.task_run_tag,
        r.TASK_RUN_COLUMNS,
        ("name", "tags", "inputs", "cache_key", "cache_expiration"),
    ),
}


class Writer:
    """Writes rows for one unit. With `careful` every value is first made acceptable to the database."""

    def __init__(self, verbs: ModuleType, cursor: Any, workspace: int, writer_key: int | None, careful: bool) -> None:
        self.verbs = verbs
        self.cursor = cursor
        self.workspace = workspace
        self.writer_key = writer_key
        self.careful = careful
        #: of the log lines that were written
        self.log_keys: Sequence[int] = ()

    def insert(self, table: Table, columns: tuple[str, ...], rows: list[Row]) -> None:
        """Insert rows, if any; a duplicate raises."""
        if rows:
            self.verbs.insert(self.cursor, table, columns, self._clean(table, columns, rows))

    def logs(self, rows: list[Row]) -> None:
        """Write log lines, given without their keys."""
        if rows:
            self.log_keys = self.verbs.new_keys(self.cursor, tables.log, len(rows))
            keyed = [(key, *row) for key, row in zip(self.log_keys, rows, strict=True)]
            self.insert(tables.log, r.LOG_COLUMNS, keyed)

    def _clean(self, table: Table, columns: tuple[str, ...], rows: list[Row]) -> list[Row]:
        return clean_rows(table, columns, rows, self.verbs.NUL_REPLACEMENT) if self.careful else rows

    def runs(self, kind: int, runs: Runs, parents: Runs, state_rows: list[Row]) -> None:
        """Write one kind's runs with their tags and states; `parents` are the flow runs that task runs belong to."""
        if not runs:
            return
        spec = KINDS[kind]
        sums: rollups.Sums = {}
        for run in runs.values():
            if run.place is not None:
                rollups.tally(sums, kind, run.parent if kind == FLOW_RUN else None, run.place, -1)
            if run.late:
                self._reorder(spec, run)
        fresh = [run for run in runs.values() if run.new]
        if fresh:
            self.insert(spec.run, spec.columns, self._new_rows(kind, fresh, parents))
        if len(fresh) < len(runs):
            self._update_stored(kind, [run for run in runs.values() if not run.new], parents, state_rows)
        self._tags(spec, runs)
        # by run and sequence: the order of the table, so that its pages are filled one after the other
        state_rows.sort(key=_run_and_seq)
        self.insert(spec.state, r.STATE_COLUMNS, state_rows)
        for run in runs.values():
            rollups.tally(sums, kind, run.parent if kind == FLOW_RUN else None, run.place_now(), 1)
        changed = rollups.rows_of(sums, self.workspace)
        rollups.write(self.verbs, self.cursor, self._clean(tables.run_rollup, rollups.COLUMNS, changed))

    def _new_rows(self, kind: int, runs: list[r.Run], parents: Runs) -> list[Row]:
        workspace, id_in = self.workspace, self.verbs.id_in
        if kind == TASK_RUN:
            rows = [r.task_run_row(run, workspace, _parent_key(run, parents), id_in) for run in runs]
        else:
            flows = self._flow_keys([run for run in runs if run.record is not None])
            for run in runs:
                run.parent = None if run.record is None else flows[run.record.flow_name]
            rows = [r.flow_run_row(run, workspace, run.parent, self.writer_key, id_in) for run in runs]
        for index, run in enumerate(runs):
            if run.changes:
                columns = KINDS[kind].columns
                row = dict(zip(columns, rows[index], strict=True))
                rows[index] = tuple((row | run.changes).values())
        return rows

    def _flow_keys(self, runs: list[r.Run]) -> dict[str, int]:
        """The keys of the runs' flows by name; flows that nobody has named before are made."""
        created: dict[str, int] = {}
        for run in runs:
            created.setdefault(run.record.flow_name, run.created)
        nul = self.verbs.NUL_REPLACEMENT
        shown = {name: clean_text(name, nul) if self.careful else name for name in created}
        keys = {name: index_key(text) for name, text in shown.items()}
        known = self._find_flows(list(keys.values()))
        rows = [
            (created[name], self.workspace, self.verbs.id_in(uuid7().bytes), shown[name], key)
            for name, key in keys.items()
            if key not in known
        ]
        if rows:
            self.verbs.insert_missing(
                self.cursor, tables.flow, _FLOW_COLUMNS, self._clean(tables.flow, _FLOW_COLUMNS, rows)
            )
            known = self._find_flows(list(keys.values()))
        return {name: known[key] for name, key in keys.items()}

    def _find_flows(self, keys: list[str]) -> dict[str, int]:
        found = self.verbs.select(self.cursor, tables.flow, ("key", "name_key", "workspace_id"), "name_key", keys)
        return {name: key for key, name, workspace in found if workspace == self.workspace}

    def _update_stored(self, kind: int, runs: list[r.Run], parents: Runs, state_rows: list[Row]) -> None:
        """Change the rows of stored runs: their ledgers, and the columns that updates or a late creation record fill."""
        ledgers: list[Row] = []
        others: dict[tuple[str, ...], list[Row]] = {}
        for run in runs:
            if run.record is not None:
                self._fill_placeholder(kind, run, parents)
            if run.entered or run.record is not None:
                ledgers.append((*run.ledger_values(), run.key))
            if run.changes:
                others.setdefault(tuple(run.changes), []).append((*run.changes.values(), run.key))
            state_rows += run.appended
        if ledgers:
            self._update(KINDS[kind].run, r.LEDGER_COLUMNS, ledgers)
        for columns, rows in others.items():
            self._update(KINDS[kind].run, columns, rows)

    def _update(self, table: Table, columns: tuple[str, ...], rows: list[Row]) -> None:
        self.verbs.update(self.cursor, table, columns, self._clean(table, (*columns, "key"), rows))

    def _fill_placeholder(self, kind: int, run: r.Run, parents: Runs) -> None:
        """The creation record of a run that was spoken of before: fill its row, keep what an update has set meanwhile."""
        spec = KINDS[kind]
        changes, run.changes = run.changes, {}
        values = dict(zip(spec.columns, self._new_rows(kind, [run], parents)[0], strict=True))
        for name in ("key", "id", "workspace_id", *r.LEDGER_COLUMNS):
            del values[name]
        (there,) = self.verbs.select(self.cursor, spec.run, spec.settable, "key", [run.key])
        for name, value in zip(spec.settable, there, strict=True):
            if value is not None:
                del values[name]
        run.changes = values | changes

    def _tags(self, spec: Kind, runs: Runs) -> None:
        rows = []
        for run in runs.values():
            text = run.changes.get("tags")
            if text:
                tags = msgspec.json.decode(text)
            else:
                tags = run.record.tags if run.record is not None else ()
            rows += [(self.workspace, index_key(tag), run.key) for tag in tags]
        if rows:
            self.verbs.insert_missing(self.cursor, spec.tag, _TAG_COLUMNS, self._clean(spec.tag, _TAG_COLUMNS, rows))

    def _reorder(self, spec: Kind, run: r.Run) -> None:
        """States came that are older than one in the store: fold the run anew from all of its states."""
        stored = self.verbs.select(self.cursor, spec.state, r.STATE_COLUMNS, "run_key", [run.key])
        entries = [_entry(row) for row in sorted(stored, key=_run_and_seq) + run.appended]
        for late in run.late:
            rest = (late.name, late.message, r.document(late.details), r.document(late.data))
            scheduled = scheduled_time(late.type, late.details)
            entries.append(
                Entry(self.writer_key, self.verbs.id_in(late.id), late.type, late.timestamp, scheduled, rest)
            )
        self.verbs.delete(self.cursor, spec.state, ("run_key",), [(run.key,)])
        run.ledger, run.appended, last = refold(run.key, entries, run.ledger.resuming)
        run.seq, run.code, run.state_name = len(run.appended), last.code, last.rest[0]
        run.entered = True


def _parent_key(run: r.Run, parents: Runs) -> int | None:
    record = run.record
    return None if record is None or record.flow_run_id is None else parents[record.flow_run_id].key


_run_and_seq = itemgetter(0, 1)


def _entry(row: Row) -> Entry:
    _, _, state_id, code, timestamp, shift, writer, *rest = row
    details = msgspec.json.decode(rest[2]) if rest[2] and code == _SCHEDULED else None
    return Entry(writer, state_id, code, timestamp - shift, scheduled_time(code, details), tuple(rest))
