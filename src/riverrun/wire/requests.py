"""Bodies of requests that stand for no object: filters with their paging, and commands."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from riverrun.wire.choices import (
    ArtifactCollectionSort,
    ArtifactSort,
    AutomationSort,
    BlockDocumentSort,
    DeploymentSort,
    FlowRunSort,
    FlowSort,
    LogSort,
    TaskRunSort,
    TimeUnit,
    VariableSort,
)
from riverrun.wire.filters import (
    ArtifactCollectionFilter,
    ArtifactFilter,
    AutomationFilter,
    BlockDocumentFilter,
    BlockSchemaFilter,
    BlockTypeFilter,
    DeploymentFilter,
    EventFilter,
    FlowFilter,
    FlowRunFilter,
    LogFilter,
    TaskRunFilter,
    TaskWorkerFilter,
    VariableFilter,
    WorkerFilter,
    WorkPoolFilter,
    WorkQueueFilter,
)
from riverrun.wire.model import Model
from riverrun.wire.scalars import INT_MAX, Int, NonNegative, Positive
from riverrun.wire.transitions import StateCreate


class Across(Struct, Model, kw_only=True):
    """Filters that hold for what hangs together: an answer has only what is left by all of them."""

    flows: FlowFilter | None = None
    flow_runs: FlowRunFilter | None = None
    task_runs: TaskRunFilter | None = None
    deployments: DeploymentFilter | None = None


class AcrossPools(Across, kw_only=True):
    work_pools: WorkPoolFilter | None = None


class AcrossQueues(AcrossPools, kw_only=True):
    work_pool_queues: WorkQueueFilter | None = None


class FlowRunsLatenessBody(AcrossQueues):
    pass


class DeploymentsBulkDeleteBody(Struct, Model, kw_only=True):
    deployments: DeploymentFilter | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 50


class FlowRunsBulkDeleteBody(Struct, Model, kw_only=True):
    flow_runs: FlowRunFilter | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 50


class FlowsBulkDeleteBody(Struct, Model, kw_only=True):
    flows: FlowFilter | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 50


class FlowRunsBulkSetStateBody(Struct, Model, kw_only=True):
    flow_runs: FlowRunFilter | None = None
    state: StateCreate
    force: bool = False
    limit: Annotated[int, Meta(ge=1, le=50)] = 50


class EventsCountByBody(Struct, Model, kw_only=True):
    filter: EventFilter
    time_unit: TimeUnit = "day"
    time_interval: Annotated[float, Meta(ge=0.01)] = 1.0


class ArtifactsCountBody(Across, kw_only=True):
    artifacts: ArtifactFilter | None = None


class AutomationsCountBody(Struct, Model, kw_only=True):
    automations: AutomationFilter | None = None


class BlockDocumentsCountBody(Struct, Model, kw_only=True):
    block_documents: BlockDocumentFilter | None = None
    block_types: BlockTypeFilter | None = None
    block_schemas: BlockSchemaFilter | None = None


class DeploymentsCountBody(AcrossQueues):
    pass


class FlowRunsCountBody(AcrossQueues):
    pass


class FlowsCountBody(AcrossPools):
    pass


class ArtifactsLatestCountBody(Across, kw_only=True):
    artifacts: ArtifactCollectionFilter | None = None


class TaskRunsCountBody(Across):
    pass


class VariablesCountBody(Struct, Model, kw_only=True):
    variables: VariableFilter | None = None


class WorkPoolsCountBody(Struct, Model, kw_only=True):
    work_pools: WorkPoolFilter | None = None


class FlowRunsInputBody(Struct, Model, kw_only=True):
    key: str
    value: str
    sender: str | None = None


class FlowRunsInputFilterBody(Struct, Model, kw_only=True):
    prefix: str
    limit: Int = 1
    exclude_keys: list[str] = []


class FlowRunsHistoryBody(AcrossPools, kw_only=True):
    history_start: datetime
    history_end: datetime
    history_interval_seconds: float
    work_queues: WorkQueueFilter | None = None


class DeploymentsGetScheduledFlowRunsBody(Struct, Model, kw_only=True):
    deployment_ids: list[UUID]
    scheduled_before: datetime | None = None
    limit: Int | None = None


class WorkPoolsGetScheduledFlowRunsBody(Struct, Model, kw_only=True):
    work_queue_names: list[str] = []
    scheduled_before: datetime | None = None
    scheduled_after: datetime | None = None
    limit: Int | None = None


class DeploymentsPaginateBody(AcrossQueues, kw_only=True):
    page: Positive = 1
    sort: DeploymentSort = "NAME_ASC"
    limit: Int | None = None


class FlowRunsPaginateBody(AcrossQueues, kw_only=True):
    sort: FlowRunSort = "ID_DESC"
    page: Positive = 1
    limit: Int | None = None


class FlowsPaginateBody(AcrossPools, kw_only=True):
    page: Positive = 1
    sort: FlowSort = "NAME_ASC"
    limit: Int | None = None


class TaskRunsPaginateBody(Across, kw_only=True):
    sort: TaskRunSort = "ID_DESC"
    page: Positive = 1
    limit: Int | None = None


class ArtifactsFilterBody(Across, kw_only=True):
    sort: ArtifactSort = "ID_DESC"
    offset: NonNegative = 0
    artifacts: ArtifactFilter | None = None
    limit: Int | None = None


class AutomationsFilterBody(Struct, Model, kw_only=True):
    sort: AutomationSort = "NAME_ASC"
    offset: NonNegative = 0
    automations: AutomationFilter | None = None
    limit: Int | None = None


class BlockDocumentsFilterBody(Struct, Model, kw_only=True):
    block_documents: BlockDocumentFilter | None = None
    block_types: BlockTypeFilter | None = None
    block_schemas: BlockSchemaFilter | None = None
    include_secrets: bool = False
    sort: BlockDocumentSort | None = "NAME_ASC"
    offset: NonNegative = 0
    limit: Int | None = None


class BlockSchemasFilterBody(Struct, Model, kw_only=True):
    block_schemas: BlockSchemaFilter | None = None
    offset: NonNegative = 0
    limit: Int | None = None


class BlockTypesFilterBody(Struct, Model, kw_only=True):
    block_types: BlockTypeFilter | None = None
    block_schemas: BlockSchemaFilter | None = None
    offset: NonNegative = 0
    limit: Int | None = None


class UiTaskRunsDashboardCountsBody(Struct, Model, kw_only=True):
    task_runs: TaskRunFilter
    flows: FlowFilter | None = None
    flow_runs: FlowRunFilter | None = None
    deployments: DeploymentFilter | None = None
    work_pools: WorkPoolFilter | None = None
    work_queues: WorkQueueFilter | None = None


class DeploymentsFilterBody(AcrossQueues, kw_only=True):
    offset: NonNegative = 0
    sort: DeploymentSort = "NAME_ASC"
    limit: Int | None = None


class EventsFilterBody(Struct, Model, kw_only=True):
    filter: EventFilter | None = None
    limit: Annotated[int, Meta(ge=0, le=50)] = 50


class UiFlowRunsHistoryBody(AcrossPools, kw_only=True):
    sort: FlowRunSort = "EXPECTED_START_TIME_DESC"
    limit: Annotated[int, Meta(ge=-INT_MAX - 1, le=1000)] = 1000
    offset: NonNegative = 0


class FlowRunsFilterBody(AcrossQueues, kw_only=True):
    sort: FlowRunSort = "ID_DESC"
    offset: NonNegative = 0
    limit: Int | None = None


class FlowsFilterBody(AcrossPools, kw_only=True):
    offset: NonNegative = 0
    sort: FlowSort = "NAME_ASC"
    limit: Int | None = None


class ArtifactsLatestFilterBody(Across, kw_only=True):
    sort: ArtifactCollectionSort = "ID_DESC"
    offset: NonNegative = 0
    artifacts: ArtifactCollectionFilter | None = None
    limit: Int | None = None


class LogsFilterBody(Struct, Model, kw_only=True):
    offset: NonNegative = 0
    logs: LogFilter | None = None
    sort: LogSort = "TIMESTAMP_ASC"
    limit: Int | None = None


class SavedSearchesFilterBody(Struct, Model, kw_only=True):
    offset: NonNegative = 0
    limit: Int | None = None


class UiTaskRunsCountBody(Across):
    pass


class TaskRunsFilterBody(Across, kw_only=True):
    sort: TaskRunSort = "ID_DESC"
    offset: NonNegative = 0
    limit: Int | None = None


class TaskWorkersFilterBody(Struct, Model, kw_only=True):
    task_worker_filter: TaskWorkerFilter | None = None


class VariablesFilterBody(Struct, Model, kw_only=True):
    offset: NonNegative = 0
    variables: VariableFilter | None = None
    sort: VariableSort = "NAME_ASC"
    limit: Int | None = None


class WorkPoolsFilterBody(Struct, Model, kw_only=True):
    work_pools: WorkPoolFilter | None = None
    offset: NonNegative = 0
    limit: Int | None = None


class WorkQueuesGetRunsBody(Struct, Model, kw_only=True):
    scheduled_before: datetime | None = None
    limit: Int | None = None


class WorkPoolsQueuesFilterBody(Struct, Model, kw_only=True):
    work_queues: WorkQueueFilter | None = None
    offset: NonNegative = 0
    limit: Int | None = None


class WorkQueuesFilterBody(Struct, Model, kw_only=True):
    offset: NonNegative = 0
    work_queues: WorkQueueFilter | None = None
    limit: Int | None = None


class WorkPoolsWorkersFilterBody(Struct, Model, kw_only=True):
    workers: WorkerFilter | None = None
    offset: NonNegative = 0
    limit: Int | None = None


class FlowRunsResumeBody(Struct, Model, kw_only=True):
    run_input: dict[str, Any] | None = None


class DeploymentsScheduleBody(Struct, Model, kw_only=True):
    start_time: datetime | None = None
    end_time: datetime | None = None
    min_time: float | None = None
    min_runs: Int | None = None
    max_runs: Int | None = None


class FlowRunsSetStateBody(Struct, Model, kw_only=True):
    state: StateCreate
    force: bool = False


class TaskRunsSetStateBody(Struct, Model, kw_only=True):
    state: StateCreate
    force: bool = False


class TaskRunsHistoryBody(Across, kw_only=True):
    history_start: datetime
    history_end: datetime
    history_interval_seconds: float


class UiSchemasValidateBody(Struct, Model, kw_only=True):
    schema: dict[str, Any]
    values: dict[str, Any]


class WorkPoolsWorkersHeartbeatBody(Struct, Model, kw_only=True):
    name: str
    heartbeat_interval_seconds: Int | None = None
