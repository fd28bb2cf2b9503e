"""Taking slots: one attempt, how long to wait for the next, and what users are told. What waits stands in `sync` and `asyncio`."""

from collections.abc import Sequence
from threading import Lock
from typing import Any, Literal
from uuid import UUID

import msgspec

from riverrun.base.clock import monotonic
from riverrun.base.errors import HTTPStatusError, RiverrunError
from riverrun.client.calls import concurrency as calls
from riverrun.client.http import send
from riverrun.client.location import ensure_api_url
from riverrun.concurrency.leases import Lease, keeper
from riverrun.concurrency.turns import Turn
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.wire.concurrency import (
    ConcurrencyLeaseHolder,
    MinimalConcurrencyLimitResponse,
    V2ConcurrencyLimitsIncrementBody,
    V2ConcurrencyLimitsIncrementWithLeaseBody,
)

Limits = list[MinimalConcurrencyLimitResponse]
Mode = Literal["concurrency", "rate_limit"]

_LOCKED = 423
_DEFAULT_DELAY = 1.0


class ConcurrencySlotAcquisitionError(RiverrunError):
    """Concurrency slots could not be taken."""

    code = "concurrency_slots"


class AcquireConcurrencySlotTimeoutError(TimeoutError):
    """Concurrency slots were not free in time."""


class ConcurrencyLeaseLost(RiverrunError):
    """The concurrency slots are held no longer: their lease could not be renewed in time."""

    code = "concurrency_lease_lost"


class Wanted:
    """Slots of some limits; with a `lease_duration` for as long as they are needed, else for good (rate limits)."""

    def __init__(
        self,
        names: str | Sequence[str],
        slots: int,
        *,
        mode: Mode = "concurrency",
        lease_duration: float | None = None,
        holder: ConcurrencyLeaseHolder | dict[str, Any] | None = None,
        strict: bool = False,
    ) -> None:
        self.names = [names] if isinstance(names, str) else sorted(set(names))
        self.slots = slots
        self.mode: Mode = mode
        self.lease_duration = lease_duration
        self.holder = holder_of(holder)
        self.strict = strict


