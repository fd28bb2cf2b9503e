"""The writer of this process: an appender together with what keeps its spool: syncing, preparing, moving, closing.

Nothing here is on the way of `append`; the `Keeper`'s thread, `flush` and `close` call it.
"""

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Final

from riverrun.client.journal.appender import AT_ONCE, Appender, Options
from riverrun.client.journal.keeper import Keeper
from riverrun.client.journal.segment import Segment, Unopened
from riverrun.wire.spool import Spool

__all__ = ["Journal", "Options"]

#: Ask for ingestion at most once in so many seconds.
_BETWEEN_ASKING: Final = 2.0


class Journal(Appender):
    """One writer and its spool, opened by the first record."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._keeper = Keeper(self)
        self._asked = 0.0

    def prepare_next(self) -> None:
        """Have the next segment ready when half of the current one is used."""
        with self._lock:
            segment = self._segment
            half_used = segment.tell() > segment.capacity // 2
            if self._spare is not None or not half_used or self._strained or self.closed:
                return
            path = self._directory.next_path()
        try:
            spare = self._directory.make_segment(path, self.options.segment_bytes)
        except OSError:
            return  # the appender meets the same trouble when it needs the segment, and says so
        spare.touch()
        with self._lock:
            # If the appender was faster, its own next segment has the higher number: this one would be out of order.
            if self._segment is segment and not self.closed:
                self._spare, self._spare_path = spare, path
                return
        spare.close(trim=False)
        path.unlink(missing_ok=True)

    def tend(self) -> bool:
        """One pass of the keeper: go home, recover, sync, look at the size. Returns whether there was news."""
        on_pass = self.options.on_pass
        if on_pass is not None:
            on_pass()
        with self._files, self._lock:
            self._go_home()
            if self._strained:
                self._recover()
            self._settle()
            if self._next == self._synced and not self._strained:
                self._wake_at = AT_ONCE
                return False
        self.sync()
        self._weigh()
        return True

    def sync(self) -> bool:
        """Have everything appended so far on the disk; False if the disk does not do it."""
        with self._files:
            with self._lock:
                self._settle()
                upto, segment = self._next, self._segment
                finished, sides = self._finished[:], self._unsynced_sides[:]
            try:
                for path in sides:
                    _sync_file(path)
                for one in [*finished, segment]:
                    one.sync()
                if self._directory.is_open:
                    self._directory.show_life()
            except OSError as error:
                self._complain(error)
                return False
            with self._lock:
                self._synced = upto
                del self._finished[: len(finished)]
                del self._unsynced_sides[: len(sides)]
            for one in finished:
                one.close(trim=True)
        return True

    def flush(self, timeout: float | None = None) -> bool:
        """Have everything in the file and on the disk; False if that fails or takes longer than `timeout` seconds."""
        if timeout is None:
            if self._lock._is_owned():  # type: ignore[attr-defined]  # the method conditions use, missing in typeshed
                return (
                    False  # a signal handler inside an append: waiting for the keeper, which waits for us, never ends
                )
            with self._files:
                with self._lock:
                    self._go_home()
                    written = self._recover() if self._strained else True
                    self._settle()
                    if self._next == self._synced:
                        return written
                return self.sync() and written
        done: list[bool] = []
        waiter = threading.Thread(target=lambda: done.append(self.flush()), name="riverrun-journal-flush", daemon=True)
        waiter.start()
        waiter.join(timeout)
        return done == [True]

    def _go_home(self) -> None:
        """If the directory was removed, make it again and copy what we still hold into it. The caller holds both locks."""
        directory = self._directory
        if not directory.is_open or directory.is_in_place():
            return
        held, copies = [*self._finished, self._segment], list[Segment]()
        former = -1
        try:
            former = directory.reopen()
            for segment in held:
                copy = directory.make_segment(directory.next_path(), self.options.segment_bytes)
                copies.append(copy)
                copy.write(segment.read(0, segment.tell()))
                copy.end = segment.end
        except OSError as error:
            for copy in copies:
                copy.close(trim=False)
            if former >= 0:
                directory.undo(former)
            self._complain(error)
            return
        self._finished[:] = copies[:-1]
        self._segment = copies[-1]
        directory.settle(former)
        if self._spare is not None:
            held.append(self._spare)
            self._spare = None
        for segment in held:
            segment.close(trim=False)

    def _weigh(self) -> None:
        """Ask for ingestion of a long chain, and mind the cap."""
        size = Spool(self.path).size()
        self._over_cap = size > self.options.max_bytes
        with self._lock:
            self._strained = self._over_cap or bool(self._backlog)
        now = time.monotonic()
        if size > self.options.ingest_bytes and self.options.on_long_chain and now - self._asked >= _BETWEEN_ASKING:
            self._asked = now
            self.options.on_long_chain()

    # -- ending ------------------------------------------------------------------------------------------------------

    def close(self, acknowledged: int = 0) -> None:
        """Write and sync what there is and let the spool go; removes it if everything was taken over already.

        `acknowledged` is the number of the last record that a server has.
        """
        self._keeper.stop(timeout=5.0)
        with self._files, self._lock:
            if self.closed:
                return
            self._settle()
            if acknowledged < self._next - 1 or self._strained:  # what a server has need not last here
                self.flush()
            self.closed = True
            if self._backlog:
                self._say(
                    f"{len(self._backlog)} records could not be written in {self.options.directory} and are lost."
                )
            self._settle()
            segments = [*self._finished, self._segment]
            self._segment, self._finished[:] = Unopened(), []
            for segment in segments:
                segment.close(trim=True)
            if self._spare is not None and self._spare_path is not None:
                self._spare.close(trim=False)
                self._spare_path.unlink(missing_ok=True)
                self._spare = None
            if self._directory.is_open:
                with contextlib.suppress(
                    OSError
                ):  # the directory was removed, or takes no write: readers look the pid up
                    self._directory.close(self._next - 1, acknowledged)

    def before_fork(self) -> None:
        """End the keeper's thread, so that the child is forked from as few threads as can be; an append starts it again."""
        self._keeper.stop(timeout=0.2)
        self._wake_at = AT_ONCE

    def abandon(self) -> None:
        """In a forked child: forget the parent's spool. Locks may be held by threads that are no more, so none is taken."""
        self.closed = True
        self._directory.abandon()
        for segment in [self._segment, self._spare, *self._finished]:
            if segment is not None:
                # ValueError: already closed. What other threads were doing to it when the fork came does not matter here.
                with contextlib.suppress(OSError, ValueError, BufferError):
                    segment.close(trim=False)


def _sync_file(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # released meanwhile
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)
