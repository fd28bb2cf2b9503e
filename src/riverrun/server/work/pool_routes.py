"""Work pools over HTTP, with their queues and workers."""

from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.deployments import polls
from riverrun.server.http.pages import page
from riverrun.server.http.table import Call, Routes
from riverrun.server.work import pools, queries, queues, scheduled
from riverrun.server.work.template import check_defaults
from riverrun.wire.concurrency import WorkPoolsConcurrencyStatusBody
from riverrun.wire.requests import (
    WorkPoolsCountBody,
    WorkPoolsFilterBody,
    WorkPoolsGetScheduledFlowRunsBody,
    WorkPoolsQueuesFilterBody,
    WorkPoolsWorkersFilterBody,
    WorkPoolsWorkersHeartbeatBody,
)
from riverrun.wire.work import (
    WorkerFlowRunResponse,
    WorkerResponse,
    WorkPoolConcurrencyStatus,
    WorkPoolCreate,
    WorkPoolResponse,
    WorkPoolUpdate,
    WorkQueueCreate,
    WorkQueueResponse,
    WorkQueueUpdate,
)

routes = Routes("/work_pools", "Work Pools")


@routes.post("/", permission="work_pools:write", status=201, returns=WorkPoolResponse, errors=(403, 409))
async def create_pool(call: Call, body: WorkPoolCreate) -> WorkPoolResponse:
    pools.check_new(body)
    await check_defaults(call.store, call.caller, body.base_job_template)
    return await call.store.write(
        lambda transaction: queries.pool_answers(transaction, [pools.create(transaction, body)])[0], call.caller
    )


@routes.get("/{name}", permission="work_pools:read", returns=WorkPoolResponse, errors=(404,))
def read_pool(reader: Reader, name: str) -> WorkPoolResponse:
    return queries.pool_answers(reader, [queries.pool(reader, name)])[0]


@routes.post("/filter", permission="work_pools:read", returns=list[WorkPoolResponse])
def read_pools(reader: Reader, body: WorkPoolsFilterBody) -> list[WorkPoolResponse]:
    return queries.pools(reader, body.work_pools, page(body.limit), body.offset)


@routes.post("/count", permission="work_pools:read", returns=int)
def count_pools(reader: Reader, body: WorkPoolsCountBody) -> int:
    return queries.count_pools(reader, body.work_pools)


@routes.patch("/{name}", permission="work_pools:write", status=204, errors=(403, 404))
async def update_pool(call: Call, name: str, body: WorkPoolUpdate) -> None:
    if body.base_job_template:
        await check_defaults(call.store, call.caller, body.base_job_template)
    await call.store.write(lambda transaction: pools.update(transaction, name, body), call.caller)


@routes.delete("/{name}", permission="work_pools:delete", status=204, errors=(403, 404))
def delete_pool(transaction: Transaction, name: str) -> None:
    pools.delete(transaction, name)


@routes.post(
    "/{name}/concurrency_status", permission="work_pools:read", returns=WorkPoolConcurrencyStatus, errors=(404,)
)
def read_pool_concurrency(reader: Reader, name: str, body: WorkPoolsConcurrencyStatusBody) -> WorkPoolConcurrencyStatus:
    return scheduled.pool_concurrency(reader, name, body, page(body.limit))


@routes.post(
    "/{name}/get_scheduled_flow_runs",
    permission="work_pools:run",
    returns=list[WorkerFlowRunResponse],
    errors=(404,),
)
async def get_scheduled_runs(
    call: Call, name: str, body: WorkPoolsGetScheduledFlowRunsBody
) -> list[WorkerFlowRunResponse]:
    """What a worker may take now. Asking makes the queues, and the deployments behind them, READY."""
    limit = page(body.limit)
    found, asked = await call.store.read(lambda reader: scheduled.of_pool(reader, name, body, limit), call.caller)
    await call.store.write(lambda transaction: polls.queues_asked(transaction, asked), call.caller)
    return found


# -- queues -----------------------------------------------------------------------------------------------------------------


@routes.post(
    "/{work_pool_name}/queues", permission="work_queues:write", status=201, returns=WorkQueueResponse, errors=(404, 409)
)
def create_queue(transaction: Transaction, work_pool_name: str, body: WorkQueueCreate) -> WorkQueueResponse:
    pool = queries.pool(transaction, work_pool_name, lock=True)
    return queries.queue_answers(transaction, [queues.create(transaction, pool, body)])[0]


@routes.get("/{work_pool_name}/queues/{name}", permission="work_queues:read", returns=WorkQueueResponse, errors=(404,))
def read_queue(reader: Reader, work_pool_name: str, name: str) -> WorkQueueResponse:
    return queries.queue_answers(reader, [queries.queue(reader, work_pool_name, name)])[0]


@routes.post(
    "/{work_pool_name}/queues/filter", permission="work_queues:read", returns=list[WorkQueueResponse], errors=(404,)
)
def read_queues(reader: Reader, work_pool_name: str, body: WorkPoolsQueuesFilterBody) -> list[WorkQueueResponse]:
    """The queues of a pool by priority."""
    pool = queries.pool(reader, work_pool_name)
    mine = queries.queues(reader, t.work_queue.c.work_pool_id == pool.id, queries.queue_condition(body.work_queues))
    ordered = mine.order_by(t.work_queue.c.priority, t.work_queue.c.key)
    return queries.queue_answers(reader, reader.rows(ordered.limit(page(body.limit)).offset(body.offset)))


@routes.patch("/{work_pool_name}/queues/{name}", permission="work_queues:write", status=204, errors=(404, 409))
def update_queue(transaction: Transaction, work_pool_name: str, name: str, body: WorkQueueUpdate) -> None:
    queries.pool(transaction, work_pool_name, lock=True)
    queues.update(transaction, queries.queue(transaction, work_pool_name, name), body)


@routes.delete("/{work_pool_name}/queues/{name}", permission="work_queues:delete", status=204, errors=(404, 409))
def delete_queue(transaction: Transaction, work_pool_name: str, name: str) -> None:
    queues.delete(transaction, queries.queue(transaction, work_pool_name, name))


# -- workers ----------------------------------------------------------------------------------------------------------------


@routes.post("/{work_pool_name}/workers/heartbeat", permission="work_pools:run", status=204, errors=(404,))
def heartbeat(transaction: Transaction, work_pool_name: str, body: WorkPoolsWorkersHeartbeatBody) -> None:
    pools.heartbeat(transaction, work_pool_name, body.name, body.heartbeat_interval_seconds)


@routes.post(
    "/{work_pool_name}/workers/filter", permission="work_pools:read", returns=list[WorkerResponse], errors=(404,)
)
def read_workers(reader: Reader, work_pool_name: str, body: WorkPoolsWorkersFilterBody) -> list[WorkerResponse]:
    pool = queries.pool(reader, work_pool_name)
    return queries.workers(reader, pool.id, body.workers, page(body.limit), body.offset)


@routes.delete("/{work_pool_name}/workers/{name}", permission="work_pools:delete", status=204, errors=(404,))
def delete_worker(transaction: Transaction, work_pool_name: str, name: str) -> None:
    pools.delete_worker(transaction, work_pool_name, name)
