"""One rule for the names that work in both colours: `state.result()`, `pause_flow_run()` ...

Inside a run the run's own function decides: in an `async def` flow or task they return an awaitable, in a `def` they
return the value, even if that `def` task was called from an async flow. Outside of runs it is whether an event loop runs
in this thread. The `a`-prefixed names never guess; neither does the engine.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any


def in_async_context() -> bool:
    """Whether the calling code is expected to await."""
    contexts = sys.modules.get("riverrun.context")
    if contexts is not None:
        task_run = contexts.TaskRunContext.var.get()
        if task_run is not None:
            return bool(getattr(task_run.task, "isasync", False))
        flow_run = contexts.FlowRunContext.var.get()
        if flow_run is not None and flow_run.flow is not None:
            return bool(getattr(flow_run.flow, "isasync", False))
    asyncio = sys.modules.get("asyncio")  # no loop runs where asyncio was never imported
    return asyncio is not None and asyncio._get_running_loop() is not None


def async_dispatch(async_impl: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a sync function return `async_impl(...)` where the caller is expected to await.

    `fn.sync` is the sync function itself, `fn.aio` the async one; `_sync=True` or `False` decides for one call.
    """

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def dispatched(*args: Any, _sync: bool | None = None, **kwargs: Any) -> Any:
            if _sync is None:
                _sync = not in_async_context()
            return fn(*args, **kwargs) if _sync else async_impl(*args, **kwargs)

        dispatched.sync = fn  # type: ignore[attr-defined]
        dispatched.aio = async_impl  # type: ignore[attr-defined]
        return dispatched

    return decorate
