"""Where signals may strike: only while user code runs or the engine waits.

A signal handler that raises wherever the interpreter happens to be leaves runs without an end state (measured: 5 % of random
interruptions). So the handlers installed here ask the gate of the main thread: open (a driver is performing user code or a
wait) and the exception is raised there; closed (engine code) and it is kept until the gate opens next.

An event loop must not be struck inside its own machinery either: while an async driver owns the main thread the handler
cancels the outermost run's asyncio task instead, and the driver turns that cancellation back into the signal.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from riverrun.base.errors import TerminationSignal

if TYPE_CHECKING:
    import asyncio


class Gate:
    """State of the main thread. Only the main thread (and its signal handlers) writes it."""

    __slots__ = ("depth", "loop", "open", "pending", "struck", "task")

    def __init__(self) -> None:
        #: True while the main thread performs user code or waits
        self.open = False
        #: an exception to raise at the next opening
        self.pending: BaseException | None = None
        #: the signal's exception that a cancellation of `task` stands for
        self.struck: BaseException | None = None
        #: how many guards are active (nested runs)
        self.depth = 0
        #: the asyncio task of the outermost async run in the main thread, and its loop
        self.task: asyncio.Task[Any] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None


gate = Gate()


def strike(error: BaseException) -> None:
    """Raise `error` here if the gate is open, else keep it for the next opening. Call from a signal handler."""
    if gate.open:
        raise error
    if gate.loop is not None and gate.task is not None:
        gate.struck = error
        gate.loop.call_soon_threadsafe(gate.task.cancel)
    else:
        gate.pending = error


def take_pending() -> BaseException:
    """The kept exception; it is handed over once. Call only while one is pending."""
    error, gate.pending = gate.pending, None
    assert error is not None
    return error


_main_thread_id = threading.main_thread().ident


def main_thread_id() -> int | None:
    """The thread that Python's signal handlers run in."""
    return _main_thread_id


def in_main_thread() -> bool:
    return threading.get_ident() == _main_thread_id


def _forget_parent() -> None:
    """In a forked child the forking thread is the main thread, and no run of the parent's is on its way here."""
    global _main_thread_id
    _main_thread_id = threading.get_ident()
    gate.pending = gate.struck = None


os.register_at_fork(after_in_child=_forget_parent)


def _on_sigterm(_signum: int, _frame: object) -> None:
    strike(TerminationSignal(signal.SIGTERM))


def _on_sigint(_signum: int, _frame: object) -> None:
    strike(KeyboardInterrupt())


@contextmanager
def guard(*, asynchronous: bool = False) -> Iterator[None]:
    """Own SIGTERM and SIGINT for the time of an outermost run in the main thread; elsewhere do nothing.

    A handler that the user installed for SIGINT is left alone (so is asyncio's own, which cancels the main task). After
    the run a SIGTERM that struck it is handed on to whoever handled it before: by default the process then dies of it.
    """
    if gate.depth or not in_main_thread():
        yield
        return
    gate.depth = 1
    gate.pending = gate.struck = None
    gate.open = False
    previous_term = signal.getsignal(signal.SIGTERM)
    previous_int = signal.getsignal(signal.SIGINT)
    own_int = previous_int is signal.default_int_handler and not asynchronous
    if previous_term is not None:
        signal.signal(signal.SIGTERM, _on_sigterm)
    if own_int:
        signal.signal(signal.SIGINT, _on_sigint)
    terminated = False
    try:
        yield
    except TerminationSignal:
        terminated = True
        raise
    finally:
        gate.depth = 0
        gate.open = False
        gate.task = gate.loop = None
        if own_int:
            signal.signal(signal.SIGINT, previous_int)
        if previous_term is not None:
            signal.signal(signal.SIGTERM, previous_term)
        leftover, gate.pending, gate.struck = gate.pending, None, None
        if terminated or isinstance(leftover, TerminationSignal):
            signal.raise_signal(signal.SIGTERM)
        elif leftover is not None:
            raise leftover
