"""One unit of ingestion: some records of one journal, applied to the store in one transaction.

The journal's cursor moves in the same transaction, so a unit that is sent again changes nothing.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import msgspec

from riverrun.base.errors import ConflictError
from riverrun.server.db import tables
from riverrun.server.db.scope import Scope
from riverrun.server.db.units import Transaction
from riverrun.server.ingest.artifacts import write_artifacts
from riverrun.server.ingest.fold import Counts, Fold
from riverrun.wire.journal import (
    ArtifactRecord,
    FlowRunRecord,
    LogRecord,
    LostRecord,
    RunUpdateRecord,
    StateRecord,
    TaskRunRecord,
    decode,
)

#: how much of a record is kept aside: what is too large for a database must at least not be so again
ASIDE_BYTES = 16 * 1024 * 1024
_LOST_COLUMNS = ("first", "last", "noticed", "writer_key", "why")
_ASIDE_COLUMNS = ("seq", "noticed", "writer_key", "error", "payload")
_PLAIN = frozenset({ArtifactRecord, FlowRunRecord, LogRecord, StateRecord, TaskRunRecord})

#: (sequence number, payload)
Item = tuple[int, bytes]


class JournalGap(ConflictError):
    """Records of a journal came whose predecessors have not: `expected` is the number to go on with."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"The journal goes on at record {expected}, not at {got}: send what lies between first.")
        self.expected = expected


class Unit(Fold):
    """The application of one unit: `Unit(...).apply(cursor)` inside a transaction.

    With `whole` a gap before the first record raises JournalGap: the sender still has what is missing. Otherwise it is noted
    as lost. `decoded` are the records of `items`, where they are decoded already (or the errors that met them).
    """

    def __init__(
        self,
        verbs: ModuleType,
        scope: Scope,
        writer: bytes,
        items: Sequence[Item],
        *,
        careful: bool = False,
        whole: bool = False,
        decoded: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(verbs, scope, careful=careful)
        self.writer = writer
        self.items = items
        self.whole = whole
        self.decoded = decoded
        #: columns of the journal's row to set beside its cursor
        self.writer_changes: dict[str, Any] = {}
        #: where update records come from, in case they must be kept aside
        self.sources: dict[int, Item] = {}
        self.lost_rows: list[tuple[Any, ...]] = []
        self.artifacts: list[ArtifactRecord] = []
        self.log_keys: Sequence[int] = ()

    def apply(self, cursor: Any) -> Counts:
        """Apply the unit; raises the driver's errors and ValueError, TypeError ... for a record that cannot be applied."""
        self.cursor = cursor
        next_seq = self.lock_writer()
        self._read(next_seq)
        self.load_runs()
        if self.careful:
            self.drop_known_states()
        self.fold(self.records)
        self._write(next_seq)
        return self.counts

    def set_aside(self, cursor: Any, error: Exception) -> Counts:
        """Keep the records unread, with the error that applying them met; the cursor passes them."""
        self.cursor = cursor
        next_seq = self.lock_writer()
        for seq, payload in self.items:
            if seq >= next_seq:
                self._keep(seq, payload, error)
                self.counts.records += 1
        self._write(next_seq)
        return self.counts

    # -- reading ------------------------------------------------------------------------------------------------------------

    def lock_writer(self) -> int:
        """The journal's next sequence number; nobody else ingests this journal until the transaction ends."""
        verbs, table = self.verbs, tables.journal_writer
        key = verbs.id_in(self.writer)
        for _ in range(2):
            found = verbs.select(self.cursor, table, ("key", "next_seq"), "id", [key], lock=True)
            if found:
                self.writer_key = found[0][0]
                fences = verbs.select(self.cursor, tables.run_fence, ("run_key",), "writer_key", [self.writer_key])
                self.fenced = frozenset(row[0] for row in fences)
                return int(found[0][1])
            columns = ("next_seq", "first_seen", "last_seen", "workspace_id", "id")
            verbs.insert_missing(self.cursor, table, columns, [(1, self.noticed, self.noticed, self.workspace, key)])
        raise RuntimeError("the journal's row was made and is not there")

    def _read(self, next_seq: int) -> None:
        """Take in the records that are new, and note gaps."""
        expected = next_seq
        if (
            self.whole
            and self.items
            and self.items[0][0] > expected
            and not tells_of_gap(self._decode(*self.items[0], 0), expected)
        ):
            raise JournalGap(expected, self.items[0][0])
        if self.decoded is not None and self._is_plain(self.decoded, expected):
            self.note(*self.decoded)
            self.counts.records = len(self.decoded)
            return
        for index, (seq, payload) in enumerate(self.items):
            if seq < expected:
                self.counts.repeated += 1
                continue
            record = self._decode(seq, payload, index)
            if seq > expected:
                self._note_gap(expected, seq, record)
            expected = seq + 1
            if record is None:
                continue
            if record.__class__ is RunUpdateRecord:
                self.sources[id(record)] = (seq, payload)
            self.note(record)
        self.counts.records = len(self.items) - self.counts.repeated

    def _is_plain(self, decoded: Sequence[Any], expected: int) -> bool:
        """Whether all records are new, without gaps, and such as need no look at each: as almost always."""
        numbers = [seq for seq, _ in self.items]
        return numbers == list(range(expected, expected + len(decoded))) and _PLAIN.issuperset(map(type, decoded))

    def _decode(self, seq: int, payload: bytes, index: int) -> Any:
        try:
            record = decode(payload) if self.decoded is None else self.decoded[index]
            if isinstance(record, Exception):
                raise record
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            self._keep(seq, payload, error)
            return None
        return record

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

    # -- folding and writing ------------------------------------------------------------------------------------------------

    def fold_other(self, record: LostRecord | ArtifactRecord) -> None:
        if isinstance(record, ArtifactRecord):
            self.artifacts.append(record)
            return
        self.lost_rows.append((record.first, record.last, self.noticed, self.writer_key, record.why))
        self.counts.lost += max(record.last - record.first + 1, 0)

    def unknown_fields(self, record: RunUpdateRecord, names: list[str]) -> None:
        seq, payload = self.sources[id(record)]
        why = f"unknown fields of a run: {', '.join(sorted(names))}"
        self.aside_rows.append((seq, self.noticed, self.writer_key, why, bytes(payload)))
        self.counts.aside += 1

    def _write(self, next_seq: int) -> None:
        writer = self.write_runs(self.cursor)
        self.log_keys = writer.log_keys
        write_artifacts(writer, self.artifacts)
        writer.insert(tables.journal_lost, _LOST_COLUMNS, self.lost_rows)
        writer.insert(tables.journal_aside, _ASIDE_COLUMNS, self.aside_rows)
        following = max(next_seq, self.items[-1][0] + 1) if self.items else next_seq
        changes = {"next_seq": following, "last_seen": self.noticed, **self.writer_changes}
        values = (*changes.values(), self.writer_key)
        self.verbs.update(self.cursor, tables.journal_writer, tuple(changes), [values])

    def tell_all(self, transaction: Transaction) -> None:
        """Announce what was written, log lines too."""
        self.tell(transaction, self.log_keys)


def tells_of_gap(record: Any, expected: int) -> bool:
    """Whether a record says itself what became of those that were expected before it."""
    return record.__class__ is LostRecord and record.first <= expected


__all__ = ["Counts", "Item", "JournalGap", "Unit", "tells_of_gap"]
