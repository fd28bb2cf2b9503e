"""The journal's background thread: whatever takes a system call and need not be done by the flow's own thread.

It sleeps without a timeout while nothing is appended, so an idle process is not woken; it needs no event loop.
"""

import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from riverrun.client.journal.writer import Journal

#: seconds between two passes, and so the most that a power failure takes
PERIOD: Final = 1.0


class Keeper:
    """The thread, started by the first `wake` and again by the first after a `stop`."""

    def __init__(self, journal: "Journal") -> None:
        self._journal = journal
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def wake(self) -> None:
        """Ring; never blocks but for the start of the thread."""
        if self._thread is not None:
            self._ring()
            return
        self._stopping = False
        self._thread = thread = threading.Thread(target=self._run, name="riverrun-journal", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending: close() syncs
            self._thread = None

    def stop(self, timeout: float) -> None:
        """End the thread, waiting for it at most `timeout` seconds."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self._stopping = True
        self._ring()
        if thread.is_alive():  # else it has not begun yet, and ends when it does
            thread.join(timeout)
        self._thread = None

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it rings already

    def _run(self) -> None:
        journal, news = self._journal, True
        due = time.monotonic() + PERIOD
        complained = False
        while True:
            self._bell.acquire(timeout=max(0.0, due - time.monotonic()) if news else -1)
            if self._stopping or self._thread is not threading.current_thread():
                return
            if not news:
                news, due = True, time.monotonic() + PERIOD
            try:
                journal.prepare_next()
                if time.monotonic() >= due:
                    news = journal.tend()
                    due = time.monotonic() + PERIOD
            except Exception:  # noqa: BLE001 - edge of the thread: the journal must be kept whatever happened once
                due = time.monotonic() + PERIOD
                if not complained and sys.stderr is not None:
                    import traceback

                    complained = True
                    traceback.print_exc()
