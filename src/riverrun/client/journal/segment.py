"""The files that frames are copied into: memory-mapped where that is safe, written to where it is not.

A mapped segment is preallocated before it is mapped: a page that cannot be had on a full disk must be a clean error at creation,
never SIGBUS at the copy. Both kinds raise `ValueError` when a frame does not fit any more.
"""

import contextlib
import errno
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

#: File systems on which a preallocated, mapped page can always be written: local ones that write in place.
_MAPPABLE: Final = frozenset({"ext2", "ext3", "ext4", "xfs", "f2fs", "tmpfs", "ramfs", "overlay"})
_NOT_SUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV})
_MADV_POPULATE_WRITE: Final = 23
_TOUCHED_AT_ONCE: Final = 1 << 18

#: since Python 3.13 a mapping need not keep a descriptor of its own, which it would close by number
_NO_DESCRIPTOR: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


def identity_of(fd: int) -> tuple[int, int]:
    """Which file a descriptor is of; (0, 0) if it is closed."""
    try:
        found = os.fstat(fd)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def close_own(fd: int, identity: tuple[int, int]) -> None:
    """Close a descriptor if it still is of the file that it was opened for. User code may have closed every descriptor
    (as daemons do) and opened files of its own under their numbers."""
    if identity_of(fd) == identity:
        os.close(fd)


class Segment(Protocol):
    """A file of frames under construction. `end` is where the last frame that was accounted for ends."""

    capacity: int
    end: int

    def write(self, frame: bytes, /) -> object:
        """Copy one frame behind the last; ValueError if there is no room, OSError if the disk refuses."""

    def tell(self) -> int:
        """Where the last copied frame ends."""

    def read(self, start: int, end: int) -> bytes:
        """Bytes that were written."""

    def touch(self) -> None:
        """Fault the pages in, so that appending does not have to."""

    def sync(self) -> None:
        """Have everything on the disk; OSError if it refuses."""

    def close(self, *, trim: bool) -> None:
        """Let go; `trim` gives the unused rest of the file back."""


class Unopened:
    """Stands for the segment of a journal that has none: nothing fits."""

    def __init__(self) -> None:
        self.capacity = self.end = 0

    def write(self, frame: bytes, /) -> object:
        raise ValueError(f"no segment for {len(frame)} bytes yet")

    def tell(self) -> int:
        return 0

    def read(self, start: int, end: int) -> bytes:
        return b""

    def touch(self) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self, *, trim: bool) -> None:
        pass


class MappedSegment:
    """A preallocated file, mapped: a frame costs a copy and no system call."""

    __slots__ = ("_fd", "_identity", "_map", "capacity", "end", "tell", "write")

    def __init__(self, path: Path, capacity: int) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(self._fd, 0, capacity)
            protection = mmap.PROT_READ | mmap.PROT_WRITE
            self._map = mmap.mmap(self._fd, capacity, mmap.MAP_SHARED, protection, **_NO_DESCRIPTOR)
        except BaseException:
            os.close(self._fd)
            path.unlink()
            raise
        self._identity = identity_of(self._fd)
        self.capacity = capacity
        self.end = 0
        # Bound here: a method of ours around them would cost as much as the copy itself.
        self.write: Callable[[bytes], object] = self._map.write
        self.tell: Callable[[], int] = self._map.tell

    def read(self, start: int, end: int) -> bytes:
        return self._map[start:end]

    def touch(self) -> None:
        for start in range(0, self.capacity, _TOUCHED_AT_ONCE):
            try:
                self._map.madvise(_MADV_POPULATE_WRITE, start, min(_TOUCHED_AT_ONCE, self.capacity - start))
            except OSError:  # Linux before 5.14
                for page in range(start, min(start + _TOUCHED_AT_ONCE, self.capacity), mmap.PAGESIZE):
                    self._map[page] = 0

    def sync(self) -> None:
        if identity_of(self._fd) == self._identity:
            os.fdatasync(self._fd)
        else:  # user code closed our descriptor: the mapping is still there
            self._map.flush()

    def close(self, *, trim: bool) -> None:
        used = self._map.tell()
        self._map.close()
        if trim and identity_of(self._fd) == self._identity:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, used)
        close_own(self._fd, self._identity)


class WrittenSegment:
    """A file that grows by one write per frame, for file systems where mapping is not safe."""

    __slots__ = ("_fd", "_identity", "_size", "_unsure", "capacity", "end")

    def __init__(self, path: Path, capacity: int) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._identity = identity_of(self._fd)
        self.capacity = capacity
        self.end = self._size = 0
        # The truth about the size is the descriptor's position, which moves with the write; asking for it costs a call.
        self._unsure = False

    def write(self, frame: bytes, /) -> None:
        before = self._size
        if before + len(frame) > self.capacity:
            raise ValueError("no room in this segment")
        if identity_of(self._fd) != self._identity:
            raise ValueError("user code closed this segment's descriptor")
        self._unsure = True
        try:
            rest = frame[os.write(self._fd, frame) :]
            while rest:
                # A full disk takes a part without an error; only the next write says why.
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, before)
            os.lseek(self._fd, before, os.SEEK_SET)
            raise
        if self._size == before:
            self._size = before + len(frame)
            self._unsure = False
        else:  # a signal handler wrote meanwhile
            self._unsure = True

    def tell(self) -> int:
        if self._unsure:
            self._size = os.lseek(self._fd, 0, os.SEEK_CUR)
            self._unsure = False
        return self._size

    def read(self, start: int, end: int) -> bytes:
        return os.pread(self._fd, end - start, start)

    def touch(self) -> None:
        pass

    def sync(self) -> None:
        if identity_of(self._fd) == self._identity:
            os.fdatasync(self._fd)

    def close(self, *, trim: bool) -> None:
        close_own(self._fd, self._identity)


def make_segment(path: Path, capacity: int, *, mappable: bool) -> Segment:
    """A new segment; raises OSError when the disk is full or refuses."""
    if mappable:
        try:
            return MappedSegment(path, capacity)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
    return WrittenSegment(path, capacity)


def is_mappable(directory: Path) -> bool:
    """Whether the file system of a directory is known to keep the promise of preallocation."""
    if not hasattr(os, "posix_fallocate"):
        return False
    wanted = os.path.realpath(directory)
    best, kind = "", ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                fields, _, tail = line.partition(" - ")
                point = fields.split(" ")[4].replace("\\040", " ")
                inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, tail.split(" ")[0]
    except (OSError, IndexError):
        return False
    return kind in _MAPPABLE
