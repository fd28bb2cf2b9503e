"""Appending to the journal: frames copied into the current segment of this process's spool.

Appending makes no system call and never gives the GIL away, so that it costs the same beside a busy thread. It may be entered
again from a signal handler or a finaliser at any instruction, and an exception may strike at any instruction: bookkeeping is
therefore read back from the segment's own position, which moves in one C call with the copy. Disk trouble never reaches the
caller: records wait in a `Backlog`. Whatever takes time is the business of `writer`.
"""

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final
from zlib import crc32

from msgspec import Struct

from riverrun.client.journal.backlog import Backlog
from riverrun.client.journal.directory import Directory
from riverrun.client.journal.encoding import encode_anyway
from riverrun.client.journal.keeper import Keeper
from riverrun.client.journal.segment import Segment, Unopened
from riverrun.wire.frames import (
    GIL_KEEPING,
    HEAD,
    HEAD_SIZE,
    LONGEST,
    MAGIC,
    SEQ_MODULUS,
    SIDE,
    SIDE_MAGIC,
    checksum,
    frames_in,
    salt_of,
)
from riverrun.wire.journal import JournalRecord, LogRecord, LostRecord, encode

#: values of `Journal._wake_at`
_NEVER: Final = sys.maxsize
AT_ONCE: Final = -1
_pack = HEAD.pack


class Options(Struct, frozen=True):
    """Where a journal is written and how much room it may take (bytes)."""

    directory: Path
    segment_bytes: int = 2 << 20
    ingest_bytes: int = 64 << 20
    max_bytes: int = 4 << 30
    memory_bytes: int = 64 << 20
    #: None: found out from the file system
    mappable: bool | None = None
    #: called when the spool is larger than `ingest_bytes`
    on_long_chain: Callable[[], object] | None = None
    #: called by the keeper each second while there is news
    on_pass: Callable[[], object] | None = None


