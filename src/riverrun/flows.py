"""Flows: functions whose runs are governed, recorded and shown.

`@flow` makes a `Flow`, which is called like the function it wraps. The class holds the options and starts lives; what happens
in a run stands in `engine.flow_run`.
"""

import inspect
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from riverrun.base.config import settings
from riverrun.base.errors import InvalidNameError
from riverrun.deployments.methods import Deployable
from riverrun.engine.flow_run import FlowRunLife
from riverrun.engine.options import check_count, check_hooks, check_run_name, check_seconds
from riverrun.engine.parameters import validate
from riverrun.engine.run import arun_flow, run_flow
from riverrun.runnable import Runnable
from riverrun.task_runners.threads import ThreadPoolTaskRunner
from riverrun.tasks import Task
from riverrun.utilities.annotations import NotSet

if TYPE_CHECKING:
    from riverrun.context import FlowRunContext
    from riverrun.task_runners import TaskRunner

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Callable[..., Any])

Hook = Callable[..., Any]

_BANNED_IN_NAMES = ("/", "%", "&", ">", "<")


class Flow(Deployable, Runnable[P, R]):
    """A function whose calls are flow runs. Made by `@flow`.

    Raises TypeError or ValueError for options that make no sense, InvalidNameError for a name with one of / % & > <,
    ReservedArgumentError for parameters named `return_state` or `wait_for`.
    """

    kind = "flow"

    def __init__(
        self,
        fn: "Callable[P, R] | classmethod[Any, P, R] | staticmethod[P, R]",
        name: str | None = None,
        version: str | None = None,
        flow_run_name: str | Callable[..., str] | None = None,
        retries: int | None = None,
        retry_delay_seconds: float | None = None,
        task_runner: "type[TaskRunner[Any]] | TaskRunner[Any] | None" = None,
        description: str | None = None,
        timeout_seconds: float | None = None,
        validate_parameters: bool = True,
        persist_result: bool | None = None,
        result_storage: Any = None,
        result_serializer: Any = None,
        cache_result_in_memory: bool = True,
        log_prints: bool | None = None,
        on_completion: Sequence[Hook] | None = None,
        on_failure: Sequence[Hook] | None = None,
        on_cancellation: Sequence[Hook] | None = None,
        on_crashed: Sequence[Hook] | None = None,
        on_running: Sequence[Hook] | None = None,
    ) -> None:
        self._wrap(fn, description)
        fn = self.fn
        if name is not None and not isinstance(name, str):
            raise TypeError(
                f"Expected string for flow parameter 'name'; got {type(name).__name__} instead."
                + (" Perhaps you meant to call it? e.g. '@flow(name=get_flow_run_name())'" if callable(name) else "")
            )
        self.name = name or getattr(fn, "__name__", type(fn).__name__).replace("_", "-").replace(
            "<lambda>", "unknown-lambda"
        )
        _check_name(self.name)
        check_run_name("flow_run_name", flow_run_name, f"flow {self.name!r}")
        hooks = {
            "on_completion": on_completion,
            "on_failure": on_failure,
            "on_cancellation": on_cancellation,
            "on_crashed": on_crashed,
            "on_running": on_running,
        }
        check_hooks("flow", self.name, hooks)
        for kind, fns in hooks.items():
            setattr(self, f"{kind}_hooks", list(fns or ()))
        self.flow_run_name = flow_run_name
        self._version = version
        owner = f"flow {self.name!r}"
        self.retries = settings().flows_default_retries if retries is None else check_count("retries", retries, owner)
        self.retry_delay_seconds: float = (
            settings().flows_default_retry_delay_seconds
            if retry_delay_seconds is None
            else check_seconds("retry_delay_seconds", retry_delay_seconds, owner)
        )
        runner = ThreadPoolTaskRunner() if task_runner is None else task_runner
        self.task_runner: TaskRunner[Any] = runner() if isinstance(runner, type) else runner
        # 0 is how `with_options` takes a time-out away
        self.timeout_seconds = (
            None if timeout_seconds is None else check_seconds("timeout_seconds", timeout_seconds, owner) or None
        )
        self.should_validate_parameters = validate_parameters
        if persist_result is None and (result_storage is not None or result_serializer is not None):
            persist_result = True
        self.persist_result = persist_result
        self.result_storage = result_storage
        self.result_serializer = result_serializer
        self.cache_result_in_memory = cache_result_in_memory
        self.log_prints = log_prints
        self._task: Task[Any, Any] | None = None
        self._parameters: Any = None

    on_cancellation_hooks: list[Hook]
    on_crashed_hooks: list[Hook]

    # -- options -----------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str | None:
        """The version given, else a hash of the file that defines the flow; None where there is no file."""
        if self._version is None:
            self._version = _file_version(self.fn)
        return self._version or None

    @version.setter
    def version(self, version: str | None) -> None:
        self._version = version

    def with_options(self, **options: Any) -> "Flow[P, R]":
        """A copy of the flow with some options replaced; the options are those of `@flow`.

        Raises TypeError for an option that does not exist.
        """
        kept: dict[str, Any] = {
            "name": self.name,
            "version": self._version,
            "flow_run_name": self.flow_run_name,
            "retries": self.retries,
            "retry_delay_seconds": self.retry_delay_seconds,
            "task_runner": self.task_runner,
            "description": self.description,
            "timeout_seconds": self.timeout_seconds,
            "validate_parameters": self.should_validate_parameters,
            "persist_result": self.persist_result,
            "result_storage": self.result_storage,
            "result_serializer": self.result_serializer,
            "cache_result_in_memory": self.cache_result_in_memory,
            "log_prints": self.log_prints,
            "on_completion": self.on_completion_hooks,
            "on_failure": self.on_failure_hooks,
            "on_cancellation": self.on_cancellation_hooks,
            "on_crashed": self.on_crashed_hooks,
            "on_running": self.on_running_hooks,
        }
        unknown = set(options) - set(kept)
        if unknown:
            raise TypeError(f"Flow.with_options() got unexpected option(s): {', '.join(sorted(unknown))}")
        nullable = {"persist_result", "result_storage", "result_serializer", "log_prints"}
        for option, value in options.items():
            if value is NotSet or (value is None and option not in nullable):
                continue
            kept[option] = value
        made = type(self)(self.fn, **kept)
        made._storage, made._entrypoint = self._storage, self._entrypoint
        return made

    def on_cancellation(self, fn: T) -> T:
        """Add a hook `fn(flow, flow_run, state)` for runs that are cancelled."""
        self.on_cancellation_hooks.append(fn)
        return fn

    def on_crashed(self, fn: T) -> T:
        """Add a hook `fn(flow, flow_run, state)` for runs that crash."""
        self.on_crashed_hooks.append(fn)
        return fn

    @property
    def parameters(self) -> Any:
        """The JSON schema of the parameters, made on first use (`utilities.schema.ParameterSchema`)."""
        if self._parameters is None:
            from riverrun.utilities.callables import parameter_schema

            self._parameters = parameter_schema(self.fn)
        return self._parameters

    # -- parameters --------------------------------------------------------------------------------------------------

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters converted to what the annotations ask for; raises ParameterTypeError naming each bad one."""
        return validate(self.fn, parameters)

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as JSON values; what has no JSON form stands as a text."""
        import msgspec

        from riverrun.engine.parameters import serialize

        return cast("dict[str, Any]", msgspec.json.decode(serialize(parameters)))

    # -- running -----------------------------------------------------------------------------------------------------

    def _life(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], parameters: dict[str, Any], wait_for: Any
    ) -> FlowRunLife:
        return FlowRunLife(self, args, kwargs, parameters, wait_for)

    def _driver(self) -> Callable[[Any], None]:
        return run_flow

    def _adriver(self) -> Callable[[Any], Coroutine[Any, Any, None]]:
        return arun_flow

    def as_task(self) -> Task[Any, Any]:
        """The task that stands for runs of this flow inside other flows."""
        if self._task is None:
            self._task = Task(self.fn, name=self.name, version=self.version)
        return self._task

    def persists(self, parent: "FlowRunContext | None") -> bool:
        """Whether results are kept: the option, else the parent run's, else the settings."""
        if self.persist_result is not None:
            return self.persist_result
        if parent is not None:
            return parent.persist_result
        chosen = settings().flows_default_persist_result
        return settings().results_persist_by_default if chosen is None else chosen

    # -- pictures ----------------------------------------------------------------------------------------------------

    def visualize(self, *args: Any, **kwargs: Any) -> Any:
        """Draw what a call would run, without running its tasks. See `riverrun.visualize`."""
        from riverrun.visualize import visualize_flow

        return visualize_flow(self, self.signature.bind(args, kwargs))

    async def avisualize(self, *args: Any, **kwargs: Any) -> Any:
        """`visualize` for an event loop."""
        from riverrun.visualize import aflow_picture, show

        return show(await aflow_picture(self, self.signature.bind(args, kwargs)))

    def generate_mermaid_graph(self, *args: Any, **kwargs: Any) -> str:
        """What a call would run as Mermaid text, without running its tasks."""
        from riverrun.visualize import flow_picture

        return flow_picture(self, self.signature.bind(args, kwargs)).to_mermaid()

    async def agenerate_mermaid_graph(self, *args: Any, **kwargs: Any) -> str:
        """`generate_mermaid_graph` for an event loop."""
        from riverrun.visualize import aflow_picture

        return (await aflow_picture(self, self.signature.bind(args, kwargs))).to_mermaid()


