"""Reads of work pools, queues and workers. Their statuses are computed here: nothing has to keep them."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader
from riverrun.server.db.where import where
from riverrun.server.runs.render import instant
from riverrun.wire.choices import WorkPoolStatus, WorkQueueStatus
from riverrun.wire.filters import QueueFilter, WorkerFilter, WorkPoolFilter, WorkQueueFilter
from riverrun.wire.states import TYPE_CODES, StateType
from riverrun.wire.work import (
    WorkerResponse,
    WorkPoolResponse,
    WorkPoolStorageConfiguration,
    WorkQueueResponse,
)

SECOND = 1_000_000
#: a queue or a deployment counts as polled for so long
POLLED_FOR = 60 * SECOND
#: a worker that has not said how often it beats, and how many beats it may miss
HEARTBEAT_SECONDS, MISSED = 30, 3
#: the pool of queues that belong to none, and its type, which has no workers and so no status
AGENT_POOL, AGENT_TYPE = "default-agent-pool", "prefect-agent"
#: states in which a run occupies a slot of its queue and pool
OCCUPYING = tuple(TYPE_CODES[kind] for kind in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING))

_storage = msgspec.json.Decoder(WorkPoolStorageConfiguration).decode
_queue_filter = msgspec.json.Decoder(QueueFilter).decode


def _online(now: int) -> sa.ColumnElement[bool]:
    beats = sa.func.coalesce(t.worker.c.heartbeat_interval_seconds, HEARTBEAT_SECONDS) * (MISSED * SECOND)
    return t.worker.c.last_heartbeat + beats > now


def is_recent(polled: int | None, now: int) -> bool:
    """Whether something that was last polled then counts as being polled."""
    return polled is not None and polled > now - POLLED_FOR


# -- pools ------------------------------------------------------------------------------------------------------------------

_POOL_FIELDS = {"id": t.work_pool.c.id, "name": t.work_pool.c.name, "type": t.work_pool.c.type}


def pool_condition(filter: WorkPoolFilter | None) -> sa.ColumnElement[bool] | None:
    return where(filter, _POOL_FIELDS)


def _pools(reader: Reader, *conditions: sa.ColumnElement[bool] | None) -> sa.Select[Any]:
    alive = sa.exists().where(t.worker.c.work_pool_id == t.work_pool.c.id, _online(reader.now)).label("alive")
    present = [condition for condition in conditions if condition is not None]
    return sa.select(t.work_pool, alive).where(t.work_pool.c.workspace_id == reader.workspace, *present)


def find_pool(reader: Reader, name: str, *, lock: bool = False) -> Any:
    """The row of a pool by its name, or None."""
    query = _pools(reader, t.work_pool.c.name == name)
    return reader.row(query.with_for_update(of=t.work_pool) if lock else query)


def pool(reader: Reader, name: str, *, lock: bool = False) -> Any:
    """The row of a pool by its name; raises ObjectNotFound."""
    row = find_pool(reader, name, lock=lock)
    if row is None:
        raise ObjectNotFound(f'Work pool "{name}" not found.')
    return row


def pools(reader: Reader, filter: WorkPoolFilter | None, limit: int, offset: int) -> list[WorkPoolResponse]:
    """Pools by name."""
    query = _pools(reader, pool_condition(filter)).order_by(t.work_pool.c.name).limit(limit).offset(offset)
    return pool_answers(reader, reader.rows(query))


def count_pools(reader: Reader, filter: WorkPoolFilter | None) -> int:
    query = _pools(reader, pool_condition(filter)).with_only_columns(sa.func.count())
    return int(reader.scalar(query))


def pool_status(row: Any) -> WorkPoolStatus | None:
    if row.type == AGENT_TYPE:
        return None
    if row.is_paused:
        return "PAUSED"
    return "READY" if row.alive else "NOT_READY"


def pool_answers(reader: Reader, rows: Collection[Any]) -> list[WorkPoolResponse]:
    """Pools as answers carry them."""
    used = pool_slots(reader, [row.id for row in rows if row.concurrency_limit is not None])
    return [
        WorkPoolResponse(
            id=row.id,
            created=from_micros(row.created),
            updated=from_micros(row.updated),
            name=row.name,
            description=row.description,
            type=row.type,
            base_job_template=template_of(row),
            is_paused=bool(row.is_paused),
            concurrency_limit=row.concurrency_limit,
            status=pool_status(row),
            default_queue_id=row.default_queue_id,
            storage_configuration=storage_of(row),
            active_slots=None if row.concurrency_limit is None else used.get(row.id, 0),
        )
        for row in rows
    ]


def template_of(row: Any) -> dict[str, Any]:
    return msgspec.json.decode(row.base_job_template) if row.base_job_template else {}


def storage_of(row: Any) -> WorkPoolStorageConfiguration:
    return _storage(row.storage_configuration) if row.storage_configuration else WorkPoolStorageConfiguration()


def pool_slots(reader: Reader, pool_ids: Collection[UUID]) -> dict[UUID, int]:
    """How many runs occupy slots of these pools."""
    if not pool_ids:
        return {}
    query = (
        sa.select(t.work_queue.c.work_pool_id, sa.func.count())
        .join_from(t.work_queue, t.flow_run, t.flow_run.c.work_queue_id == t.work_queue.c.id)
        .where(t.work_queue.c.work_pool_id.in_(pool_ids), t.flow_run.c.state_type.in_(OCCUPYING))
        .group_by(t.work_queue.c.work_pool_id)
    )
    return {row[0]: row[1] for row in reader.rows(query)}


def queue_slots(reader: Reader, queue_ids: Collection[UUID]) -> dict[UUID, int]:
    """How many runs occupy slots of these queues."""
    if not queue_ids:
        return {}
    query = (
        sa.select(t.flow_run.c.work_queue_id, sa.func.count())
        .where(t.flow_run.c.work_queue_id.in_(queue_ids), t.flow_run.c.state_type.in_(OCCUPYING))
        .group_by(t.flow_run.c.work_queue_id)
    )
    return {row[0]: row[1] for row in reader.rows(query)}


# -- queues -----------------------------------------------------------------------------------------------------------------

_QUEUE_FIELDS = {"id": t.work_queue.c.id, "name": t.work_queue.c.name}


def queue_condition(filter: WorkQueueFilter | None) -> sa.ColumnElement[bool] | None:
    return where(filter, _QUEUE_FIELDS)


def queues(reader: Reader, *conditions: sa.ColumnElement[bool] | None) -> sa.Select[Any]:
    """The queues for which the conditions hold, with the names of their pools."""
    present = [condition for condition in conditions if condition is not None]
    return (
        sa.select(t.work_queue, t.work_pool.c.name.label("pool_name"))
        .outerjoin_from(t.work_queue, t.work_pool, t.work_pool.c.id == t.work_queue.c.work_pool_id)
        .where(t.work_queue.c.workspace_id == reader.workspace, *present)
    )


def find_queue(reader: Reader, pool_name: str, name: str) -> Any:
    """The row of a queue by the names of its pool and of itself, or None."""
    return reader.row(queues(reader, t.work_pool.c.name == pool_name, t.work_queue.c.name == name))


def queue(reader: Reader, pool_name: str, name: str) -> Any:
    """The row of a queue by the names of its pool and of itself; raises ObjectNotFound."""
    row = find_queue(reader, pool_name, name)
    if row is None:
        raise ObjectNotFound(f"Work queue {name!r} not found in work pool {pool_name!r}.")
    return row


def queue_by_id(reader: Reader, queue_id: UUID) -> Any:
    """The row of a queue; raises ObjectNotFound."""
    row = reader.row(queues(reader, t.work_queue.c.id == queue_id))
    if row is None:
        raise ObjectNotFound(f"Work queue {queue_id} not found.")
    return row


def queue_status(row: Any, now: int) -> WorkQueueStatus:
    if row.is_paused:
        return "PAUSED"
    return "READY" if is_recent(row.last_polled, now) else "NOT_READY"


def queue_answers(reader: Reader, rows: Collection[Any]) -> list[WorkQueueResponse]:
    """Queues as answers carry them."""
    used = queue_slots(reader, [row.id for row in rows if row.concurrency_limit is not None])
    return [
        WorkQueueResponse(
            id=row.id,
            created=from_micros(row.created),
            updated=from_micros(row.updated),
            name=row.name,
            description=row.description,
            is_paused=bool(row.is_paused),
            concurrency_limit=row.concurrency_limit,
            priority=row.priority,
            work_pool_id=row.work_pool_id,
            work_pool_name=row.pool_name,
            filter=_queue_filter(row.filter) if row.filter else None,
            last_polled=instant(row.last_polled),
            status=queue_status(row, reader.now),
            active_slots=None if row.concurrency_limit is None else used.get(row.id, 0),
        )
        for row in rows
    ]


# -- workers ----------------------------------------------------------------------------------------------------------------


def workers(
    reader: Reader, pool_id: UUID, filter: WorkerFilter | None, limit: int, offset: int
) -> list[WorkerResponse]:
    """The workers of a pool, the latest heard of first."""
    status = sa.case((_online(reader.now), "ONLINE"), else_="OFFLINE")
    condition = where(filter, {"last_heartbeat_time": t.worker.c.last_heartbeat, "status": status})
    query = sa.select(t.worker, status.label("status")).where(t.worker.c.work_pool_id == pool_id)
    if condition is not None:
        query = query.where(condition)
    order = (t.worker.c.last_heartbeat.desc(), t.worker.c.key.desc())
    return [
        WorkerResponse(
            id=row.id,
            created=from_micros(row.created),
            updated=from_micros(row.updated),
            name=row.name,
            work_pool_id=row.work_pool_id,
            last_heartbeat_time=from_micros(row.last_heartbeat),
            heartbeat_interval_seconds=_whole(row.heartbeat_interval_seconds),
            status=row.status,
        )
        for row in reader.rows(query.order_by(*order).limit(limit).offset(offset))
    ]


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
