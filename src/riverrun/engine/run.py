"""Starting lives: the outermost run guards the signals and leaves a flushed journal behind."""

from typing import TYPE_CHECKING, Any

from riverrun.client import journal
from riverrun.engine.drive import adrive, drive
from riverrun.engine.interrupts import gate, guard, in_main_thread
from riverrun.engine.task_run import TaskRunLife

if TYPE_CHECKING:
    from riverrun.engine.flow_run import FlowRunLife
    from riverrun.tasks import Task


def run_task(life: TaskRunLife, return_state: bool) -> Any:
    """Run a sync task that is the outermost run of the main thread; others are driven by `Task.__call__` itself."""
    journal.follow_settings()
    with guard():
        drive(life)
        return life.outcome(return_state)


async def arun_task(
    task: "Task[Any, Any]",
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    parameters: dict[str, Any],
    wait_for: Any,
    return_state: bool,
) -> Any:
    """Run an async task on the running loop; the run comes into being when this is awaited."""
    life = TaskRunLife(task, args, kwargs, parameters, wait_for)
    life.open()
    if gate.depth or not in_main_thread():
        await adrive(life)
        return life.outcome(return_state)
    journal.follow_settings()
    with guard(asynchronous=True):
        await adrive(life)
        return life.outcome(return_state)


def run_flow(life: "FlowRunLife", return_state: bool) -> Any:
    """Run a sync flow in the current thread."""
    if life.outermost:
        journal.follow_settings()
    with guard():
        try:
            drive(life)
        finally:
            if life.outermost:
                journal.flush()
        return life.outcome(return_state)


async def arun_flow(life: "FlowRunLife", return_state: bool) -> Any:
    """Run an async flow on the running loop."""
    if life.outermost:
        journal.follow_settings()
    with guard(asynchronous=True):
        try:
            await adrive(life)
        finally:
            if life.outermost:
                journal.flush()
        return life.outcome(return_state)
