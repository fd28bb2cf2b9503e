"""Where signals may strike: only while user code runs or the engine waits.

A signal handler that raises wherever the interpreter happens to be leaves runs without an end state (measured: 5 % of random
interruptions). So the handlers installed here ask the gate of the main thread: open (a driver is performing user code or a
wait) and the exception is raised there; closed (engine code) and it is kept until the gate opens next.

An event loop must not be struck inside its own machinery either: while async drivers own the main thread the handler
cancels the asyncio tasks of the outermost runs instead, and the driver turns that cancellation back into the signal.
"""

import os
import signal
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from riverrun.base.errors import CancellationSignal, TerminationSignal

if TYPE_CHECKING:
    import asyncio

#: A person who asks again after so many seconds is not kept waiting: the exception is raised wherever the thread is.
_PATIENCE_SECONDS = 1.0


class Gate:
    """State of the main thread. Only the main thread (and its signal handlers) writes it."""

    __slots__ = (
        "asynchronous",
        "before_tasks",
        "delivered",
        "depth",
        "int_before",
        "open",
        "order",
        "pending",
        "since",
        "struck",
        "tasks",
        "term_before",
    )

    def __init__(self) -> None:
        #: True while the main thread performs user code or waits
        self.open = False
        #: an exception to raise at the next opening, and when it came
        self.pending: BaseException | None = None
        self.since = 0.0
        #: the signal's exception that cancellations of `tasks` stand for
        self.struck: BaseException | None = None
        #: whether one of those cancellations has arrived
        self.delivered = False
        #: what the next SIGTERM stands for, if this process sent it to itself
        self.order: BaseException | None = None
        #: how many guards are active: one, or several async runs beside each other
        self.depth = 0
        #: whether the guard that owns the handlers is an async run's
        self.asynchronous = False
        #: the asyncio tasks of the outermost async runs in the main thread, with their loops
        self.tasks: dict[asyncio.Task[Any], asyncio.AbstractEventLoop] = {}
        #: whether the gate was open when the first of `tasks` came
        self.before_tasks = False
        #: the handlers that ours stand in for; None: not replaced
        self.int_before: Any = None
        self.term_before: Any = None


gate = Gate()


def strike(error: BaseException) -> None:
    """Raise `error` here if the gate is open, else keep it for the next opening. Call from a signal handler."""
    if gate.open:
        raise error
    waiting = gate.pending or gate.struck
    if waiting is None:
        gate.since = monotonic()
    elif monotonic() - gate.since > _PATIENCE_SECONDS:
        raise error
    if gate.tasks:
        gate.struck, gate.delivered = error, False
        for task, loop in list(gate.tasks.items()):
            loop.call_soon_threadsafe(task.cancel)
    else:
        gate.pending = error


def strike_main(error: BaseException) -> bool:
    """Have `strike` called in the main thread, from another one; False if no run there owns the signals."""
    if not gate.depth or signal.getsignal(signal.SIGTERM) is not _on_sigterm:
        return False
    gate.order = error
    # a real signal, for it also ends a wait in a system call
    signal.pthread_kill(_main_thread_id or 0, signal.SIGTERM)
    return True


class closed:  # noqa: N801 - used like a function
    """Engine code that user code calls: no signal strikes it before its end, but for what it does by `call`."""

    __slots__ = ("_before",)

    def __enter__(self) -> Self:
        self._before = gate.open and in_main_thread()
        if self._before:
            gate.open = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            gate.open = True
            if error is None and gate.pending is not None:
                raise take_pending()

    def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run the user's code, or wait: a signal may strike meanwhile."""
        if not self._before:
            return fn(*args)
        gate.open = True
        try:
            if gate.pending is not None:
                raise take_pending()
            return fn(*args)
        finally:
            gate.open = False


def meant_by(cancellation: BaseException) -> BaseException:
    """The signal that a cancellation of an async run stands for, or else the cancellation."""
    if gate.struck is None:
        return cancellation
    gate.delivered = True
    return gate.struck


def take_pending() -> BaseException:
    """The kept exception; it is handed over once. Call only while one is pending."""
    error, gate.pending = gate.pending, None
    assert error is not None
    return error


_main_thread_id = threading.main_thread().ident

