"""The directory of one spool as its owner keeps it: made complete, locked for life, made anew if somebody removed it."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from riverrun.client.journal.segment import Segment, close_own, identity_of, is_mappable, make_segment
from riverrun.wire import owner
from riverrun.wire.spool import OPENING, Spool, remove_directory, segment_name, side_name

_NO_LOCKS_HERE: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Directory:
    """A spool's directory. Raises OSError where the disk refuses; the journal's lock guards it."""

    __slots__ = ("_former", "_identity", "_index", "_lock_fd", "_mappable", "_wanted_mappable", "path", "writer")

    def __init__(self, journal_dir: Path, writer: bytes, mappable: bool | None) -> None:
        self.path = journal_dir / writer.hex()
        self.writer = writer
        self._wanted_mappable = mappable
        self._mappable = False
        self._lock_fd = -1
        #: of which file the lock is, and of which it was before `reopen`
        self._identity = self._former = (0, 0)
        self._index = 0

    @property
    def is_open(self) -> bool:
        return self._lock_fd >= 0

    def open(self) -> None:
        """Make it under another name first, so that readers never see half of one."""
        journal_dir = self.path.parent
        # the home too: it holds what the journal holds, and more
        journal_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal_dir.mkdir(mode=0o700, exist_ok=True)
        opening = journal_dir / f"{OPENING}{self.path.name}"
        remove_directory(opening)
        opening.mkdir(mode=0o700)
        lock_fd = -1
        try:
            lock_fd = _locked(opening / owner.LOCK)
            owner.write_header(opening, owner.describe_self(self.writer))
            opening.rename(self.path)
        except BaseException:
            if lock_fd >= 0:
                os.close(lock_fd)
            remove_directory(opening)
            raise
        self._lock_fd, self._identity = lock_fd, identity_of(lock_fd)
        self._mappable = is_mappable(self.path) if self._wanted_mappable is None else self._wanted_mappable

    def is_in_place(self) -> bool:
        """Whether it is still where it was made, and not removed or set aside by a mistaken reader."""
        try:
            there = os.stat(self.path / owner.LOCK)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if (there.st_dev, there.st_ino) != self._identity:
            return False
        if identity_of(self._lock_fd) != self._identity:  # user code closed our descriptor
            self._lock_fd = _locked(self.path / owner.LOCK)
        return True

    def reopen(self) -> int:
        """Make it anew; the former lock, to be given to `settle` or `undo`."""
        former, self._former = self._lock_fd, self._identity
        self.open()
        return former

    def settle(self, former: int) -> None:
        close_own(former, self._former)

    def undo(self, former: int) -> None:
        """Take `reopen` back."""
        close_own(self._lock_fd, self._identity)
        self._lock_fd, self._identity = former, self._former
        remove_directory(self.path)

    def next_path(self) -> Path:
        """Where the next segment goes. Numbers are never used twice, and the order of numbers is that of the frames."""
        self._index += 1
        return self.path / segment_name(self._index)

    def make_segment(self, path: Path, capacity: int) -> Segment:
        return make_segment(path, capacity, mappable=self._mappable)

    def write_side(self, payload: bytes, seq: int) -> Path:
        """Write a long payload beside the segments: whole or not at all under its name."""
        side = self.path / side_name(seq)
        fresh = side.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(payload)
            fresh.rename(side)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        return side

    def show_life(self) -> None:
        """Let readers that cannot look the process up see that it lives."""
        if identity_of(self._lock_fd) == self._identity:
            os.utime(self._lock_fd)

    def close(self, last: int, acknowledged: int = 0) -> None:
        """Say that nothing follows record `last` and let go; removes everything if all of it was taken over already."""
        fd, self._lock_fd = self._lock_fd, -1
        try:
            if max(acknowledged, Spool(self.path).released) >= last:
                remove_directory(self.path)
            else:
                owner.mark_closed(self.path, last)
        finally:
            close_own(fd, self._identity)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's lock without touching anything."""
        if self._lock_fd >= 0:
            close_own(self._lock_fd, self._identity)
            self._lock_fd = -1


def _locked(path: Path) -> int:
    """A descriptor of the lock file, with the lock held where the file system has locks."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            os.close(fd)
            raise
    return fd
