"""Reading the spools that processes leave behind, or are just writing.

Reading changes nothing and is safe beside the writer. Freeing (`release`, `sweep`) is guarded: shipping somebody's spool twice is
harmless, deleting it too early is not. What was damaged is reported as a `LostRecord`; the rest is kept.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from riverrun.wire import owner
from riverrun.wire.frames import SIDE, Frame, checksum, frames_in, salt_of
from riverrun.wire.journal import LostRecord, decode, encode

SEGMENT: Final = ".seg"
SIDE_FILE: Final = ".side"
#: Holds, as text, the last sequence number that was freed.
RELEASED: Final = "released"
DONE: Final = ".done"
#: Directories of writers that have not finished opening start with this.
OPENING: Final = ".opening-"
#: A spool whose writer did not close it is kept so long (seconds) after it was ingested.
KEPT_AFTER_DONE: Final = 24 * 3600.0


def segment_name(index: int) -> str:
    return f"{index:08d}{SEGMENT}"


def side_name(seq: int) -> str:
    return f"{seq:016x}{SIDE_FILE}"


def remove_directory(path: Path) -> None:
    """Remove a spool's directory and the files in it, as far as that can be done."""
    try:
        for name in os.listdir(path):
            (path / name).unlink(missing_ok=True)
        path.rmdir()
    except OSError:
        pass  # not ours to remove, or not empty: a sweep tries again


def segments_of(path: Path) -> list[str]:
    """The names of a spool's segments in the order of their frames."""
    try:
        return sorted(name for name in os.listdir(path) if name.endswith(SEGMENT))
    except FileNotFoundError:
        return []  # removed meanwhile


def spools(journal_dir: Path) -> list["Spool"]:
    """The spools of a journal directory, oldest first; none if there is no such directory."""
    try:
        names = os.listdir(journal_dir)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [Spool(journal_dir / name) for name in names if _is_writer(name)]
    return sorted(found, key=lambda spool: (spool.created, spool.path.name))