#: this process; a forked child has another one, so that runs know whether they began here
process = object()


def main_thread_id() -> int | None:
    """The thread that Python's signal handlers run in."""
    return _main_thread_id


def in_main_thread() -> bool:
    return threading.get_ident() == _main_thread_id


def _forget_parent() -> None:
    """In a forked child the forking thread is the main thread, and no run of the parent's is on its way here."""
    global _main_thread_id, process
    process = object()
    _main_thread_id = threading.get_ident()
    gate.pending = gate.struck = gate.order = None


os.register_at_fork(after_in_child=_forget_parent)


def _on_sigterm(signum: int, frame: object) -> None:
    order, gate.order = gate.order, None
    if order is not None:
        if gate.depth:  # else the run that was meant has ended
            strike(order)
    elif not gate.depth:
        _pass_on(signum, frame)
    else:
        strike(TerminationSignal(signal.SIGTERM))


def _on_sigint(signum: int, frame: object) -> None:
    if not gate.depth:
        _pass_on(signum, frame)
    else:
        strike(KeyboardInterrupt())


def _pass_on(signum: int, frame: object) -> None:
    """A signal between the installing of our handlers and the run, or after it: it is not ours."""
    before = gate.int_before if signum == signal.SIGINT else gate.term_before
    _restore()
    if callable(before):
        before(signum, frame)
    elif before != signal.SIG_IGN:
        signal.raise_signal(signum)


def _install(*, asynchronous: bool) -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and not asynchronous:
        gate.int_before = signal.default_int_handler
        signal.signal(signal.SIGINT, _on_sigint)
    before = signal.getsignal(signal.SIGTERM)
    if before is not None and before is not _on_sigterm:
        gate.term_before = before
        signal.signal(signal.SIGTERM, _on_sigterm)


def _restore() -> None:
    """Give the handlers back; a handler that somebody else installed meanwhile stays."""
    # SIGINT last: the handler that it goes back to raises at once, ours comes here again first
    try:
        if signal.getsignal(signal.SIGTERM) is _on_sigterm:
            signal.signal(signal.SIGTERM, gate.term_before)
    finally:
        if signal.getsignal(signal.SIGINT) is _on_sigint:
            signal.signal(signal.SIGINT, gate.int_before)


class guard:  # noqa: N801 - used like a function
    """Own SIGTERM and SIGINT for the time of an outermost run in the main thread; elsewhere do nothing.

    A handler that the user installed for SIGINT is left alone (so is asyncio's own, which cancels the main task). After
    the run a SIGTERM that struck it is handed on to whoever handled it before: by default the process then dies of it.
    """

    __slots__ = ("_active", "_asynchronous")

    def __init__(self, *, asynchronous: bool = False) -> None:
        self._asynchronous = asynchronous
        self._active = False

    def __enter__(self) -> None:
        if not in_main_thread():
            return
        if gate.depth:
            # A run inside another ends before it and need not count; counting would not be safe where the gate is open.
            # Only async runs side by side on one loop may outlive the first of them, and there the gate is closed.
            if self._asynchronous and gate.asynchronous:
                gate.depth += 1
                self._active = True
            return
        gate.pending = gate.struck = None
        gate.open = False
        gate.asynchronous = self._asynchronous
        _install(asynchronous=self._asynchronous)
        # from here on a signal is kept; until here it went to whom it belonged to before
        gate.depth = 1
        self._active = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._active:
            return
        self._active = False
        if gate.depth > 1:
            gate.depth -= 1
            return
        gate.open = False
        gate.depth = 0
        # from here on a signal goes to whom it belonged to before, and gives the handlers back by itself
        leftover = gate.pending or (None if gate.delivered else gate.struck)
        gate.pending = gate.struck = None
        gate.tasks.clear()
        _restore()
        if ends_process(error) or ends_process(leftover):
            signal.raise_signal(signal.SIGTERM)
        elif leftover is not None and not isinstance(leftover, CancellationSignal):
            raise leftover


def ends_process(error: BaseException | None) -> bool:
    """Whether this is a SIGTERM, and not the cancellation of a run alone."""
    return isinstance(error, TerminationSignal) and not isinstance(error, CancellationSignal)
