"""Deployments and their schedules."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from riverrun.base.ids import uuid7
from riverrun.wire.actors import CreatedBy, UpdatedBy
from riverrun.wire.choices import ConcurrencyLimitStrategy, DeploymentStatus
from riverrun.wire.concurrency import GlobalConcurrencyLimitResponse
from riverrun.wire.flow_runs import FlowRunPolicy
from riverrun.wire.model import Model
from riverrun.wire.scalars import Int, Positive
from riverrun.wire.schedules import Schedule
from riverrun.wire.transitions import StateCreate


class ConcurrencyOptions(Struct, Model, kw_only=True):
    collision_strategy: ConcurrencyLimitStrategy
    grace_period_seconds: Annotated[int, Meta(ge=60, le=86400)] | None = None


class DeploymentBulkDeleteResponse(Struct, Model, kw_only=True):
    deleted: list[UUID] = []


CatchUp = Literal["all", "latest", "none"]
Jitter = Annotated[float, Meta(gt=0, le=86_400)]
MaxLate = Annotated[float, Meta(gt=0, le=315_360_000)]


class DeploymentScheduleCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    """A schedule to be. The last five fields are riverrun's own.

    `catch_up` says what becomes of instants whose runs could not begin in time: they all run later, only the latest does, or
    none. A run that has not begun `max_late` seconds after its instant is discarded. `jitter` moves each run by up to so many
    seconds. Instants lie between `start` and `end`.
    """

    active: bool = True
    schedule: Schedule
    max_scheduled_runs: Positive | None = None
    parameters: dict[str, Any] = {}
    slug: str | None = None
    replaces: str | None = None
    catch_up: CatchUp = "all"
    jitter: Jitter | None = None
    max_late: MaxLate | None = None
    start: datetime | None = None
    end: datetime | None = None


class VersionInfo(Struct, Model, kw_only=True):
    type: str
    version: str


class DeploymentCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: str
    flow_id: UUID
    paused: bool = False
    schedules: list[DeploymentScheduleCreate] = []
    concurrency_limit: Positive | None = None
    concurrency_options: ConcurrencyOptions | None = None
    global_concurrency_limit_id: UUID | None = None
    enforce_parameter_schema: bool = True
    parameter_openapi_schema: dict[str, Any] | None = None
    parameters: dict[str, Any] = {}
    tags: list[str] = []
    labels: dict[str, bool | Int | float | str] | None = None
    pull_steps: list[dict[str, Any]] | None = None
    work_queue_name: str | None = None
    work_pool_name: str | None = None
    storage_document_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    description: str | None = None
    path: str | None = None
    version: str | None = None
    entrypoint: str | None = None
    job_variables: dict[str, Any] = {}
    version_info: VersionInfo | None = None


class DeploymentFlowRunCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    state: StateCreate | None = None
    name: str | None = None
    parameters: dict[str, Any] = {}
    enforce_parameter_schema: bool | None = None
    context: dict[str, Any] = {}
    infrastructure_document_id: UUID | None = None
    empirical_policy: FlowRunPolicy = field(default_factory=FlowRunPolicy)
    tags: list[str] = []
    idempotency_key: str | None = None
    labels: dict[str, bool | Int | float | str] | None = None
    parent_task_run_id: UUID | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] | None = None


class DeploymentSchedule(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    deployment_id: UUID | None = None
    schedule: Schedule
    active: bool = True
    max_scheduled_runs: Positive | None = None
    parameters: dict[str, Any] = {}
    slug: str | None = None
    # riverrun's own, left out where nothing was said: clients of the peer do not know them
    catch_up: CatchUp | UnsetType = UNSET
    jitter: float | UnsetType = UNSET
    max_late: float | UnsetType = UNSET
    start: datetime | UnsetType = UNSET
    end: datetime | UnsetType = UNSET


class DeploymentResponse(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: str
    version: str | None = None
    description: str | None = None
    flow_id: UUID
    paused: bool = False
    schedules: list[DeploymentSchedule] = []
    concurrency_limit: Int | None = None
    global_concurrency_limit: GlobalConcurrencyLimitResponse | None = None
    concurrency_options: ConcurrencyOptions | None = None
    job_variables: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    tags: list[str] = []
    labels: dict[str, bool | Int | float | str] = {}
    work_queue_name: str | None = None
    work_queue_id: UUID | None = None
    last_polled: datetime | None = None
    parameter_openapi_schema: dict[str, Any] | None = None
    path: str | None = None
    pull_steps: list[dict[str, Any]] | None = None
    entrypoint: str | None = None
    storage_document_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    created_by: CreatedBy | None = None
    updated_by: UpdatedBy | None = None
    work_pool_name: str | None = None
    status: DeploymentStatus | None = "NOT_READY"
    enforce_parameter_schema: bool = True


class DeploymentPaginationResponse(Struct, Model, kw_only=True):
    results: list[DeploymentResponse]
    count: Int
    limit: Int
    pages: Int
    page: Int


class DeploymentScheduleUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    active: bool | UnsetType | None = UNSET
    schedule: Schedule | UnsetType | None = UNSET
    max_scheduled_runs: Positive | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    slug: str | UnsetType | None = UNSET
    replaces: str | UnsetType | None = UNSET
    catch_up: CatchUp | UnsetType = UNSET
    jitter: Jitter | UnsetType | None = UNSET
    max_late: MaxLate | UnsetType | None = UNSET
    start: datetime | UnsetType | None = UNSET
    end: datetime | UnsetType | None = UNSET


class DeploymentUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    version: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    paused: bool | UnsetType = UNSET
    schedules: list[DeploymentScheduleUpdate] | UnsetType = UNSET
    concurrency_limit: Positive | UnsetType | None = UNSET
    concurrency_options: ConcurrencyOptions | UnsetType | None = UNSET
    global_concurrency_limit_id: UUID | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType | None = UNSET
    parameter_openapi_schema: dict[str, Any] | UnsetType | None = UNSET
    tags: list[str] | UnsetType = UNSET
    work_queue_name: str | UnsetType | None = UNSET
    work_pool_name: str | UnsetType | None = UNSET
    path: str | UnsetType | None = UNSET
    job_variables: dict[str, Any] | UnsetType | None = UNSET
    pull_steps: list[dict[str, Any]] | UnsetType | None = UNSET
    entrypoint: str | UnsetType | None = UNSET
    storage_document_id: UUID | UnsetType | None = UNSET
    infrastructure_document_id: UUID | UnsetType | None = UNSET
    enforce_parameter_schema: bool | UnsetType | None = UNSET
    version_info: VersionInfo | UnsetType | None = UNSET


class DeploymentCode(Struct, Model, kw_only=True):
    """What the runs of a deployment are made of: what a version keeps."""

    version: str | None = None
    entrypoint: str | None = None
    path: str | None = None
    pull_steps: list[dict[str, Any]] | None = None
    parameters: dict[str, Any] = {}
    parameter_openapi_schema: dict[str, Any] | None = None
    enforce_parameter_schema: bool = True
    job_variables: dict[str, Any] = {}
    storage_document_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    schedules: list[DeploymentScheduleCreate] = []


class DeploymentVersion(DeploymentCode, kw_only=True):
    """A version of a deployment; numbers count from 1, the highest one is the present."""

    number: Positive
    created: datetime
    current: bool


class DeploymentRollback(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    """`version` is the number of a former version."""

    version: Positive


class ComingInstant(Struct, Model, kw_only=True):
    """An instant at which a schedule falls due, as the clock of its zone shows it; `starts` is later by the jitter."""

    instant: datetime
    local: str
    starts: datetime
    schedule_id: UUID
    slug: str | None = None
    #: what the change of a clock does to it
    note: str | None = None


class ComingInstants(Struct, Model, kw_only=True):
    """What the schedules of a deployment will do until then if nothing changes; `paused`: nothing, until it is resumed."""

    paused: bool
    until: datetime
    instants: list[ComingInstant] = []
    #: there are more instants than these
    more: bool = False