class Spool:
    """The journal of one writer, seen from outside."""

    __slots__ = ("_salt", "path", "writer")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = bytes.fromhex(path.name[:32])
        self._salt = salt_of(self.writer)

    def __repr__(self) -> str:
        return f"Spool({str(self.path)!r})"

    @property
    def created(self) -> int:
        """When the writer opened it, in microseconds UTC; 0 if the header is damaged."""
        header = owner.read_header(self.path)[0]
        return 0 if header is None else header.created

    @property
    def closed_at(self) -> int | None:
        """The last sequence number, if the writer closed its journal itself."""
        return owner.read_header(self.path)[1]

    @property
    def released(self) -> int:
        """The last sequence number that `release` was told of."""
        try:
            return int((self.path / RELEASED).read_bytes())
        except (OSError, ValueError):
            return 0

    def is_dead(self) -> bool:
        """Whether the writer certainly writes no more."""
        return owner.is_dead(self.path)

    def size(self) -> int:
        """Bytes of all files, preallocated ones in full."""
        total = 0
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            pass  # freed meanwhile
        return total

    def records(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """The records with a sequence number above `after`, in order: (sequence number, msgpack of a JournalRecord).

        A damaged or missing stretch comes as one LostRecord under the number of its last record. A torn frame at the end is
        the end: it may still be growing, and a reader that comes again sees it whole.
        """
        last = max(after, self.released)
        segment, start = self._segment_of(last)
        doubted = -1
        while True:
            for name, frame in self._frames(segment, start):
                if frame.seq <= last:
                    segment, start = name, frame.end
                    continue
                if frame.seq != last + 1:
                    if doubted != last:
                        # The writer may have filled the gap behind our back: look once more from the last good frame.
                        doubted = last = max(last, self.released)
                        break
                    if not _speaks_of_loss(frame, last):
                        yield frame.seq - 1, encode(self._lost(last + 1, frame, name, segment, start))
                yield frame.seq, self.payload_of(frame)
                last, segment, start = frame.seq, name, frame.end
            else:
                end = self.closed_at
                if end is None or end <= last:
                    return
                if doubted == last:
                    yield end, encode(LostRecord(last + 1, end, f"damaged or missing after byte {start} of {segment}"))
                    return
                doubted = last = max(last, self.released)

    def last_seq(self) -> int:
        """The number of the last record, as far as the spool can tell; 0 if there was none."""
        end = self.closed_at
        if end is not None:
            return end
        for name in reversed(self._segments()):
            seqs = [frame.seq for frame in frames_in(self._read(name), self._salt)]
            if seqs:
                return max(seqs)
        return self.released

    def last_payload(self) -> bytes | None:
        """The last record that can be read and is still there, also if it was released; None if nothing is."""
        for name in reversed(self._segments()):
            frames = list(frames_in(self._read(name), self._salt))
            if frames:
                return self.payload_of(frames[-1])
        return None

    def release(self, upto: int) -> None:
        """Free what is no longer needed because every record up to `upto` is safely stored elsewhere.

        Of a writer that may still live only whole finished segments go. The spool of a dead writer that was read to its end
        is removed: at once if the writer had closed it, else set aside as `.done` and removed a day later by `sweep`.
        """
        if upto > self.released and not self._note_released(upto):
            return
        if self.is_dead() and self.last_seq() <= upto:
            self._retire()
        else:
            self._free_finished(upto)

    def _note_released(self, upto: int) -> bool:
        fresh = self.path / f"{RELEASED}.{os.getpid()}"
        try:
            fresh.write_bytes(b"%d" % upto)
            fresh.replace(self.path / RELEASED)
        except FileNotFoundError:
            return False  # another process removed the spool
        return True

    def _free_finished(self, upto: int) -> None:
        names = self._segments()
        for at in range(len(names) - 1, 0, -1):
            first = self._first_seq(names[at])
            if first is not None and first <= upto + 1:
                for name in names[:at]:
                    (self.path / name).unlink(missing_ok=True)
                break
        highest = side_name(upto)
        for name in self._names():
            if name.endswith(SIDE_FILE) and name <= highest:
                (self.path / name).unlink(missing_ok=True)

    def _retire(self) -> None:
        try:
            fd = os.open(self.path / owner.LOCK, os.O_RDONLY | os.O_CREAT, 0o600)
        except FileNotFoundError:
            return  # another process removed the spool
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # somebody else is at it
        else:
            closed = self.closed_at is not None
            aside = self.path.with_name(self.path.name + DONE)
            if aside.exists():
                aside = self.path.with_name(f"{self.path.name}-{time.time_ns()}{DONE}")
            try:
                self.path.rename(aside)
                os.utime(aside)
            except FileNotFoundError:
                return
            if closed:
                remove_directory(aside)
        finally:
            os.close(fd)

    def _segments(self) -> list[str]:
        return segments_of(self.path)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []  # removed meanwhile

    def _segment_of(self, last: int) -> tuple[str, int]:
        """The segment in which to begin when everything up to `last` is known."""
        names = self._segments()
        for at in range(len(names) - 1, 0, -1):
            first = self._first_seq(names[at])
            if first is not None and first <= last + 1:
                return names[at], 0
        return (names[0], 0) if names else ("", 0)

    def _first_seq(self, name: str) -> int | None:
        frame = next(frames_in(self._read(name), self._salt), None)
        return None if frame is None else frame.seq

    def _frames(self, segment: str, start: int) -> Iterator[tuple[str, Frame]]:
        for name in self._segments():
            if name >= segment:
                for frame in frames_in(self._read(name), self._salt, start if name == segment else 0):
                    yield name, frame

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return b""  # freed meanwhile

    def payload_of(self, frame: Frame) -> bytes:
        """The record of a frame, also if a side file holds it; a LostRecord where that is damaged or gone."""
        if not frame.is_side:
            return frame.payload
        name = side_name(frame.seq)
        try:
            payload = (self.path / name).read_bytes()
            if SIDE.unpack(frame.payload) == (len(payload), checksum(payload, frame.seq, self._salt)):
                return payload
            why = f"its side file {name} is damaged"
        except FileNotFoundError:
            why = f"its side file {name} is missing"
        return encode(LostRecord(frame.seq, frame.seq, why))

    def _lost(self, first: int, found: Frame, name: str, segment: str, start: int) -> LostRecord:
        if name == segment and found.start == start:
            why = f"missing before byte {start} of {name}"
        elif name == segment:
            why = f"bytes {start} to {found.start} of {name} are damaged"
        else:
            why = f"missing or damaged between byte {start} of {segment} and byte {found.start} of {name}"
        return LostRecord(first, found.seq - 1, why)


def sweep(journal_dir: Path, *, kept: float = KEPT_AFTER_DONE) -> None:
    """Remove what was set aside more than `kept` seconds ago, and what writers left that died while opening.

    A spool set aside that turns out to hold more than was released (its writer lived after all) is put back.
    """
    try:
        names = os.listdir(journal_dir)
    except (FileNotFoundError, NotADirectoryError):
        return
    now = time.time()
    for name in names:
        path = journal_dir / name
        try:
            age = now - path.stat().st_mtime
        except FileNotFoundError:
            continue
        if name.startswith(OPENING) and age > owner.FOREIGN_SILENCE and not owner.is_locked(path):
            remove_directory(path)
        elif name.endswith(DONE) and _is_writer(name[:32]) and age >= kept:
            spool, home = Spool(path), journal_dir / name[:32]
            if spool.last_seq() > spool.released and not home.exists():
                path.rename(home)
            else:
                remove_directory(path)


def _is_writer(name: str) -> bool:
    return len(name) == 32 and not name.strip("0123456789abcdef")


def _speaks_of_loss(frame: Frame, last: int) -> bool:
    """Whether the writer itself tells of the gap before this frame."""
    if frame.is_side:
        return False
    try:
        record = decode(frame.payload)
    except msgspec.MsgspecError:
        return False
    return isinstance(record, LostRecord) and record.first <= last + 1 and record.last == frame.seq
