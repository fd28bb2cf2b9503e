"""An end to statements that take too long: a question that costs seconds must not cost everybody else theirs.

PostgreSQL does it by itself (`statement_timeout` of the connections that requests read on). SQLite has to be interrupted from
another thread; one thread does it for all.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from riverrun.base.errors import InputError

#: how long a statement of a request that reads may take
SECONDS = 2.0
_LOOK_SECONDS = 0.1


class TookTooLongError(InputError):
    """A statement was ended because it took too long."""


class Watchdog:
    """Interrupts statements on SQLite connections when their time is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        #: by the connection's id: it, and when its statement's time is over
        self._running: dict[int, tuple[Any, float]] = {}

    @contextmanager
    def watching(self, connection: Any, seconds: float = SECONDS) -> Iterator[None]:
        """Let the statement in the block run so long on a `sqlite3.Connection`."""
        key = id(connection)
        with self._lock:
            self._running[key] = connection, time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="riverrun-watchdog", daemon=True)
                self._thread.start()
        self._wake.set()
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(key, None)

    def close(self) -> None:
        """Watch no longer."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._closing:
            with self._lock:
                now = time.monotonic()
                for key, (connection, deadline) in list(self._running.items()):
                    if deadline <= now:
                        # under the lock: the statement that is interrupted is still the one that was watched
                        connection.interrupt()
                        del self._running[key]
                idle = not self._running
                if idle:
                    self._wake.clear()
            if idle:
                self._wake.wait()
            else:
                # statements are short: a look now and then costs less than a wake-up for each
                time.sleep(_LOOK_SECONDS)


def was_ended(error: BaseException) -> bool:
    """Whether a driver's error, plain or wrapped, says that the statement was ended for its time."""
    cause = getattr(error, "orig", None) or error
    # SQLITE_INTERRUPT; query_canceled
    return getattr(cause, "sqlite_errorcode", None) == 9 or getattr(cause, "sqlstate", None) == "57014"
