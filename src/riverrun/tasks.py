"""Tasks: functions that are recorded, retried, cached and submitted.

`@task` makes a `Task`, which is called like the function it wraps. The class holds the options and starts lives; what happens
in a run stands in `engine.task_run`.
"""

import inspect
import zlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from types import MethodType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, cast, overload

from riverrun.base.backoff import exponential_backoff
from riverrun.base.config import settings
from riverrun.base.interrupts import gate, in_main_thread
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.engine.drive import drive
from riverrun.engine.options import (
    Hook,
    RetryDelays,
    TaskOptions,
    check_count,
    check_hooks,
    check_run_name,
    check_seconds,
)
from riverrun.engine.parameters import BoundSignature, Signature
from riverrun.engine.run import arun_task, run_task
from riverrun.engine.task_run import TaskRunLife
from riverrun.runnable import Runnable, being_drawn
from riverrun.utilities.annotations import NotSet
from riverrun.wire.runs import RunInput, RunPolicy

if TYPE_CHECKING:
    from riverrun.cache_policies import CachePolicy
    from riverrun.futures import PrefectDistributedFuture, PrefectFuture, PrefectFutureList
    from riverrun.states import State

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Callable[..., Any])

MAX_RETRY_DELAYS = 50

__all__ = ["MAX_RETRY_DELAYS", "Task", "TaskOptions", "exponential_backoff", "task", "task_input_hash"]


def task_input_hash(context: Any, arguments: dict[str, Any]) -> str | None:
    """A `cache_key_fn` that hashes the task's key, its code and its inputs."""
    from riverrun.utilities.hashing import hash_objects

    return hash_objects(context.task.task_key, context.task.fn.__code__.co_code.hex(), arguments)


