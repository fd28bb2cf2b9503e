"""Deployments and their schedules."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

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


class DeploymentScheduleCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    active: bool = True
    schedule: Schedule
    max_scheduled_runs: Positive | None = None
    parameters: dict[str, Any] = {}
    slug: str | None = None
    replaces: str | None = None


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
    id: UUID
    created: datetime | None
    updated: datetime | None
    deployment_id: UUID | None = None
    schedule: Schedule
    active: bool = True
    max_scheduled_runs: Positive | None = None
    parameters: dict[str, Any] = {}
    slug: str | None = None


class DeploymentResponse(Struct, Model, kw_only=True):
    id: UUID
    created: datetime | None
    updated: datetime | None
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
