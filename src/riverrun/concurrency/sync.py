"""Limits on how much happens at once, for sync code."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from riverrun.base.pool import released
from riverrun.concurrency import slots
from riverrun.concurrency.leases import keeper
from riverrun.concurrency.slots import (
    AcquireConcurrencySlotTimeoutError,
    Attempt,
    ConcurrencyLeaseLost,
    ConcurrencySlotAcquisitionError,
    Patience,
    Wanted,
)
from riverrun.wire.concurrency import ConcurrencyLeaseHolder

__all__ = [
    "AcquireConcurrencySlotTimeoutError",
    "ConcurrencyLeaseLost",
    "ConcurrencySlotAcquisitionError",
    "concurrency",
    "rate_limit",
]


@contextmanager
def concurrency(
    names: str | list[str],
    occupy: int = 1,
    timeout_seconds: float | None = None,
    max_retries: int | None = None,
    lease_duration: float = 300,
    strict: bool = False,
    holder: ConcurrencyLeaseHolder | dict[str, Any] | None = None,
    raise_on_lease_renewal_failure: bool | None = None,
) -> Generator[None]:
    """Hold `occupy` slots of each of these limits inside the block, waiting until they are free.

    Slots are given back when the block ends, or `lease_duration` seconds after this process died. A limit that does not exist
    is passed over with a warning, if there is none of them and `strict` it is a ConcurrencySlotAcquisitionError. Waiting
    longer than `timeout_seconds` is a TimeoutError. When the slots are lost because the server cannot be reached for that
    long, the block goes on; with `raise_on_lease_renewal_failure` (default: `strict`) ConcurrencyLeaseLost is raised at its end.
    """
    if not names:
        yield
        return
    wanted = Wanted(names, occupy, lease_duration=lease_duration, holder=holder, strict=strict)
    attempt = _acquire(wanted, timeout_seconds, max_retries)
    lease = attempt.lease
    if lease is None:
        slots.warn_missing(wanted.names)
        yield
        return
    strictly = strict if raise_on_lease_renewal_failure is None else raise_on_lease_renewal_failure
    lease.watch(lambda: slots.tell_lost(lease, goes_on=not strictly))
    events: dict[Any, Any] = {}
    try:
        events = slots.tell("acquired", attempt.limits, occupy, {})
        yield
        if lease.lost is not None and strictly:
            raise ConcurrencyLeaseLost from lease.lost
    finally:
        keeper.give_back(lease)
        slots.tell("released", attempt.limits, occupy, events)


def rate_limit(
    names: str | list[str], occupy: int = 1, timeout_seconds: float | None = None, strict: bool = False
) -> None:
    """Wait until `occupy` slots of each of these limits are free, and use them up: they come back by the limits' decay."""
    if not names:
        return
    wanted = Wanted(names, occupy, mode="rate_limit", strict=strict)
    attempt = _acquire(wanted, timeout_seconds, None)
    if not attempt.limits:
        slots.warn_missing(wanted.names)
    slots.tell("acquired", attempt.limits, occupy, {})


def _acquire(wanted: Wanted, timeout_seconds: float | None, max_retries: int | None) -> Attempt:
    patience = Patience(wanted.names, timeout_seconds, max_retries)
    while True:
        attempt = Attempt(wanted)
        try:
            delay = attempt.run()
        except BaseException:
            attempt.abandon()
            raise
        if delay is None:
            return attempt
        with released():
            patience.turn(delay).wait()
