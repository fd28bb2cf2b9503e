"""Filters of the REST interface. Fields are and-ed (or or-ed by `operator`); None filters nothing."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct, field

from riverrun.wire.choices import EventOrder, Operator, WorkerStatus
from riverrun.wire.events import ResourceSpecification
from riverrun.wire.model import Model
from riverrun.wire.scalars import Int
from riverrun.wire.states import StateType


class ArtifactCollectionFilterFlowRunId(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[UUID] | None = None


class ArtifactCollectionFilterKey(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[str] | None = None
    like_: str | None = None
    exists_: bool | None = None


ArtifactCollectionFilterLatestId = ArtifactCollectionFilterFlowRunId
ArtifactCollectionFilterTaskRunId = ArtifactCollectionFilterFlowRunId


class ArtifactCollectionFilterType(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[str] | None = None
    not_any_: list[str] | None = None


class ArtifactCollectionFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    latest_id: ArtifactCollectionFilterLatestId | None = None
    key: ArtifactCollectionFilterKey | None = None
    flow_run_id: ArtifactCollectionFilterFlowRunId | None = None
    task_run_id: ArtifactCollectionFilterTaskRunId | None = None
    type: ArtifactCollectionFilterType | None = None


ArtifactFilterFlowRunId = ArtifactCollectionFilterFlowRunId
ArtifactFilterId = ArtifactCollectionFilterFlowRunId
ArtifactFilterKey = ArtifactCollectionFilterKey
ArtifactFilterTaskRunId = ArtifactCollectionFilterFlowRunId
ArtifactFilterType = ArtifactCollectionFilterType


class ArtifactFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: ArtifactFilterId | None = None
    key: ArtifactFilterKey | None = None
    flow_run_id: ArtifactFilterFlowRunId | None = None
    task_run_id: ArtifactFilterTaskRunId | None = None
    type: ArtifactFilterType | None = None


class AutomationFilterCreated(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    before_: datetime | None = None


AutomationFilterId = ArtifactCollectionFilterFlowRunId


class AutomationFilterName(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[str] | None = None


class AutomationFilterTags(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    all_: list[str] | None = None
    any_: list[str] | None = None
    is_null_: bool | None = None


class AutomationFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: AutomationFilterId | None = None
    name: AutomationFilterName | None = None
    created: AutomationFilterCreated | None = None
    tags: AutomationFilterTags | None = None


BlockDocumentFilterBlockTypeId = ArtifactCollectionFilterFlowRunId
BlockDocumentFilterId = ArtifactCollectionFilterFlowRunId


class BlockDocumentFilterIsAnonymous(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    eq_: bool | None = None


class BlockDocumentFilterName(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[str] | None = None
    like_: str | None = None


class BlockDocumentFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: BlockDocumentFilterId | None = None
    is_anonymous: BlockDocumentFilterIsAnonymous | None = field(
        default_factory=lambda: BlockDocumentFilterIsAnonymous(eq_=False)
    )
    block_type_id: BlockDocumentFilterBlockTypeId | None = None
    name: BlockDocumentFilterName | None = None


BlockSchemaFilterBlockTypeId = ArtifactCollectionFilterFlowRunId


class BlockSchemaFilterCapabilities(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    all_: list[str] | None = None


BlockSchemaFilterId = ArtifactCollectionFilterFlowRunId
BlockSchemaFilterVersion = AutomationFilterName


class BlockSchemaFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    block_type_id: BlockSchemaFilterBlockTypeId | None = None
    block_capabilities: BlockSchemaFilterCapabilities | None = None
    id: BlockSchemaFilterId | None = None
    version: BlockSchemaFilterVersion | None = None


class BlockTypeFilterName(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    like_: str | None = None


BlockTypeFilterSlug = AutomationFilterName


class BlockTypeFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: BlockTypeFilterName | None = None
    slug: BlockTypeFilterSlug | None = None


class DeploymentFilterConcurrencyLimit(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    ge_: Int | None = None
    le_: Int | None = None
    is_null_: bool | None = None


class DeploymentFilterId(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[UUID] | None = None
    not_any_: list[UUID] | None = None


DeploymentFilterName = BlockDocumentFilterName
DeploymentFilterPaused = BlockDocumentFilterIsAnonymous
DeploymentFilterTags = AutomationFilterTags
DeploymentFilterWorkQueueName = AutomationFilterName


class DeploymentOrFlowNameFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    like_: str | None = None


class DeploymentFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: DeploymentFilterId | None = None
    name: DeploymentFilterName | None = None
    flow_or_deployment_name: DeploymentOrFlowNameFilter | None = None
    paused: DeploymentFilterPaused | None = None
    tags: DeploymentFilterTags | None = None
    work_queue_name: DeploymentFilterWorkQueueName | None = None
    concurrency_limit: DeploymentFilterConcurrencyLimit | None = None


class EventAnyResourceFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    id: list[str] | None = None
    id_prefix: list[str] | None = None
    labels: ResourceSpecification | None = None


class EventIDFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    id: list[UUID] | None = None


class EventNameFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    prefix: list[str] | None = None
    exclude_prefix: list[str] | None = None
    name: list[str] | None = None
    exclude_name: list[str] | None = None


class EventOccurredFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    since: datetime | None = None
    until: datetime | None = None


class EventRelatedFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    id: list[str] | None = None
    role: list[str] | None = None
    resources_in_roles: list[Annotated[list[Any], Meta(min_length=2, max_length=2)]] | None = None
    labels: ResourceSpecification | None = None


class EventResourceFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    id: list[str] | None = None
    id_prefix: list[str] | None = None
    labels: ResourceSpecification | None = None
    distinct: bool = False


class EventTextFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    query: Annotated[str, Meta(max_length=200)]


class EventFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    occurred: EventOccurredFilter = field(default_factory=EventOccurredFilter)
    event: EventNameFilter | None = None
    resource: EventResourceFilter | None = None
    related: EventRelatedFilter | list[EventRelatedFilter] | None = None
    any_resource: EventAnyResourceFilter | list[EventAnyResourceFilter] | None = None
    id: EventIDFilter = field(default_factory=EventIDFilter)
    text: EventTextFilter | None = None
    order: EventOrder = "DESC"


class FlowFilterDeployment(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    is_null_: bool | None = None


FlowFilterId = DeploymentFilterId
FlowFilterName = BlockDocumentFilterName


class FlowFilterTags(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    all_: list[str] | None = None
    is_null_: bool | None = None


class FlowFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: FlowFilterId | None = None
    deployment: FlowFilterDeployment | None = None
    name: FlowFilterName | None = None
    tags: FlowFilterTags | None = None


class FlowRunFilterCreatedBy(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id_: list[UUID] | None = None
    type_: list[str] | None = None
    is_null_: bool | None = None


class FlowRunFilterDeploymentId(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    any_: list[UUID] | None = None
    is_null_: bool | None = None


class FlowRunFilterEndTime(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    before_: datetime | None = None
    after_: datetime | None = None
    is_null_: bool | None = None


class FlowRunFilterExpectedStartTime(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    before_: datetime | None = None
    after_: datetime | None = None


FlowRunFilterFlowVersion = AutomationFilterName
FlowRunFilterId = DeploymentFilterId
FlowRunFilterIdempotencyKey = ArtifactCollectionFilterType
FlowRunFilterName = BlockDocumentFilterName
FlowRunFilterNextScheduledStartTime = FlowRunFilterExpectedStartTime


class FlowRunFilterParentFlowRunId(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    any_: list[UUID] | None = None


FlowRunFilterParentTaskRunId = FlowRunFilterDeploymentId
FlowRunFilterStartTime = FlowRunFilterEndTime
FlowRunFilterStateName = ArtifactCollectionFilterType


class FlowRunFilterStateType(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[StateType] | None = None
    not_any_: list[StateType] | None = None


class FlowRunFilterState(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    type: FlowRunFilterStateType | None = None
    name: FlowRunFilterStateName | None = None


FlowRunFilterTags = AutomationFilterTags


class FlowRunFilterWorkQueueName(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    any_: list[str] | None = None
    is_null_: bool | None = None


class FlowRunFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: FlowRunFilterId | None = None
    name: FlowRunFilterName | None = None
    tags: FlowRunFilterTags | None = None
    deployment_id: FlowRunFilterDeploymentId | None = None
    work_queue_name: FlowRunFilterWorkQueueName | None = None
    state: FlowRunFilterState | None = None
    flow_version: FlowRunFilterFlowVersion | None = None
    start_time: FlowRunFilterStartTime | None = None
    end_time: FlowRunFilterEndTime | None = None
    expected_start_time: FlowRunFilterExpectedStartTime | None = None
    next_scheduled_start_time: FlowRunFilterNextScheduledStartTime | None = None
    parent_flow_run_id: FlowRunFilterParentFlowRunId | None = None
    parent_task_run_id: FlowRunFilterParentTaskRunId | None = None
    idempotency_key: FlowRunFilterIdempotencyKey | None = None
    created_by: FlowRunFilterCreatedBy | None = None


LogFilterFlowRunId = ArtifactCollectionFilterFlowRunId


class LogFilterLevel(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    ge_: Int | None = None
    le_: Int | None = None


class LogFilterTaskRunId(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[UUID] | None = None
    is_null_: bool | None = None


class LogFilterTextSearch(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    query: Annotated[str, Meta(max_length=200)]


LogFilterTimestamp = FlowRunFilterExpectedStartTime


class LogFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    level: LogFilterLevel | None = None
    timestamp: LogFilterTimestamp | None = None
    flow_run_id: LogFilterFlowRunId | None = None
    task_run_id: LogFilterTaskRunId | None = None
    text: LogFilterTextSearch | None = None


class QueueFilter(Struct, Model, kw_only=True):
    tags: list[str] | None = None
    deployment_ids: list[UUID] | None = None


TaskRunFilterEndTime = FlowRunFilterEndTime
TaskRunFilterExpectedStartTime = FlowRunFilterExpectedStartTime


class TaskRunFilterFlowRunId(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    any_: list[UUID] | None = None
    is_null_: bool | None = False


TaskRunFilterId = ArtifactCollectionFilterFlowRunId
TaskRunFilterName = BlockDocumentFilterName
TaskRunFilterStartTime = FlowRunFilterEndTime
TaskRunFilterStateName = AutomationFilterName


class TaskRunFilterStateType(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[StateType] | None = None


class TaskRunFilterState(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    type: TaskRunFilterStateType | None = None
    name: TaskRunFilterStateName | None = None


class TaskRunFilterSubFlowRuns(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    exists_: bool | None = None


TaskRunFilterTags = FlowFilterTags


class TaskRunFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: TaskRunFilterId | None = None
    name: TaskRunFilterName | None = None
    tags: TaskRunFilterTags | None = None
    state: TaskRunFilterState | None = None
    start_time: TaskRunFilterStartTime | None = None
    end_time: TaskRunFilterEndTime | None = None
    expected_start_time: TaskRunFilterExpectedStartTime | None = None
    subflow_runs: TaskRunFilterSubFlowRuns | None = None
    flow_run_id: TaskRunFilterFlowRunId | None = None


class TaskWorkerFilter(Struct, Model, kw_only=True):
    task_keys: list[str]


VariableFilterId = ArtifactCollectionFilterFlowRunId
VariableFilterName = BlockDocumentFilterName
VariableFilterTags = FlowFilterTags


class VariableFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: VariableFilterId | None = None
    name: VariableFilterName | None = None
    tags: VariableFilterTags | None = None


WorkPoolFilterId = ArtifactCollectionFilterFlowRunId
WorkPoolFilterName = AutomationFilterName
WorkPoolFilterType = AutomationFilterName


class WorkPoolFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: WorkPoolFilterId | None = None
    name: WorkPoolFilterName | None = None
    type: WorkPoolFilterType | None = None


WorkQueueFilterId = ArtifactCollectionFilterFlowRunId


class WorkQueueFilterName(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[str] | None = None
    startswith_: list[str] | None = None


class WorkQueueFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    id: WorkQueueFilterId | None = None
    name: WorkQueueFilterName | None = None


WorkerFilterLastHeartbeatTime = FlowRunFilterExpectedStartTime


class WorkerFilterStatus(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    any_: list[WorkerStatus] | None = None
    not_any_: list[WorkerStatus] | None = None


class WorkerFilter(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    operator: Operator = "and_"
    last_heartbeat_time: WorkerFilterLastHeartbeatTime | None = None
    status: WorkerFilterStatus | None = None
