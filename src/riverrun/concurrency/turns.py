"""Waiting for slots inside this process: who gave slots back wakes who has waited longest for the same limit here.

The server says when to ask again, but it can't know that a neighbour in the same process has just finished. Each slot that
comes back wakes one waiter; all others sleep on as the server said.
"""

import os
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

_lock = threading.Lock()
_waiting: dict[str, "deque[Turn]"] = {}


class Turn:
    """One wait of at most `seconds` for slots of some limits. The engine waits for it as for a future."""

    __slots__ = ("_event", "_wake", "names", "seconds")

    def __init__(self, names: Iterable[str], seconds: float) -> None:
        self.names = tuple(names)
        self.seconds = seconds
        self._event = threading.Event()
        #: how an event loop is told
        self._wake: Any = None

    def wait(self) -> None:
        """Block until it is this one's turn, or the time is over."""
        self._enter()
        try:
            self._event.wait(self.seconds)
        finally:
            self._leave()

    async def wait_async(self) -> None:
        """As `wait`, on an event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not turn.done():
                turn.set_result(None)

        self._wake = lambda: loop.call_soon_threadsafe(wake)
        self._enter()
        try:
            await asyncio.wait([turn], timeout=self.seconds)
        finally:
            self._leave()

    def _enter(self) -> None:
        with _lock:
            for name in self.names:
                _waiting.setdefault(name, deque()).append(self)

    def _leave(self) -> None:
        with _lock:
            for name in self.names:
                queue = _waiting.get(name)
                if queue is not None:
                    if self in queue:
                        queue.remove(self)
                    if not queue:
                        del _waiting[name]

    def come(self) -> None:
        """It is this one's turn."""
        self._event.set()
        if self._wake is not None:
            try:
                self._wake()
            except RuntimeError:
                pass  # its loop is closed


def pass_on(names: Iterable[str], slots: int = 1) -> None:
    """Slots of these limits came back: wake who waits longest for one of them."""
    with _lock:
        called = {}
        for name in names:
            for turn in list(_waiting.get(name, ()))[:slots]:
                called[id(turn)] = turn
                _waiting[name].remove(turn)
    for turn in called.values():
        turn.come()


def _begin_empty() -> None:
    global _lock
    _lock = threading.Lock()
    _waiting.clear()


os.register_at_fork(after_in_child=_begin_empty)
