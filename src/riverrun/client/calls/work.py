"""Calls about work pools, their queues and their workers."""

from datetime import datetime
from typing import Any

from riverrun.client.call import Call, Id, at, delete, get, patch, post
from riverrun.wire.concurrency import WorkPoolsConcurrencyStatusBody, WorkQueuesConcurrencyStatusBody
from riverrun.wire.filters import WorkerFilter, WorkPoolFilter, WorkQueueFilter
from riverrun.wire.requests import (
    WorkPoolsCountBody,
    WorkPoolsFilterBody,
    WorkPoolsGetScheduledFlowRunsBody,
    WorkPoolsQueuesFilterBody,
    WorkPoolsWorkersFilterBody,
    WorkPoolsWorkersHeartbeatBody,
    WorkQueuesFilterBody,
    WorkQueuesGetRunsBody,
)
from riverrun.wire.runs import FlowRun
from riverrun.wire.work import (
    WorkerFlowRunResponse,
    WorkerResponse,
    WorkPoolConcurrencyStatus,
    WorkPoolCreate,
    WorkPoolResponse,
    WorkPoolUpdate,
    WorkQueueConcurrencyStatus,
    WorkQueueCreate,
    WorkQueueResponse,
    WorkQueueStatusDetail,
    WorkQueueUpdate,
)


def _pool(name: str, *parts: object) -> str:
    return at("work_pools", name, *parts)


def _pool_noun(name: str) -> str:
    return f"Work pool {name!r}:"


def _queue_noun(id_or_name: Id) -> str:
    return f"Work queue {str(id_or_name)!r}:"


# -- pools ----------------------------------------------------------------------------------------------------------------


def create_work_pool(work_pool: WorkPoolCreate) -> Call[WorkPoolResponse]:
    return post(_pool(""), work_pool, WorkPoolResponse)


def read_work_pool(name: str) -> Call[WorkPoolResponse]:
    return get(_pool(name), WorkPoolResponse, noun=_pool_noun(name))


def read_work_pools(
    limit: int | None = None, offset: int = 0, work_pools: WorkPoolFilter | None = None
) -> Call[list[WorkPoolResponse]]:
    body = WorkPoolsFilterBody(work_pools=work_pools, limit=limit, offset=offset)
    return post(_pool("filter"), body, list[WorkPoolResponse])


def count_work_pools(work_pools: WorkPoolFilter | None = None) -> Call[int]:
    return post(_pool("count"), WorkPoolsCountBody(work_pools=work_pools), int)


def update_work_pool(name: str, work_pool: WorkPoolUpdate) -> Call[None]:
    return patch(_pool(name), work_pool, noun=_pool_noun(name))


def delete_work_pool(name: str) -> Call[None]:
    return delete(_pool(name), noun=_pool_noun(name))


def read_work_pool_concurrency(name: str, body: WorkPoolsConcurrencyStatusBody) -> Call[WorkPoolConcurrencyStatus]:
    return post(_pool(name, "concurrency_status"), body, WorkPoolConcurrencyStatus, noun=_pool_noun(name))


def read_scheduled_work(
    name: str,
    work_queue_names: list[str] | None = None,
    scheduled_before: datetime | None = None,
    limit: int | None = None,
) -> Call[list[WorkerFlowRunResponse]]:
    """Runs of the pool's queues that are due and may start, by priority. Asking shows that somebody polls."""
    body = WorkPoolsGetScheduledFlowRunsBody(
        work_queue_names=work_queue_names or [], scheduled_before=scheduled_before, limit=limit
    )
    path = _pool(name, "get_scheduled_flow_runs")
    return post(path, body, list[WorkerFlowRunResponse], noun=_pool_noun(name))


def read_worker_types() -> Call[dict[str, Any]]:
    """The types of workers that the server knows, with their templates of jobs."""
    return get(at("collections", "views", "aggregate-worker-metadata"), dict[str, Any])


