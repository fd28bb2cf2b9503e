"""Folding: records into runs, states, logs and the rows of one transaction, whoever sends them.

Records are read twice: once to learn which runs they speak of, once to fold them; then every table is written with one statement
for many rows. `unit.py` does this for journals, `reports.py` for the events of foreign clients.
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import msgspec

from riverrun.base.clock import now, to_micros
from riverrun.rules.bookkeeping import enter
from riverrun.server.db.scope import Scope
from riverrun.server.db.units import Transaction
from riverrun.server.ingest import rows as r
from riverrun.server.ingest.order import scheduled_time
from riverrun.server.ingest.write import KINDS, Writer
from riverrun.wire.journal import (
    FLOW_RUN,
    TASK_RUN,
    FlowRunRecord,
    LogRecord,
    RunUpdateRecord,
    StateRecord,
    TaskRunRecord,
)
from riverrun.wire.states import TYPES_BY_CODE

_SCHEDULED = 1
#: so many task runs of one transaction are woken for by name; of more nobody waits for one
_WAKE_TASK_RUNS = 20


class Counts(msgspec.Struct):
    """What an ingestion did. `records` were new to the store; `repeated` were there already."""

    records: int = 0
    repeated: int = 0
    flow_runs: int = 0
    task_runs: int = 0
    states: int = 0
    updates: int = 0
    logs: int = 0
    #: records that are known to be lost, and those that were kept unread in `journal_aside`
    lost: int = 0
    aside: int = 0
    #: states of runs that somebody else has claimed since
    fenced: int = 0

    def add(self, other: "Counts") -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Fold:
    """Records on their way into the store, in one transaction. Use once.

    With `careful` what the database may refuse is cleaned first and states that it has already are left out; this costs,
    so it is the second try.
    """

    def __init__(self, verbs: ModuleType, scope: Scope, *, careful: bool = False) -> None:
        self.verbs = verbs
        self.workspace = scope.workspace_id
        self.careful = careful
        self.cursor: Any = None
        self.counts = Counts()
        self.noticed = to_micros(now())
        #: the journal that tells; None: an event or the server itself
        self.writer_key: int | None = None
        self.records: list[Any] = []
        #: keys of flow runs whose states this journal may not tell any more
        self.fenced: frozenset[int] = frozenset()
        #: None between reading and loading
        self.flow_runs: dict[bytes, Any] = {}
        self.task_runs: dict[bytes, Any] = {}
        self.state_rows: tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]] = ([], [])
        self.log_rows: list[tuple[Any, ...]] = []
        self.aside_rows: list[tuple[Any, ...]] = []

    # -- reading ------------------------------------------------------------------------------------------------------------

    def note(self, *records: Any) -> None:
        """Take records in, and note the runs they speak of."""
        flow_ids, task_ids = self.flow_runs, self.task_runs
        for record in records:
            kind = record.__class__
            if kind is StateRecord or kind is RunUpdateRecord:
                (task_ids if record.kind else flow_ids)[record.run_id] = None
            elif kind is TaskRunRecord:
                task_ids[record.id] = None
                if record.flow_run_id is not None:
                    flow_ids[record.flow_run_id] = None
            elif kind is LogRecord:
                if record.flow_run_id is not None:
                    flow_ids[record.flow_run_id] = None
                if record.task_run_id is not None:
                    task_ids[record.task_run_id] = None
            elif kind is FlowRunRecord:
                flow_ids[record.id] = None
        self.records += records

    def load_runs(self) -> None:
        """Fill `flow_runs` and `task_runs` with the stored runs and with new ones for the ids that the store lacks."""
        verbs = self.verbs
        for kind, runs in ((FLOW_RUN, self.flow_runs), (TASK_RUN, self.task_runs)):
            if not runs:
                continue
            table = KINDS[kind].run
            columns = r.STORED_COLUMNS[kind]
            found = verbs.select(self.cursor, table, columns, "id", [verbs.id_in(raw) for raw in runs], lock=True)
            for row in found:
                raw = bytes(verbs.id_out(row[1]))
                runs[raw] = r.Run.stored(row, raw)
            missing = self.resolve(kind, [raw for raw, run in runs.items() if run is None])
            if missing:
                keys = verbs.new_keys(self.cursor, table, len(missing))
                for raw, key in zip(missing, keys, strict=True):
                    runs[raw] = r.Run(key, raw)

    def resolve(self, kind: int, missing: list[bytes]) -> list[bytes]:
        """The ids among `missing` that are new runs and not other names of stored ones."""
        return missing

    # -- folding ------------------------------------------------------------------------------------------------------------

    def fold(self, records: Iterable[Any]) -> None:
        """Fold the records into their runs."""
        for record in records:
            kind = record.__class__
            if kind is StateRecord:
                self._enter(record)
            elif kind is TaskRunRecord or kind is FlowRunRecord:
                self._create(record, kind is TaskRunRecord)
            elif kind is LogRecord:
                self._log(record)
            elif kind is RunUpdateRecord:
                self._update(record)
            else:
                self.fold_other(record)

    def fold_other(self, record: Any) -> None:
        """Fold a record that only one kind of sender has."""
        raise TypeError(f"{type(record).__name__} is not a record")

    def _create(self, record: Any, task: bool) -> None:
        run = (self.task_runs if task else self.flow_runs)[record.id]
        if not run.placeholder:
            self.counts.repeated += 1
            return
        run.placeholder = False
        run.record = record
        run.created = record.created
        if task:
            self.counts.task_runs += 1
            self._place(record.flow_run_id, record.created)
        else:
            self.counts.flow_runs += 1

    def _place(self, flow_run_id: bytes | None, instant: int) -> int | None:
        """The key of a run that is spoken of; a placeholder gets its first instant from whatever spoke of it first."""
        if flow_run_id is None:
            return None
        run: r.Run = self.flow_runs[flow_run_id]
        if run.new and not run.created:
            run.created = instant
        return run.key

    def _enter(self, record: StateRecord) -> None:
        run = (self.task_runs if record.kind else self.flow_runs)[record.run_id]
        if self.fenced and not record.kind and run.key in self.fenced:
            self.counts.fenced += 1
            return
        self.counts.states += 1
        if run.new:
            if not run.created:
                run.created = record.timestamp
        elif run.late or (run.seq and record.timestamp <= run.ledger.state_timestamp):
            run.late.append(record)
            return
        code = record.type
        details = record.details
        timestamp = enter(
            run.ledger,
            TYPES_BY_CODE[code],
            record.timestamp,
            scheduled_time(code, details) if code == _SCHEDULED else None,
        )
        run.seq = seq = run.seq + 1
        run.code = code
        run.state_name = record.name
        run.entered = True
        row = (
            run.key,
            seq,
            self.verbs.id_in(record.id),
            code,
            timestamp,
            timestamp - record.timestamp,
            self.writer_key,
            record.name,
            record.message,
            r.document(details) if details else None,
            r.document(record.data) if record.data else None,
        )
        if run.new:
            self.state_rows[record.kind].append(row)
        else:
            run.appended.append(row)

    def _log(self, record: LogRecord) -> None:
        flow_run_key = self._place(record.flow_run_id, record.timestamp)
        task_run_key = None
        if record.task_run_id is not None:
            run = self.task_runs[record.task_run_id]
            if run.new and not run.created:
                run.created = record.timestamp
            task_run_key = run.key
        self.counts.logs += 1
        self.log_rows.append(
            (record.timestamp, flow_run_key, task_run_key, record.level, self.workspace, record.name, record.message)
        )

    def _update(self, record: RunUpdateRecord) -> None:
        run = (self.task_runs if record.kind else self.flow_runs)[record.run_id]
        self.counts.updates += 1
        known, unknown = r.changes_of(record.fields, bool(record.kind))
        run.changes.update(known)
        if "resuming" in record.fields:
            run.ledger.resuming = bool(record.fields["resuming"])
            run.entered = True
        if unknown:
            self.unknown_fields(record, unknown)

    def unknown_fields(self, record: RunUpdateRecord, names: list[str]) -> None:
        """Keep an update that names fields we do not know."""

    def drop_known_states(self) -> None:
        """Leave out states that the store has already, or that come twice."""
        id_in, id_out = self.verbs.id_in, self.verbs.id_out
        seen: set[tuple[int, bytes]] = set()
        for kind, spec in KINDS.items():
            ids = [
                id_in(record.id) for record in self.records if record.__class__ is StateRecord and record.kind == kind
            ]
            found = self.verbs.select(self.cursor, spec.state, ("id",), "id", ids) if ids else []
            seen.update((kind, bytes(id_out(row[0]))) for row in found)
        kept = []
        for record in self.records:
            if record.__class__ is StateRecord:
                name = (record.kind, record.id)
                if name in seen:
                    self.counts.repeated += 1
                    continue
                seen.add(name)
            kept.append(record)
        self.records = kept

    # -- writing ------------------------------------------------------------------------------------------------------------

    def write_runs(self, cursor: Any) -> Writer:
        """Write runs, states and log lines."""
        writer = Writer(self.verbs, cursor, self.workspace, self.writer_key, self.careful)
        writer.runs(FLOW_RUN, self.flow_runs, self.flow_runs, self.state_rows[FLOW_RUN])
        writer.runs(TASK_RUN, self.task_runs, self.flow_runs, self.state_rows[TASK_RUN])
        writer.logs(self.log_rows)
        return writer

    def tell(self, transaction: Transaction, log_keys: Iterable[int] = ()) -> None:
        """Announce what was written and wake who waits for it."""
        for kind, runs in (("F", self.flow_runs), ("T", self.task_runs)):
            for run in runs.values():
                if not run.entered:
                    continue
                last: int = run.seq
                if run.late:
                    late = {self.verbs.id_in(record.id) for record in run.late}
                    for row in run.appended:
                        if row[2] in late:
                            transaction.announce(kind, run.key, row[1])
                    if run.told_before < last - len(late):
                        transaction.announce(kind, run.key, run.told_before + 1, last)
                else:
                    transaction.announce(kind, run.key, run.told_before + 1, last)
        for first, last in _stretches(log_keys):
            transaction.announce("L", first, last)
        transaction.wake(*(f"flow_run:{run.id.hex()}" for run in self.flow_runs.values() if run.entered))
        if len(self.task_runs) <= _WAKE_TASK_RUNS:
            transaction.wake(*(f"task_run:{run.id.hex()}" for run in self.task_runs.values() if run.entered))


def _stretches(keys: Iterable[int]) -> list[tuple[int, int]]:
    """Rising keys as (first, last) of stretches without gaps."""
    found: list[tuple[int, int]] = []
    for key in keys:
        if found and key == found[-1][1] + 1:
            found[-1] = (found[-1][0], key)
        else:
            found.append((key, key))
    return found
