"""The presence of this process at the server: keeps the leases of its runs and hears what is asked of them.

A long poll from a thread of its own, begun for runs that take longer than a moment. `cancelling` runs are cancelled here, runs
that somebody else has claimed (`fenced`) are stopped and say nothing more. Who runs them registers by `enter`.
"""

import random
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from riverrun.client.journal.line import Line
    from riverrun.client.journal.shipper import Shipper

#: seconds that the server may wait with its answer; a third of the lease
WAIT: Final = 10.0
#: a run that goes on though it was told to end is told again
TELL_AGAIN: Final = 1.0


class Run(Protocol):
    """A flow run that goes on in this process. Called from threads of ours; must not wait."""

    def cancel(self) -> object:
        """End as Cancelled. Called again while the run goes on."""

    def fence(self) -> object:
        """End without a word: somebody else runs it now."""


runs: dict[UUID, Run] = {}
_shipper: "Shipper | None" = None
_presence: "_Presence | None" = None


def enter(run_id: UUID, run: Run) -> None:
    runs[run_id] = run
    if _shipper is not None:
        _shipper.look_up()  # nothing may be written by a run that was claimed, and then nothing wakes it


def leave(run_id: UUID) -> None:
    runs.pop(run_id, None)


def follow(shipper: "Shipper") -> None:
    """Be present for the writer of this shipper from now on."""
    global _shipper
    _shipper = shipper


def begin() -> None:
    """Have the thread run while there are runs. Called from the shipper's thread when it has nothing to do."""
    global _presence
    if not runs or _shipper is None or (_presence is not None and _presence.is_alive()):
        return
    _presence = _Presence(_shipper)
    try:
        _presence.start()
    except RuntimeError:  # no more threads, or the interpreter is ending
        _presence = None


def obey(cancelling: list[UUID], fenced: list[UUID], suspended: list[UUID] = []) -> bool:  # noqa: B006 - read only
    """Pass on what the server asks for; whether it asks anything of runs that go on here."""
    here = False
    for ids, what in ((fenced, "fence"), (suspended, "suspend"), (cancelling, "cancel")):
        for run_id in ids:
            run = runs.get(run_id)
            if run is not None:
                here = True
                getattr(run, what)()
    return here


class _Presence(threading.Thread):
    def __init__(self, shipper: "Shipper") -> None:
        super().__init__(name="riverrun-presence", daemon=True)
        self._shipper = shipper
        self._line: Line | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        from riverrun.client.journal.line import Line

        self._line = Line(threading.Lock)
        failures = 0
        while runs and self._shipper is _shipper and not self._stopped.is_set():
            told = self._ask()
            failures = 0 if told is not None else failures + 1
            if told:
                self._stopped.wait(TELL_AGAIN)
            elif told is None:
                longest = min(5.0, 0.1 * 2 ** min(failures, 10))
                self._stopped.wait(random.uniform(0.05, longest))  # noqa: S311 - spreads, guards nothing
        self._line.close()

    def _ask(self) -> bool | None:
        """One poll: whether something was asked of runs here; None if the server did not answer as it should."""
        from riverrun.client.journal.line import LineError
        from riverrun.wire.presence import Presence, PresenceBody

        line, shipper = self._line, self._shipper
        assert line is not None
        body = msgspec.json.encode(PresenceBody(writer=UUID(bytes=shipper.journal.writer), wait=WAIT))
        began = time.monotonic()
        try:
            status, answer = line.post(shipper.target, "/presence", body, "application/json", WAIT + 20)
            if status != 200:
                return None
            said = msgspec.json.decode(answer, type=Presence)
        except (LineError, msgspec.MsgspecError):
            return None
        if obey(said.cancelling, said.fenced, said.suspended):
            return True
        # an answer at once that is of no use to us must not make us ask without end
        if time.monotonic() - began < 0.2:
            self._stopped.wait(0.5)
        return False

    def stop(self) -> None:
        self._stopped.set()
        if self._line is not None:
            self._line.cut()
        self.join(0.2)


def before_fork() -> None:
    """End the thread; the shipper's next idle moment begins it again."""
    global _presence
    presence, _presence = _presence, None
    if presence is not None and presence.is_alive():
        presence.stop()


def after_fork_in_child() -> None:
    global _presence, _shipper
    _presence = _shipper = None
    runs.clear()