# -- workers --------------------------------------------------------------------------------------------------------------


def send_worker_heartbeat(pool: str, worker: str, interval_seconds: int | None = None) -> Call[None]:
    body = WorkPoolsWorkersHeartbeatBody(name=worker, heartbeat_interval_seconds=interval_seconds)
    return post(_pool(pool, "workers", "heartbeat"), body, noun=_pool_noun(pool))


def read_workers(
    pool: str, workers: WorkerFilter | None = None, limit: int | None = None, offset: int = 0
) -> Call[list[WorkerResponse]]:
    body = WorkPoolsWorkersFilterBody(workers=workers, limit=limit, offset=offset)
    return post(_pool(pool, "workers", "filter"), body, list[WorkerResponse], noun=_pool_noun(pool))


def delete_worker(pool: str, worker: str) -> Call[None]:
    return delete(_pool(pool, "workers", worker), noun=f"Worker {worker!r} of work pool {pool!r}:")


# -- queues ---------------------------------------------------------------------------------------------------------------


def create_work_queue(work_queue: WorkQueueCreate, pool: str | None = None) -> Call[WorkQueueResponse]:
    """Make a queue in the pool; without one in the default pool."""
    if pool is None:
        return post(at("work_queues", ""), work_queue, WorkQueueResponse)
    return post(_pool(pool, "queues"), work_queue, WorkQueueResponse, noun=_pool_noun(pool))


def read_work_queue(queue_id: Id) -> Call[WorkQueueResponse]:
    return get(at("work_queues", queue_id), WorkQueueResponse, noun=_queue_noun(queue_id))


def read_work_queue_by_name(name: str, pool: str | None = None) -> Call[WorkQueueResponse]:
    path = at("work_queues", "name", name) if pool is None else _pool(pool, "queues", name)
    return get(path, WorkQueueResponse, noun=_queue_noun(name if pool is None else f"{pool}/{name}"))


def read_work_queues(
    pool: str | None = None, work_queues: WorkQueueFilter | None = None, limit: int | None = None, offset: int = 0
) -> Call[list[WorkQueueResponse]]:
    if pool is None:
        body = WorkQueuesFilterBody(work_queues=work_queues, limit=limit, offset=offset)
        return post(at("work_queues", "filter"), body, list[WorkQueueResponse])
    in_pool = WorkPoolsQueuesFilterBody(work_queues=work_queues or WorkQueueFilter(), limit=limit, offset=offset)
    return post(_pool(pool, "queues", "filter"), in_pool, list[WorkQueueResponse], noun=_pool_noun(pool))


def update_work_queue(queue_id: Id, work_queue: WorkQueueUpdate) -> Call[None]:
    return patch(at("work_queues", queue_id), work_queue, noun=_queue_noun(queue_id))


def delete_work_queue(queue_id: Id) -> Call[None]:
    return delete(at("work_queues", queue_id), noun=_queue_noun(queue_id))


def read_work_queue_status(queue_id: Id) -> Call[WorkQueueStatusDetail]:
    return get(at("work_queues", queue_id, "status"), WorkQueueStatusDetail, noun=_queue_noun(queue_id))


def read_work_queue_concurrency(
    queue_id: Id, body: WorkQueuesConcurrencyStatusBody
) -> Call[WorkQueueConcurrencyStatus]:
    path = at("work_queues", queue_id, "concurrency_status")
    return post(path, body, WorkQueueConcurrencyStatus, noun=_queue_noun(queue_id))


def read_work_queue_runs(
    queue_id: Id, limit: int | None = None, scheduled_before: datetime | None = None
) -> Call[list[FlowRun]]:
    body = WorkQueuesGetRunsBody(limit=limit, scheduled_before=scheduled_before)
    return post(at("work_queues", queue_id, "get_runs"), body, list[FlowRun], noun=_queue_noun(queue_id))