class Appender:
    """Appending to one spool, opened by the first record. `writer.Journal` gives it its keeper."""

    _keeper: Keeper

    def __init__(self, options: Options) -> None:
        self.options = options
        self.writer = os.urandom(16)
        self.closed = False
        self._salt = salt_of(self.writer)
        self._longest = min(LONGEST, options.segment_bytes // 2 - HEAD_SIZE)
        # Re-entrant: a signal handler or a finaliser may append while its own thread appends.
        self._lock = threading.RLock()
        # Held while files are synced, moved or closed; taken before `_lock`, never by an appender.
        self._files = threading.RLock()
        self._directory = Directory(options.directory, self.writer, options.mappable)
        self._segment: Segment = Unopened()
        self._spare: Segment | None = None
        self._spare_path: Path | None = None
        self._finished: list[Segment] = []
        self._unsynced_sides: list[Path] = []
        self._next = 1
        self._synced = 1
        self._rotating = False
        self._side_seq = 0  # the number of the long record that is being written
        # Anything off the straight way (disk trouble, over the cap) raises this one flag, which is all that `append` looks at.
        self._strained = False
        self._over_cap = False
        self._backlog = Backlog(options.memory_bytes)
        self._complained = False
        # The keeper is woken when the current segment has grown past this.
        self._wake_at = AT_ONCE
        #: called with the keeper's waking; must not block
        self.on_news: Callable[[], object] | None = None

    @property
    def path(self) -> Path:
        """The spool's directory, made by the first record."""
        return self._directory.path

    # -- appending ---------------------------------------------------------------------------------------------------

    def append(self, record: JournalRecord) -> None:
        """Write a record down. When this returns, a killed process does not lose it. Never raises for a value or a disk."""
        try:
            payload = encode(record)
        except Exception:  # noqa: BLE001 - whatever a value does, the flow goes on
            payload = encode_anyway(record)
        if self._strained or len(payload) > self._longest:
            self._append_slowly(record, payload)
            return
        with self._lock:
            try:
                self._put(MAGIC, payload)
            except OSError as error:
                self._keep_in_memory(record, payload, error)

    def append_all(self, records: Iterable[JournalRecord]) -> None:
        """Write records down next to each other."""
        with self._lock:
            for record in records:
                self.append(record)

    def _put(self, magic: bytes, payload: bytes) -> int:
        """Copy one frame; its sequence number. The caller holds the lock."""
        size = len(payload)
        while True:
            segment = self._segment
            start = segment.tell()
            if start != segment.end:
                self._settle()
            seq = self._next
            crc = (
                crc32(payload, seq % SEQ_MODULUS ^ self._salt) if size <= GIL_KEEPING else self._checksum(payload, seq)
            )
            frame = _pack(magic, size, seq, crc) + payload
            end = start + len(frame)
            # Nothing can come between this comparison and the copy: the interpreter looks for signals after calls.
            if self._next != seq or self._segment is not segment:
                continue
            try:
                segment.write(frame)
            except ValueError:
                self._rotate(segment)
                continue
            if self._next == seq:
                self._next = seq + 1
                segment.end = end
                if end > self._wake_at:
                    self._wake(end)
                return seq
            # Somebody appended between the copy and here, or (a finaliser inside the copy) before it under our number.
            if segment.read(start, end) == frame:
                return seq

    def _checksum(self, payload: bytes, seq: int) -> int:
        return checksum(payload, seq, self._salt)

    def _settle(self) -> None:
        """Make `_next` true, whatever was interrupted. The caller holds the lock."""
        segment = self._segment
        end = segment.tell()
        if end != segment.end:
            self._catch_up(segment, end)

    def _catch_up(self, segment: Segment, end: int) -> None:
        """Account for frames whose append was struck by an exception right after the copy."""
        for frame in frames_in(segment.read(segment.end, end), self._salt):
            self._next = max(self._next, frame.seq + 1)
        segment.end = end

    def _append_slowly(self, record: JournalRecord, payload: bytes) -> None:
        with self._lock:
            is_log = isinstance(record, LogRecord)
            if self._over_cap and is_log:
                self._backlog.lost += 1
            elif self._backlog or self._side_seq:
                self._backlog.add(payload, is_log=is_log)
                self._keeper.wake()
            else:
                try:
                    self._put_any(payload)
                except OSError as error:
                    self._keep_in_memory(record, payload, error)
                    return
                self._recover()  # what signal handlers appended meanwhile

    def _put_any(self, payload: bytes) -> None:
        if len(payload) <= self._longest:
            self._put(MAGIC, payload)
            return
        if not self._directory.is_open:
            self._open()
        # From here to the frame nobody may take the number that names the file: a signal handler's records wait in memory.
        self._strained = True
        self._side_seq = -1
        try:
            self._settle()
            self._side_seq = seq = self._next
            self._unsynced_sides.append(self._directory.write_side(payload, seq))
            self._put(SIDE_MAGIC, SIDE.pack(len(payload), self._checksum(payload, seq)))
        finally:
            self._side_seq = 0

    def _rotate(self, full: Segment) -> None:
        """Go on in the next segment."""
        was_open = not isinstance(full, Unopened)
        if self._rotating:
            raise OSError(errno.EAGAIN, "a signal handler appended while the journal was taking its next segment")
        if self._segment is not full:
            return  # a signal handler has done it
        self._rotating = True
        try:
            fresh = self._spare or self._make_segment()
            # No call, and so no signal handler, between these.
            self._spare = None
            self._segment = fresh
            if was_open:
                self._finished.append(full)
            self._wake_at = min(self._wake_at, fresh.capacity // 2)
        finally:
            self._rotating = False

    def _make_segment(self) -> Segment:
        if not self._directory.is_open:
            self._open()
        directory = self._directory
        return directory.make_segment(directory.next_path(), self.options.segment_bytes)

    def _open(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "this journal was closed")
        self._directory.open()

    def _wake(self, end: int) -> None:
        half = self._segment.capacity // 2
        self._wake_at = _NEVER if end > half else half
        self._keeper.wake()
        news = self.on_news
        if news is not None:
            news()

    def ring_at_next(self) -> None:
        """Have the next append call `on_news`."""
        with self._lock:
            self._settle()
            self._wake_at = AT_ONCE

    def last_seq(self) -> int:
        """The number of the last record, for watching: one that was struck while it was written may be missing yet."""
        return self._next - 1

    def settled_seq(self) -> int:
        """The number of the last record."""
        with self._lock:
            self._settle()
            return self._next - 1

    # -- trouble -----------------------------------------------------------------------------------------------------

    def _keep_in_memory(self, record: JournalRecord, payload: bytes, error: OSError) -> None:
        self._strained = True
        self._backlog.add(payload, is_log=isinstance(record, LogRecord))
        self._complain(error)
        self._wake(_NEVER)

    def _complain(self, error: OSError) -> None:
        # Taken while rotating, or the directory was removed: the keeper puts it right within a second.
        passing = error.errno == errno.EAGAIN or (error.errno == errno.ENOENT and self._directory.is_open)
        if self._complained or passing:
            return
        self._complained = True
        self._say(
            f"cannot write its journal in {self.options.directory}: {error.strerror or error}. Flows go on; their records "
            f"wait in memory (up to {self.options.memory_bytes >> 20} MiB, log lines are given up first) and are written when "
            f"the disk takes them again. Free space there, or set RIVERRUN_JOURNAL_DIR or RIVERRUN_HOME to a directory that "
            f"can be written."
        )

    def _say(self, message: str) -> None:
        # OSError, ValueError, AttributeError: stderr is full, closed or not there
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"riverrun {message}\n")

    def _recover(self) -> bool:
        """Write what waits in memory; whether nothing waits any more. The caller holds the lock."""
        backlog = self._backlog
        try:
            while (payload := backlog.first()) is not None:
                self._put_any(payload)
                backlog.drop_first()
            if backlog.lost:
                self._own_up(backlog.lost)
        except OSError as error:
            self._complain(error)
            return False
        self._strained = self._over_cap
        return True

    def _own_up(self, lost: int) -> None:
        """Leave a record of how many records were given up; its number is that of the last of them."""
        why = "over the size cap of the journal" if self._over_cap else "given up while the disk took no records"
        self._settle()
        first, self._next = self._next, self._next + lost - 1
        try:
            self._put(MAGIC, encode(LostRecord(first, self._next, why)))
        except OSError:
            self._next = first
            raise
        self._backlog.lost -= lost
