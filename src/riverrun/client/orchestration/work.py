"""What the clients do with deployments, work pools, queues and workers."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from riverrun.base.errors import InputError, ObjectAlreadyExists
from riverrun.client.call import Call, Id
from riverrun.client.calls import deployments, work
from riverrun.client.orchestration.operation import operation
from riverrun.client.orchestration.runs import proposal
from riverrun.client.talk import Talk, ask
from riverrun.wire.deployments import (
    ConcurrencyOptions,
    DeploymentCreate,
    DeploymentFlowRunCreate,
    DeploymentResponse,
    DeploymentSchedule,
    DeploymentScheduleCreate,
    DeploymentScheduleUpdate,
    DeploymentUpdate,
    VersionInfo,
)
from riverrun.wire.filters import (
    DeploymentFilter,
    FlowFilter,
    FlowRunFilter,
    TaskRunFilter,
    WorkPoolFilter,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from riverrun.wire.requests import DeploymentsFilterBody
from riverrun.wire.runs import FlowRun
from riverrun.wire.schedules import Schedule
from riverrun.wire.states import BaseState
from riverrun.wire.work import (
    WorkPoolCreate,
    WorkPoolResponse,
    WorkPoolUpdate,
    WorkQueueCreate,
    WorkQueueResponse,
    WorkQueueUpdate,
)

_PAGE = 100


# -- deployments ----------------------------------------------------------------------------------------------------------


def create_deployment(
    flow_id: UUID,
    name: str,
    version: str | None = None,
    version_info: VersionInfo | None = None,
    schedules: list[DeploymentScheduleCreate] | None = None,
    concurrency_limit: int | None = None,
    concurrency_options: ConcurrencyOptions | None = None,
    parameters: dict[str, Any] | None = None,
    description: str | None = None,
    work_queue_name: str | None = None,
    work_pool_name: str | None = None,
    tags: list[str] | None = None,
    storage_document_id: UUID | None = None,
    path: str | None = None,
    entrypoint: str | None = None,
    infrastructure_document_id: UUID | None = None,
    parameter_openapi_schema: Any = None,
    paused: bool | None = None,
    pull_steps: list[dict[str, Any]] | None = None,
    enforce_parameter_schema: bool | None = None,
    job_variables: dict[str, Any] | None = None,
) -> Talk[UUID]:
    """Make a deployment, or change the flow's one of this name; its id."""
    if not isinstance(parameter_openapi_schema, dict | None):  # the SDK's own object of a schema
        parameter_openapi_schema = parameter_openapi_schema.model_dump()
    body = DeploymentCreate(
        flow_id=flow_id,
        name=name,
        version=version,
        version_info=version_info,
        schedules=schedules or [],
        concurrency_limit=concurrency_limit,
        concurrency_options=concurrency_options,
        parameters=parameters or {},
        description=description,
        work_queue_name=work_queue_name,
        work_pool_name=work_pool_name,
        tags=tags or [],
        storage_document_id=storage_document_id,
        path=path,
        entrypoint=entrypoint,
        infrastructure_document_id=infrastructure_document_id,
        parameter_openapi_schema=parameter_openapi_schema,
        paused=bool(paused),
        pull_steps=pull_steps,
        enforce_parameter_schema=enforce_parameter_schema is not False,
        job_variables=job_variables or {},
    )
    return (yield from ask(deployments.create_deployment(body))).id


def read_deployments(
    *,
    flow_filter: FlowFilter | None = None,
    flow_run_filter: FlowRunFilter | None = None,
    task_run_filter: TaskRunFilter | None = None,
    deployment_filter: DeploymentFilter | None = None,
    work_pool_filter: WorkPoolFilter | None = None,
    work_queue_filter: WorkQueueFilter | None = None,
    limit: int | None = None,
    sort: Any = None,
    offset: int = 0,
) -> Call[list[DeploymentResponse]]:
    """The deployments that pass all filters."""
    return deployments.read_deployments(
        DeploymentsFilterBody(
            flows=flow_filter,
            flow_runs=flow_run_filter,
            task_runs=task_run_filter,
            deployments=deployment_filter,
            work_pools=work_pool_filter,
            work_pool_queues=work_queue_filter,
            sort=sort or "NAME_ASC",
            limit=limit,
            offset=offset,
        )
    )


