"""Calls with a deadline in a thread of their own: the way where no alarm can be used.

At the deadline an exception is sent to the thread while it stands in user code (never in riverrun's own: a journal or a
state must not be torn). If that does not end the call within a short grace it is abandoned: its caller goes on, and it is
listed until it ends. Permits go with the call and come back to the caller.
"""

import os
import sys
import threading
import time
from _thread import LockType, allocate_lock
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from types import CodeType
from typing import Any, NamedTuple

from riverrun.base.interrupts import gate, take_pending
from riverrun.base.pool import (
    Permit,
    WorkerPool,
    adopt,
    current_permit,
    is_at_user_code,
    successor,
    take,
    whereabouts,
)

#: seconds that a struck call has to end before it is abandoned
GRACE_SECONDS = 0.05
#: seconds between attempts to strike an abandoned call that stands in riverrun's own code
_RETRY_SECONDS = 0.02
#: ten years: what timers and locks accept on every platform
LONGEST = 3e8


class DeadlineExceeded(TimeoutError):
    """A call did not end within `deadline` seconds.

    `abandoned` tells that it could not be stopped and still ran when this was raised; `where` is then the place. `wait`
    and `still_runs` follow such a call.
    """

    def __init__(self, name: str, deadline: float, where: str | None = None, call: "_Call | None" = None) -> None:
        text = f"{name} timed out after {deadline:g} second(s)"
        if where is not None:
            text = f"{text}; it could not be interrupted and still runs at {where}"
        super().__init__(text)
        self.name = name
        self.deadline = deadline
        self.where = where
        self._call = call

    @property
    def abandoned(self) -> bool:
        return self.where is not None

    def still_runs(self) -> bool:
        """Whether the abandoned call is running at this moment."""
        return self._call is not None and not self._call.over

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the abandoned call to end; False when it has not by then."""
        return self._call is None or self._call.ended.wait(timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.deadline, self.where)


class DeadlineSignal(BaseException):
    """What strikes user code at its deadline; `deadline` is the one that passed."""

    def __init__(self, deadline: object = None) -> None:
        super().__init__("the deadline of this call passed")
        self.deadline = deadline


class AbandonedCall(NamedTuple):
    """A call that went on after its deadline; `since` is on the monotonic clock."""

    name: str
    where: str
    since: float


def abandoned() -> list[AbandonedCall]:
    """The calls of this process that run on after their deadline, oldest first."""
    return [
        AbandonedCall(call.name, whereabouts(call.ident) or "unknown", call.abandoned_at)
        for call in sorted(_abandoned, key=lambda call: call.abandoned_at)
        if not call.over
    ]


class _Seat:
    """The permit of a chain of calls that wait for each other; whichever of them runs acts for it."""

    __slots__ = ("permit",)

    def __init__(self, permit: Permit) -> None:
        self.permit = permit


#: guards the links between calls (`outer`, `inner`) and who sits on which seat
_chains = allocate_lock()


class _Call:
    """One call in a thread of its own. `guard` orders "it begins", "it ends" and "strike it"."""

    def __init__(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> None:
        self.name = name
        self.abandoned_at = 0.0
        self.ident: int | None = None
        self.over = False
        self.ended_at = 0.0
        self.ended = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self.struck = False
        #: an outer call's deadline passed: the waiter has to give up
        self.called_off = False
        self.guard = allocate_lock()
        self.wake: LockType = allocate_lock()
        self.wake.acquire()
        self._what: list[tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]] = [(fn, args, kwargs)]
        self._context = copy_context()
        #: the call whose code made this one, and the one that this call's own code waits for
        self.outer = outer = _local.call
        self.inner: _Call | None = None
        self.seat: _Seat | None = None
        with _chains:
            if outer is not None:
                self.seat = outer.seat
                outer.inner = self
            else:
                permit = current_permit()
                if permit is not None:
                    self.seat = _Seat(permit)

    def __call__(self) -> None:
        """Run in the thread of a pool; whatever strikes it, late or early, stays in here."""
        own = current_permit()
        try:
            with self.guard:
                begins = not self.abandoned_at
                self.ident = threading.get_ident()
            with _chains:
                adopt(None if self.seat is None else self.seat.permit)
            _local.call = self
            if begins:  # else it was given up before its thread came to it
                fn, args, kwargs = self._what.pop()
                try:
                    self.value = self._context.run(fn, *args, **kwargs)
                except BaseException as error:  # noqa: BLE001 - outcomes are values
                    self.error = error
            self._end()
        except BaseException as error:  # noqa: BLE001 - the one strike of this call hit between the lines above
            self.error = self.error or error
            self._end()
        finally:
            _local.call = None
            adopt(own)

    def _end(self) -> None:
        self.ended_at = time.monotonic()
        with self.guard:
            self.over = True
            struck = self.struck
            if self.wake.locked():
                self.wake.release()
        _abandoned.discard(self)
        self.ended.set()
        if struck and self.ident is not None:
            _aimed(self.ident, None)()  # a strike that is still on its way must not hit the thread's next call

    def strike(self) -> bool:
        """Send the exception, or call off what the call waits for; False while it is in riverrun's own code."""
        with self.guard:
            if self.over or self.struck:
                return True
            inner = self.inner
            if inner is not None:
                with inner.guard:
                    inner.called_off = True
                    if inner.wake.locked():
                        inner.wake.release()
                return True
            if self.ident is None:
                return False
            send = _aimed(self.ident, DeadlineSignal)
            self.struck = is_at_user_code(self.ident, _Call.__call__.__code__) and bool(send())
            return self.struck

    def leave(self) -> None:
        """The waiter goes on: with the seat's permit, or with a new one if this call goes on without it."""
        outer = self.outer
        if outer is not None:
            with outer.guard:  # from here on nobody calls this call off
                outer.inner = None
        fresh = None
        with _chains:
            seat = self.seat if outer is None else outer.seat  # none if the waiter was given up itself
            if self.abandoned_at:
                call: _Call | None = self
                while call is not None:  # whatever still runs below has no seat any more
                    call.seat = None
                    call = call.inner
                if seat is not None:
                    fresh = seat.permit = successor(seat.permit)
            adopt(None if seat is None else seat.permit)
        if fresh is not None:
            take(fresh)