def _check_name(name: str) -> None:
    for character in _BANNED_IN_NAMES:
        if character in name:
            raise InvalidNameError(
                f"The flow name {name!r} contains an invalid character: {character!r}. Names may not contain any of"
                f" {' '.join(_BANNED_IN_NAMES)}."
            )


def _file_version(fn: Callable[..., Any]) -> str:
    """The hash of the file that defines `fn` (`utilities.hashing.file_hash`); empty when there is none."""
    from riverrun.utilities.hashing import file_hash

    try:
        path = inspect.getsourcefile(inspect.unwrap(fn))
        return "" if path is None else file_hash(path)
    except (TypeError, OSError):
        return ""


def load_flow_from_entrypoint(entrypoint: str, use_placeholder_flow: bool = True) -> Flow[..., Any]:
    """The flow that `path/to/file.py:name`, `module:name` or `module.name` names.

    If the file's code fails, and so only part of it could be loaded, a flow made of its function alone stands for it; with
    `use_placeholder_flow=False` ScriptError is raised. Raises MissingFlowError or UnspecifiedFlowError with what the file
    has instead.
    """
    from riverrun.base.errors import ScriptError
    from riverrun.entrypoints import load_flow, placeholder

    try:
        return load_flow(entrypoint)
    except ScriptError as error:
        if not use_placeholder_flow:
            raise
        try:
            return placeholder(entrypoint, error)
        except ValueError:
            raise error from None


