"""What the clients do with flows, runs, their states, inputs and logs: functions that give calls or talks."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from riverrun.base.errors import InputError
from riverrun.base.ids import uuid7
from riverrun.client.call import Call, Id, Raw
from riverrun.client.calls import flow_runs, flows, logs, task_runs
from riverrun.client.calls.answers import OrchestrationResult
from riverrun.client.orchestration.operation import operation
from riverrun.client.talk import Talk, ask
from riverrun.wire.filters import (
    DeploymentFilter,
    FlowFilter,
    FlowRunFilter,
    LogFilter,
    TaskRunFilter,
    WorkPoolFilter,
    WorkQueueFilter,
)
from riverrun.wire.flow_runs import FlowCreate, FlowRunCreate, FlowRunPolicy, FlowRunUpdate
from riverrun.wire.logs import Log
from riverrun.wire.requests import (
    FlowRunsCountBody,
    FlowRunsFilterBody,
    FlowsFilterBody,
    LogsFilterBody,
    TaskRunsFilterBody,
)
from riverrun.wire.runs import Flow, FlowRun, RunInput, TaskRun
from riverrun.wire.states import BaseState, StateType
from riverrun.wire.task_runs import TaskRunCreate, TaskRunPolicy, TaskRunUpdate
from riverrun.wire.transitions import StateCreate

if TYPE_CHECKING:
    import httpx


def raw(call: Call[Any]) -> "Call[httpx.Response]":
    """The call, answered by the HTTP response itself."""
    return msgspec.structs.replace(call, returns=Raw)


def proposal(state: BaseState, **details: Any) -> StateCreate:
    """The state as it is proposed: under a transition id of its own, with where its result lies but not the result."""
    data = getattr(state.data, "metadata", state.data)  # a record of a result has metadata, and may be both
    dump = getattr(data, "model_dump", None)
    stored = dump(mode="json") if dump is not None and hasattr(data, "storage_key") else None
    if isinstance(data, Mapping):
        stored = data
    told = {"transition_id": uuid7(), **details}
    return StateCreate(
        type=state.type,
        name=state.name,
        message=state.message,
        data=stored,
        state_details=msgspec.structs.replace(state.state_details, **told),
    )


# -- flows ----------------------------------------------------------------------------------------------------------------


def create_flow(flow: Any) -> Talk[UUID]:
    """The id of the flow's entry on the server, which is made if it is not there."""
    return create_flow_from_name(flow.name)


def create_flow_from_name(flow_name: str) -> Talk[UUID]:
    """The id of the flow of this name, which is made if it is not there."""
    return (yield from ask(flows.create_flow(FlowCreate(name=flow_name)))).id


def read_flows(
    *,
    flow_filter: FlowFilter | None = None,
    flow_run_filter: FlowRunFilter | None = None,
    task_run_filter: TaskRunFilter | None = None,
    deployment_filter: DeploymentFilter | None = None,
    work_pool_filter: WorkPoolFilter | None = None,
    work_queue_filter: WorkQueueFilter | None = None,
    sort: Any = None,
    limit: int | None = None,
    offset: int = 0,
) -> Call[list[Flow]]:
    """The flows that pass all filters."""
    if work_queue_filter is not None:
        raise InputError("Flows cannot be filtered by work queues; filter flow runs or deployments by them")
    return flows.read_flows(
        FlowsFilterBody(
            flows=flow_filter,
            flow_runs=flow_run_filter,
            task_runs=task_run_filter,
            deployments=deployment_filter,
            work_pools=work_pool_filter,
            sort=sort or "NAME_ASC",
            limit=limit,
            offset=offset,
        )
    )


# -- flow runs ------------------------------------------------------------------------------------------------------------


def create_flow_run(
    flow: Any,
    name: str | None = None,
    parameters: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    tags: Iterable[str] | None = None,
    parent_task_run_id: UUID | None = None,
    state: BaseState | None = None,
    work_pool_name: str | None = None,
    work_queue_name: str | None = None,
    job_variables: dict[str, Any] | None = None,
) -> Talk[FlowRun]:
    """Make a run of a flow (pending unless `state` says otherwise); nobody runs it by that."""
    flow_id = yield from create_flow(flow)
    body = FlowRunCreate(
        flow_id=flow_id,
        flow_version=flow.version,
        name=name,
        parameters=flow.serialize_parameters(parameters or {}),
        context=context or {},
        tags=list(tags or []),
        parent_task_run_id=parent_task_run_id,
        state=StateCreate(type=StateType.PENDING) if state is None else proposal(state),
        empirical_policy=FlowRunPolicy(retries=flow.retries, retry_delay=int(flow.retry_delay_seconds or 0)),
        work_pool_name=work_pool_name,
        work_queue_name=work_queue_name,
        job_variables=job_variables,
    )
    run = yield from ask(flow_runs.create_flow_run(body))
    run.parameters = {} if parameters is None else parameters  # as they are, not as they travel
    return run


