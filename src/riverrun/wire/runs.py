"""Flow runs and task runs as both sides see them.

Times are aware UTC datetimes here and durations are `timedelta`s; the journal and the store hold microseconds.
"""

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct, field

from riverrun.base.ids import uuid7
from riverrun.wire.actors import CreatedBy
from riverrun.wire.model import Model
from riverrun.wire.states import BaseState, StateType


class RunInput(Struct, Model, frozen=True, omit_defaults=True):
    """Where one argument of a task run came from.

    `input_type` is one of task_run, flow_run (then `id` is set), parameter (then `name`), constant (then `type`).
    """

    input_type: Literal["task_run", "flow_run", "parameter", "constant"]
    id: UUID | None = None
    name: str | None = None
    type: str | None = None


class RunPolicy(Struct, Model, kw_only=True, omit_defaults=True):
    """What orchestration may do by itself: retries and their delays (seconds)."""

    retries: int | None = None
    retry_delay: float | list[float] | None = None
    retry_jitter_factor: float | None = None
    pause_keys: list[str] | None = field(default_factory=list)
    resuming: bool | None = False
    retry_type: Literal["in_process", "reschedule"] | None = None


class Flow(Struct, Model, kw_only=True):
    """A flow: a name that runs share."""

    name: str
    id: UUID = field(default_factory=uuid7)
    tags: list[str] = field(default_factory=list)
    labels: dict[str, Any] = field(default_factory=dict)
    created: datetime | None = None
    updated: datetime | None = None


class _Run(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    name: str = ""
    created: datetime | None = None
    updated: datetime | None = None
    state: BaseState | None = None
    state_id: UUID | None = None
    state_type: StateType | None = None
    state_name: str | None = None
    state_timestamp: datetime | None = None
    run_count: int = 0
    tags: list[str] = field(default_factory=list)
    labels: dict[str, Any] = field(default_factory=dict)
    empirical_policy: RunPolicy = field(default_factory=RunPolicy)
    expected_start_time: datetime | None = None
    next_scheduled_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    total_run_time: timedelta = timedelta(0)
    estimated_run_time: timedelta = timedelta(0)
    estimated_start_time_delta: timedelta = timedelta(0)

    @property
    def resuming(self) -> bool:
        """Whether the run comes back from a pause (a field of its policy)."""
        return bool(self.empirical_policy.resuming)

    @resuming.setter
    def resuming(self, value: bool) -> None:
        if self.empirical_policy.resuming != value:
            self.empirical_policy.resuming = value


class FlowRun(_Run, kw_only=True):
    """One run of a flow."""

    flow_id: UUID | None = None
    deployment_id: UUID | None = None
    deployment_version: str | None = None
    work_queue_id: UUID | None = None
    work_queue_name: str | None = None
    work_pool_id: UUID | None = None
    work_pool_name: str | None = None
    flow_version: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    parent_task_run_id: UUID | None = None
    auto_scheduled: bool = False
    infrastructure_document_id: UUID | None = None
    infrastructure_pid: str | None = None
    created_by: CreatedBy | None = None
    job_variables: dict[str, Any] | None = None


class TaskRun(_Run, kw_only=True):
    """One run of a task. `dynamic_key` tells apart the calls of one task in one flow run."""

    flow_run_id: UUID | None = None
    task_key: str = ""
    dynamic_key: str = ""
    cache_key: str | None = None
    cache_expiration: datetime | None = None
    task_version: str | None = None
    task_inputs: dict[str, list[RunInput]] = field(default_factory=dict)
    flow_run_run_count: int = 0
