"""The one-writer lock: an flock on `<database file>.lock`, held by whoever writes a SQLite store.

PostgreSQL needs none. The lock frees itself when its holder dies, whatever way. The file names the holder for people only.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

_POLL_SECONDS = 0.02


class DatabaseLock:
    """An exclusive lock beside a database file. Not re-entrant; a context manager that releases it."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self, seconds: float = 0.0, why: str = "writing", on_wait: Callable[[str], None] | None = None) -> bool:
        """Take the lock, waiting at most `seconds`; false when somebody else has it for longer than that.

        `why` is written into the file for those who wait; `on_wait` is called once with a sentence when waiting begins.
        Raises OSError when the file cannot be made or opened (a read-only home).
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + seconds
        waiting = False
        try:
            while not self._try(descriptor):
                if time.monotonic() >= deadline:
                    return False
                if on_wait is not None and not waiting:
                    on_wait(f"Waiting up to {seconds:g} s for the store's lock, held by {self.holder()}")
                waiting = True
                time.sleep(_POLL_SECONDS)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} ({why})\n".encode(), 0)
            self._descriptor, descriptor = descriptor, -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return True

    @staticmethod
    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def holder(self) -> str:
        """Who holds the lock, in words, as far as the file tells."""
        try:
            return self.path.read_text(errors="replace").strip() or "another process"
        except OSError:
            return "another process"

    def release(self) -> None:
        """Free the lock; harmless when it is not held. The file stays: removing it would let two processes in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "DatabaseLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