def read_flow_runs(
    *,
    flow_filter: FlowFilter | None = None,
    flow_run_filter: FlowRunFilter | None = None,
    task_run_filter: TaskRunFilter | None = None,
    deployment_filter: DeploymentFilter | None = None,
    work_pool_filter: WorkPoolFilter | None = None,
    work_queue_filter: WorkQueueFilter | None = None,
    sort: Any = None,
    limit: int | None = None,
    offset: int = 0,
) -> Call[list[FlowRun]]:
    """The flow runs that pass all filters: at most `limit` (and never more than the server's bound) from `offset` on."""
    return flow_runs.read_flow_runs(
        FlowRunsFilterBody(
            flows=flow_filter,
            flow_runs=flow_run_filter,
            task_runs=task_run_filter,
            deployments=deployment_filter,
            work_pools=work_pool_filter,
            work_pool_queues=work_queue_filter,
            sort=sort or "ID_DESC",
            limit=limit,
            offset=offset,
        )
    )


def count_flow_runs(
    *,
    flow_filter: FlowFilter | None = None,
    flow_run_filter: FlowRunFilter | None = None,
    task_run_filter: TaskRunFilter | None = None,
    deployment_filter: DeploymentFilter | None = None,
    work_pool_filter: WorkPoolFilter | None = None,
    work_queue_filter: WorkQueueFilter | None = None,
) -> Call[int]:
    """How many flow runs pass all filters."""
    return flow_runs.count_flow_runs(
        FlowRunsCountBody(
            flows=flow_filter,
            flow_runs=flow_run_filter,
            task_runs=task_run_filter,
            deployments=deployment_filter,
            work_pools=work_pool_filter,
            work_pool_queues=work_queue_filter,
        )
    )


def update_flow_run(
    flow_run_id: Id,
    flow_version: str | None = None,
    parameters: dict[str, Any] | None = None,
    name: str | None = None,
    tags: Iterable[str] | None = None,
    empirical_policy: Any = None,
    infrastructure_pid: str | None = None,
    job_variables: dict[str, Any] | None = None,
) -> "Call[httpx.Response]":
    """Change what is given; None leaves things as they are."""
    body = FlowRunUpdate(
        name=_given(name),
        flow_version=_given(flow_version),
        parameters=_given(parameters),
        empirical_policy=_given(empirical_policy),
        tags=UNSET if tags is None else list(tags),
        infrastructure_pid=_given(infrastructure_pid),
        job_variables=_given(job_variables),
    )
    return raw(flow_runs.update_flow_run(flow_run_id, body))


def _given(value: Any) -> Any:
    return UNSET if value is None else value


def set_flow_run_name(flow_run_id: Id, name: str) -> "Call[httpx.Response]":
    return update_flow_run(flow_run_id, name=name)


def set_flow_run_state(flow_run_id: Id, state: BaseState, force: bool = False) -> Call[OrchestrationResult[Any]]:
    """Propose a state; the answer tells what became of it. `force` leaves out the rules."""
    state_create = proposal(state, flow_run_id=_uuid(flow_run_id))
    return flow_runs.set_flow_run_state(flow_run_id, state_create, force)


def _uuid(given: Id) -> UUID:
    try:
        return given if isinstance(given, UUID) else UUID(given)
    except ValueError:
        raise InputError(f"{given!r} is not the id of a run") from None


def read_flow_run_input(flow_run_id: Id, key: str) -> Talk[str]:
    """The JSON text that was left under a key of the run."""
    return (yield from ask(flow_runs.read_flow_run_input(flow_run_id, key))).content.decode()  # type: ignore[no-any-return]


# -- task runs ------------------------------------------------------------------------------------------------------------


