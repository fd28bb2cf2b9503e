"""Concurrency limits, slots and leases."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from riverrun.base.ids import uuid7
from riverrun.wire.model import Model
from riverrun.wire.scalars import Count, Int, NonNegative, Positive


class V2ConcurrencyLimitsDecrementBody(Struct, Model, kw_only=True):
    slots: Positive
    names: list[str]
    occupancy_seconds: Annotated[float, Meta(gt=0.0)] | None = None
    create_if_missing: bool | None = None


class V2ConcurrencyLimitsDecrementWithLeaseBody(Struct, Model, kw_only=True):
    lease_id: UUID


class V2ConcurrencyLimitsIncrementBody(Struct, Model, kw_only=True):
    slots: Positive
    names: list[str]
    mode: Literal["concurrency", "rate_limit"] = "concurrency"
    create_if_missing: bool | None = None


class ConcurrencyLeaseHolder(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    type: Literal["flow_run", "task_run", "deployment"]
    id: UUID


class V2ConcurrencyLimitsIncrementWithLeaseBody(Struct, Model, kw_only=True):
    slots: Positive
    names: list[str]
    mode: Literal["concurrency", "rate_limit"] = "concurrency"
    lease_duration: Annotated[float, Meta(ge=60.0, le=86400.0)] = 300
    holder: ConcurrencyLeaseHolder | None = None


class ConcurrencyLimitsDecrementBody(Struct, Model, kw_only=True):
    names: list[str]
    task_run_id: UUID


class ConcurrencyLimitsIncrementBody(Struct, Model, kw_only=True):
    names: list[str]
    task_run_id: UUID


class V2ConcurrencyLimitsFilterBody(Struct, Model, kw_only=True):
    offset: NonNegative = 0
    limit: Int | None = None


class ConcurrencyLimitsFilterBody(Struct, Model, kw_only=True):
    offset: NonNegative = 0
    limit: Int | None = None


class WorkPoolsConcurrencyStatusBody(Struct, Model, kw_only=True):
    page: Positive = 1
    flow_run_limit: Annotated[int, Meta(ge=0, le=200)] = 10
    limit: Int | None = None


class WorkQueuesConcurrencyStatusBody(Struct, Model, kw_only=True):
    page: Positive = 1
    limit: Int | None = None


class V2ConcurrencyLimitsLeasesRenewBody(Struct, Model, kw_only=True):
    lease_duration: Annotated[float, Meta(ge=60.0, le=86400.0)] = 300


class ConcurrencyLimitsTagResetBody(Struct, Model, kw_only=True):
    slot_override: list[UUID] | None = None


class ConcurrencyLimit(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    tag: str
    concurrency_limit: Int
    active_slots: list[UUID] = []


class ConcurrencyLimitCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    tag: str
    concurrency_limit: Count


class ConcurrencyLimitV2(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    active: bool = True
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    limit: Int
    active_slots: Int = 0
    denied_slots: Int = 0
    slot_decay_per_second: float = 0
    avg_slot_occupancy_seconds: float = 2.0


class ConcurrencyLimitV2Create(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    active: bool = True
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    limit: Count
    active_slots: Count = 0
    denied_slots: Count = 0
    slot_decay_per_second: Annotated[float, Meta(ge=0.0)] = 0


class ConcurrencyLimitV2Update(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    active: bool | UnsetType | None = UNSET
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")] | UnsetType | None = UNSET
    limit: Count | UnsetType | None = UNSET
    active_slots: Count | UnsetType | None = UNSET
    denied_slots: Count | UnsetType | None = UNSET
    slot_decay_per_second: Annotated[float, Meta(ge=0.0)] | UnsetType | None = UNSET


class MinimalConcurrencyLimitResponse(Struct, Model, kw_only=True):
    id: UUID
    name: str
    limit: Int


class ConcurrencyLimitWithLeaseResponse(Struct, Model, kw_only=True):
    lease_id: UUID
    limits: list[MinimalConcurrencyLimitResponse]


class GlobalConcurrencyLimitResponse(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    active: bool = True
    name: str
    limit: Int
    active_slots: Int
    slot_decay_per_second: float = 2.0
