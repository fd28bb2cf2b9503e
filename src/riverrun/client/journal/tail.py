"""Reading on in a spool that grows: what `wire.spool.Spool.records` gives, without reading anything twice.

Where the spool is not as it should be (a stretch is damaged or missing) the slow reader takes over for a batch: it looks
twice and says what is lost.
"""

import os
from itertools import islice
from pathlib import Path
from typing import Final

from riverrun.wire.frames import frames_in, salt_of
from riverrun.wire.spool import Spool, segments_of

#: read at a time; a frame that is longer makes the rest of its segment be read
_CHUNK: Final = 256 * 1024


class Tail:
    """The records of a spool after `last`, batch by batch. For one thread."""

    def __init__(self, path: Path, last: int) -> None:
        self._spool = Spool(path)
        self._salt = salt_of(self._spool.writer)
        self._segment = ""
        self._offset = 0
        self._fd = -1
        #: the number of the last record that was read
        self.last = last

    def go_to(self, last: int) -> None:
        """Read on after another record."""
        self.close()
        self._segment, self._offset, self.last = "", 0, last

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self, upto: int, max_records: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """The next records, empty if there is nothing new; a single one may be longer than `max_bytes`.

        `upto` is the number of the last record that is known to be there.
        """
        batch: list[tuple[int, bytes]] = []
        size = 0
        while len(batch) < max_records and size < max_bytes:
            # listed first: what is written into this segment after we found its end, and before the next, is seen so
            later = [name for name in segments_of(self._spool.path) if name > self._segment]
            size, full = self._read_here(batch, size, max_records, max_bytes)
            if full:
                break
            if not self._move_on(later):
                break
        if not batch and self.last < upto:
            batch = self._doubtful(max_records)
        return batch

    def _read_here(
        self, batch: list[tuple[int, bytes]], size: int, max_records: int, max_bytes: int
    ) -> tuple[int, bool]:
        """Read frames of the current segment; (bytes in the batch, whether the batch is full)."""
        if self._fd < 0:
            return size, False
        wanted = _CHUNK
        while True:
            data = os.pread(self._fd, wanted, self._offset)
            end = 0
            for frame in frames_in(data, self._salt):
                end = frame.end
                if frame.seq <= self.last:
                    continue
                if frame.seq != self.last + 1:
                    return size, True  # a gap: the slow reader is asked when nothing else is left
                payload = self._spool.payload_of(frame) if frame.is_side else frame.payload
                if batch and size + len(payload) > max_bytes:
                    self._offset += frame.start
                    return size, True
                batch.append((frame.seq, payload))
                size += len(payload)
                self.last = frame.seq
                if len(batch) >= max_records or size >= max_bytes:
                    self._offset += end
                    return size, True
            self._offset += end
            if end:
                wanted = _CHUNK
            elif len(data) < wanted or not data.strip(b"\0"):
                return size, False  # the end, or what was preallocated
            elif wanted > _CHUNK:
                return size, False  # a frame that is still being written
            else:
                wanted = os.fstat(self._fd).st_size

    def _move_on(self, later: list[str]) -> bool:
        """Go to the segment that holds the next record; False if that is not there yet."""
        for name in later:
            try:
                fd = os.open(self._spool.path / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # freed meanwhile
            first = next(frames_in(os.pread(fd, _CHUNK, 0), self._salt), None)
            if first is None or first.seq > self.last + 1:
                os.close(fd)
                return False  # a spare one that waits for its first record; or something is missing in between
            self.close()
            self._fd, self._segment, self._offset = fd, name, 0
            return True
        return False

    def _doubtful(self, max_records: int) -> list[tuple[int, bytes]]:
        """As the slow reader sees it. Nothing either, if nothing is there."""
        batch = list(islice(self._spool.records(self.last), max_records))
        if batch:
            self.go_to(batch[-1][0])
        return batch
