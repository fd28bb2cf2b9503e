"""Calls about concurrency limits: those with names (v2), their slots and leases, and those of tags (v1)."""

from uuid import UUID

from riverrun.client.call import Call, Id, at, delete, get, patch, post
from riverrun.wire.concurrency import (
    ConcurrencyLimit,
    ConcurrencyLimitCreate,
    ConcurrencyLimitsDecrementBody,
    ConcurrencyLimitsFilterBody,
    ConcurrencyLimitsIncrementBody,
    ConcurrencyLimitsTagResetBody,
    ConcurrencyLimitV2,
    ConcurrencyLimitV2Create,
    ConcurrencyLimitV2Update,
    ConcurrencyLimitWithLeaseResponse,
    GlobalConcurrencyLimitResponse,
    MinimalConcurrencyLimitResponse,
    V2ConcurrencyLimitsDecrementBody,
    V2ConcurrencyLimitsDecrementWithLeaseBody,
    V2ConcurrencyLimitsFilterBody,
    V2ConcurrencyLimitsIncrementBody,
    V2ConcurrencyLimitsIncrementWithLeaseBody,
    V2ConcurrencyLimitsLeasesRenewBody,
)

Slots = list[MinimalConcurrencyLimitResponse]


def _limit(id_or_name: Id) -> str:
    return at("v2", "concurrency_limits", id_or_name)


def _noun(id_or_name: Id) -> str:
    return f"Concurrency limit {str(id_or_name)!r}:"


def create_limit(limit: ConcurrencyLimitV2Create) -> Call[ConcurrencyLimitV2]:
    return post(_limit(""), limit, ConcurrencyLimitV2)


def read_limit(name: Id) -> Call[GlobalConcurrencyLimitResponse]:
    return get(_limit(name), GlobalConcurrencyLimitResponse, noun=_noun(name))


def read_limits(limit: int | None = None, offset: int = 0) -> Call[list[GlobalConcurrencyLimitResponse]]:
    body = V2ConcurrencyLimitsFilterBody(limit=limit, offset=offset)
    return post(_limit("filter"), body, list[GlobalConcurrencyLimitResponse])


def update_limit(id_or_name: Id, limit: ConcurrencyLimitV2Update) -> Call[None]:
    return patch(_limit(id_or_name), limit, noun=_noun(id_or_name))


def delete_limit(name: Id) -> Call[None]:
    return delete(_limit(name), noun=_noun(name))


# -- slots: too few free ones are a RequestConflict whose `response` is 423 with `Retry-After` ------------------------------


def take_slots(body: V2ConcurrencyLimitsIncrementBody) -> Call[Slots]:
    return post(_limit("increment"), body, Slots)


def take_slots_with_lease(body: V2ConcurrencyLimitsIncrementWithLeaseBody) -> Call[ConcurrencyLimitWithLeaseResponse]:
    """Slots that come back by themselves when the lease is not renewed."""
    return post(_limit("increment-with-lease"), body, ConcurrencyLimitWithLeaseResponse)


def release_slots(body: V2ConcurrencyLimitsDecrementBody) -> Call[Slots]:
    return post(_limit("decrement"), body, Slots)


def release_lease(lease_id: UUID) -> Call[None]:
    return post(_limit("decrement-with-lease"), V2ConcurrencyLimitsDecrementWithLeaseBody(lease_id=lease_id))


def renew_lease(lease_id: UUID, lease_duration: float = 300) -> Call[None]:
    """Raises ObjectGone when the lease has expired."""
    body = V2ConcurrencyLimitsLeasesRenewBody(lease_duration=lease_duration)
    return post(at("v2", "concurrency_limits", "leases", lease_id, "renew"), body)


# -- limits of tags -------------------------------------------------------------------------------------------------------


def _tag(tag: str, *parts: str) -> str:
    return at("concurrency_limits", "tag", tag, *parts)


def create_tag_limit(tag: str, concurrency_limit: int) -> Call[ConcurrencyLimit]:
    """Make the limit of a tag, or change the one there is."""
    body = ConcurrencyLimitCreate(tag=tag, concurrency_limit=concurrency_limit)
    return post(at("concurrency_limits", ""), body, ConcurrencyLimit)


def read_tag_limit(tag: str) -> Call[ConcurrencyLimit]:
    return get(_tag(tag), ConcurrencyLimit, noun=f"Concurrency limit of tag {tag!r}:")


def read_tag_limits(limit: int | None = None, offset: int = 0) -> Call[list[ConcurrencyLimit]]:
    body = ConcurrencyLimitsFilterBody(limit=limit, offset=offset)
    return post(at("concurrency_limits", "filter"), body, list[ConcurrencyLimit])


def reset_tag_limit(tag: str, slot_override: list[UUID] | None = None) -> Call[None]:
    body = ConcurrencyLimitsTagResetBody(slot_override=slot_override)
    return post(_tag(tag, "reset"), body, noun=f"Concurrency limit of tag {tag!r}:")


def delete_tag_limit(tag: str) -> Call[None]:
    return delete(_tag(tag), noun=f"Concurrency limit of tag {tag!r}:")


def take_tag_slots(names: list[str], task_run_id: UUID) -> Call[Slots]:
    body = ConcurrencyLimitsIncrementBody(names=names, task_run_id=task_run_id)
    return post(at("concurrency_limits", "increment"), body, Slots)


def release_tag_slots(names: list[str], task_run_id: UUID) -> Call[Slots]:
    body = ConcurrencyLimitsDecrementBody(names=names, task_run_id=task_run_id)
    return post(at("concurrency_limits", "decrement"), body, Slots)