class Attempt:
    """One request for slots. If who asked is struck meanwhile (`abandon`), slots that were given are given back."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.lease: Lease | None = None
        self.limits: Limits = []
        self._lock = Lock()
        self._abandoned = False

    def run(self, retries: int | None = None) -> float | None:
        """Ask; None if the slots (or no limits at all) are there, else seconds until asking again makes sense.

        Raises ConcurrencySlotAcquisitionError if the server refuses or cannot be reached.
        """
        url = ensure_api_url()
        try:
            lease = self._ask(url, retries)
        except HTTPStatusError as error:
            if getattr(error.response, "status_code", None) == _LOCKED:
                return _retry_after(error.response)
            raise self._refused(error) from error
        except RiverrunError as error:
            raise self._refused(error) from error
        with self._lock:
            self.lease = lease
            abandoned = self._abandoned
        if lease is not None:
            (keeper.let_go if abandoned else keeper.keep)(lease)
        if not self.limits and self.wanted.strict:
            raise ConcurrencySlotAcquisitionError(
                f"Concurrency limits {self.wanted.names!r} must be created before acquiring slots:"
                " `riverrun gcl create NAME --limit 1`."
            )
        return None

    def abandon(self) -> None:
        """Who asked is gone."""
        with self._lock:
            self._abandoned = True
            lease = self.lease
        if lease is not None:
            keeper.let_go(lease)

    def _ask(self, url: str, retries: int | None) -> Lease | None:
        wanted = self.wanted
        if wanted.lease_duration is None:
            body = V2ConcurrencyLimitsIncrementBody(slots=wanted.slots, names=wanted.names, mode=wanted.mode)
            self.limits = send(calls.take_slots(body), retries, url)
            return None
        answer = send(
            calls.take_slots_with_lease(
                V2ConcurrencyLimitsIncrementWithLeaseBody(
                    slots=wanted.slots,
                    names=wanted.names,
                    mode=wanted.mode,
                    lease_duration=wanted.lease_duration,
                    holder=wanted.holder,
                )
            ),
            retries,
            url,
        )
        self.limits = answer.limits
        if not answer.limits:
            return None
        return Lease(answer.lease_id, wanted.lease_duration, url, wanted.names, wanted.slots)

    def _refused(self, error: Exception) -> ConcurrencySlotAcquisitionError:
        return ConcurrencySlotAcquisitionError(f"Unable to acquire concurrency slots on {self.wanted.names!r}: {error}")


def _retry_after(response: Any) -> float:
    try:
        return max(float(response.headers["Retry-After"]), 0.01)
    except (KeyError, ValueError):
        return _DEFAULT_DELAY


class Patience:
    """How long somebody waits for slots, and how often they ask."""

    def __init__(self, names: Sequence[str], timeout_seconds: float | None, max_retries: int | None) -> None:
        self.names = names
        self.timeout = timeout_seconds
        self.until = None if timeout_seconds is None else monotonic() + timeout_seconds
        self.left = max_retries

    def turn(self, retry_after: float) -> Turn:
        """The wait for the next attempt; raises when there is to be none."""
        return Turn(self.names, self._pause(retry_after))

    def _pause(self, retry_after: float) -> float:
        if self.left is not None:
            if self.left <= 0:
                raise ConcurrencySlotAcquisitionError(
                    f"Unable to acquire concurrency slots on {self.names!r}: all are taken, and `max_retries` is used up."
                )
            self.left -= 1
        if self.until is None:
            return retry_after
        rest = self.until - monotonic()
        if rest <= 0:
            raise AcquireConcurrencySlotTimeoutError(
                f"Attempt to acquire concurrency slots on {self.names!r} timed out after {self.timeout} second(s)"
            )
        return min(retry_after, rest)


def holder_of(given: ConcurrencyLeaseHolder | dict[str, Any] | None) -> ConcurrencyLeaseHolder | None:
    """Who holds slots: as given, else the innermost run."""
    if isinstance(given, ConcurrencyLeaseHolder):
        return given
    if given is not None:
        return msgspec.convert(given, ConcurrencyLeaseHolder)
    task_run_context, flow_run_context = TaskRunContext.get(), FlowRunContext.get()
    if task_run_context is not None:
        return ConcurrencyLeaseHolder(type="task_run", id=task_run_context.task_run.id)
    if flow_run_context is not None and flow_run_context.flow_run is not None:
        return ConcurrencyLeaseHolder(type="flow_run", id=flow_run_context.flow_run.id)
    return None


# -- what people and other programs are told


def warn_missing(names: Sequence[str]) -> None:
    """Say that limits do not exist, to the log of the run around."""
    _logger().warning("Concurrency limits %r do not exist - skipping acquisition.", list(names))


def tell_lost(lease: Lease, *, goes_on: bool) -> None:
    """Say that slots are held no longer."""
    _logger().log(
        30 if goes_on else 40,
        "Concurrency lease renewal failed - slots are no longer reserved. %s Lease ID: %s, exception: %s",
        "Execution will continue, but concurrency limits may be exceeded." if goes_on else "Terminating execution.",
        lease.id,
        lease.lost,
    )


def _logger() -> Any:
    from riverrun.base.errors import MissingContextError
    from riverrun.logging import get_logger, get_run_logger

    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("concurrency")


def tell(
    phase: Literal["acquired", "released"], limits: Limits, slots: int, follows: dict[UUID, Any]
) -> dict[UUID, Any]:
    """Emit an event for each limit; gives them by limit."""
    from riverrun.events import emit_event

    return {
        limit.id: emit_event(
            f"prefect.concurrency-limit.{phase}",
            resource={
                "prefect.resource.id": f"prefect.concurrency-limit.{limit.id}",
                "prefect.resource.name": limit.name,
                "slots-acquired": str(slots),
                "limit": str(limit.limit),
            },
            related=[
                {
                    "prefect.resource.id": f"prefect.concurrency-limit.{other.id}",
                    "prefect.resource.role": "concurrency-limit",
                }
                for other in limits
                if other.id != limit.id
            ],
            follows=follows.get(limit.id),
        )
        for limit in limits
    }