class Task(Runnable[P, R]):
    """A function whose calls are task runs. Made by `@task`.

    Raises TypeError or ValueError for options that make no sense, ReservedArgumentError for parameters named
    `return_state` or `wait_for`.
    """

    kind = "task"

    def __init__(
        self,
        fn: "Callable[P, R] | classmethod[Any, P, R] | staticmethod[P, R]",
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        version: str | None = None,
        cache_policy: "CachePolicy | type[NotSet] | None" = NotSet,
        cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None,
        cache_expiration: timedelta | None = None,
        task_run_name: str | Callable[..., str] | None = None,
        retries: int | None = None,
        retry_delay_seconds: RetryDelays = None,
        retry_jitter_factor: float | None = None,
        persist_result: bool | None = None,
        result_storage: Any = None,
        result_serializer: Any = None,
        result_storage_key: str | Callable[[], str] | None = None,
        cache_result_in_memory: bool = True,
        timeout_seconds: float | timedelta | None = None,
        log_prints: bool | None = None,
        refresh_cache: bool | None = None,
        on_completion: Sequence[Hook] | None = None,
        on_failure: Sequence[Hook] | None = None,
        on_running: Sequence[Hook] | None = None,
        on_rollback: Sequence[Hook] | None = None,
        on_commit: Sequence[Hook] | None = None,
        retry_condition_fn: Callable[..., Any] | None = None,
        viz_return_value: Any = None,
        asset_deps: Sequence[Any] | None = None,
    ) -> None:
        self._wrap(fn, description)
        fn = self.fn
        self.name = name or getattr(fn, "__name__", None) or type(fn).__name__
        self.tags: set[str] = set(tags or ())
        self.version = version
        called = getattr(fn, "__name__", None) or type(fn).__name__
        origin = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', called)}"
        # of the function, not of the name: a copy under another name is the same task
        self.task_key = f"{called}-{zlib.crc32(origin.encode('utf-8', 'replace')):08x}"

        self._check_name_and_hooks(task_run_name, on_completion, on_failure, on_running, on_commit, on_rollback)
        self.task_run_name = task_run_name
        self.on_completion_hooks: list[Hook] = list(on_completion or ())
        self.on_failure_hooks: list[Hook] = list(on_failure or ())
        self.on_running_hooks: list[Hook] = list(on_running or ())
        self.on_rollback_hooks: list[Hook] = list(on_rollback or ())
        self.on_commit_hooks: list[Hook] = list(on_commit or ())

        self._set_retries(retries, retry_delay_seconds, retry_jitter_factor, retry_condition_fn)
        self._set_caching(
            cache_policy, cache_key_fn, persist_result, result_storage, result_serializer, result_storage_key
        )
        self.cache_expiration = cache_expiration
        self.refresh_cache = refresh_cache
        self.cache_result_in_memory = cache_result_in_memory
        limit = (
            0.0 if timeout_seconds is None else check_seconds("timeout_seconds", timeout_seconds, f"task {self.name!r}")
        )
        self.timeout_seconds = limit or None  # 0 is none, as for flows
        self.log_prints = log_prints
        self.viz_return_value = viz_return_value
        self.asset_deps = list(asset_deps or ())

    # -- options -----------------------------------------------------------------------------------------------------

    def _check_name_and_hooks(self, task_run_name: Any, *hook_lists: Any) -> None:
        check_run_name("task_run_name", task_run_name, f"task {self.name!r}")
        check_hooks(
            "task",
            self.name,
            dict(
                zip(("on_completion", "on_failure", "on_running", "on_commit", "on_rollback"), hook_lists, strict=True)
            ),
        )

    def _set_retries(
        self, retries: int | None, delay: RetryDelays, jitter: float | None, condition: Callable[..., Any] | None
    ) -> None:
        owner = f"task {self.name!r}"
        self.retries = settings().tasks_default_retries if retries is None else check_count("retries", retries, owner)
        if delay is None:
            delay = settings().tasks_default_retry_delay_seconds
        if callable(delay):
            delay = delay(self.retries)
        self.retry_delay_seconds: float | list[float] = (
            [check_seconds("retry_delay_seconds", seconds, owner) for seconds in delay]
            if isinstance(delay, list | tuple)
            else check_seconds("retry_delay_seconds", delay, owner)
        )
        if isinstance(self.retry_delay_seconds, list) and len(self.retry_delay_seconds) > MAX_RETRY_DELAYS:
            raise ValueError(
                f"Can not configure more than {MAX_RETRY_DELAYS} retry delays per task (task {self.name!r})."
            )
        if jitter is not None and jitter < 0:
            raise ValueError(f"`retry_jitter_factor` must be >= 0, not {jitter} (task {self.name!r}).")
        self.retry_jitter_factor = jitter
        if condition is not None and not callable(condition):
            raise TypeError(f"Expected `retry_condition_fn` to be callable, got {type(condition).__name__} instead.")
        self.retry_condition_fn = condition

    def _set_caching(
        self,
        cache_policy: Any,
        cache_key_fn: Any,
        persist_result: bool | None,
        result_storage: Any,
        result_serializer: Any,
        result_storage_key: str | Callable[[], str] | None,
    ) -> None:
        self.cache_key_fn = cache_key_fn
        self.result_storage = result_storage
        self.result_serializer = result_serializer
        self.result_storage_key = result_storage_key
        # resolved on first use (`cache_policy`), so that a task without results never imports the machinery
        self._cache_policy = cache_policy
        self._policy_was_set = False
        wants_result = (
            (cache_policy is not NotSet and cache_policy is not None and not _is_no_cache(cache_policy))
            or cache_key_fn is not None
            or result_storage_key is not None
            or result_storage is not None
            or result_serializer is not None
        )
        self._persists_by_implication = persist_result is None and wants_result
        self.persist_result = persist_result = True if self._persists_by_implication else persist_result
        if persist_result is False and (wants_result and (cache_key_fn or cache_policy not in (NotSet, None))):
            from riverrun.logging import get_logger

            get_logger("tasks").warning(
                "Ignoring `cache_policy` because `persist_result` is False (task %r)", self.name
            )
        if cache_key_fn is not None and cache_policy not in (NotSet, None):
            from riverrun.logging import get_logger

            get_logger("tasks").warning(
                "Both `cache_policy` and `cache_key_fn` are set on task %r. `cache_key_fn` will be used.", self.name
            )

    @property
    def cache_policy(self) -> "CachePolicy | None":
        """The policy that decides when a result is reused; None without one, and where the result is named by hand."""
        from riverrun.cache_policies import DEFAULT, NO_CACHE, CachePolicy

        given = self._cache_policy
        if self._policy_was_set:
            return cast("CachePolicy | None", given)
        if self.persist_result is False:
            return None if given is None else NO_CACHE
        if self.result_storage_key is not None and not _is_no_cache(given):
            return None  # what is stored under the name is what is found
        if self.cache_key_fn is not None:
            return CachePolicy.from_cache_key_fn(self.cache_key_fn)
        if given is not NotSet:
            return cast("CachePolicy | None", given)
        return NO_CACHE if settings().tasks_default_no_cache else DEFAULT

    @cache_policy.setter
    def cache_policy(self, policy: "CachePolicy | None") -> None:
        self._cache_policy = policy
        self._policy_was_set = True

    @property
    def source_code(self) -> str | None:
        """The source of the function, None where there is none to be read."""
        try:
            return inspect.getsource(self.fn)
        except (TypeError, OSError):
            return None

    def policy(self) -> RunPolicy:
        """The retry policy as runs carry it."""
        return RunPolicy(
            retries=self.retries, retry_delay=self.retry_delay_seconds, retry_jitter_factor=self.retry_jitter_factor
        )

    def with_options(self, **options: Unpack[TaskOptions]) -> "Task[P, R]":
        """A copy of the task with some options replaced; the options are those of `@task`, without `version`.

        None turns off what can be off or left to the settings (retries, persistence, storage, names ...) and changes
        nothing elsewhere. Raises TypeError for an option that does not exist.
        """
        kept: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "tags": set(self.tags),
            "cache_policy": self._cache_policy,
            "cache_key_fn": self.cache_key_fn,
            "cache_expiration": self.cache_expiration,
            "task_run_name": self.task_run_name,
            "retries": self.retries,
            "retry_delay_seconds": self.retry_delay_seconds,
            "retry_jitter_factor": self.retry_jitter_factor,
            "persist_result": None if self._persists_by_implication and self.persist_result else self.persist_result,
            "result_storage": self.result_storage,
            "result_serializer": self.result_serializer,
            "result_storage_key": self.result_storage_key,
            "cache_result_in_memory": self.cache_result_in_memory,
            "timeout_seconds": self.timeout_seconds,
            "log_prints": self.log_prints,
            "refresh_cache": self.refresh_cache,
            "on_completion": self.on_completion_hooks,
            "on_failure": self.on_failure_hooks,
            "on_running": self.on_running_hooks,
            "on_rollback": self.on_rollback_hooks,
            "on_commit": self.on_commit_hooks,
            "retry_condition_fn": self.retry_condition_fn,
            "viz_return_value": self.viz_return_value,
            "asset_deps": self.asset_deps,
        }
        unknown = set(options) - set(kept)
        if unknown:
            raise TypeError(f"Task.with_options() got an unexpected keyword argument: {', '.join(sorted(unknown))}")
        for option, value in options.items():
            if value is NotSet or (value is None and option not in _NULLABLE):
                continue
            kept[option] = value
        if "cache_policy" in options and options["cache_policy"] is not NotSet and "cache_key_fn" not in options:
            kept["cache_key_fn"] = None
        if options.get("cache_key_fn") is not None and "cache_policy" not in options:
            kept["cache_policy"] = NotSet
        bound_to = self.signature.target if isinstance(self.signature, BoundSignature) else None
        if bound_to is None:
            return type(self)(self.fn, version=self.version, **kept)
        unbound = cast("MethodType", self.fn).__func__
        return type(self)(unbound, version=self.version, **kept)._bound(bound_to)

    # -- hooks of a task's transaction as decorators ------------------------------------------------------------------

    def on_commit(self, fn: T) -> T:
        """Add a hook `fn(transaction)` for when the transaction of a run commits."""
        self.on_commit_hooks.append(fn)
        return fn

    def on_rollback(self, fn: T) -> T:
        """Add a hook `fn(transaction)` for when the transaction of a run is rolled back."""
        self.on_rollback_hooks.append(fn)
        return fn

    # -- running -----------------------------------------------------------------------------------------------------

    def _life(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], parameters: dict[str, Any], wait_for: Any
    ) -> TaskRunLife:
        life = TaskRunLife(self, args, kwargs, parameters, wait_for)
        life.open()
        return life

    def _driver(self) -> Callable[[Any], None]:
        return drive if gate.depth or not in_main_thread() else run_task

    def _adriver(self) -> Callable[[Any], Coroutine[Any, Any, None]]:
        return arun_task

    def _draw(self, picture: Any, parameters: dict[str, Any]) -> Any:
        return picture.track_viz_task(self.isasync, self.name, parameters, viz_return_value=self.viz_return_value)

    def _bound_signature(self, target: Any, method: Callable[..., Any]) -> Signature:
        # the object is an input like others: it belongs into cache keys and lineage
        del method
        return BoundSignature(self.signature, target)

    def submit(self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any) -> Any:
        """Hand a run to the flow's task runner and go on: a future, or with `return_state=True` the final state.

        Raises RuntimeError outside of a flow run.
        """
        parameters = self.signature.bind(args, kwargs)
        picture = being_drawn()
        if picture is not None:
            return picture.submitted_viz_value(self, parameters)
        future = self._runner().submit(self, parameters, wait_for=wait_for)
        if return_state:
            future.wait()
            return future.state
        return future

    def map(
        self, *args: Any, return_state: bool = False, wait_for: Any = None, deferred: bool = False, **kwargs: Any
    ) -> "PrefectFutureList[PrefectFuture[R]] | list[State[R]]":
        """Submit one run per item of the iterable arguments, which must be of one length.

        Wrap an argument in `unmapped` to pass it whole to each run. With `deferred` the runs go to task workers, as by
        `delay`. Raises MappingMissingIterable, MappingLengthMismatch, and RuntimeError outside of a flow run.
        """
        parameters = self.signature.bind(args, kwargs, defaults=False)
        picture = being_drawn()
        if picture is not None:
            return cast("PrefectFutureList[PrefectFuture[R]]", picture.submitted_viz_value(self, parameters))
        futures: PrefectFutureList[Any]
        if deferred:
            from riverrun.engine.background import schedule_all

            futures = schedule_all(self, parameters, wait_for)
        else:
            futures = self._runner().map(self, parameters, wait_for=wait_for)
        if return_state:
            futures.wait()
            return [future.state for future in futures]
        return futures

    # -- in the background -------------------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> "PrefectDistributedFuture[R]":
        """Put a run in the background: a task worker that serves this task (`serve`) runs it. Needs a server.

        The arguments are stored where the task's results are; the worker has to reach that storage.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        wait_for: Iterable[Any] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> "PrefectDistributedFuture[R]":
        """As `delay`; the run begins when what it waits for has ended."""
        if being_drawn() is not None:
            from riverrun.utilities.visualization import VisualizationUnsupportedError

            raise VisualizationUnsupportedError("`task.apply_async()` is not drawn by `flow.visualize()`")
        from riverrun.engine.background import schedule

        parameters = self.signature.bind(args or (), kwargs or {})
        return schedule(self, parameters, wait_for, dependencies)

    def serve(self) -> None:
        """Run what is put in the background of this task, until Ctrl-C or SIGTERM."""
        from riverrun.task_worker import serve

        serve(self)

    def _runner(self) -> Any:
        context = FlowRunContext.var.get()
        if context is None or context.task_runner is None:
            raise RuntimeError(
                f"Unable to determine task runner to use for submission of task {self.name!r}: it is submitted outside of"
                " a flow run. Call it from a function decorated with @flow, or call it directly."
            )
        return context.task_runner

    def persists(self, around: FlowRunContext | TaskRunContext | None) -> bool:
        """Whether results are kept: the task's option, else the setting for tasks, else as the run around, else by default."""
        if self.persist_result is not None:
            return self.persist_result
        current = settings()
        chosen = current.tasks_default_persist_result
        if chosen is not None:
            return chosen
        return current.results_persist_by_default if around is None else around.persist_result


