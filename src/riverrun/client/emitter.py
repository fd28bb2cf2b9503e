"""Sends events to a server's `/events/in` from a thread in the background.

The socket answers nothing: what was sent counts as taken when a ping after it has come back. What is not confirmed is sent
again on the next connection; the server tells repeated events by their ids. A forked child begins empty.
"""

import atexit
import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from riverrun.base.clock import monotonic
from riverrun.base.errors import RiverrunError
from riverrun.client.http import encode
from riverrun.client.location import ensure_api_url
from riverrun.client.sockets import auth_message, check_auth, connection_problem, options, socket_url
from riverrun.wire.events import Event

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

#: events between two confirmations
BATCH: Final = 700
#: events kept while no server takes them; beyond, the oldest are dropped and counted
MOST_WAITING: Final = 100_000
#: longest wait at the end of a process
EXIT_SECONDS: Final = 5.0
#: an idle connection is closed
_IDLE_SECONDS: Final = 30.0
_log = logging.getLogger("riverrun.events")


class Emitter:
    """A queue of events and the thread that sends them, begun by the first event."""

    def __init__(self, api_url: str | None = None) -> None:
        self._api_url = api_url
        self._begin_empty()

    def _begin_empty(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._closing = False

    def emit(self, event: Event) -> None:
        """Have the event sent; never blocks and never fails for the sake of the connection."""
        document = encode(event)
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(document)
            if self._thread is None or not self._thread.is_alive():
                self._closing = False
                self._thread = threading.Thread(target=self._run, name="riverrun-events", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float = EXIT_SECONDS) -> bool:
        """Wait until the server has everything; false if it has not after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, seconds)

    def close(self, seconds: float = EXIT_SECONDS) -> bool:
        """Send what waits and end the thread; false, and a warning, if not all could be sent in time."""
        deadline = monotonic() + seconds
        done = self.flush(seconds) if self._thread is not None else True
        with self._changed:
            self._closing = True
            left = len(self._waiting) + self._dropped
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(max(deadline - monotonic(), 0.5) if done else 0.1)
        if left:
            _log.warning("%d events could not be sent: no server took them in time.", left)
        return done

    # -- in the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        from websockets.exceptions import WebSocketException

        failed = 0
        while self._await_work(None):
            try:
                url = socket_url(self._api_url or ensure_api_url(), "/events/in")
                self._converse(url)
                failed = 0
            except (OSError, WebSocketException, RiverrunError) as error:
                problem = error if isinstance(error, RiverrunError) else connection_problem(error, url)
                if self._closing:
                    return
                failed += 1
                if failed == 3:  # a server that is started anew is back before that
                    _log.warning("Events cannot be sent now (%s); they wait.", problem or error)
                self._pause(min(0.1 * 2.0**failed, 10.0))

    def _converse(self, url: str) -> None:
        """One connection: send and confirm until there is nothing to send for a while."""
        from websockets.sync.client import connect

        with connect(url, **options()) as connection:
            connection.send(auth_message())
            check_auth(connection.recv(timeout=10))
            while self._await_work(_IDLE_SECONDS):
                self._send_batch(connection)

    def _send_batch(self, connection: "ClientConnection") -> None:
        with self._changed:
            batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            dropped = self._dropped
        for document in batch:
            connection.send(document.decode())
        if not connection.ping().wait(30):
            raise TimeoutError("the server does not confirm")
        with self._changed:
            # What was dropped meanwhile to make room was at the front, too.
            for _ in range(min(len(batch) - (self._dropped - dropped), len(self._waiting))):
                self._waiting.popleft()
            self._changed.notify_all()

    def _await_work(self, seconds: float | None) -> bool:
        """Wait for an event; false when none came in time, or when all is done and the thread shall end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing, seconds)
            return bool(self._waiting)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)


_emitter = Emitter()


def emit(event: Event) -> None:
    """Have an event sent by this process's emitter."""
    _emitter.emit(event)


def flush(seconds: float = EXIT_SECONDS) -> bool:
    """Wait until the server has all events of this process; false if it has not after `seconds`."""
    return _emitter.flush(seconds)


@atexit.register
def _at_exit() -> None:
    _emitter.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_emitter._begin_empty)
