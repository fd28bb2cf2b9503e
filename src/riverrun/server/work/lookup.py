"""Finding a work queue by the names that people use."""

from uuid import UUID

import sqlalchemy as sa

from riverrun.base.errors import ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction


def queue_id(transaction: Transaction, pool: str | None, queue: str | None) -> UUID | None:
    """The id of a pool's queue: its default one when no queue is named; a queue that is not there is made.

    None when no pool is named. Raises ObjectNotFound for a pool that is not there.
    """
    if pool is None:
        return None
    row = transaction.row(
        sa.select(t.work_pool.c.id, t.work_pool.c.default_queue_id)
        .where(t.work_pool.c.workspace_id == transaction.workspace, t.work_pool.c.name == pool)
        .with_for_update()
    )
    if row is None:
        raise ObjectNotFound(f"There is no work pool {pool!r}.")
    if queue is None and row.default_queue_id is not None:
        return UUID(bytes=row.default_queue_id.bytes)
    name = queue or "default"
    mine = sa.and_(t.work_queue.c.work_pool_id == row.id, t.work_queue.c.name == name)
    found: UUID | None = transaction.scalar(sa.select(t.work_queue.c.id).where(mine))
    if found is not None:
        return found
    lowest = transaction.scalar(
        sa.select(sa.func.max(t.work_queue.c.priority)).where(t.work_queue.c.work_pool_id == row.id)
    )
    made = uuid7()
    transaction.execute(
        sa.insert(t.work_queue).values(
            id=made,
            created=transaction.now,
            updated=transaction.now,
            workspace_id=transaction.workspace,
            work_pool_id=row.id,
            name=name,
            is_paused=0,
            priority=(lowest or 0) + 1,
        )
    )
    transaction.wake(f"work_pool:{row.id.hex}")
    return made
