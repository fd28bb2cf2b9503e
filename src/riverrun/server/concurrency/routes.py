"""Concurrency limits over HTTP: those with names (`/v2`), and those of tags as older clients ask for them."""

from uuid import UUID

from riverrun.server.concurrency import acquire, limits, slots, tags
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.http.errors import HTTPError
from riverrun.server.http.pages import page
from riverrun.server.http.table import Reply, Routes
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

READ, WRITE, USE = "concurrency:read", "concurrency:write", "concurrency:use"
Briefs = list[MinimalConcurrencyLimitResponse]
_LEASE_SECONDS = 300.0

named = Routes("/v2/concurrency_limits", "Concurrency Limits V2")


@named.post("/", permission=WRITE, status=201, returns=ConcurrencyLimitV2, errors=(409,))
def create_concurrency_limit_v2(transaction: Transaction, body: ConcurrencyLimitV2Create) -> ConcurrencyLimitV2:
    return limits.create(transaction, body)


@named.get("/{id_or_name}", permission=READ, returns=GlobalConcurrencyLimitResponse, errors=(404,))
def read_concurrency_limit_v2(reader: Reader, id_or_name: str) -> GlobalConcurrencyLimitResponse:
    return limits.answer(reader, id_or_name)


@named.post("/filter", permission=READ, returns=list[GlobalConcurrencyLimitResponse])
def read_all_concurrency_limits_v2(
    reader: Reader, body: V2ConcurrencyLimitsFilterBody | None
) -> list[GlobalConcurrencyLimitResponse]:
    """Limits, ordered by name."""
    body = body or V2ConcurrencyLimitsFilterBody()
    return limits.answers(reader, limits.page(reader, page(body.limit), body.offset))


@named.patch("/{id_or_name}", permission=WRITE, status=204, errors=(404, 409))
def update_concurrency_limit_v2(transaction: Transaction, id_or_name: str, body: ConcurrencyLimitV2Update) -> None:
    limits.update(transaction, id_or_name, body)


@named.delete("/{id_or_name}", permission=WRITE, status=204, errors=(404,))
def delete_concurrency_limit_v2(transaction: Transaction, id_or_name: str) -> None:
    limits.delete(transaction, id_or_name)


@named.post("/increment", permission=USE, returns=Briefs, errors=(423,))
def bulk_increment_active_slots(transaction: Transaction, body: V2ConcurrencyLimitsIncrementBody) -> Briefs | Reply:
    """Take slots of all the limits or of none, until they are given back by `decrement`; `create_if_missing` is not heeded."""
    outcome = acquire.acquire(transaction, body.names, body.slots, mode=body.mode)
    if isinstance(outcome, acquire.Refused):
        return outcome.reply()
    return [limits.brief(row) for row in outcome.rows]


@named.post("/increment-with-lease", permission=USE, returns=ConcurrencyLimitWithLeaseResponse, errors=(423,))
def bulk_increment_active_slots_with_lease(
    transaction: Transaction, body: V2ConcurrencyLimitsIncrementWithLeaseBody
) -> ConcurrencyLimitWithLeaseResponse | Reply:
    """Take slots of all the limits or of none, for as long as the lease is renewed."""
    outcome = acquire.acquire(
        transaction,
        body.names,
        body.slots,
        mode=body.mode,
        lease=True,
        seconds=body.lease_duration,
        holder=None if body.holder is None else (body.holder.type, body.holder.id),
    )
    if isinstance(outcome, acquire.Refused):
        return outcome.reply()
    assert outcome.lease_id is not None
    return ConcurrencyLimitWithLeaseResponse(
        lease_id=outcome.lease_id, limits=[limits.brief(row) for row in outcome.rows]
    )


@named.post("/decrement", permission=USE, returns=Briefs)
def bulk_decrement_active_slots(transaction: Transaction, body: V2ConcurrencyLimitsDecrementBody) -> Briefs:
    """Give back slots that were taken without a lease."""
    rows = limits.named(transaction, body.names)
    now = slots.clock(transaction)
    for row in rows:
        if row.active:
            slots.give_back_anonymous(transaction, row, body.slots, now, body.occupancy_seconds)
    return [limits.brief(row) for row in rows]


