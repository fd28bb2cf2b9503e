"""Calls about concurrency limits: those of tags, the global ones, and the slots taken of them."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from riverrun.client.call import Call, at
from riverrun.wire.concurrency import (
    ConcurrencyLeaseHolder,
    ConcurrencyLimit,
    ConcurrencyLimitCreate,
    ConcurrencyLimitsFilterBody,
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

Mode = Literal["concurrency", "rate_limit"]

# -- limits of tags


def create_concurrency_limit(tag: str, concurrency_limit: int) -> Call[ConcurrencyLimit]:
    """Limit how many tasks with a tag run at once, or change the limit."""
    body = ConcurrencyLimitCreate(tag=tag, concurrency_limit=concurrency_limit)
    return Call("POST", "/concurrency_limits/", ConcurrencyLimit, body=body)


def read_concurrency_limit_by_tag(tag: str) -> Call[ConcurrencyLimit]:
    """The limit of a tag."""
    return Call("GET", at("concurrency_limits", "tag", tag), ConcurrencyLimit, noun=f"Limit of the tag {tag!r}:")


def read_concurrency_limits(limit: int | None = None, offset: int = 0) -> Call[list[ConcurrencyLimit]]:
    """The limits of tags."""
    body = ConcurrencyLimitsFilterBody(limit=limit, offset=offset)
    return Call("POST", "/concurrency_limits/filter", list[ConcurrencyLimit], body=body)


def reset_concurrency_limit_by_tag(tag: str, slot_override: list[UUID] | None = None) -> Call[None]:
    """Free the slots of a tag, or let them be held by these task runs."""
    body = ConcurrencyLimitsTagResetBody(slot_override=slot_override)
    return Call("POST", at("concurrency_limits", "tag", tag, "reset"), body=body, noun=f"Limit of the tag {tag!r}:")


def delete_concurrency_limit_by_tag(tag: str) -> Call[None]:
    """Delete the limit of a tag."""
    return Call("DELETE", at("concurrency_limits", "tag", tag), noun=f"Limit of the tag {tag!r}:")


# -- global limits


def create_global_concurrency_limit(limit: ConcurrencyLimitV2Create) -> Call[ConcurrencyLimitV2]:
    """Make a limit; ObjectAlreadyExists if there is one of this name."""
    return Call("POST", "/v2/concurrency_limits/", ConcurrencyLimitV2, body=limit)


def read_global_concurrency_limit_by_name(name: str) -> Call[GlobalConcurrencyLimitResponse]:
    """The limit of this name."""
    return Call(
        "GET", at("v2", "concurrency_limits", name), GlobalConcurrencyLimitResponse, noun=f"Concurrency limit {name!r}:"
    )


def read_global_concurrency_limits(
    limit: int | None = None, offset: int = 0
) -> Call[list[GlobalConcurrencyLimitResponse]]:
    """Limits by name."""
    body = V2ConcurrencyLimitsFilterBody(limit=limit, offset=offset)
    return Call("POST", "/v2/concurrency_limits/filter", list[GlobalConcurrencyLimitResponse], body=body)


def update_global_concurrency_limit(name: str, limit: ConcurrencyLimitV2Update) -> Call[None]:
    """Change the limit of this name."""
    return Call("PATCH", at("v2", "concurrency_limits", name), body=limit, noun=f"Concurrency limit {name!r}:")


def delete_global_concurrency_limit_by_name(name: str) -> Call[None]:
    """Delete the limit of this name."""
    return Call("DELETE", at("v2", "concurrency_limits", name), noun=f"Concurrency limit {name!r}:")


# -- slots


def increment_concurrency_slots(
    names: Sequence[str], slots: int, mode: Mode = "concurrency"
) -> Call[list[MinimalConcurrencyLimitResponse]]:
    """Take slots of all these limits, or of none: RequestConflict (423) if there are not enough."""
    body = V2ConcurrencyLimitsIncrementBody(names=list(names), slots=slots, mode=mode)
    return Call("POST", "/v2/concurrency_limits/increment", list[MinimalConcurrencyLimitResponse], body=body)


def increment_concurrency_slots_with_lease(
    names: Sequence[str],
    slots: int,
    mode: Mode = "concurrency",
    lease_duration: float = 300,
    holder: ConcurrencyLeaseHolder | None = None,
) -> Call[ConcurrencyLimitWithLeaseResponse]:
    """As `increment_concurrency_slots`; the slots come back by themselves if the lease is not renewed in time."""
    body = V2ConcurrencyLimitsIncrementWithLeaseBody(
        names=list(names), slots=slots, mode=mode, lease_duration=lease_duration, holder=holder
    )
    return Call("POST", "/v2/concurrency_limits/increment-with-lease", ConcurrencyLimitWithLeaseResponse, body=body)


def renew_concurrency_lease(lease_id: UUID, lease_duration: float) -> Call[None]:
    """Let a lease last from now on; an error (410) if it has ended."""
    body = V2ConcurrencyLimitsLeasesRenewBody(lease_duration=lease_duration)
    return Call("POST", at("v2", "concurrency_limits", "leases", lease_id, "renew"), body=body)


def release_concurrency_slots(
    names: Sequence[str], slots: int, occupancy_seconds: float
) -> Call[list[MinimalConcurrencyLimitResponse]]:
    """Give back slots taken without a lease."""
    body = V2ConcurrencyLimitsDecrementBody(names=list(names), slots=slots, occupancy_seconds=occupancy_seconds)
    return Call("POST", "/v2/concurrency_limits/decrement", list[MinimalConcurrencyLimitResponse], body=body)


def release_concurrency_slots_with_lease(lease_id: UUID) -> Call[None]:
    """Give back the slots of a lease."""
    body = V2ConcurrencyLimitsDecrementWithLeaseBody(lease_id=lease_id)
    return Call("POST", "/v2/concurrency_limits/decrement-with-lease", body=body)
