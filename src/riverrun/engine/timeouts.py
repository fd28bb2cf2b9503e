"""Deadlines for user code, and the truth about code that cannot be stopped (docs/timeouts.md).

In the main thread a deadline is an alarm signal. Elsewhere, and where the user owns SIGALRM, the code runs in a thread of
its own; at the deadline an exception is sent there and, if that does not help, the thread is abandoned: the caller goes on
and the call is listed until it ends. Coroutines are cancelled. What strikes is a BaseException of our own, so user code that
handles `Exception` or `TimeoutError` does not swallow it; callers of this module only see `DeadlineExceeded`.
"""

import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from riverrun.base.interrupts import gate, in_main_thread, take_pending
from riverrun.engine.thread_calls import (
    LONGEST,
    AbandonedCall,
    DeadlineExceeded,
    DeadlineSignal,
    abandoned,
    call_in_thread,
)

__all__ = [
    "AbandonedCall",
    "DeadlineExceeded",
    "DeadlineSignal",
    "abandoned",
    "acall_with_timeout",
    "call_with_timeout",
]

#: seconds after which a coroutine that goes on after its cancellation is reported
STUBBORN_SECONDS = 1.0


def call_with_timeout(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], seconds: float, name: str | None = None
) -> Any:
    """`fn(*args, **kwargs)`, or DeadlineExceeded when it has not ended after `seconds` (0: it is not even begun).

    A call that swallows what strikes it and returns late counts as timed out too. Outside the main thread `fn` runs in
    another thread, in a copy of the context; its permit goes with it and comes back.
    """
    name = name or getattr(fn, "__qualname__", None) or repr(fn)
    if seconds <= 0:
        raise DeadlineExceeded(name, seconds)
    if not in_main_thread():
        return call_in_thread(fn, args, kwargs, seconds, name, main=False)
    before = gate.open
    gate.open = False
    try:
        if _may_use_alarm():
            value = _call_under_alarm(fn, args, kwargs, seconds, name)
        else:
            value = call_in_thread(fn, args, kwargs, seconds, name, main=True)
    finally:
        gate.open = before
        if before and gate.pending is not None:  # it came while the gate was closed in here
            raise take_pending()
    return value


async def acall_with_timeout(
    fn: Callable[..., Awaitable[Any]],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    seconds: float,
    name: str | None = None,
) -> Any:
    """`await fn(*args, **kwargs)`, cancelled after `seconds` with DeadlineExceeded (0: it is not even begun).

    TimeoutErrors and cancellations that are not this deadline's pass unchanged. A coroutine that does not end when it is
    cancelled is reported and still waited for.
    """
    import asyncio

    name = name or getattr(fn, "__qualname__", None) or repr(fn)
    if seconds <= 0:
        raise DeadlineExceeded(name, seconds)
    loop = asyncio.get_running_loop()
    end = loop.time() + min(seconds, LONGEST)
    reminder = loop.call_at(end + STUBBORN_SECONDS, _report_stubborn, name, seconds)
    scope = asyncio.timeout_at(end)
    try:
        async with scope:
            value = await fn(*args, **kwargs)
    except asyncio.CancelledError:
        raise  # somebody else's: ours has become a TimeoutError
    except Exception as error:
        if scope.expired() or loop.time() >= end:
            raise DeadlineExceeded(name, seconds) from (None if isinstance(error, TimeoutError) else error)
        raise
    finally:
        reminder.cancel()
    if scope.expired() or loop.time() >= end:
        raise DeadlineExceeded(name, seconds)
    return value


def _report_stubborn(name: str, seconds: float) -> None:
    import logging

    logging.getLogger("riverrun.timeouts").warning(
        "%s was cancelled at its timeout of %g second(s) but goes on: it swallows CancelledError or shields its work.",
        name,
        seconds,
    )


# -- the main thread: one timer, one alarm ----------------------------------------------------------------------------


class _Deadline:
    __slots__ = ("at", "struck")

    def __init__(self, at: float) -> None:
        self.at = at
        self.struck = False


#: deadlines of the main thread, outermost first; the timer is set to the earliest that has not struck
_deadlines: list[_Deadline] = []
_handler_before: Any = None


def _may_use_alarm() -> bool:
    if not hasattr(signal, "setitimer"):  # Windows
        return False
    handler = signal.getsignal(signal.SIGALRM)
    if handler is _on_alarm:
        return True
    return handler in {signal.SIG_DFL, signal.SIG_IGN} and signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def _call_under_alarm(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], seconds: float, name: str
) -> Any:
    """The gate is closed on entry and on exit; it is open while `fn` runs."""
    global _handler_before
    deadline = _Deadline(time.monotonic() + min(seconds, LONGEST))
    value: Any = None
    failure: BaseException | None = None
    if not _deadlines:
        _handler_before = signal.signal(signal.SIGALRM, _on_alarm)
    _deadlines.append(deadline)
    _arm()
    try:
        try:
            gate.open = True
            if gate.pending is not None:
                raise take_pending()
            value = fn(*args, **kwargs)
        finally:
            gate.open = False
    except BaseException as error:  # noqa: BLE001 - sorted out below, when the timer is clean
        gate.open = False
        failure = error
    late = deadline.struck or time.monotonic() >= deadline.at
    _leave(deadline)
    if isinstance(failure, DeadlineSignal) and failure.deadline is not deadline:
        raise failure  # an outer deadline passed; it unwinds this call too
    if late:
        raise DeadlineExceeded(name, seconds) from (None if isinstance(failure, DeadlineSignal) else failure)
    if failure is not None:
        raise failure
    return value


def _leave(deadline: _Deadline) -> None:
    if deadline in _deadlines:
        _deadlines.remove(deadline)
    ours = signal.getsignal(signal.SIGALRM) is _on_alarm
    if ours:  # otherwise the user took the signal over, and the timer with it
        _arm()
        if not _deadlines:
            signal.signal(signal.SIGALRM, _handler_before if _handler_before is not None else signal.SIG_DFL)
    if isinstance(gate.pending, DeadlineSignal) and gate.pending.deadline is deadline:
        gate.pending = None


def _arm() -> None:
    earliest = min((deadline.at for deadline in _deadlines if not deadline.struck), default=None)
    signal.setitimer(signal.ITIMER_REAL, 0.0 if earliest is None else max(earliest - time.monotonic(), 0.000_001))


def _on_alarm(_signum: int, _frame: object) -> None:
    now = time.monotonic()
    due = next((deadline for deadline in _deadlines if not deadline.struck and deadline.at <= now), None)
    if due is not None:
        due.struck = True
    _arm()
    if due is None:
        return
    strike = DeadlineSignal(due)
    if gate.open:
        raise strike
    # Not `interrupts.strike`: that may cancel an outer async run, and this deadline is only of what it calls.
    if gate.pending is None:
        gate.pending = strike


def _forget_deadlines() -> None:
    """A forked child inherits no timer."""
    _deadlines.clear()


os.register_at_fork(after_in_child=_forget_deadlines)
