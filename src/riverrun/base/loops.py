"""Event loops of our own: one daemon thread with one loop for many coroutines.

Submitted async tasks and async hooks of sync runs live here, never on the caller's loop, so that waiting for one cannot
block it. asyncio is imported when the first coroutine comes.
"""

import os
import threading
import weakref
from _thread import allocate_lock
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from riverrun.base.pool import WorkerPool, released

if TYPE_CHECKING:
    import asyncio

P = ParamSpec("P")
R = TypeVar("R")

CoroutineFactory = Callable[[], Awaitable[Any]]
#: called in the loop's thread with the value, or with None and what was raised
OnDone = Callable[[Any, BaseException | None], object]

_loops: "weakref.WeakSet[LoopThread]" = weakref.WeakSet()


class LoopThread:
    """Runs coroutines on a loop in a thread that starts with the first of them. A forked child finds it empty."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._begin_empty()
        _loops.add(self)

    def _begin_empty(self) -> None:
        self._lock = allocate_lock()
        self._queue: deque[tuple[CoroutineFactory, Context, OnDone]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, factory: CoroutineFactory, context: Context, on_done: OnDone | None = None) -> None:
        """Await what `factory()` gives, both inside `context`, and tell `on_done`, which must neither raise nor block.

        Without `on_done` an outcome is dropped; an exception is logged by asyncio. Raises RuntimeError after `close`.
        """
        on_done = on_done or _tell_nobody
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the event loop {self.name!r} is closed; nothing can be submitted to it any more")
            self._queue.append((factory, context, on_done))
            loop = self._loop or self._start()
            if len(self._queue) == 1:  # else the loop has been called and will find this one too
                loop.call_soon_threadsafe(self._begin_queued, loop)

    def close(self, grace: float = 5.0) -> bool:
        """Cancel what runs and end the thread; False if something still ran after `grace` seconds.

        What has not started is told a CancelledError. Call it from another thread.
        """
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            return True
        with suppress(RuntimeError):  # an earlier `close` has just ended it
            loop.call_soon_threadsafe(self._cancel_all, loop)
        with released():
            thread.join(grace)
        return not thread.is_alive()

    @property
    def running(self) -> int:
        """How many coroutines are on the loop."""
        return len(self._tasks)

    # -- below: under the lock, or in the loop's thread --

    def _start(self) -> "asyncio.AbstractEventLoop":
        import asyncio

        self._loop = loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name=self.name, daemon=True)
        self._thread.start()
        return loop

    def _run(self, loop: "asyncio.AbstractEventLoop") -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    def _begin_queued(self, loop: "asyncio.AbstractEventLoop") -> None:
        for _ in range(len(self._queue)):
            factory, context, on_done = self._queue.popleft()
            task = loop.create_task(_perform(factory, on_done), context=context)
            self._tasks.add(task)
            task.add_done_callback(partial(self._forget, loop, on_done))
        with self._lock:
            if self._queue:  # came while these began; their submitter relied on this call
                loop.call_soon(self._begin_queued, loop)

    def _forget(self, loop: "asyncio.AbstractEventLoop", on_done: OnDone, task: "asyncio.Task[None]") -> None:
        import asyncio

        self._tasks.discard(task)
        if task.cancelled():  # before its first step, so `_perform` could not tell
            on_done(None, asyncio.CancelledError())
        if self._closed and not self._tasks and not self._queue:
            loop.stop()

    def _cancel_all(self, loop: "asyncio.AbstractEventLoop") -> None:
        self._begin_queued(loop)
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            loop.stop()


async def _perform(factory: CoroutineFactory, on_done: OnDone) -> None:
    # Everything is caught: SystemExit and KeyboardInterrupt would end the loop and with it the other coroutines.
    try:
        value = await factory()
    except BaseException as error:  # noqa: BLE001 - outcomes are values here
        on_done(None, error)
    else:
        on_done(value, None)


def _tell_nobody(_value: Any, error: BaseException | None) -> None:
    import asyncio

    if error is not None and not isinstance(error, asyncio.CancelledError):
        context = {"message": "A coroutine failed and nobody waits for its outcome", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


_helper = LoopThread("riverrun-helper-loop")


def run_blocking(awaitable: Awaitable[Any]) -> Any:
    """Await something from sync code, on a loop of riverrun's own in another thread, and give its outcome.

    Works whether or not a loop runs in the current thread, and blocks it. The permit is given back meanwhile.
    """
    outcome: list[tuple[Any, BaseException | None]] = []
    done = allocate_lock()
    done.acquire()

    def on_done(value: Any, error: BaseException | None) -> None:
        outcome.append((value, error))
        done.release()

    _helper.submit(lambda: awaitable, copy_context(), on_done)
    with released():
        done.acquire()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def _forget_loops() -> None:
    """In a forked child the loops' threads do not exist."""
    for loop in list(_loops):
        loop._begin_empty()


os.register_at_fork(after_in_child=_forget_loops)


#: For blocking work of async code. Not asyncio's executor: that has a handful of threads, and when all of them wait for a
#: lock its holder finds none to give it back with.
_blocking = WorkerPool(None, "riverrun-blocking")


async def in_thread(fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a blocking function in a thread of riverrun's, in a copy of the context, and await its outcome.

    Cancelled, this goes on at once and what the function does is dropped when it ends.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    outcome: list[R] = []
    errors: list[BaseException] = []
    context = copy_context()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def work() -> None:
        try:
            outcome.append(context.run(fn, *args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - handed to who awaits
            errors.append(error)
        with suppress(RuntimeError):  # the loop is closed: nobody awaits any more
            loop.call_soon_threadsafe(tell)

    _blocking.submit(work)
    await done
    if errors:
        raise errors[0]
    return outcome[0]
