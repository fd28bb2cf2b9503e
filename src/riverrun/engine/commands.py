"""What the server may ask of a flow run that goes on in this process: to end as cancelled, or to stop without a word.

`client.presence` hears it in a thread of its own and calls the `Handle` of the run. The user's code is interrupted where it
stands, by the ways that signals and deadlines take: a signal for the main thread, an asynchronous exception for others, a
cancellation for coroutines. What strikes becomes the outcome of an effect, and the run's life comes here to ask how it ends.
"""

import sys
import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

from riverrun.base import interrupts
from riverrun.base.errors import CancellationSignal
from riverrun.client import presence
from riverrun.engine.drive import drive
from riverrun.states import Cancelled, State, exception_to_crashed_state_sync

if TYPE_CHECKING:
    from riverrun.engine.flow_run import FlowRunLife

#: flow runs here that are to end as cancelled, and that somebody else has claimed
cancelled: set[UUID] = set()
fenced: set[UUID] = set()
#: flow runs here that were suspended from outside, and those that are about to suspend themselves
suspended: set[UUID] = set()
suspending: set[UUID] = set()

MESSAGE = "The run was cancelled on request."


class Handle:
    """How a flow run that goes on here is interrupted."""

    __slots__ = ("_aimed", "_ident", "_life", "_loop", "_task")

    def __init__(self, life: "FlowRunLife") -> None:
        self._life = life
        self._ident = threading.get_ident()
        self._aimed = False
        self._task: Any = None
        self._loop: Any = None
        if life.flow.isasync and "asyncio" in sys.modules:
            import asyncio

            self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()

    def cancel(self) -> None:
        cancelled.add(self._life.run.id)
        self._strike()

    def fence(self) -> None:
        fenced.add(self._life.run.id)
        self._strike()

    def suspend(self) -> None:
        if self._life.run.id not in suspending:
            suspended.add(self._life.run.id)
            self._strike()

    def _strike(self) -> None:
        """Interrupt the user's code; nothing if the run has been struck and is about to end."""
        life = self._life
        if life.struck:
            return
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        elif self._ident == interrupts.main_thread_id() and interrupts.strike_main(CancellationSignal(life.run.id)):
            pass
        else:
            from riverrun.engine.thread_calls import strike_thread

            self._aimed = strike_thread(self._ident, CancellationSignal, drive.__code__) or self._aimed

    def landed(self) -> None:
        """The strike has become the run's outcome."""
        if self._task is not None and hasattr(self._task, "uncancel"):
            self._task.uncancel()

    def release(self) -> None:
        """The run is over: nothing may strike its thread any more."""
        run_id = self._life.run.id
        presence.leave(run_id)
        cancelled.discard(run_id)
        fenced.discard(run_id)
        suspended.discard(run_id)
        suspending.discard(run_id)
        if self._aimed:
            from riverrun.engine.thread_calls import take_strike_back

            take_strike_back(self._ident)


def take(life: "FlowRunLife") -> Handle:
    """Be at the server's command from now on."""
    handle = Handle(life)
    presence.enter(life.run.id, handle)
    return handle


def end_state(error: BaseException, *run_ids: UUID | None) -> State[Any]:
    """The final state of a run, or of a run inside the runs named, that `error` has struck from outside of its code."""
    if isinstance(error, CancellationSignal) or not cancelled.isdisjoint(run_ids):
        return Cancelled(message=MESSAGE)
    return exception_to_crashed_state_sync(error)
