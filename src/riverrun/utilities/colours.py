"""Public names that block in sync code and are awaited in async code, under one name (as in the peer).

The colour of a caller: the innermost run's function decides; outside of runs, whether an event loop runs in this thread.
The engine itself never guesses; this is for faces that users call.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def is_async_caller() -> bool:
    """Whether the code that calls now expects a coroutine."""
    from riverrun.context import FlowRunContext, TaskRunContext

    task_run_context = TaskRunContext.get()
    if task_run_context is not None:
        return bool(task_run_context.task.isasync)
    flow_run_context = FlowRunContext.get()
    if flow_run_context is not None and flow_run_context.flow is not None:
        return bool(flow_run_context.flow.isasync)
    return is_loop_running()


def is_loop_running() -> bool:
    """Whether an event loop runs in this thread. Does not import asyncio: without it there is none."""
    import sys

    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def by_colour(awaitable: Callable[..., Coroutine[Any, Any, R]]) -> Callable[[Callable[P, R]], Callable[P, Any]]:
    """Make a blocking function give the coroutine of `awaitable` to async callers.

    `function.sync(...)` always blocks, `function.aio(...)` is always awaited; so do the arguments `_sync=True` and
    `_sync=False`.
    """

    def decorate(blocking: Callable[P, R]) -> Callable[P, Any]:
        @wraps(blocking)
        def dispatched(*args: P.args, **kwargs: P.kwargs) -> Any:
            wanted = kwargs.pop("_sync", None)
            return (awaitable if (is_async_caller() if wanted is None else not wanted) else blocking)(*args, **kwargs)

        dispatched.sync = blocking  # type: ignore[attr-defined]
        dispatched.aio = awaitable  # type: ignore[attr-defined]
        return dispatched

    return decorate


def complete(value: Any) -> Any:
    """A value, or what it becomes when it is awaited: on a loop of its own, in another thread if one runs here."""
    if not hasattr(value, "__await__"):
        return value
    import asyncio

    async def finish() -> Any:
        return await value

    if not is_loop_running():
        return asyncio.run(finish())
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(context.run, asyncio.run, finish()).result()
