"""Limits on how much happens at once, for async code. Requests run in threads, so that one that is given up is not forgotten."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from riverrun.base.loops import in_thread
from riverrun.concurrency import slots
from riverrun.concurrency.leases import Lease, keeper
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


@asynccontextmanager
async def concurrency(
    names: str | list[str],
    occupy: int = 1,
    timeout_seconds: float | None = None,
    max_retries: int | None = None,
    lease_duration: float = 300,
    strict: bool = False,
    holder: ConcurrencyLeaseHolder | dict[str, Any] | None = None,
    raise_on_lease_renewal_failure: bool | None = None,
) -> AsyncGenerator[None]:
    """As `riverrun.concurrency.sync.concurrency`; when the slots are lost and that must raise, the block is cancelled."""
    if not names:
        yield
        return
    wanted = Wanted(names, occupy, lease_duration=lease_duration, holder=holder, strict=strict)
    attempt = await _acquire(wanted, timeout_seconds, max_retries)
    lease = attempt.lease
    if lease is None:
        slots.warn_missing(wanted.names)
        yield
        return
    strictly = strict if raise_on_lease_renewal_failure is None else raise_on_lease_renewal_failure
    _watch(lease, strictly=strictly)
    events: dict[Any, Any] = {}
    try:
        events = slots.tell("acquired", attempt.limits, occupy, {})
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if lease.lost is None or not strictly or task is None:
                raise
            task.uncancel()
            raise ConcurrencyLeaseLost from lease.lost
    finally:
        lease.on_lost = None
        # in a thread: it is given back even if this task is cancelled meanwhile and its loop ends
        await in_thread(keeper.give_back, lease)
        slots.tell("released", attempt.limits, occupy, events)


async def rate_limit(
    names: str | list[str], occupy: int = 1, timeout_seconds: float | None = None, strict: bool = False
) -> None:
    """As `riverrun.concurrency.sync.rate_limit`."""
    if not names:
        return
    wanted = Wanted(names, occupy, mode="rate_limit", strict=strict)
    attempt = await _acquire(wanted, timeout_seconds, None)
    if not attempt.limits:
        slots.warn_missing(wanted.names)
    slots.tell("acquired", attempt.limits, occupy, {})


async def _acquire(wanted: Wanted, timeout_seconds: float | None, max_retries: int | None) -> Attempt:
    patience = Patience(wanted.names, timeout_seconds, max_retries)
    while True:
        attempt = Attempt(wanted)
        try:
            delay = await in_thread(attempt.run)
        except BaseException:
            attempt.abandon()
            raise
        if delay is None:
            return attempt
        await patience.turn(delay).wait_async()


def _watch(lease: Lease, *, strictly: bool) -> None:
    """Cancel the current task when the lease is lost, if that must not pass."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def cancel() -> None:
        if lease.on_lost is not None and task is not None:  # else the block has just ended
            task.cancel()

    def lost() -> None:
        slots.tell_lost(lease, goes_on=not strictly)
        if strictly and not loop.is_closed():
            loop.call_soon_threadsafe(cancel)

    lease.watch(lost)