class _Local(threading.local):
    call: _Call | None = None


_local = _Local()
_threads = WorkerPool(None, "riverrun-timeout")
_abandoned: set[_Call] = set()
_unstruck: list[_Call] = []
_striker_lock = allocate_lock()


def call_in_thread(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], seconds: float, name: str, *, main: bool
) -> Any:
    """`fn(*args, **kwargs)` in another thread; see `timeouts.call_with_timeout`. `main`: it is the main one that waits."""
    call = _Call(fn, args, kwargs, name)
    end = time.monotonic() + seconds
    try:
        _threads.submit(call)
        cause = _wait(call, seconds, main=main)
        in_time = call.over and call.ended_at < end and cause is None
        if not call.over:
            _stop(call)
    finally:
        call.leave()
    if cause is not None:
        raise cause
    if call.called_off:
        raise DeadlineSignal(call.outer)
    if in_time:
        if call.error is not None:
            raise call.error
        return call.value
    failure = None if isinstance(call.error, DeadlineSignal) else call.error
    where = (whereabouts(call.ident) or "unknown") if call.abandoned_at else None
    raise DeadlineExceeded(name, seconds, where, call if call.abandoned_at else None) from failure


def _wait(call: _Call, seconds: float, *, main: bool) -> BaseException | None:
    """Wait for the end of the call, its deadline or that of an outer one; gives what struck the waiting thread itself."""
    try:
        try:
            if main:
                gate.open = True
                if gate.pending is not None:
                    raise take_pending()
            call.wake.acquire(timeout=min(seconds, LONGEST))
        finally:
            if main:
                gate.open = False
    except BaseException as error:  # noqa: BLE001 - a signal; raised again when the call is stopped
        if main:
            gate.open = False
        return error
    return None


def _stop(call: _Call) -> None:
    """Strike a call and give it the grace to end, else abandon it."""
    # A call that was called off is inside another that is being stopped too: its grace is part of that one's.
    import ctypes  # noqa: F401 - so that little time passes between looking and striking

    end = time.monotonic() + (GRACE_SECONDS / 2 if call.called_off else GRACE_SECONDS)
    struck = call.strike()
    while not call.over and (left := end - time.monotonic()) > 0:
        call.ended.wait(left if struck else min(left, 0.002))
        struck = struck or call.strike()
    with call.guard:
        if call.over:
            return
        call.abandoned_at = time.monotonic()
        _abandoned.add(call)
    if not struck:
        _strike_later(call)


def _strike_later(call: _Call) -> None:
    """Have a call struck as soon as it comes back from riverrun's code to the user's."""
    with _striker_lock:
        _unstruck.append(call)
        if len(_unstruck) > 1:
            return
    threading.Thread(target=_keep_striking, name="riverrun-timeout-striker", daemon=True).start()


def _keep_striking() -> None:
    while True:
        with _striker_lock:
            _unstruck[:] = [call for call in _unstruck if not call.strike()]
            if not _unstruck:
                return
        time.sleep(_RETRY_SECONDS)


def strike_thread(ident: int, kind: type[BaseException], caller: CodeType) -> bool:
    """Raise `kind` in another thread if it stands in user code that `caller` called; False if it does not just now."""
    send = _aimed(ident, kind)
    return is_at_user_code(ident, caller) and bool(send())


def take_strike_back(ident: int) -> None:
    """Let a strike at this thread that has not hit yet never hit."""
    if sys.modules.get("ctypes") is not None:  # else nobody has ever struck
        _aimed(ident, None)()


def _aimed(ident: int, kind: type[BaseException] | None) -> Callable[[], int]:
    """What raises `kind` in a thread at its next bytecode (None: takes back what has not been raised yet) when called.

    Made before the thread is looked at, so that next to nothing lies between the look and the strike: a thread that starts
    another just then passes the strike on to it (CPython lends a new thread the identity of its maker for a moment).
    """
    import ctypes

    return partial(
        ctypes.pythonapi.PyThreadState_SetAsyncExc,
        ctypes.c_ulong(ident),
        None if kind is None else ctypes.py_object(kind),
    )


def _forget_calls() -> None:
    """In a forked child none of the calls exists."""
    global _striker_lock, _chains
    _striker_lock, _chains = allocate_lock(), allocate_lock()
    _abandoned.clear()
    _unstruck.clear()


os.register_at_fork(after_in_child=_forget_calls)