def update_deployment(deployment_id: Id, deployment: DeploymentUpdate) -> Call[None]:
    """Change the fields of the deployment that are set."""
    return deployments.update_deployment(deployment_id, deployment)


def set_deployment_paused_state(deployment_id: Id, paused: bool) -> Call[None]:
    return deployments.update_deployment(deployment_id, DeploymentUpdate(paused=paused))


def create_flow_run_from_deployment(
    deployment_id: Id,
    *,
    parameters: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    state: BaseState | None = None,
    name: str | None = None,
    tags: Iterable[str] | None = None,
    idempotency_key: str | None = None,
    parent_task_run_id: UUID | None = None,
    work_queue_name: str | None = None,
    job_variables: dict[str, Any] | None = None,
    labels: dict[str, Any] | None = None,
) -> Call[FlowRun]:
    """Have the deployment run: now, or when `state` (a Scheduled one) says."""
    body = DeploymentFlowRunCreate(
        parameters=parameters or {},
        context=context or {},
        state=None if state is None else proposal(state),
        name=name,
        tags=list(tags or []),
        idempotency_key=idempotency_key,
        parent_task_run_id=parent_task_run_id,
        work_queue_name=work_queue_name,
        job_variables=job_variables,
        labels=labels,
    )
    return deployments.create_flow_run_from_deployment(deployment_id, body)


def create_deployment_schedules(
    deployment_id: Id,
    schedules: list[tuple[Schedule, bool]] | list[DeploymentScheduleCreate],
    max_scheduled_runs: int | None = None,
    parameters: dict[str, Any] | None = None,
    slug: str | None = None,
) -> Call[list[DeploymentSchedule]]:
    """Add schedules. The last three parameters belong to pairs of a schedule and whether it is active."""
    bodies = [
        DeploymentScheduleCreate(
            schedule=each[0],
            active=each[1],
            max_scheduled_runs=max_scheduled_runs,
            parameters=parameters or {},
            slug=slug,
        )
        if isinstance(each, tuple)
        else each
        for each in schedules
    ]
    return deployments.create_deployment_schedules(deployment_id, bodies)


def update_deployment_schedule(
    deployment_id: Id,
    schedule_id: Id,
    active: bool | None = None,
    schedule: Schedule | None = None,
    max_scheduled_runs: int | None = None,
    parameters: dict[str, Any] | None = None,
    slug: str | None = None,
) -> Call[None]:
    """Change what is given; None leaves things as they are."""
    body = DeploymentScheduleUpdate(
        active=UNSET if active is None else active,
        schedule=UNSET if schedule is None else schedule,
        max_scheduled_runs=UNSET if max_scheduled_runs is None else max_scheduled_runs,
        parameters=UNSET if parameters is None else parameters,
        slug=UNSET if slug is None else slug,
    )
    return deployments.update_deployment_schedule(deployment_id, schedule_id, body)


# -- work -----------------------------------------------------------------------------------------------------------------


def create_work_pool(work_pool: WorkPoolCreate, overwrite: bool = False) -> Talk[WorkPoolResponse]:
    """Make a work pool; with `overwrite` change the one of this name (but not its type)."""
    try:
        return (yield from ask(work.create_work_pool(work_pool)))
    except ObjectAlreadyExists:
        if not overwrite:
            raise
    change = WorkPoolUpdate(
        description=work_pool.description,
        is_paused=work_pool.is_paused,
        base_job_template=work_pool.base_job_template,
        concurrency_limit=work_pool.concurrency_limit,
        storage_configuration=work_pool.storage_configuration,
    )
    yield from ask(work.update_work_pool(work_pool.name, change))
    return (yield from ask(work.read_work_pool(work_pool.name)))


def send_worker_heartbeat(
    work_pool_name: str,
    worker_name: str,
    heartbeat_interval_seconds: float | timedelta | None = None,
    get_worker_id: bool = False,
    worker_metadata: Any = None,
) -> Call[None]:
    """Tell that a worker lives. Its id and metadata belong to another product: asking for them changes nothing."""
    del get_worker_id, worker_metadata
    seconds = heartbeat_interval_seconds
    seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    return work.send_worker_heartbeat(work_pool_name, worker_name, seconds)


