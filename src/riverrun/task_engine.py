"""Running a task by hand, under the names that the peer's users know: a run with a given id, parameters or context.

Calling the task does the same and more simply. What happens in a run stands in `riverrun.engine.task_run`.
"""

from collections.abc import AsyncGenerator, Generator, Iterable
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from riverrun.base.errors import TaskRunTimeoutError
from riverrun.base.interrupts import gate, in_main_thread
from riverrun.client import journal
from riverrun.context import hydrated_context
from riverrun.engine import record
from riverrun.engine import run as engine
from riverrun.engine.drive import drive
from riverrun.engine.streams import astream, refuse_return_state, stream
from riverrun.engine.task_run import TaskRunLife
from riverrun.wire.runs import RunInput, TaskRun

if TYPE_CHECKING:
    from riverrun.tasks import Task

__all__ = [
    "TaskRunTimeoutError",
    "run_generator_task_async",
    "run_generator_task_sync",
    "run_task",
    "run_task_async",
    "run_task_sync",
]

ReturnType = Literal["state", "result"]


def run_task(
    task: "Task[Any, Any]",
    task_run_id: UUID | None = None,
    task_run: TaskRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    dependencies: dict[str, set[RunInput]] | None = None,
    context: dict[str, Any] | None = None,
) -> Any:
    """Run a task: its result or, with `return_type="state"`, its final state; for a generator task, a generator.

    An async task gives an awaitable (an async generator). `task_run_id` is the id of a new run, `task_run` a run to be
    run again. `dependencies` are runs that parameters came from where the parameters do not tell. `context` is what
    `riverrun.context.serialize_context` gave. Raises what the task raises.
    """
    options = (task, task_run_id, task_run, parameters, wait_for, return_type, dependencies)
    if task.isgenerator:
        if context:
            raise ValueError(
                f"Task {task.name!r} is a generator: it runs in its consumer's context, none can be given."
            )
        return run_generator_task_async(*options) if task.isasync else run_generator_task_sync(*options)
    return (run_task_async if task.isasync else run_task_sync)(*options, context)


def run_task_sync(
    task: "Task[Any, Any]",
    task_run_id: UUID | None = None,
    task_run: TaskRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    dependencies: dict[str, set[RunInput]] | None = None,
    context: dict[str, Any] | None = None,
) -> Any:
    """As `run_task`, for a task that is neither async nor a generator."""
    with hydrated_context(context):
        life = _life(task, task_run_id, task_run, parameters, wait_for, dependencies)
        if gate.depth or not in_main_thread():
            drive(life)
        else:
            engine.run_task(life)
    error, value = life.verdict(return_type == "state")
    if error is not None:
        raise error
    return value


async def run_task_async(
    task: "Task[Any, Any]",
    task_run_id: UUID | None = None,
    task_run: TaskRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    dependencies: dict[str, set[RunInput]] | None = None,
    context: dict[str, Any] | None = None,
) -> Any:
    """As `run_task`, for an async task that is no generator."""
    with hydrated_context(context):
        life = _life(task, task_run_id, task_run, parameters, wait_for, dependencies)
        await engine.arun_task(life)
    error, value = life.verdict(return_type == "state")
    if error is not None:
        raise error
    return value


def run_generator_task_sync(
    task: "Task[Any, Any]",
    task_run_id: UUID | None = None,
    task_run: TaskRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    dependencies: dict[str, set[RunInput]] | None = None,
) -> Generator[Any, Any, Any]:
    """As `run_task`, for a generator task that is not async."""
    _refuse_state(task, return_type)
    return (yield from stream(lambda: _life(task, task_run_id, task_run, parameters, wait_for, dependencies)))


async def run_generator_task_async(
    task: "Task[Any, Any]",
    task_run_id: UUID | None = None,
    task_run: TaskRun | None = None,
    parameters: dict[str, Any] | None = None,
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    dependencies: dict[str, set[RunInput]] | None = None,
) -> AsyncGenerator[Any, Any]:
    """As `run_task`, for an async generator task."""
    _refuse_state(task, return_type)
    async for item in astream(lambda: _life(task, task_run_id, task_run, parameters, wait_for, dependencies)):
        yield item


def _refuse_state(task: "Task[Any, Any]", return_type: ReturnType) -> None:
    if return_type != "result":
        refuse_return_state(f"Task {task.name!r}")


def _life(
    task: "Task[Any, Any]",
    task_run_id: UUID | None,
    task_run: TaskRun | None,
    parameters: dict[str, Any] | None,
    wait_for: Iterable[Any] | None,
    dependencies: dict[str, set[RunInput]] | None,
) -> TaskRunLife:
    """The life of the call, on record."""
    complete = task.signature.complete(parameters or {})
    args, kwargs = task.signature.split(complete)
    life = TaskRunLife(task, args, kwargs, complete, wait_for, origins=dependencies)
    if task_run is not None:
        life.run = task_run
    elif task_run_id is not None:
        life.run.id = task_run_id
    if life.run.state is not None:  # it is on record already: only that it is Pending once more is news
        journal.append(record.move(life.run, life.state))
    else:
        life.open()
    return life
