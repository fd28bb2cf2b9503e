"""Event loops for the async tasks that a runner was given.

Many tasks share a loop. But a task may block its loop by waiting for one that it submitted (`future.result()` in a
coroutine is a documented idiom), so what is submitted from a task runs on another loop: one per depth of submission. The
number of tasks under way is bounded; a task that waits for a future gives its place back meanwhile, and deeper ones go first.
"""

from _thread import allocate_lock
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, ContextVar
from typing import Any

from riverrun.base.loops import LoopThread

#: how many submissions lie between the flow and the code that runs here
_depth: ContextVar[int] = ContextVar("submission_depth", default=0)
_place: "ContextVar[TaskLoops | None]" = ContextVar("place_on_a_task_loop", default=None)
_nothing: AbstractContextManager[None] = nullcontext()

Start = Callable[[], Awaitable[Any]]


def place_given_back() -> AbstractContextManager[None]:
    """Give the current async task's place back for the time of a wait; nothing happens elsewhere."""
    loops = _place.get()
    return _nothing if loops is None else _Away(loops)


class _Away:
    __slots__ = ("_loops",)

    def __init__(self, loops: "TaskLoops") -> None:
        self._loops = loops

    def __enter__(self) -> None:
        self._loops.leave()

    def __exit__(self, *_exc: object) -> None:
        # It comes back at once even where others took its place: waiting here could block the loop that would free one.
        self._loops.come_back()


class TaskLoops:
    """The loops of one runner; at most `bound` tasks are under way on all of them."""

    def __init__(self, bound: int, name: str) -> None:
        self._bound = bound
        self._name = name
        self._lock = allocate_lock()
        self._running = 0
        #: what waits for a place: {depth: [...]}
        self._queued: dict[int, list[tuple[Start, Context]]] = {}
        self._loops: list[LoopThread] = []

    def submit(self, start: Start, context: Context) -> None:
        """Await what `start()` gives, in `context`, as soon as there is a place."""
        depth = context.get(_depth, 0)
        context.run(_depth.set, depth + 1)
        context.run(_place.set, self)
        with self._lock:
            if self._running >= self._bound:
                self._queued.setdefault(depth, []).append((start, context))
                return
            self._running += 1
            loop = self._loop(depth)
        loop.submit(start, context, self._ended)

    def leave(self) -> None:
        """One task waits: its place is free."""
        self._ended(None, None)

    def come_back(self) -> None:
        with self._lock:
            self._running += 1

    def cancel(self) -> None:
        """Cancel what runs and begin nothing more; the coroutines end in their own time."""
        with self._lock:
            self._queued.clear()
        for loop in self._loops:
            loop.close(grace=0)

    def close(self) -> None:
        """End the loops; what still runs on them is cancelled."""
        for loop in self._loops:
            loop.close()

    def _loop(self, depth: int) -> LoopThread:
        while len(self._loops) <= depth:
            self._loops.append(LoopThread(f"{self._name}-{len(self._loops)}"))
        return self._loops[depth]

    def _ended(self, _value: Any, _error: BaseException | None) -> None:
        with self._lock:
            self._running -= 1
            depth = max((depth for depth, waiting in self._queued.items() if waiting), default=None)
            if depth is None or self._running >= self._bound:
                return
            start, context = self._queued[depth].pop(0)
            self._running += 1
            loop = self._loop(depth)
        loop.submit(start, context, self._ended)
