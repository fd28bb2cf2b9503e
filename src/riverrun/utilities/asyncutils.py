"""Helpers for code that is both sync and async, under the names that the peer's users import.

Faces of `riverrun.base.loops` and `riverrun.utilities.colours`; the engine itself does not use them.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from riverrun.base.loops import in_thread, run_blocking
from riverrun.utilities.colours import is_async_caller

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "asyncnullcontext",
    "create_task",
    "gather",
    "is_async_fn",
    "is_async_gen_fn",
    "run_coro_as_sync",
    "run_sync_in_worker_thread",
    "sync_compatible",
]

P = ParamSpec("P")
R = TypeVar("R")

#: asyncio keeps only weak references to its tasks
_tasks: "set[asyncio.Task[Any]]" = set()


def is_async_fn(func: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(inspect.unwrap(func))


def is_async_gen_fn(func: Callable[..., Any]) -> bool:
    """Whether calling it gives an async generator."""
    return inspect.isasyncgenfunction(inspect.unwrap(func))


def run_coro_as_sync(coroutine: Awaitable[R]) -> R:
    """The result of a coroutine, waiting for it on a loop of ours: also where a loop runs already, which is blocked."""
    return run_blocking(coroutine)  # type: ignore[no-any-return]


async def run_sync_in_worker_thread(__fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of a blocking function, run in a thread with a copy of the context."""
    return await in_thread(__fn, *args, **kwargs)


def create_task(coroutine: Coroutine[Any, Any, R]) -> "asyncio.Task[R]":
    """A task on the running loop that lives until it is done, also if nobody keeps it."""
    import asyncio

    task = asyncio.get_running_loop().create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


async def gather(*calls: Callable[[], Coroutine[Any, Any, R]]) -> list[R]:
    """What the functions' coroutines give, awaited at the same time; an exception cancels the others and is raised."""
    import asyncio

    tasks: list[asyncio.Task[R]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(call()) for call in calls)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


@asynccontextmanager
async def asyncnullcontext(value: Any = None, *_args: Any, **_kwargs: Any) -> AsyncGenerator[Any, None]:
    """Does nothing, gives `value`."""
    yield value


def sync_compatible(async_fn: Callable[P, Coroutine[Any, Any, R]]) -> Callable[..., Any]:
    """Let sync code call an async function and get its result; async code gets the coroutine.

    `_sync=True` or `_sync=False` in a call decides it there; `function.aio` is the function itself.
    """

    @wraps(async_fn)
    def either(*args: Any, _sync: bool | None = None, **kwargs: Any) -> Any:
        coroutine = async_fn(*args, **kwargs)
        blocking = not is_async_caller() if _sync is None else _sync
        return run_coro_as_sync(coroutine) if blocking else coroutine

    either.aio = async_fn  # type: ignore[attr-defined]
    return either