def create_work_queue(
    name: str,
    description: str | None = None,
    is_paused: bool | None = None,
    concurrency_limit: int | None = None,
    priority: int | None = None,
    work_pool_name: str | None = None,
) -> Call[WorkQueueResponse]:
    """Make a queue in a pool, or in the default pool."""
    body = WorkQueueCreate(
        name=name,
        description=description or "",
        is_paused=bool(is_paused),
        concurrency_limit=concurrency_limit,
        priority=priority,
    )
    return work.create_work_queue(body, work_pool_name)


def update_work_queue(id: Id, **kwargs: Any) -> Call[None]:
    """Change the fields that are given."""
    if not kwargs:
        raise InputError("Nothing to change of the work queue was given")
    try:
        body = msgspec.convert(kwargs, WorkQueueUpdate, from_attributes=True)
    except msgspec.ValidationError as error:
        raise InputError(f"The work queue cannot be changed so: {error}") from error
    return work.update_work_queue(id, body)


def match_work_queues(prefixes: list[str], work_pool_name: str | None = None) -> Talk[list[WorkQueueResponse]]:
    """All queues whose names begin with one of the prefixes."""
    wanted = WorkQueueFilter(name=WorkQueueFilterName(startswith_=prefixes))
    found: list[WorkQueueResponse] = []
    while True:
        page = yield from ask(work.read_work_queues(work_pool_name, wanted, _PAGE, len(found)))
        found += page
        if len(page) < _PAGE:
            return found


def get_scheduled_flow_runs_for_deployments(
    deployment_ids: list[Id], scheduled_before: datetime | None = None, limit: int | None = None
) -> Call[list[FlowRun]]:
    """Runs of the deployments that are due, soonest first."""
    return deployments.get_scheduled_flow_runs_for_deployments(deployment_ids, scheduled_before, limit)


class WorkOperations:
    """The clients' methods about deployments, work pools, queues and workers."""

    create_deployment = operation(create_deployment)
    read_deployment = operation(deployments.read_deployment)
    read_deployment_by_name = operation(deployments.read_deployment_by_name)
    read_deployments = operation(read_deployments)
    update_deployment = operation(update_deployment)
    pause_deployment = operation(deployments.pause_deployment)
    resume_deployment = operation(deployments.resume_deployment)
    set_deployment_paused_state = operation(set_deployment_paused_state)
    delete_deployment = operation(deployments.delete_deployment)
    create_flow_run_from_deployment = operation(create_flow_run_from_deployment)
    get_scheduled_flow_runs_for_deployments = operation(get_scheduled_flow_runs_for_deployments)
    create_deployment_schedules = operation(create_deployment_schedules)
    read_deployment_schedules = operation(deployments.read_deployment_schedules)
    update_deployment_schedule = operation(update_deployment_schedule)
    delete_deployment_schedule = operation(deployments.delete_deployment_schedule)

    create_work_pool = operation(create_work_pool)
    read_work_pool = operation(work.read_work_pool)
    read_work_pools = operation(work.read_work_pools)
    update_work_pool = operation(work.update_work_pool)
    delete_work_pool = operation(work.delete_work_pool)
    read_work_pool_concurrency_status = operation(work.read_work_pool_concurrency_status)
    get_scheduled_flow_runs_for_work_pool = operation(work.get_scheduled_flow_runs_for_work_pool)
    send_worker_heartbeat = operation(send_worker_heartbeat)
    read_workers_for_work_pool = operation(work.read_workers_for_work_pool)
    read_worker_metadata = operation(work.read_worker_metadata)

    create_work_queue = operation(create_work_queue)
    read_work_queue = operation(work.read_work_queue)
    read_work_queue_by_name = operation(work.read_work_queue_by_name)
    read_work_queues = operation(work.read_work_queues)
    match_work_queues = operation(match_work_queues)
    update_work_queue = operation(update_work_queue)
    delete_work_queue_by_id = operation(work.delete_work_queue_by_id)
    read_work_queue_status = operation(work.read_work_queue_status)
    read_work_queue_concurrency_status = operation(work.read_work_queue_concurrency_status)
    get_runs_in_work_queue = operation(work.get_runs_in_work_queue)
