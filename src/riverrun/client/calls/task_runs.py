"""Calls about task runs, their states and their workers."""

from typing import Any

from riverrun.client.call import Call, Id, at, delete, get, patch, post
from riverrun.client.calls.answers import OrchestrationResult
from riverrun.wire.requests import (
    TaskRunsFilterBody,
    TaskRunsSetStateBody,
)
from riverrun.wire.runs import TaskRun
from riverrun.wire.states import BaseState
from riverrun.wire.task_runs import TaskRunCreate, TaskRunUpdate
from riverrun.wire.transitions import StateCreate


def _noun(task_run_id: Id) -> str:
    return f"Task run {task_run_id}:"


def create_task_run(task_run: TaskRunCreate) -> Call[TaskRun]:
    """Make a task run, or get the one that has the same flow run, task key and dynamic key."""
    return post(at("task_runs", ""), task_run, TaskRun)


def read_task_run(task_run_id: Id) -> Call[TaskRun]:
    return get(at("task_runs", task_run_id), TaskRun, noun=_noun(task_run_id))


def read_task_runs(body: TaskRunsFilterBody | None = None) -> Call[list[TaskRun]]:
    return post(at("task_runs", "filter"), body or TaskRunsFilterBody(), list[TaskRun])


def update_task_run(task_run_id: Id, task_run: TaskRunUpdate) -> Call[None]:
    return patch(at("task_runs", task_run_id), task_run, noun=_noun(task_run_id))


def delete_task_run(task_run_id: Id) -> Call[None]:
    return delete(at("task_runs", task_run_id), noun=_noun(task_run_id))


def set_task_run_state(task_run_id: Id, state: StateCreate, force: bool = False) -> Call[OrchestrationResult[Any]]:
    """Propose a state; as `set_flow_run_state`."""
    body = TaskRunsSetStateBody(state=state, force=force)
    return post(at("task_runs", task_run_id, "set_state"), body, OrchestrationResult, noun=_noun(task_run_id))


def read_task_run_states(task_run_id: Id) -> Call[list[BaseState]]:
    """The states of the run, oldest first."""
    return get(at("task_run_states", ""), list[BaseState], query={"task_run_id": task_run_id})
