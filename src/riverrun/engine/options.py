"""The options of tasks, and the checks that flows and tasks share. Checked where they are given, so that a slip is told there.

This module must not import what the options configure: it is on the path of `from riverrun import flow, task`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from riverrun.cache_policies import CachePolicy
    from riverrun.result_options import ResultSerializer, ResultStorage
    from riverrun.utilities.annotations import NotSet

Hook = Callable[..., Any]
RetryDelays = float | int | Sequence[float] | Callable[[int], Sequence[float]] | None


class TaskOptions(TypedDict, total=False):
    """What `@task` and `Task.with_options` take; `version` only the former."""

    name: str | None
    description: str | None
    tags: Iterable[str] | None
    version: str | None
    cache_policy: "CachePolicy | type[NotSet] | None"
    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None
    cache_expiration: timedelta | None
    task_run_name: str | Callable[..., str] | None
    retries: int | None
    retry_delay_seconds: RetryDelays
    retry_jitter_factor: float | None
    persist_result: bool | None
    result_storage: "ResultStorage | None"
    result_serializer: "ResultSerializer | None"
    result_storage_key: str | Callable[[], str] | None
    cache_result_in_memory: bool
    timeout_seconds: float | timedelta | None
    log_prints: bool | None
    refresh_cache: bool | None
    on_completion: Sequence[Hook] | None
    on_failure: Sequence[Hook] | None
    on_running: Sequence[Hook] | None
    on_rollback: Sequence[Hook] | None
    on_commit: Sequence[Hook] | None
    retry_condition_fn: Callable[..., Any] | None
    viz_return_value: Any
    asset_deps: Sequence[Any] | None


def colour(fn: Callable[..., Any]) -> tuple[bool, bool]:
    """(is async, is generator) of a function, method or callable object."""
    candidates = [fn]
    if not inspect.isroutine(fn) and hasattr(fn, "__call__"):  # noqa: B004 - the method itself is looked at
        candidates.append(fn.__call__)
    inner = getattr(fn, "func", None)  # functools.partial
    if inner is not None:
        candidates.append(inner)
    asyncgen = any(inspect.isasyncgenfunction(each) for each in candidates)
    generator = any(inspect.isgeneratorfunction(each) for each in candidates)
    coroutine = any(inspect.iscoroutinefunction(each) for each in candidates)
    return asyncgen or coroutine, asyncgen or generator


def check_hooks(kind: str, name: str, hooks: Mapping[str, Any]) -> None:
    """Raise TypeError unless each is None or a list of callables; `kind` is "flow" or "task"."""
    for option, fns in hooks.items():
        if fns is None:
            continue
        if isinstance(fns, str) or not isinstance(fns, Iterable):
            wanted, found = "iterable for", fns
        else:
            wrong = [fn for fn in fns if not callable(fn)]
            if not wrong:
                continue
            wanted, found = "callables in", wrong[0]
        raise TypeError(
            f"Expected {wanted} '{option}'; got {type(found).__name__} instead: {kind} {name!r} was given {found!r}."
            f" Hooks are given as a list, as in @{kind}({option}=[hook1, hook2])."
        )


def check_run_name(option: str, name: Any, owner: str) -> None:
    """Raise TypeError unless it is None, a template or a function."""
    if name is not None and not isinstance(name, str) and not callable(name):
        raise TypeError(f"Expected string or callable for '{option}'; got {type(name).__name__} instead. ({owner})")


def check_seconds(option: str, value: Any, owner: str) -> float:
    """A duration from an option; raises TypeError or ValueError that names it."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"`{option}` of {owner} must be a number of seconds, not {value!r}.") from None
    if not seconds >= 0:  # NaN too
        raise ValueError(f"`{option}` of {owner} must be >= 0 seconds, not {value!r}.")
    return seconds


def check_count(option: str, value: Any, owner: str) -> int:
    """A whole number from an option; raises TypeError or ValueError that names it."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{option}` of {owner} must be a whole number, not {value!r}.")
    if value < 0:
        raise ValueError(f"`{option}` of {owner} must be >= 0, not {value!r}.")
    return value