def load_flow_arguments_from_entrypoint(
    entrypoint: str, arguments: list[str] | set[str] | None = None
) -> dict[str, Any]:
    """What a script gives to `@flow` for a function, without importing the script.

    Raises ValueError if it has no such flow. An argument that can't be evaluated is logged and left out.
    """
    from riverrun.entrypoints import arguments_from_source

    return arguments_from_source(entrypoint, arguments)


def safe_load_flow_from_entrypoint(entrypoint: str) -> "Flow[..., Any] | None":
    """A flow made of one function of a script, whose other statements do not run; None if that can't be done.

    Raises ValueError if the script has no such flow.
    """
    from riverrun.entrypoints import flow_from_source

    return flow_from_source(entrypoint)


def load_function_and_convert_to_flow(entrypoint: str) -> Flow[..., Any]:
    """The function that an entrypoint names as a flow, be it one already or not; raises MissingFlowError."""
    from riverrun.entrypoints import flow_of_function

    return flow_of_function(entrypoint)


def select_flow(
    flows: Iterable[Flow[P, R]], flow_name: str | None = None, from_message: str | None = None
) -> Flow[P, R]:
    """The only flow, or that of a name; raises MissingFlowError or UnspecifiedFlowError. `from_message` tells where from."""
    from riverrun.base.errors import MissingFlowError, UnspecifiedFlowError

    named = {each.name: each for each in flows}
    where = f" {from_message}" if from_message else ""
    if not named:
        raise MissingFlowError(f"No flows found{where}.")
    if flow_name is not None:
        if flow_name not in named:
            raise MissingFlowError(f"Flow {flow_name!r} not found{where}. Found: {', '.join(map(repr, named))}.")
        return named[flow_name]
    if len(named) > 1:
        raise UnspecifiedFlowError(
            f"Found {len(named)} flows{where}: {', '.join(map(repr, named))}. Say which is meant."
        )
    return next(iter(named.values()))


@overload
def flow(__fn: Callable[P, R]) -> Flow[P, R]: ...


@overload
def flow(__fn: None = None, **options: Any) -> Callable[[Callable[P, R]], Flow[P, R]]: ...


def flow(__fn: Any = None, **options: Any) -> Any:
    """Make a flow of a function: `@flow`, or `@flow(retries=3, ...)` with the options of `Flow`."""
    if __fn is None:
        return lambda fn: Flow(fn, **options)
    return Flow(__fn, **options)
