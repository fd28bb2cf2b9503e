"""Work pools, queues and workers."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from riverrun.base.ids import uuid7
from riverrun.wire.choices import WorkerStatus, WorkPoolStatus, WorkQueueStatus
from riverrun.wire.filters import QueueFilter
from riverrun.wire.flow_runs import FlowRunResponse, FlowRunSlotSummary
from riverrun.wire.model import Model
from riverrun.wire.scalars import Int, NonNegative, Positive


class WorkQueueConcurrencyStatusDetail(Struct, Model, kw_only=True):
    queue_id: UUID
    queue_name: str
    active_slots: Int
    concurrency_limit: Int | None = None
    flow_runs: list[FlowRunSlotSummary] = []
    flow_run_count: Int | None = None


class WorkPoolConcurrencyStatus(Struct, Model, kw_only=True):
    active_slots: Int
    concurrency_limit: Int | None = None
    queues: list[WorkQueueConcurrencyStatusDetail] = []
    count: Int
    limit: Int
    pages: Int
    page: Int


class WorkPoolStorageConfiguration(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    bundle_upload_step: dict[str, Any] | None = None
    bundle_execution_step: dict[str, Any] | None = None
    default_result_storage_block_id: UUID | None = None


class WorkPoolCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    description: str | None = None
    type: str = "prefect-agent"
    base_job_template: dict[str, Any] = {}
    is_paused: bool = False
    concurrency_limit: NonNegative | None = None
    storage_configuration: WorkPoolStorageConfiguration = field(default_factory=WorkPoolStorageConfiguration)


class WorkPoolResponse(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    description: str | None = None
    type: str
    base_job_template: dict[str, Any] = {}
    is_paused: bool = False
    concurrency_limit: NonNegative | None = None
    status: WorkPoolStatus | None = None
    default_queue_id: UUID | None = None
    storage_configuration: WorkPoolStorageConfiguration = field(default_factory=WorkPoolStorageConfiguration)
    active_slots: Int | None = None


class WorkPoolUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    description: str | UnsetType | None = UNSET
    is_paused: bool | UnsetType | None = UNSET
    base_job_template: dict[str, Any] | UnsetType | None = UNSET
    concurrency_limit: NonNegative | UnsetType | None = UNSET
    storage_configuration: WorkPoolStorageConfiguration | UnsetType | None = UNSET


class WorkQueue(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    description: str | None = ""
    is_paused: bool = False
    concurrency_limit: NonNegative | None = None
    priority: Positive = 1
    work_pool_id: UUID | None = None
    filter: QueueFilter | None = None
    last_polled: datetime | None = None


class WorkQueueConcurrencyStatus(Struct, Model, kw_only=True):
    active_slots: Int
    concurrency_limit: Int | None = None
    flow_runs: list[FlowRunSlotSummary] = []
    count: Int
    limit: Int
    pages: Int
    page: Int


class WorkQueueCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    description: str | None = ""
    is_paused: bool = False
    concurrency_limit: NonNegative | None = None
    priority: Positive | None = None
    filter: QueueFilter | None = None


class WorkQueueHealthPolicy(Struct, Model, kw_only=True):
    maximum_late_runs: Int | None = 0
    maximum_seconds_since_last_polled: Int | None = 60


class WorkQueueResponse(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    description: str | None = ""
    is_paused: bool = False
    concurrency_limit: NonNegative | None = None
    priority: Positive = 1
    work_pool_id: UUID | None = None
    filter: QueueFilter | None = None
    last_polled: datetime | None = None
    work_pool_name: str | None = None
    status: WorkQueueStatus | None = None
    active_slots: Int | None = None


class WorkQueueStatusDetail(Struct, Model, kw_only=True):
    healthy: bool
    late_runs_count: Int = 0
    last_polled: datetime | None = None
    health_check_policy: WorkQueueHealthPolicy


class WorkQueueUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    is_paused: bool | UnsetType = UNSET
    concurrency_limit: NonNegative | UnsetType | None = UNSET
    priority: Positive | UnsetType | None = UNSET
    last_polled: datetime | UnsetType | None = UNSET
    filter: QueueFilter | UnsetType | None = UNSET


class WorkerFlowRunResponse(Struct, Model, kw_only=True):
    work_pool_id: UUID
    work_queue_id: UUID
    flow_run: FlowRunResponse


class WorkerResponse(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: str
    work_pool_id: UUID
    last_heartbeat_time: datetime | None = None
    heartbeat_interval_seconds: Int | None = None
    status: WorkerStatus = "OFFLINE"
