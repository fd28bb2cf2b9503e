"""Limits of tags, as the first version of the interface speaks of them: limits named `tag:<tag>`, one slot a task run.

Clients of that version cannot renew a lease, so theirs have no end; whoever ends the task run gives the slots back.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.concurrency import acquire, limits, slots
from riverrun.server.db.tables import slot
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import listed
from riverrun.server.http.errors import HTTPError
from riverrun.server.http.table import Reply
from riverrun.wire.concurrency import (
    ConcurrencyLimit,
    ConcurrencyLimitCreate,
    ConcurrencyLimitsIncrementBody,
    ConcurrencyLimitV2Create,
    ConcurrencyLimitV2Update,
    MinimalConcurrencyLimitResponse,
)

PREFIX = "tag:"
_KIND = "task_run"


def get(reader: Reader, ref: UUID | str, *, lock: bool = False) -> Any:
    """The row of a tag's limit, by id or by tag; raises ObjectNotFound."""
    row = limits.find(reader, ref if isinstance(ref, UUID) else PREFIX + ref, lock=lock)
    if row is None or not row.name.startswith(PREFIX):
        raise ObjectNotFound(f"There is no concurrency limit of the tag {str(ref)!r}.")
    return row


def answers(reader: Reader, rows: Collection[Any]) -> list[ConcurrencyLimit]:
    """What is said of tags' limits, with the task runs that hold a slot."""
    holders = slots.holders(reader, [row.key for row in rows], _KIND)
    return [
        ConcurrencyLimit(
            id=row.id,
            created=from_micros(row.created),
            updated=from_micros(row.updated),
            tag=row.name.removeprefix(PREFIX),
            concurrency_limit=row.limit,
            active_slots=holders[row.key],
        )
        for row in rows
    ]


def upsert(transaction: Transaction, body: ConcurrencyLimitCreate) -> tuple[ConcurrencyLimit, bool]:
    """Let a tag's limit be this; and whether it is new."""
    name = PREFIX + body.tag
    is_new = limits.find(transaction, name) is None
    if is_new:
        limits.create(transaction, ConcurrencyLimitV2Create(name=name, limit=body.concurrency_limit))
    else:
        limits.update(transaction, name, ConcurrencyLimitV2Update(limit=body.concurrency_limit))
    return answers(transaction, [get(transaction, body.tag)])[0], is_new


def reset(transaction: Transaction, tag: str, task_run_ids: Collection[UUID]) -> None:
    """Let exactly these task runs hold slots of the tag's limit."""
    row = get(transaction, tag, lock=True)
    slots.give_back(transaction, slot.c.limit_key == row.key)
    now = slots.clock(transaction)
    for task_run_id in listed(task_run_ids):
        slots.occupy(transaction, [row], 1, now, lease=True, holder=(_KIND, task_run_id))


def increment(
    transaction: Transaction, body: ConcurrencyLimitsIncrementBody
) -> list[MinimalConcurrencyLimitResponse] | Reply:
    """Take a slot of each tag's limit for a task run; a tag that has none does not count."""
    names = [PREFIX + tag for tag in body.names]
    for row in limits.named(transaction, names):
        if row.limit == 0:
            # no Retry-After: it would be asked for ever
            tag = row.name.removeprefix(PREFIX)
            raise HTTPError(
                423, f"The concurrency limit of the tag {tag!r} is 0: no task with that tag can run until it is raised."
            )
    outcome = acquire.acquire(transaction, names, 1, lease=True, holder=(_KIND, body.task_run_id))
    if isinstance(outcome, acquire.Refused):
        tags = ", ".join(repr(row.name.removeprefix(PREFIX)) for row in outcome.rows)
        return outcome.reply(
            f"The concurrency limit of the tag {tags} is reached; ask again after the time in Retry-After."
        )
    return [limits.brief(row, row.name.removeprefix(PREFIX)) for row in outcome.rows]


def decrement(
    transaction: Transaction, tags: Collection[str], task_run_id: UUID
) -> list[MinimalConcurrencyLimitResponse]:
    """Give back what a task run holds of the tags' limits."""
    rows = limits.named(transaction, [PREFIX + tag for tag in tags])
    held = sa.and_(slot.c.limit_key.in_([row.key for row in rows]), slot.c.holder_id == task_run_id)
    slots.give_back(transaction, held)
    return [limits.brief(row) for row in rows]