@named.post("/decrement-with-lease", permission=USE, status=204)
def bulk_decrement_active_slots_with_lease(
    transaction: Transaction, body: V2ConcurrencyLimitsDecrementWithLeaseBody
) -> None:
    """Give a lease's slots back. A lease that is not there any more has nothing to give back."""
    slots.release(transaction, body.lease_id)


@named.post("/leases/{lease_id}/renew", permission=USE, status=204, errors=(410,))
def renew_concurrency_lease(
    transaction: Transaction, lease_id: UUID, body: V2ConcurrencyLimitsLeasesRenewBody | None
) -> None:
    if not slots.renew(transaction, lease_id, _LEASE_SECONDS if body is None else body.lease_duration):
        raise HTTPError(410, f"The lease {lease_id} has expired or was given back; its slots may belong to others now.")


tagged = Routes("/concurrency_limits", "Concurrency Limits")


@tagged.post("/", permission=WRITE, also=(201,), returns=ConcurrencyLimit)
def create_concurrency_limit(transaction: Transaction, body: ConcurrencyLimitCreate) -> Reply:
    """Set the limit of a tag, whether it has one or not."""
    limit, is_new = tags.upsert(transaction, body)
    return Reply(value=limit, status=201 if is_new else 200)


@tagged.get("/{id}", permission=READ, returns=ConcurrencyLimit, errors=(404,))
def read_concurrency_limit(reader: Reader, id: UUID) -> ConcurrencyLimit:
    return tags.answers(reader, [tags.get(reader, id)])[0]


@tagged.get("/tag/{tag}", permission=READ, returns=ConcurrencyLimit, errors=(404,))
def read_concurrency_limit_by_tag(reader: Reader, tag: str) -> ConcurrencyLimit:
    return tags.answers(reader, [tags.get(reader, tag)])[0]


@tagged.post("/filter", permission=READ, returns=list[ConcurrencyLimit])
def read_concurrency_limits(reader: Reader, body: ConcurrencyLimitsFilterBody | None) -> list[ConcurrencyLimit]:
    """Limits of tags, ordered by tag."""
    body = body or ConcurrencyLimitsFilterBody()
    return tags.answers(reader, limits.page(reader, page(body.limit), body.offset, prefix=tags.PREFIX))


@tagged.post("/tag/{tag}/reset", permission=WRITE, errors=(404,))
def reset_concurrency_limit_by_tag(
    transaction: Transaction, tag: str, body: ConcurrencyLimitsTagResetBody | None
) -> None:
    """Free all slots, or let exactly the task runs of `slot_override` hold them."""
    tags.reset(transaction, tag, (body.slot_override or ()) if body is not None else ())


@tagged.delete("/{id}", permission=WRITE, errors=(404,))
def delete_concurrency_limit(transaction: Transaction, id: UUID) -> None:
    limits.delete(transaction, tags.get(transaction, id).id)


@tagged.delete("/tag/{tag}", permission=WRITE, errors=(404,))
def delete_concurrency_limit_by_tag(transaction: Transaction, tag: str) -> None:
    limits.delete(transaction, tags.get(transaction, tag).id)


@tagged.post("/increment", permission=USE, returns=Briefs, errors=(423,))
def increment_concurrency_limits_v1(transaction: Transaction, body: ConcurrencyLimitsIncrementBody) -> Briefs | Reply:
    """Take a slot of each tag's limit for a task run."""
    return tags.increment(transaction, body)


@tagged.post("/decrement", permission=USE, returns=Briefs)
def decrement_concurrency_limits_v1(transaction: Transaction, body: ConcurrencyLimitsDecrementBody) -> Briefs:
    """Give back what a task run holds of the tags' limits."""
    return tags.decrement(transaction, body.names, body.task_run_id)


routes = [*named, *tagged]
