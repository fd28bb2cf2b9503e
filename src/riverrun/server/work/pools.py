"""What is done with work pools and with their workers."""

from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.errors import ObjectAlreadyExists, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
from riverrun.server.http.errors import HTTPError
from riverrun.server.work import notices, queries, queues
from riverrun.server.work.names import check_name
from riverrun.wire.work import WorkPoolCreate, WorkPoolUpdate, WorkQueueCreate

#: pools whose names start so (in any case) belong to the installation
_RESERVED = "prefect"
_TOLD = ("description", "concurrency_limit", "base_job_template", "storage_configuration")
table = t.work_pool


def _refuse_reserved(name: str, what: str) -> None:
    if name.lower().startswith(_RESERVED):
        raise HTTPError(
            403, f"Names of work pools that start with {_RESERVED!r} are reserved for internal use: {what}."
        )


def check_new(body: WorkPoolCreate) -> None:
    """Raises InvalidRequest for a name that cannot be, HTTPError (403) for a reserved one."""
    _refuse_reserved(body.name, "choose another name")
    check_name(body.name)


def create(transaction: Transaction, body: WorkPoolCreate) -> Any:
    """Make a pool with its default queue, of a body that was checked; its row. Raises ObjectAlreadyExists."""
    if queries.find_pool(transaction, body.name) is not None:
        raise ObjectAlreadyExists(f"There is a work pool named {body.name!r} already.")
    return insert(transaction, body)


def insert(transaction: Transaction, body: WorkPoolCreate) -> Any:
    """Make a pool that is known not to be there; its row."""
    pool_id = uuid7()
    transaction.execute(
        sa.insert(table).values(
            id=pool_id,
            workspace_id=transaction.workspace,
            created=transaction.now,
            updated=transaction.now,
            name=body.name,
            description=body.description,
            type=body.type,
            base_job_template=_text(body.base_job_template),
            is_paused=int(body.is_paused),
            concurrency_limit=body.concurrency_limit,
            storage_configuration=_text(body.storage_configuration),
        )
    )
    default = queues.create(
        transaction,
        queries.pool(transaction, body.name),
        WorkQueueCreate(name=queues.DEFAULT, description="The work pool's default queue."),
    )
    transaction.execute(sa.update(table).where(table.c.id == pool_id).values(default_queue_id=default.id))
    row = queries.pool(transaction, body.name)
    notices.of_pool(transaction, row, "created")
    return row


def update(transaction: Transaction, name: str, body: WorkPoolUpdate) -> None:
    """Change the fields that the body has; raises ObjectNotFound."""
    values = {field: getattr(body, field) for field in body.__struct_fields__ if getattr(body, field) is not UNSET}
    if values.keys() - {"is_paused", "concurrency_limit"}:
        _refuse_reserved(name, "only their concurrency limit and their pause can be changed")
    row = queries.pool(transaction, name, lock=True)
    paused = values.pop("is_paused", None)
    if paused is not None:
        values["is_paused"] = int(paused)
    for field in ("base_job_template", "storage_configuration"):
        if field in values:
            values[field] = _text(values[field])
    if not values:
        return
    transaction.execute(sa.update(table).where(table.c.id == row.id).values(**values, updated=transaction.now))
    changes = notices.changed(row, values, _TOLD)
    if changes:
        notices.of_pool(transaction, row, "updated", {"updated_fields": list(changes)})
    after = queries.pool(transaction, name)
    _tell_status(transaction, row, after)
    transaction.wake(f"work_pool:{row.id.hex}")


def _tell_status(transaction: Transaction, before: Any, after: Any) -> None:
    status = queries.pool_status(after)
    if status is not None and status != queries.pool_status(before):
        notices.of_pool(transaction, after, status.lower().replace("_", "-"))


def delete(transaction: Transaction, name: str) -> None:
    """Delete a pool with its queues and workers; raises ObjectNotFound."""
    _refuse_reserved(name, "they cannot be deleted")
    row = queries.pool(transaction, name, lock=True)
    mine = t.work_queue.c.work_pool_id == row.id
    queues.forget(transaction, [found.id for found in transaction.rows(sa.select(t.work_queue.c.id).where(mine))])
    transaction.execute(sa.delete(t.work_queue).where(mine))
    transaction.execute(sa.delete(t.worker).where(t.worker.c.work_pool_id == row.id))
    transaction.execute(sa.delete(table).where(table.c.id == row.id))
    notices.of_pool(transaction, row, "deleted")
    transaction.wake(f"work_pool:{row.id.hex}")


def agent_pool(transaction: Transaction) -> Any:
    """The row of the pool that queues without one belong to, made when it is first needed."""
    found = queries.find_pool(transaction, queries.AGENT_POOL, lock=True)
    return found or insert(transaction, WorkPoolCreate(name=queries.AGENT_POOL, type=queries.AGENT_TYPE))


def heartbeat(transaction: Transaction, pool_name: str, name: str, seconds: float | None) -> None:
    """Note a life sign of a worker; raises ObjectNotFound for an unknown pool."""
    pool = queries.pool(transaction, pool_name)
    check_name(name)
    values = {"last_heartbeat": transaction.now, "updated": transaction.now, "heartbeat_interval_seconds": seconds}
    mine = sa.and_(t.worker.c.work_pool_id == pool.id, t.worker.c.name == name)
    if not transaction.execute(sa.update(t.worker).where(mine).values(**values)).rowcount:
        # two life signs of a new worker may come at once
        id_in = transaction.verbs.id_in
        columns = ("id", "workspace_id", "created", "work_pool_id", "name", *values)
        own = (id_in(uuid7().bytes), transaction.workspace, transaction.now, id_in(pool.id.bytes), name)
        transaction.verbs.insert_missing(transaction.cursor, t.worker, columns, [(*own, *values.values())])
    if queries.pool_status(pool) == "NOT_READY":
        notices.of_pool(transaction, pool, "ready")


def delete_worker(transaction: Transaction, pool_name: str, name: str) -> None:
    """Forget a worker; raises ObjectNotFound."""
    pool = queries.pool(transaction, pool_name)
    mine = sa.and_(t.worker.c.work_pool_id == pool.id, t.worker.c.name == name)
    if not transaction.execute(sa.delete(t.worker).where(mine)).rowcount:
        raise ObjectNotFound(f"Worker {name!r} not found in work pool {pool_name!r}.")


def _text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
