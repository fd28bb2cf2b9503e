"""Calls about work pools, their queues and their workers."""

from datetime import datetime
from typing import Any

from riverrun.client.call import Call, Id, at, delete, get, patch, post
from riverrun.client.calls.answers import ScheduledWork
from riverrun.wire.concurrency import WorkPoolsConcurrencyStatusBody, WorkQueuesConcurrencyStatusBody
from riverrun.wire.filters import WorkerFilter, WorkPoolFilter, WorkQueueFilter
from riverrun.wire.requests import (
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


def read_work_pool(work_pool_name: str) -> Call[WorkPoolResponse]:
    return get(_pool(work_pool_name), WorkPoolResponse, noun=_pool_noun(work_pool_name))


def read_work_pools(
    limit: int | None = None, offset: int = 0, work_pool_filter: WorkPoolFilter | None = None
) -> Call[list[WorkPoolResponse]]:
    body = WorkPoolsFilterBody(work_pools=work_pool_filter, limit=limit, offset=offset)
    return post(_pool("filter"), body, list[WorkPoolResponse])


def update_work_pool(work_pool_name: str, work_pool: WorkPoolUpdate) -> Call[None]:
    return patch(_pool(work_pool_name), work_pool, noun=_pool_noun(work_pool_name))


def delete_work_pool(work_pool_name: str) -> Call[None]:
    return delete(_pool(work_pool_name), noun=_pool_noun(work_pool_name))


def read_work_pool_concurrency_status(
    work_pool_name: str, page: int = 1, limit: int | None = None, flow_run_limit: int = 10
) -> Call[WorkPoolConcurrencyStatus]:
    body = WorkPoolsConcurrencyStatusBody(page=page, limit=limit, flow_run_limit=flow_run_limit)
    path = _pool(work_pool_name, "concurrency_status")
    return post(path, body, WorkPoolConcurrencyStatus, noun=_pool_noun(work_pool_name))


def get_scheduled_flow_runs_for_work_pool(
    work_pool_name: str,
    work_queue_names: list[str] | None = None,
    scheduled_before: datetime | None = None,
    limit: int | None = None,
) -> Call[list[ScheduledWork]]:
    """Runs of the pool's queues that are due and may start, by priority. Asking shows that somebody polls."""
    body = WorkPoolsGetScheduledFlowRunsBody(
        work_queue_names=work_queue_names or [], scheduled_before=scheduled_before, limit=limit
    )
    path = _pool(work_pool_name, "get_scheduled_flow_runs")
    return post(path, body, list[ScheduledWork], noun=_pool_noun(work_pool_name))


def read_worker_metadata() -> Call[dict[str, Any]]:
    """The types of workers that the server knows, with their templates of jobs."""
    return get(at("collections", "views", "aggregate-worker-metadata"), dict[str, Any])


# -- workers --------------------------------------------------------------------------------------------------------------


def send_worker_heartbeat(
    work_pool_name: str, worker_name: str, heartbeat_interval_seconds: float | None = None
) -> Call[None]:
    interval = None if heartbeat_interval_seconds is None else int(heartbeat_interval_seconds)
    body = WorkPoolsWorkersHeartbeatBody(name=worker_name, heartbeat_interval_seconds=interval)
    return post(_pool(work_pool_name, "workers", "heartbeat"), body, noun=_pool_noun(work_pool_name))


def read_workers_for_work_pool(
    work_pool_name: str, worker_filter: WorkerFilter | None = None, offset: int | None = None, limit: int | None = None
) -> Call[list[WorkerResponse]]:
    body = WorkPoolsWorkersFilterBody(workers=worker_filter, limit=limit, offset=offset or 0)
    path = _pool(work_pool_name, "workers", "filter")
    return post(path, body, list[WorkerResponse], noun=_pool_noun(work_pool_name))


def delete_worker(pool: str, worker: str) -> Call[None]:
    return delete(_pool(pool, "workers", worker), noun=f"Worker {worker!r} of work pool {pool!r}:")


# -- queues ---------------------------------------------------------------------------------------------------------------


def create_work_queue(work_queue: WorkQueueCreate, work_pool_name: str | None = None) -> Call[WorkQueueResponse]:
    """Make a queue in the pool; without one in the default pool."""
    if work_pool_name is None:
        return post(at("work_queues", ""), work_queue, WorkQueueResponse)
    return post(_pool(work_pool_name, "queues"), work_queue, WorkQueueResponse, noun=_pool_noun(work_pool_name))


def read_work_queue(id: Id) -> Call[WorkQueueResponse]:
    return get(at("work_queues", id), WorkQueueResponse, noun=_queue_noun(id))


def read_work_queue_by_name(name: str, work_pool_name: str | None = None) -> Call[WorkQueueResponse]:
    if work_pool_name is None:
        return get(at("work_queues", "name", name), WorkQueueResponse, noun=_queue_noun(name))
    path = _pool(work_pool_name, "queues", name)
    return get(path, WorkQueueResponse, noun=_queue_noun(f"{work_pool_name}/{name}"))


def read_work_queues(
    work_pool_name: str | None = None,
    work_queue_filter: WorkQueueFilter | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Call[list[WorkQueueResponse]]:
    if work_pool_name is None:
        body = WorkQueuesFilterBody(work_queues=work_queue_filter, limit=limit, offset=offset or 0)
        return post(at("work_queues", "filter"), body, list[WorkQueueResponse])
    wanted = work_queue_filter or WorkQueueFilter()
    in_pool = WorkPoolsQueuesFilterBody(work_queues=wanted, limit=limit, offset=offset or 0)
    path = _pool(work_pool_name, "queues", "filter")
    return post(path, in_pool, list[WorkQueueResponse], noun=_pool_noun(work_pool_name))


def update_work_queue(id: Id, work_queue: WorkQueueUpdate) -> Call[None]:
    return patch(at("work_queues", id), work_queue, noun=_queue_noun(id))


def delete_work_queue_by_id(id: Id) -> Call[None]:
    return delete(at("work_queues", id), noun=_queue_noun(id))


def read_work_queue_status(id: Id) -> Call[WorkQueueStatusDetail]:
    return get(at("work_queues", id, "status"), WorkQueueStatusDetail, noun=_queue_noun(id))


def read_work_queue_concurrency_status(
    id: Id, page: int = 1, limit: int | None = None
) -> Call[WorkQueueConcurrencyStatus]:
    body = WorkQueuesConcurrencyStatusBody(page=page, limit=limit)
    path = at("work_queues", id, "concurrency_status")
    return post(path, body, WorkQueueConcurrencyStatus, noun=_queue_noun(id))


def get_runs_in_work_queue(id: Id, limit: int = 10, scheduled_before: datetime | None = None) -> Call[list[FlowRun]]:
    body = WorkQueuesGetRunsBody(limit=limit, scheduled_before=scheduled_before)
    return post(at("work_queues", id, "get_runs"), body, list[FlowRun], noun=_queue_noun(id))
