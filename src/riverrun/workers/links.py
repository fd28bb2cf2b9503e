"""How a worker talks with the server: long polls in threads of their own, and reports that are repeated until they arrive."""

import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from riverrun.base.errors import RiverrunError, UnavailableError
from riverrun.client.call import Call
from riverrun.client.http import send
from riverrun.client.journal import shipping
from riverrun.client.journal.line import Line, LineError, Target
from riverrun.logging import get_logger

T = TypeVar("T")

_LONGEST_PAUSE: Final = 5.0
#: more than the longest poll
_PATIENCE: Final = 45.0
_importing = threading.Lock()


class Refused(RiverrunError):
    """The server is there and says no."""

    code = "refused"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"The server answered {status}: {detail}")
        self.status = status


def target() -> Target:
    """Which server. Raises UnavailableError where none runs: a worker waits for its server and starts none in its place."""
    found = shipping.target()
    if found is None:
        raise UnavailableError(
            "There is no server now. Start it with `riverrun server start`, or set RIVERRUN_API_URL."
        )
    return found


def send_there(call: Call[T]) -> T:
    """Send a call to the server that runs. Raises UnavailableError and what the answer says."""
    return send(call, base_url=target().url)


class Link:
    """Requests of one thread, over one connection."""

    def __init__(self) -> None:
        self._line = Line(lambda: _importing)
        self._target: Target | None = None

    def post(self, path: str, body: Any, returns: Any) -> Any:
        """The answer. Raises LineError where the server cannot be reached, Refused where it says no."""
        self._target = self._target or target()
        data = msgspec.json.encode(body)
        try:
            status, answer = self._line.post(self._target, path, data, "application/json", _PATIENCE)
        except LineError:
            self._target = None  # this machine's server may have come back under another address
            raise
        if status in (408, 429, 500, 502, 503, 504):
            raise LineError(f"{status} {answer[:200].decode(errors='replace')}")
        if status >= 400:
            raise Refused(status, _detail(answer))
        if not answer:
            answer = b"null"
        try:
            return msgspec.json.decode(answer, type=returns, strict=False)
        except msgspec.MsgspecError as error:
            raise LineError(f"not an answer of a riverrun server: {error}") from error

    def cut(self) -> None:
        """End a request that waits, from another thread."""
        self._line.cut()

    def close(self) -> None:
        self._line.close()


def ask_until_answered(call: Call[T]) -> T:
    """Send a call that may be repeated, as often as it takes: whoever has claimed a run does not give up for want of a server."""
    link, failures = Link(), 0
    try:
        while True:
            try:
                answer: T = link.post(call.path, call.body, call.returns)
                return answer
            except (LineError, UnavailableError):
                failures += 1
                time.sleep(random.uniform(0.05, min(_LONGEST_PAUSE, 0.1 * 2.0 ** min(failures, 10))))  # noqa: S311 - spreads
    finally:
        link.close()


def _detail(answer: bytes) -> str:
    try:
        document = msgspec.json.decode(answer)
    except msgspec.MsgspecError:
        return answer[:500].decode(errors="replace")
    detail = document.get("detail", document) if isinstance(document, dict) else document
    return detail if isinstance(detail, str) else msgspec.json.encode(detail).decode()[:1000]


class Poll(threading.Thread):
    """Asks again and again until it is stopped; waits longer after each failure.

    `ask` is called with the link and says whether it may be called again at once. `on_refusal` hears what the server does
    not want to answer; it is asked again all the same.
    """

    def __init__(
        self, name: str, ask: Callable[[Link], bool], on_refusal: Callable[[Refused], object] = lambda _: None
    ) -> None:
        super().__init__(name=f"riverrun-{name}", daemon=True)
        self._ask = ask
        self._on_refusal = on_refusal
        self._link = Link()
        self._stopping = threading.Event()
        self._nudged = False
        self._logger = get_logger("workers")
        self.what = name
        #: when the server last answered (monotonic), and since when it has not; None: it does
        self.last_ok: float | None = None
        self.failing_since: float | None = None

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def run(self) -> None:
        failures = 0
        while not self.stopping:
            try:
                at_once = self._ask(self._link)
                failures, self.failing_since, self.last_ok = 0, None, time.monotonic()
                self._nudged = False
                if not at_once:
                    self._stopping.wait(0.2)
                continue
            except Refused as refused:
                self._note_failure(refused, failures)
                self._on_refusal(refused)
            except (LineError, RiverrunError, OSError, ValueError) as error:
                if self._nudged:
                    self._nudged = False
                    continue
                if not self.stopping:
                    self._note_failure(error, failures)
            except Exception as error:  # edge of the thread: a worker goes on whatever happened once
                self._note_failure(error, failures)
                self._logger.exception("The %s failed.", self.what)
            failures += 1
            longest = min(_LONGEST_PAUSE, 0.1 * 2.0 ** min(failures, 10))
            self._stopping.wait(random.uniform(0.05, longest))  # noqa: S311 - spreads, guards nothing
        self._link.close()

    def _note_failure(self, error: Exception, failures: int) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
        if failures in (2, 20):
            self._logger.warning("The %s does not get through: %s", self.what, error)

    def nudge(self) -> None:
        """Ask anew at once: what is asked has changed."""
        self._nudged = True
        self._link.cut()

    def stop(self, timeout: float = 1.0) -> None:
        """End it, also in the middle of a request."""
        self._stopping.set()
        self._link.cut()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout)


def host() -> str:
    return socket.gethostname()
