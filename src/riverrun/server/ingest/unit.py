"""One unit of ingestion: some records of one journal, applied to the store in one transaction.

The journal's cursor moves in the same transaction, so a unit that is sent again changes nothing. A unit is read twice: once
to learn which runs it speaks of, once to fold it; then every table is written with one statement for many rows.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import msgspec

from riverrun.base.clock import now, to_micros
from riverrun.rules.bookkeeping import enter
from riverrun.server.db import tables
from riverrun.server.db.scope import Scope
from riverrun.server.ingest import rows as r
from riverrun.server.ingest.order import scheduled_time
from riverrun.server.ingest.write import KINDS, Writer
from riverrun.wire.journal import (
    FLOW_RUN,
    TASK_RUN,
    FlowRunRecord,
    LogRecord,
    LostRecord,
    RunUpdateRecord,
    StateRecord,
    TaskRunRecord,
    decode,
)
from riverrun.wire.states import TYPES_BY_CODE

_SCHEDULED = 1
#: how much of a record is kept aside: what is too large for a database must at least not be so again
ASIDE_BYTES = 16 * 1024 * 1024
_LOST_COLUMNS = ("first", "last", "noticed", "writer_key", "why")
_ASIDE_COLUMNS = ("seq", "noticed", "writer_key", "error", "payload")

#: (sequence number, payload)
Item = tuple[int, bytes]


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

    def add(self, other: "Counts") -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Unit:
    """The application of one unit. Use once: `Unit(...).apply(cursor)` inside a transaction.

    With `careful` what the database may refuse is cleaned first and states that it has already are left out; this costs,
    so it is the second try.
    """

    def __init__(
        self, verbs: ModuleType, scope: Scope, writer: bytes, items: Sequence[Item], *, careful: bool = False
    ) -> None:
        self.verbs = verbs
        self.workspace = scope.workspace_id
        self.writer = writer
        self.items = items
        self.careful = careful
        self.counts = Counts()
        self.noticed = to_micros(now())
        self.writer_key = 0
        self.records: list[Any] = []
        #: where update records come from, in case they must be kept aside
        self.sources: dict[int, Item] = {}
        #: None between reading and loading
        self.flow_runs: dict[bytes, Any] = {}
        self.task_runs: dict[bytes, Any] = {}
        self.state_rows: tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]] = ([], [])
        self.log_rows: list[tuple[Any, ...]] = []
        self.lost_rows: list[tuple[Any, ...]] = []
        self.aside_rows: list[tuple[Any, ...]] = []

    def apply(self, cursor: Any) -> Counts:
        """Apply the unit; raises the driver's errors and ValueError, TypeError ... for a record that cannot be applied."""
        self.cursor = cursor
        next_seq = self._lock_writer()
        self._read(next_seq)
        self._load_runs()
        if self.careful:
            self._drop_known_states()
        for record in self.records:
            self._fold(record)
        self._write(next_seq)
        return self.counts

    def set_aside(self, cursor: Any, error: Exception) -> Counts:
        """Keep the records unread, with the error that applying them met; the cursor passes them."""
        self.cursor = cursor
        next_seq = self._lock_writer()
        for seq, payload in self.items:
            if seq >= next_seq:
                self._keep(seq, payload, error)
                self.counts.records += 1
        self._write(next_seq)
        return self.counts

    # -- reading ------------------------------------------------------------------------------------------------------------

    def _lock_writer(self) -> int:
        """The journal's next sequence number; nobody else ingests this journal until the transaction ends."""
        verbs, table = self.verbs, tables.journal_writer
        key = verbs.id_in(self.writer)
        for _ in range(2):
            found = verbs.select(self.cursor, table, ("key", "next_seq"), "id", [key], lock=True)
            if found:
                self.writer_key = found[0][0]
                return int(found[0][1])
            columns = ("next_seq", "first_seen", "last_seen", "workspace_id", "id")
            verbs.insert_missing(self.cursor, table, columns, [(1, self.noticed, self.noticed, self.workspace, key)])
        raise RuntimeError("the journal's row was made and is not there")

    def _read(self, next_seq: int) -> None:
        """Decode the records that are new, note gaps, and collect the ids of the runs they speak of."""
        flow_ids, task_ids = self.flow_runs, self.task_runs
        records = self.records
        expected = next_seq
        for seq, payload in self.items:
            if seq < expected:
                self.counts.repeated += 1
                continue
            record = self._decode(seq, payload)
            if seq > expected:
                self._note_gap(expected, seq, record)
            expected = seq + 1
            if record is None:
                continue
            kind = record.__class__
            if kind is StateRecord or kind is RunUpdateRecord:
                if kind is RunUpdateRecord:
                    self.sources[id(record)] = (seq, payload)
                if record.kind:
                    task_ids[record.run_id] = None
                else:
                    flow_ids[record.run_id] = None
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
            records.append(record)
        self.counts.records = len(self.items) - self.counts.repeated

    def _decode(self, seq: int, payload: bytes) -> Any:
        try:
            return decode(payload)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            self._keep(seq, payload, error)
            return None

    def _keep(self, seq: int, payload: bytes, error: Exception) -> None:
        """Keep what is a message but no record we know (a newer riverrun may); count what is not even one as lost."""
        try:
            msgspec.msgpack.decode(payload)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            self.lost_rows.append((seq, seq, self.noticed, self.writer_key, f"not readable: {error}"))
            self.counts.lost += 1
        else:
            kept = bytes(payload[:ASIDE_BYTES])
            why = str(error) if len(kept) == len(payload) else f"{error} (only the first {ASIDE_BYTES} bytes are kept)"
            self.aside_rows.append((seq, self.noticed, self.writer_key, why, kept))
            self.counts.aside += 1

    def _note_gap(self, expected: int, seq: int, record: Any) -> None:
        """Records that the spool does not have any more are lost for this store, unless the record itself tells so."""
        last = seq - 1
        if record.__class__ is LostRecord:
            last = min(last, record.first - 1)
            if last < expected:
                return
        why = "missing from the spool (taken over by another store, or removed)"
        self.lost_rows.append((expected, last, self.noticed, self.writer_key, why))
        self.counts.lost += last - expected + 1

    def _load_runs(self) -> None:
        """Fill `flow_runs` and `task_runs` with the stored runs and with new ones for the ids that the store lacks."""
        for table, runs in ((tables.flow_run, self.flow_runs), (tables.task_run, self.task_runs)):
            if not runs:
                continue
            verbs = self.verbs
            id_in, id_out = verbs.id_in, verbs.id_out
            found = verbs.select(self.cursor, table, r.STORED_COLUMNS, "id", [id_in(raw) for raw in runs], lock=True)
            for row in found:
                raw = bytes(id_out(row[1]))
                runs[raw] = r.Run.stored(row, raw)
            missing = [raw for raw, run in runs.items() if run is None]
            if missing:
                keys = verbs.new_keys(self.cursor, table, len(missing))
                for raw, key in zip(missing, keys, strict=True):
                    runs[raw] = r.Run(key, raw)

    # -- folding ------------------------------------------------------------------------------------------------------------

    def _fold(self, record: Any) -> None:
        kind = record.__class__
        if kind is StateRecord:
            self._enter(record)
        elif kind is TaskRunRecord or kind is FlowRunRecord:
            run = (self.task_runs if kind is TaskRunRecord else self.flow_runs)[record.id]
            if not run.placeholder:
                self.counts.repeated += 1
                return
            run.placeholder = False
            run.record = record
            run.created = record.created
            if kind is TaskRunRecord:
                self.counts.task_runs += 1
                self._place(record.flow_run_id, record.created)
            else:
                self.counts.flow_runs += 1
        elif kind is LogRecord:
            self._log(record)
        elif kind is RunUpdateRecord:
            self._update(record)
        elif kind is LostRecord:
            self.lost_rows.append((record.first, record.last, self.noticed, self.writer_key, record.why))
            self.counts.lost += max(record.last - record.first + 1, 0)

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
            names = ", ".join(sorted(unknown))
            seq, payload = self.sources[id(record)]
            self.aside_rows.append(
                (seq, self.noticed, self.writer_key, f"unknown fields of a run: {names}", bytes(payload))
            )
            self.counts.aside += 1

    def _drop_known_states(self) -> None:
        """Leave out states that the store has already, or that the unit holds twice."""
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

    def _write(self, next_seq: int) -> None:
        writer = Writer(self.verbs, self.cursor, self.workspace, self.writer_key, self.careful)
        writer.runs(FLOW_RUN, self.flow_runs, self.flow_runs, self.state_rows[FLOW_RUN])
        writer.runs(TASK_RUN, self.task_runs, self.flow_runs, self.state_rows[TASK_RUN])
        writer.insert(tables.log, r.LOG_COLUMNS, self.log_rows)
        writer.insert(tables.journal_lost, _LOST_COLUMNS, self.lost_rows)
        writer.insert(tables.journal_aside, _ASIDE_COLUMNS, self.aside_rows)
        following = max(next_seq, self.items[-1][0] + 1)
        values = (following, self.noticed, self.writer_key)
        self.verbs.update(self.cursor, tables.journal_writer, ("next_seq", "last_seen"), [values])
