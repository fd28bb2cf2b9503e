"""Loggers that know the run they speak for.

`riverrun.flow_runs` and `riverrun.task_runs` carry the lines of runs; an adapter adds the ids and names of the run to every
record. Nothing here waits or reads a store.
"""

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from riverrun.base.errors import MissingContextError
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.logging.configuration import ROOT, ensure_logging_setup
from riverrun.logging.formatters import FLOW_RUNS, TASK_RUNS, UNKNOWN
from riverrun.logging.prints import patch_print, print_as_log
from riverrun.wire.journal import FLOW_RUN, TASK_RUN

if TYPE_CHECKING:
    from riverrun.flows import Flow
    from riverrun.tasks import Task
    from riverrun.wire.runs import FlowRun, TaskRun

__all__ = [
    "LogEavesdropper",
    "RunLogAdapter",
    "disable_logger",
    "disable_run_logger",
    "engine_logger",
    "flow_run_logger",
    "get_logger",
    "get_run_logger",
    "is_enabled",
    "patch_print",
    "print_as_log",
    "task_run_logger",
]

_flow_runs = logging.getLogger(FLOW_RUNS)
_task_runs = logging.getLogger(TASK_RUNS)
#: switched off by `disable_run_logger`, under the peer's names
_SWITCHES = (f"{ROOT}.flow_run", f"{ROOT}.task_run")
_switch = logging.getLogger(_SWITCHES[0])


class RunLogAdapter(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records carry `extra`; what a call passes as `extra` is added and wins."""

    def __init__(self, logger: logging.Logger, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(logger, extra)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        added = kwargs.get("extra")
        kwargs["extra"] = {**(self.extra or {}), **added} if added else self.extra
        return msg, kwargs

    def getChild(self, suffix: str, extra: Mapping[str, object] | None = None) -> "RunLogAdapter":  # noqa: N802
        """A logger below this one, with more `extra`."""
        return RunLogAdapter(self.logger.getChild(suffix), {**(self.extra or {}), **(extra or {})})


#: the peer's name
PrefectLogAdapter = RunLogAdapter


def get_logger(name: str | None = None) -> logging.Logger:
    """The logger `riverrun` or one below it. For lines of a run use `get_run_logger`."""
    ensure_logging_setup()
    if not name:
        return logging.getLogger(ROOT)
    return logging.getLogger(name if name == ROOT or name.startswith(f"{ROOT}.") else f"{ROOT}.{name}")


def get_run_logger(
    context: FlowRunContext | TaskRunContext | None = None, **kwargs: Any
) -> logging.Logger | RunLogAdapter:
    """The logger of the innermost run, or of `context`; `kwargs` become attributes of its records.

    Raises MissingContextError outside of runs. Inside `disable_run_logger()` a logger that nobody listens to is given.
    """
    flow_context = FlowRunContext.get()
    task_context = TaskRunContext.get()
    if isinstance(context, FlowRunContext):
        flow_context, task_context = context, None
    elif isinstance(context, TaskRunContext):
        task_context = context
    elif context is not None:
        raise TypeError(
            f"Received unexpected type {type(context).__name__!r} for context. Give a FlowRunContext, a TaskRunContext,"
            " or None for the current run."
        )
    if task_context is not None:
        return task_run_logger(
            task_context.task_run,
            task=task_context.task,
            flow_run=flow_context.flow_run if flow_context is not None else None,
            flow=flow_context.flow if flow_context is not None else None,
            **kwargs,
        )
    if flow_context is not None and flow_context.flow_run is not None:
        return flow_run_logger(flow_context.flow_run, flow_context.flow, **kwargs)
    if _switch.disabled:
        return logging.getLogger("null")
    raise MissingContextError(
        "There is no active flow or task run context: get_run_logger() works inside functions decorated with @flow or"
        " @task while they run. Elsewhere use riverrun.logging.get_logger(), or disable_run_logger() around a test that"
        " calls a function's .fn."
    )


def flow_run_logger(
    flow_run: "FlowRun | None" = None,
    flow: "Flow[..., Any] | None" = None,
    flow_run_id: UUID | None = None,
    **kwargs: Any,
) -> RunLogAdapter:
    """A logger for the lines of a flow run, which need not be the current one. Give the run or its id."""
    ensure_logging_setup()
    run_id = flow_run.id if flow_run is not None else flow_run_id
    extra = {
        "flow_run_name": flow_run.name if flow_run is not None else UNKNOWN,
        "flow_run_id": str(run_id) if run_id is not None else UNKNOWN,
        "flow_name": flow.name if flow is not None else UNKNOWN,
        "deployment_name": None,
        **kwargs,
    }
    return RunLogAdapter(_flow_runs, extra)


def task_run_logger(
    task_run: "TaskRun",
    task: "Task[..., Any] | None" = None,
    flow_run: "FlowRun | None" = None,
    flow: "Flow[..., Any] | None" = None,
    **kwargs: Any,
) -> RunLogAdapter:
    """A logger for the lines of a task run, which need not be the current one."""
    ensure_logging_setup()
    if flow is None or flow_run is None:
        context = FlowRunContext.get()
        if context is not None and context.flow_run is not None and context.flow_run.id == task_run.flow_run_id:
            flow = flow or context.flow
            flow_run = flow_run or context.flow_run
    extra = {
        "task_run_id": str(task_run.id),
        "flow_run_id": str(task_run.flow_run_id) if task_run.flow_run_id is not None else None,
        "task_run_name": task_run.name,
        "task_name": task.name if task is not None else UNKNOWN,
        "flow_run_name": flow_run.name if flow_run is not None else UNKNOWN,
        "flow_name": flow.name if flow is not None else UNKNOWN,
        **kwargs,
    }
    return RunLogAdapter(_task_runs, extra)


def engine_logger(kind: int) -> logging.Logger:
    """The bare logger of flow runs or task runs (`wire.journal.FLOW_RUN`, `TASK_RUN`), set up."""
    ensure_logging_setup()
    return _flow_runs if kind == FLOW_RUN else _task_runs


def is_enabled(level: int, kind: int = TASK_RUN) -> bool:
    """Whether a line of a run at `level` would be handled: asked before an adapter or a message is made."""
    return (_flow_runs if kind == FLOW_RUN else _task_runs).isEnabledFor(level)


@contextmanager
def disable_logger(name: str) -> Iterator[None]:
    """Silence a logger inside the block."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def disable_run_logger() -> Iterator[None]:
    """Let `get_run_logger` work outside of runs inside the block, for tests that call a flow's or task's `.fn`."""
    with disable_logger(_SWITCHES[0]), disable_logger(_SWITCHES[1]):
        yield


class LogEavesdropper(logging.Handler):
    """Collects what a logger says inside a `with` block; `text()` gives it, a line each."""

    def __init__(self, eavesdrop_on: str, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.eavesdrop_on = eavesdrop_on
        self._target = logging.getLogger(eavesdrop_on)
        self._before = self._target.level
        self._buffer = StringIO()
        self.setFormatter(logging.Formatter("[%(levelname)s]: %(message)s"))

    def __enter__(self) -> Self:
        self._before = self._target.level
        self._target.addHandler(self)
        self._target.setLevel(self.level)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._target.removeHandler(self)
        self._target.setLevel(self._before)

    def emit(self, record: logging.LogRecord) -> None:
        self._buffer.write(self.format(record) + "\n")

    def text(self) -> str:
        return self._buffer.getvalue().rstrip("\n")
