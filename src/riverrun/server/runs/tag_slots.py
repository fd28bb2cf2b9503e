"""Limits by tag for task runs whose states are proposed: `tag:<tag>` limits, one slot for the run in each."""

from collections.abc import Collection
from uuid import UUID

from riverrun.server.concurrency import limits, slots
from riverrun.server.db.units import Transaction

#: what the rules read as: this limit lets nobody in
CLOSED = -1


def free(transaction: Transaction, tags: Collection[str], task_run_id: UUID) -> dict[str, int]:
    """The free slots of those tags that are limited; `CLOSED` where the limit is 0. The limits stay locked."""
    rows = [row for row in limits.named(transaction, [f"tag:{tag}" for tag in tags]) if row.active]
    if not rows:
        return {}
    now = slots.clock(transaction)
    full = {row.key for row, _ in slots.lacking(transaction, rows, 1, ("task_run", task_run_id), now)}
    return {row.name.removeprefix("tag:"): CLOSED if row.limit <= 0 else 0 if row.key in full else 1 for row in rows}


def take(transaction: Transaction, tags: Collection[str], task_run_id: UUID) -> None:
    """Take a slot in every limited tag, held until the run leaves Running."""
    rows = [row for row in limits.named(transaction, [f"tag:{tag}" for tag in tags]) if row.active]
    if rows:
        slots.occupy(transaction, rows, 1, slots.clock(transaction), lease=False, holder=("task_run", task_run_id))
