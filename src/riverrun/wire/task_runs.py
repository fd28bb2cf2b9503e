"""Task runs in requests and answers of the REST interface. Durations are seconds."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from riverrun.wire.model import Model
from riverrun.wire.runs import RunInput
from riverrun.wire.scalars import Int
from riverrun.wire.states import StateType
from riverrun.wire.transitions import StateCreate, StateResponse

#: {state type: number}
TaskRunCount = dict[str, int]


class TaskRunPolicy(Struct, Model, kw_only=True):
    max_retries: Int = 0
    retry_delay_seconds: float = 0
    retries: Int | None = None
    retry_delay: float | Annotated[list[float], Meta(max_length=50)] | None = None
    retry_jitter_factor: Annotated[float, Meta(ge=0)] | None = None


class TaskRunCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    id: UUID | None = None
    state: StateCreate | None = None
    name: str | None = None
    flow_run_id: UUID | None = None
    task_key: str
    dynamic_key: str
    cache_key: Annotated[str, Meta(max_length=2000)] | None = None
    cache_expiration: datetime | None = None
    task_version: str | None = None
    empirical_policy: TaskRunPolicy = field(default_factory=TaskRunPolicy)
    tags: list[str] = []
    labels: dict[str, bool | Int | float | str] | None = None
    task_inputs: dict[str, list[RunInput]] = {}


class TaskRunResponse(Struct, Model, kw_only=True):
    id: UUID
    created: datetime | None
    updated: datetime | None
    name: str | None = None
    flow_run_id: UUID | None = None
    task_key: str
    dynamic_key: str
    cache_key: Annotated[str, Meta(max_length=2000)] | None = None
    cache_expiration: datetime | None = None
    task_version: str | None = None
    empirical_policy: TaskRunPolicy = field(default_factory=TaskRunPolicy)
    tags: list[str] = []
    labels: dict[str, bool | Int | float | str] = {}
    state_id: UUID | None = None
    task_inputs: dict[str, list[RunInput]] = {}
    state_type: StateType | None = None
    state_name: str | None = None
    run_count: Int = 0
    flow_run_run_count: Int = 0
    expected_start_time: datetime | None = None
    next_scheduled_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    total_run_time: float = 0.0
    estimated_run_time: float = 0.0
    estimated_start_time_delta: float = 0.0
    state: StateResponse | None = None


class TaskRunPaginationResponse(Struct, Model, kw_only=True):
    results: list[TaskRunResponse]
    count: Int
    limit: Int
    pages: Int
    page: Int


class TaskRunUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: str | UnsetType = UNSET


class TaskWorkerResponse(Struct, Model, kw_only=True):
    identifier: str
    task_keys: list[str]
    timestamp: datetime
