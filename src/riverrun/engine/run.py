"""Starting lives: the outermost run guards the signals and leaves a flushed journal behind."""

from typing import TYPE_CHECKING

from riverrun.base.interrupts import ends_process, gate, guard, in_main_thread
from riverrun.client import journal
from riverrun.engine.drive import adrive, drive
from riverrun.engine.task_run import TaskRunLife

if TYPE_CHECKING:
    from riverrun.engine.flow_run import FlowRunLife


def run_task(life: TaskRunLife) -> None:
    """Drive a sync task that is the outermost run of the main thread; others are driven by `Task.__call__` itself."""
    journal.follow_settings()
    with guard():
        drive(life)
        _hand_on(life)


async def arun_task(life: TaskRunLife) -> None:
    """Drive an async task on the running loop."""
    if life.flow_context is not None or not in_main_thread():
        await adrive(life)
        return
    if not gate.depth:
        journal.follow_settings()
    with guard(asynchronous=True):
        await adrive(life)
        _hand_on(life)


def run_flow(life: "FlowRunLife") -> None:
    """Drive a sync flow in the current thread."""
    if life.outermost:
        journal.follow_settings()
    with guard():
        try:
            drive(life)
        finally:
            if life.outermost:
                journal.flush()
        _hand_on(life)


async def arun_flow(life: "FlowRunLife") -> None:
    """Drive an async flow on the running loop."""
    if life.outermost:
        journal.follow_settings()
    with guard(asynchronous=True):
        try:
            await adrive(life)
        finally:
            if life.outermost:
                journal.flush()
        _hand_on(life)


def _hand_on(life: "TaskRunLife | FlowRunLife") -> None:
    """A SIGTERM that ended the run is raised inside the guard, which hands it on to the handler before ours."""
    interrupt = life.interrupt
    if interrupt is not None and ends_process(interrupt):
        journal.close()  # the process may die of it without a further word
        raise interrupt