#: options for which None says something
_NULLABLE = frozenset(
    {"cache_policy", "log_prints", "persist_result", "refresh_cache", "result_serializer", "result_storage"}
    | {"result_storage_key", "retries", "retry_delay_seconds", "retry_jitter_factor", "task_run_name"}
)


def _is_no_cache(policy: Any) -> bool:
    return type(policy).__name__ == "_None" or type(policy).__name__ == "NoCache"


@overload
def task(__fn: Callable[P, R], **options: Unpack[TaskOptions]) -> Task[P, R]: ...


@overload
def task(__fn: None = None, **options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(__fn: Any = None, **options: Unpack[TaskOptions]) -> Any:
    """Make a task of a function: `@task`, or `@task(retries=3, ...)` with the options of `Task`."""
    if __fn is None:
        return lambda fn: Task(fn, **options)
    return Task(__fn, **options)


def _show_options() -> None:
    """Let `help` and `inspect` show the options one by one, with the defaults of `Task`."""
    own = inspect.signature(Task).parameters
    shown = {name: own[name].replace(kind=inspect.Parameter.KEYWORD_ONLY) for name in TaskOptions.__annotations__}
    fn = inspect.Parameter("__fn", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
    task.__signature__ = inspect.Signature([fn, *shown.values()])  # type: ignore[attr-defined]
    del shown["version"]
    changes = (each.replace(default=NotSet if name in _NULLABLE else None) for name, each in shown.items())
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    Task.with_options.__signature__ = inspect.Signature([this, *changes])  # type: ignore[attr-defined]


_show_options()
