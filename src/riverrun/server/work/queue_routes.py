"""Work queues over HTTP by id, and those without a pool of their own."""

from uuid import UUID

from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.deployments import polls
from riverrun.server.http.pages import page
from riverrun.server.http.table import Call, Routes
from riverrun.server.work import pools, queries, queues, scheduled
from riverrun.wire.concurrency import WorkQueuesConcurrencyStatusBody
from riverrun.wire.flow_runs import FlowRunResponse
from riverrun.wire.requests import WorkQueuesFilterBody, WorkQueuesGetRunsBody
from riverrun.wire.work import (
    WorkQueueConcurrencyStatus,
    WorkQueueCreate,
    WorkQueueResponse,
    WorkQueueStatusDetail,
    WorkQueueUpdate,
)

routes = Routes("/work_queues", "Work Queues")


@routes.post("/", permission="work_queues:write", status=201, returns=WorkQueueResponse, errors=(409,))
def create(transaction: Transaction, body: WorkQueueCreate) -> WorkQueueResponse:
    """Make a queue in the pool of queues that belong to none."""
    is_first = queries.find_pool(transaction, queries.AGENT_POOL) is None
    pool = pools.agent_pool(transaction)
    if is_first and body.name == queues.DEFAULT:
        row = queries.queue(transaction, pool.name, body.name)
    else:
        row = queues.create(transaction, pool, body)
    return queries.queue_answers(transaction, [row])[0]


@routes.get("/name/{name}", permission="work_queues:read", returns=WorkQueueResponse, errors=(404,))
def read_by_name(reader: Reader, name: str) -> WorkQueueResponse:
    row = queries.find_queue(reader, queries.AGENT_POOL, name)
    if row is None:
        raise ObjectNotFound(f"There is no work queue named {name!r} that belongs to no pool.")
    return queries.queue_answers(reader, [row])[0]


@routes.get("/{id}", permission="work_queues:read", returns=WorkQueueResponse, errors=(404,))
def read(reader: Reader, id: UUID) -> WorkQueueResponse:
    return queries.queue_answers(reader, [queries.queue_by_id(reader, id)])[0]


@routes.post("/filter", permission="work_queues:read", returns=list[WorkQueueResponse])
def read_many(reader: Reader, body: WorkQueuesFilterBody) -> list[WorkQueueResponse]:
    ordered = queries.queues(reader, queries.queue_condition(body.work_queues)).order_by(
        t.work_queue.c.name, t.work_queue.c.key
    )
    return queries.queue_answers(reader, reader.rows(ordered.limit(page(body.limit)).offset(body.offset)))


@routes.patch("/{id}", permission="work_queues:write", status=204, errors=(404, 409))
def update(transaction: Transaction, id: UUID, body: WorkQueueUpdate) -> None:
    queues.update(transaction, queries.queue_by_id(transaction, id), body)


@routes.delete("/{id}", permission="work_queues:delete", status=204, errors=(404, 409))
def delete(transaction: Transaction, id: UUID) -> None:
    queues.delete(transaction, queries.queue_by_id(transaction, id))


@routes.post("/{id}/get_runs", permission="work_queues:run", returns=list[FlowRunResponse], errors=(404,))
async def get_runs(call: Call, id: UUID, body: WorkQueuesGetRunsBody) -> list[FlowRunResponse]:
    """What may be taken from the queue now. A page that only looks says so by the header x-prefect-ui."""
    limit = page(body.limit)
    found = await call.store.read(
        lambda reader: scheduled.of_queue(reader, id, body.scheduled_before, limit), call.caller
    )
    if call.request.headers.get("x-prefect-ui", "").lower() not in ("true", "1"):
        await call.store.write(lambda transaction: polls.queues_asked(transaction, [id]), call.caller)
    return found


@routes.get("/{id}/status", permission="work_queues:read", returns=WorkQueueStatusDetail, errors=(404,))
def read_status(reader: Reader, id: UUID) -> WorkQueueStatusDetail:
    return scheduled.health(reader, id)


@routes.post(
    "/{id}/concurrency_status", permission="work_queues:read", returns=WorkQueueConcurrencyStatus, errors=(404,)
)
def read_concurrency(reader: Reader, id: UUID, body: WorkQueuesConcurrencyStatusBody) -> WorkQueueConcurrencyStatus:
    return scheduled.queue_concurrency(reader, id, body.page, page(body.limit))
