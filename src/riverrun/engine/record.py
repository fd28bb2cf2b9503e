"""What the engine writes down: runs and the states they enter, into the journal and onto the run objects in memory.

Appending to the journal is a memory copy, so nothing here waits. Every state that a run enters in this process goes through
`enter`; nobody else writes `run.state`.
"""

import os
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from riverrun.base.clock import EPOCH, now, to_micros
from riverrun.base.ids import uuid7, uuid7_int
from riverrun.client import journal
from riverrun.rules import bookkeeping
from riverrun.wire.journal import FLOW_RUN, TASK_RUN, FlowRunRecord, RunUpdateRecord, StateRecord, TaskRunRecord
from riverrun.wire.runs import FlowRun, RunInput, RunPolicy, TaskRun
from riverrun.wire.states import DEFAULT_NAMES, TYPE_CODES, BaseState, StateDetails

if TYPE_CHECKING:
    from riverrun.context import FlowRunContext
    from riverrun.tasks import Task

#: {parameter: [(input_type, 16-byte id or None, name or type or None)]}
Inputs = dict[str, list[tuple[str, bytes | None, str | None]]]

_TICK = timedelta(microseconds=1)
_PLAIN = StateDetails()
_process_tag = ""


def _tag_child() -> None:
    """Two processes that share a run by fork must not number the calls of a task alike."""
    global _process_tag
    _process_tag = f"{uuid7_int() & 0xFFFFFF:06x}-"


os.register_at_fork(after_in_child=_tag_child)


def next_dynamic_key(context: "FlowRunContext", task_key: str) -> str:
    """The key that tells this call of a task from its others in the flow run: 0, 1, 2 ..."""
    counter = context._keys.get(task_key)
    if counter is None:
        # setdefault, so that two threads that come here together count on one counter
        counter = context._keys.setdefault(task_key, count())
    return f"{_process_tag}{next(counter)}"


def new_task_run(
    task: "Task[Any, Any]",
    context: "FlowRunContext | None",
    tags: set[str],
    inputs: Inputs,
) -> TaskRun:
    """A task run, not yet recorded: the life writes it with its first states."""
    run_id = uuid7()
    flow_run = None if context is None else context.flow_run
    if context is None or flow_run is None:
        dynamic_key = run_id.hex
        name = task.name
    else:
        dynamic_key = next_dynamic_key(context, task.task_key)
        name = f"{task.name}-{dynamic_key}"
    run = TaskRun(
        id=run_id,
        name=name,
        flow_run_id=None if flow_run is None else flow_run.id,
        task_key=task.task_key,
        dynamic_key=dynamic_key,
        task_version=task.version,
        tags=sorted(task.tags | tags) if (tags or task.tags) else [],
        created=now(),
        empirical_policy=task.policy(),
        flow_run_run_count=0 if flow_run is None else flow_run.run_count,
    )
    if inputs:
        run.task_inputs = {name: [_run_input(*item) for item in items] for name, items in inputs.items()}
    return run


def _run_input(kind: str, run_id: bytes | None, name: str | None) -> RunInput:
    if run_id is not None:
        return RunInput(kind, id=UUID(bytes=run_id))  # type: ignore[arg-type]
    if kind == "constant":
        return RunInput("constant", type=name)
    return RunInput(kind, name=name)  # type: ignore[arg-type]


def task_run_record(run: TaskRun, inputs: Inputs) -> TaskRunRecord:
    """The journal's record of a task run that came into being."""
    policy: RunPolicy = run.empirical_policy
    flow_run_id = run.flow_run_id
    return TaskRunRecord(
        run.id.bytes,
        None if flow_run_id is None else flow_run_id.bytes,
        run.task_key,
        run.dynamic_key,
        run.name,
        (run.created - EPOCH) // _TICK,  # type: ignore[operator]
        run.task_version,
        run.tags,
        policy.retries or 0,
        policy.retry_delay or 0.0,
        policy.retry_jitter_factor,
        inputs,
        run.flow_run_run_count,
    )


def flow_run_record(run: FlowRun, flow_name: str, parameters: bytes) -> FlowRunRecord:
    """The journal's record of a flow run that came into being; `parameters` is a JSON document."""
    policy: RunPolicy = run.empirical_policy
    delay = policy.retry_delay or 0.0
    return FlowRunRecord(
        id=run.id.bytes,
        flow_name=flow_name,
        name=run.name,
        created=to_micros(run.created or now()),
        flow_version=run.flow_version,
        parameters=parameters,
        tags=run.tags,
        parent_task_run_id=None if run.parent_task_run_id is None else run.parent_task_run_id.bytes,
        retries=policy.retries or 0,
        retry_delay=float(delay if isinstance(delay, int | float) else delay[0]),
        deployment_id=None if run.deployment_id is None else run.deployment_id.bytes,
    )


def move(run: TaskRun | FlowRun, state: BaseState) -> StateRecord:
    """Let `run` enter `state` in memory and give the record of it, not yet in the journal."""
    kind = state.type
    details = state.state_details
    is_task = run.__class__ is TaskRun
    extras = None if details == _PLAIN else _details(details)
    # by type: values of users may have an attribute of that name, or raise when asked for one
    stored = getattr(type(state.data), "holds_metadata", False) is True
    where = state.data.metadata.model_dump(mode="json") if stored else None
    state.timestamp = bookkeeping.enter(run, kind, state.timestamp, details.scheduled_time, _TICK)
    run.state = state
    run.state_id = state.id
    run.state_name = name = state.name
    if is_task:
        details.task_run_id = run.id
        details.flow_run_id = run.flow_run_id  # type: ignore[union-attr]
    else:
        details.flow_run_id = run.id
    return StateRecord(
        TASK_RUN if is_task else FLOW_RUN,
        run.id.bytes,
        state.id.bytes,
        TYPE_CODES[kind],
        (state.timestamp - EPOCH) // _TICK,
        None if name == DEFAULT_NAMES[kind] else name,
        state.message,
        extras,
        where,
    )


def enter(run: TaskRun | FlowRun, state: BaseState) -> None:
    """Let `run` enter `state`, in memory and in the journal."""
    journal.append(move(run, state))


def update(run: TaskRun | FlowRun, **fields: Any) -> None:
    """Record changed fields of a run that exists already (name, cache_key, parameters ...)."""
    for name, value in fields.items():
        if hasattr(run, name):
            setattr(run, name, value)
    kind = TASK_RUN if isinstance(run, TaskRun) else FLOW_RUN
    journal.append(RunUpdateRecord(kind, run.id.bytes, fields))


def _details(details: StateDetails) -> dict[str, Any] | None:
    """The details that are set, without the ids of the run, which the record names anyway."""
    fields: dict[str, Any] = msgspec.to_builtins(details)
    fields.pop("flow_run_id", None)
    fields.pop("task_run_id", None)
    return fields or None
