"""Flow runs and flows in requests and answers of the REST interface. Durations are seconds."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from riverrun.base.ids import uuid7
from riverrun.wire.actors import CreatedBy
from riverrun.wire.model import Model
from riverrun.wire.runs import Flow, RunInput
from riverrun.wire.scalars import Int
from riverrun.wire.states import StateType
from riverrun.wire.transitions import OrchestrationResult, StateCreate, StateResponse


class CountByState(Struct, Model, kw_only=True):
    COMPLETED: Int = 0
    PENDING: Int = 0
    RUNNING: Int = 0
    FAILED: Int = 0
    CANCELLED: Int = 0
    CRASHED: Int = 0
    PAUSED: Int = 0
    CANCELLING: Int = 0
    SCHEDULED: Int = 0


class DependencyResult(Struct, Model, kw_only=True):
    id: UUID
    name: str
    upstream_dependencies: list[RunInput]
    state: StateResponse | None
    expected_start_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    total_run_time: float | None
    estimated_run_time: float | None
    untrackable_result: bool


class FlowBulkDeleteResponse(Struct, Model, kw_only=True):
    deleted: list[UUID] = []


class FlowCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    tags: list[str] = []
    labels: dict[str, bool | Int | float | str] | None = None


class FlowPaginationResponse(Struct, Model, kw_only=True):
    results: list[Flow]
    count: Int
    limit: Int
    pages: Int
    page: Int


class FlowRunCreateResult(Struct, Model, kw_only=True):
    flow_run_id: UUID | None = None
    status: Literal["CREATED", "FAILED"]
    error: str | None = None


class FlowRunBulkCreateResponse(Struct, Model, kw_only=True):
    results: list[FlowRunCreateResult] = []


class FlowRunBulkDeleteResponse(Struct, Model, kw_only=True):
    deleted: list[UUID] = []


class FlowRunOrchestrationResult(OrchestrationResult, kw_only=True):
    flow_run_id: UUID


class FlowRunBulkSetStateResponse(Struct, Model, kw_only=True):
    results: list[FlowRunOrchestrationResult] = []


class FlowRunPolicy(Struct, Model, kw_only=True):
    max_retries: Int = 0
    retry_delay_seconds: float = 0
    retries: Int | None = None
    retry_delay: Int | None = None
    pause_keys: list[str] | None = None
    resuming: bool | None = False
    retry_type: Literal["in_process", "reschedule"] | None = None


class FlowRunCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    state: StateCreate | None = None
    name: str | None = None
    flow_id: UUID
    flow_version: str | None = None
    parameters: dict[str, Any] = {}
    context: dict[str, Any] = {}
    parent_task_run_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    empirical_policy: FlowRunPolicy = field(default_factory=FlowRunPolicy)
    tags: list[str] = []
    labels: dict[str, bool | Int | float | str] | None = None
    idempotency_key: str | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] | None = None
    deployment_id: UUID | None = None


class FlowRunInput(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    flow_run_id: UUID
    key: str
    value: str
    sender: str | None = None


class FlowRunResponse(Struct, Model, kw_only=True):
    id: UUID
    created: datetime | None
    updated: datetime | None
    name: str | None = None
    flow_id: UUID
    state_id: UUID | None = None
    deployment_id: UUID | None = None
    deployment_version: str | None = None
    work_queue_id: UUID | None = None
    work_queue_name: str | None = None
    flow_version: str | None = None
    parameters: dict[str, Any] = {}
    idempotency_key: str | None = None
    context: dict[str, Any] = {}
    empirical_policy: FlowRunPolicy = field(default_factory=FlowRunPolicy)
    tags: list[str] = []
    labels: dict[str, bool | Int | float | str] = {}
    parent_task_run_id: UUID | None = None
    state_type: StateType | None = None
    state_name: str | None = None
    run_count: Int = 0
    expected_start_time: datetime | None = None
    next_scheduled_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    total_run_time: float = 0.0
    estimated_run_time: float = 0.0
    estimated_start_time_delta: float = 0.0
    auto_scheduled: bool = False
    infrastructure_document_id: UUID | None = None
    infrastructure_pid: str | None = None
    created_by: CreatedBy | None = None
    work_pool_id: UUID | None = None
    work_pool_name: str | None = None
    state: StateResponse | None = None
    job_variables: dict[str, Any] | None = None


class FlowRunPaginationResponse(Struct, Model, kw_only=True):
    results: list[FlowRunResponse]
    count: Int
    limit: Int
    pages: Int
    page: Int


class FlowRunSlotSummary(Struct, Model, kw_only=True):
    id: UUID
    name: str
    state_type: StateType | None = None
    state_name: str | None = None
    start_time: datetime | None = None
    state_timestamp: datetime | None = None
    time_in_current_state: float | None = None


class FlowRunUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: str | UnsetType | None = UNSET
    flow_version: str | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    empirical_policy: FlowRunPolicy | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    infrastructure_pid: str | UnsetType | None = UNSET
    job_variables: dict[str, Any] | UnsetType | None = UNSET


class FlowUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    tags: list[str] | UnsetType = UNSET


class GraphArtifact(Struct, Model, kw_only=True):
    id: UUID
    created: datetime
    key: str | None
    type: str | None
    is_latest: bool
    data: Any


class GraphState(Struct, Model, kw_only=True):
    id: UUID
    timestamp: datetime
    type: StateType
    name: str


class Graph(Struct, Model, kw_only=True):
    start_time: datetime | None
    end_time: datetime | None
    root_node_ids: list[UUID]
    nodes: list[Annotated[list[Any], Meta(min_length=2, max_length=2)]]
    artifacts: list[GraphArtifact]
    states: list[GraphState]


class HistoryResponseState(Struct, Model, kw_only=True):
    state_type: StateType
    state_name: str
    count_runs: Int
    sum_estimated_run_time: float
    sum_estimated_lateness: float


class HistoryResponse(Struct, Model, kw_only=True):
    interval_start: datetime
    interval_end: datetime
    states: list[HistoryResponseState]


class LogCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: str
    level: Int
    message: str
    timestamp: datetime
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None


class SimpleFlowRun(Struct, Model, kw_only=True):
    id: UUID
    state_type: StateType
    timestamp: datetime
    duration: float
    lateness: float


class SimpleNextFlowRun(Struct, Model, kw_only=True):
    id: UUID
    flow_id: UUID
    name: str
    state_name: str
    state_type: StateType
    next_scheduled_start_time: datetime
