"""What is done with work queues."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import to_micros
from riverrun.base.errors import ObjectAlreadyExists
from riverrun.base.ids import uuid7
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
from riverrun.server.http.errors import HTTPError
from riverrun.server.work import notices, queries
from riverrun.server.work.names import check_name
from riverrun.wire.work import WorkQueueCreate, WorkQueueUpdate

DEFAULT = "default"
table = t.work_queue
_TOLD = ("name", "description", "concurrency_limit", "priority")


def create(transaction: Transaction, pool: Any, body: WorkQueueCreate) -> Any:
    """Make a queue in the pool of this row; its row. Raises ObjectAlreadyExists."""
    check_name(body.name)
    if queries.find_queue(transaction, pool.name, body.name) is not None:
        raise ObjectAlreadyExists(f"Work pool {pool.name!r} has a work queue named {body.name!r} already.")
    queue_id = uuid7()
    transaction.execute(
        sa.insert(table).values(
            id=queue_id,
            workspace_id=transaction.workspace,
            created=transaction.now,
            updated=transaction.now,
            work_pool_id=pool.id,
            name=body.name,
            description=body.description,
            is_paused=int(body.is_paused),
            concurrency_limit=body.concurrency_limit,
            priority=body.priority or _free_priority(transaction, pool.id),
            filter=None if body.filter is None else msgspec.json.encode(body.filter).decode(),
        )
    )
    if body.priority:
        _order(transaction, pool.id, first=queue_id)
    row = queries.queue_by_id(transaction, queue_id)
    notices.of_queue(transaction, row, "created", pool)
    transaction.wake(f"work_pool:{pool.id.hex}")
    return row


def id_of(transaction: Transaction, pool_name: str | None, name: str | None, *, make: bool = False) -> UUID | None:
    """The id of the queue that these names mean: a pool's default one without `name`; None where no pool is named.

    Raises ObjectNotFound for what is not there; `make` makes a missing queue of a pool that is.
    """
    if pool_name is None:
        return None
    pool = queries.pool(transaction, pool_name, lock=make)
    queue_id: UUID = pool.default_queue_id
    if name is not None:
        found = queries.find_queue(transaction, pool_name, name)
        if found is None and make:
            found = create(transaction, pool, WorkQueueCreate(name=name))
        queue_id = (found or queries.queue(transaction, pool_name, name)).id
    return queue_id


def update(transaction: Transaction, row: Any, body: WorkQueueUpdate) -> None:
    """Change the fields that the body has; raises ObjectAlreadyExists for a name that is taken."""
    values: dict[str, Any] = {
        name: getattr(body, name)
        for name in ("description", "concurrency_limit", "name", "priority", "is_paused")
        if getattr(body, name) is not UNSET
    }
    for name in ("name", "priority"):
        if values.get(name, 0) is None:
            del values[name]
    if "is_paused" in values:
        values["is_paused"] = int(values["is_paused"])
    if "name" in values and values["name"] != row.name:
        check_name(values["name"])
        if queries.find_queue(transaction, row.pool_name, values["name"]) is not None:
            raise ObjectAlreadyExists(f"Work pool {row.pool_name!r} has a work queue named {values['name']!r} already.")
    if body.last_polled is not UNSET:
        values["last_polled"] = None if body.last_polled is None else to_micros(body.last_polled)
    if body.filter is not UNSET:
        values["filter"] = None if body.filter is None else msgspec.json.encode(body.filter).decode()
    if not values:
        return
    transaction.execute(sa.update(table).where(table.c.id == row.id).values(**values, updated=transaction.now))
    if "priority" in values:
        _order(transaction, row.work_pool_id, first=row.id)
    _tell(transaction, row, values)


def _tell(transaction: Transaction, row: Any, values: dict[str, Any]) -> None:
    pool = queries.find_pool(transaction, row.pool_name)
    changes = notices.changed(row, values, _TOLD)
    if changes:
        notices.of_queue(transaction, row, "updated", pool, {"updated_fields": list(changes), "updates": changes})
    after = queries.queue_by_id(transaction, row.id)
    status = queries.queue_status(after, transaction.now)
    if status != queries.queue_status(row, transaction.now):
        notices.of_queue(transaction, after, status.lower().replace("_", "-"), pool)
    transaction.wake(f"work_queue:{row.id.hex}")


def delete(transaction: Transaction, row: Any) -> None:
    """Delete a queue; its runs and deployments lose it. A pool keeps its default queue."""
    pool = queries.find_pool(transaction, row.pool_name, lock=True)
    if pool is not None and pool.default_queue_id == row.id:
        raise HTTPError(409, f"{row.name!r} is the default queue of work pool {pool.name!r}; delete the pool instead.")
    forget(transaction, [row.id])
    transaction.execute(sa.delete(table).where(table.c.id == row.id))
    _order(transaction, row.work_pool_id)
    notices.of_queue(transaction, row, "deleted", pool)


def forget(transaction: Transaction, queue_ids: list[UUID]) -> None:
    """Let nothing refer to these queues any more."""
    for one in (t.flow_run, t.deployment):
        transaction.execute(sa.update(one).where(one.c.work_queue_id.in_(queue_ids)).values(work_queue_id=None))


def mark_polled(transaction: Transaction, queue_ids: list[UUID]) -> None:
    """Note that somebody asked for the runs of these queues; what was not being polled becomes READY."""
    rows = transaction.rows(queries.queues(transaction, table.c.id.in_(queue_ids)))
    transaction.execute(sa.update(table).where(table.c.id.in_(queue_ids)).values(last_polled=transaction.now))
    for row in rows:
        if queries.queue_status(row, transaction.now) == "NOT_READY":
            notices.of_queue(transaction, row, "ready", queries.find_pool(transaction, row.pool_name))


def _free_priority(transaction: Transaction, pool_id: UUID) -> int:
    """The first priority that no queue of the pool has."""
    taken = {row[0] for row in transaction.rows(sa.select(table.c.priority).where(table.c.work_pool_id == pool_id))}
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def _order(transaction: Transaction, pool_id: UUID, first: UUID | None = None) -> None:
    """Give the queues of a pool priorities that differ, moving as few as possible; `first` keeps the one it has."""
    query = sa.select(table.c.id, table.c.priority).where(table.c.work_pool_id == pool_id)
    rows = sorted(transaction.rows(query), key=lambda row: (row.priority, row.id != first))
    last = 0
    for row in rows:
        priority = max(row.priority, last + 1)
        if priority != row.priority:
            transaction.execute(sa.update(table).where(table.c.id == row.id).values(priority=priority))
        last = priority