def create_task_run(
    task: Any,
    flow_run_id: UUID | None,
    dynamic_key: str,
    id: UUID | None = None,
    name: str | None = None,
    extra_tags: Iterable[str] | None = None,
    state: BaseState | None = None,
    task_inputs: dict[str, list[RunInput]] | None = None,
) -> Call[TaskRun]:
    """Make a run of a task (pending unless `state` says otherwise); nobody runs it by that."""
    body = TaskRunCreate(
        id=id,
        name=name,
        flow_run_id=flow_run_id,
        task_key=task.task_key,
        dynamic_key=str(dynamic_key),
        tags=sorted({*task.tags, *(extra_tags or ())}),
        task_version=task.version,
        empirical_policy=TaskRunPolicy(
            retries=task.retries,
            retry_delay=task.retry_delay_seconds,
            retry_jitter_factor=task.retry_jitter_factor,
        ),
        state=StateCreate(type=StateType.PENDING) if state is None else proposal(state),
        task_inputs=task_inputs or {},
    )
    return task_runs.create_task_run(body)


def read_task_runs(
    *,
    flow_filter: FlowFilter | None = None,
    flow_run_filter: FlowRunFilter | None = None,
    task_run_filter: TaskRunFilter | None = None,
    deployment_filter: DeploymentFilter | None = None,
    sort: Any = None,
    limit: int | None = None,
    offset: int = 0,
) -> Call[list[TaskRun]]:
    """The task runs that pass all filters."""
    return task_runs.read_task_runs(
        TaskRunsFilterBody(
            flows=flow_filter,
            flow_runs=flow_run_filter,
            task_runs=task_run_filter,
            deployments=deployment_filter,
            sort=sort or "ID_DESC",
            limit=limit,
            offset=offset,
        )
    )


def set_task_run_name(task_run_id: Id, name: str) -> "Call[httpx.Response]":
    return raw(task_runs.update_task_run(task_run_id, TaskRunUpdate(name=name)))


def set_task_run_state(task_run_id: Id, state: BaseState, force: bool = False) -> Call[OrchestrationResult[Any]]:
    """Propose a state; as `set_flow_run_state`."""
    return task_runs.set_task_run_state(task_run_id, proposal(state, task_run_id=_uuid(task_run_id)), force)


def read_logs(
    log_filter: LogFilter | None = None, limit: int | None = None, offset: int | None = None, sort: Any = None
) -> Call[list[Log]]:
    """The log lines that pass the filter, oldest first."""
    return logs.read_logs(
        LogsFilterBody(logs=log_filter, limit=limit, offset=offset or 0, sort=sort or "TIMESTAMP_ASC")
    )


class RunOperations:
    """The clients' methods about flows, runs and logs."""

    create_flow = operation(create_flow)
    create_flow_from_name = operation(create_flow_from_name)
    read_flow = operation(flows.read_flow)
    read_flow_by_name = operation(flows.read_flow_by_name)
    read_flows = operation(read_flows)
    delete_flow = operation(flows.delete_flow)

    create_flow_run = operation(create_flow_run)
    read_flow_run = operation(flow_runs.read_flow_run)
    read_flow_runs = operation(read_flow_runs)
    count_flow_runs = operation(count_flow_runs)
    update_flow_run = operation(update_flow_run)
    update_flow_run_labels = operation(flow_runs.update_flow_run_labels)
    set_flow_run_name = operation(set_flow_run_name)
    delete_flow_run = operation(flow_runs.delete_flow_run)
    set_flow_run_state = operation(set_flow_run_state)
    resume_flow_run = operation(flow_runs.resume_flow_run)
    read_flow_run_states = operation(flow_runs.read_flow_run_states)
    read_flow_run_state = operation(flow_runs.read_flow_run_state)
    create_flow_run_input = operation(flow_runs.create_flow_run_input)
    filter_flow_run_input = operation(flow_runs.filter_flow_run_input)
    read_flow_run_input = operation(read_flow_run_input)
    delete_flow_run_input = operation(flow_runs.delete_flow_run_input)

    create_task_run = operation(create_task_run)
    read_task_run = operation(task_runs.read_task_run)
    read_task_runs = operation(read_task_runs)
    set_task_run_name = operation(set_task_run_name)
    delete_task_run = operation(task_runs.delete_task_run)
    set_task_run_state = operation(set_task_run_state)
    read_task_run_states = operation(task_runs.read_task_run_states)

    create_logs = operation(logs.create_logs)
    read_logs = operation(read_logs)
