"""Flows over HTTP."""

from uuid import UUID

from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import paging
from riverrun.server.db.filters import Filters, filters_of
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.flows import logic, queries
from riverrun.server.http.table import Call, Reply, Routes
from riverrun.wire.flow_runs import FlowBulkDeleteResponse, FlowCreate, FlowPaginationResponse, FlowUpdate
from riverrun.wire.requests import FlowsBulkDeleteBody, FlowsCountBody, FlowsFilterBody, FlowsPaginateBody
from riverrun.wire.runs import Flow

routes = Routes("/flows", "Flows")


@routes.post("/", permission="flows:write", status=201, also=(200,), returns=Flow)
def create_flow(transaction: Transaction, body: FlowCreate) -> Reply:
    """Make a flow, or find the one of that name."""
    flow, is_new = logic.get_or_create(transaction, body)
    return Reply(value=flow, status=201 if is_new else 200)


@routes.get("/{id}", permission="flows:read", returns=Flow, errors=(404,))
def read_flow(reader: Reader, id: UUID) -> Flow:
    return queries.flow_by_id(reader, id)


@routes.get("/name/{name}", permission="flows:read", returns=Flow, errors=(404,))
def read_flow_by_name(reader: Reader, name: str) -> Flow:
    found = queries.flow_by_name(reader, name)
    if found is None:
        raise ObjectNotFound(f"There is no flow named {name!r}.")
    return found


@routes.post("/filter", permission="flows:read", returns=list[Flow])
def filter_flows(reader: Reader, body: FlowsFilterBody) -> list[Flow]:
    """A page of flows."""
    return queries.flow_answers(reader, filters_of(body), body.sort, body.limit, body.offset)


@routes.post("/count", permission="flows:read", returns=int)
def count_flows(reader: Reader, body: FlowsCountBody) -> int:
    return queries.count(reader, filters_of(body))


@routes.post("/paginate", permission="flows:read", returns=FlowPaginationResponse)
def paginate_flows(reader: Reader, body: FlowsPaginateBody) -> FlowPaginationResponse:
    """A page of flows by its number, with the number of all."""
    filters, limit = filters_of(body), paging.page_size(body.limit)
    count = queries.count(reader, filters)
    found = queries.flow_answers(reader, filters, body.sort, limit, paging.offset_of(body.page, limit))
    pages = paging.pages(count, limit)
    return FlowPaginationResponse(results=found, count=count, limit=limit, pages=pages, page=body.page)


@routes.delete("/{id}", permission="flows:delete", status=204, errors=(404,))
async def delete_flow(call: Call, id: UUID) -> None:
    """Delete a flow with its runs and deployments."""
    await _delete(call, id)


@routes.post("/bulk_delete", permission="flows:delete", returns=FlowBulkDeleteResponse)
async def bulk_delete_flows(call: Call, body: FlowsBulkDeleteBody) -> FlowBulkDeleteResponse:
    """Delete the flows that the filter finds, at most `limit` of them, with their runs and deployments."""
    filters = Filters(flows=body.flows)
    found = await call.store.read(
        lambda reader: queries.flow_answers(reader, filters, "NAME_ASC", body.limit), call.caller
    )
    deleted = []
    for flow in found:
        try:
            await _delete(call, flow.id)
        except ObjectNotFound:
            continue  # deleted meanwhile
        deleted.append(flow.id)
    return FlowBulkDeleteResponse(deleted=deleted)


async def _delete(call: Call, flow_id: UUID) -> None:
    """Delete in parts, each a bulk unit, so that no request waits behind a large flow."""
    while not await call.store.write(lambda tx: logic.delete_some(tx, flow_id), call.caller, bulk=True):
        pass


@routes.patch("/{id}", permission="flows:write", status=204, errors=(404,))
def update_flow(transaction: Transaction, id: UUID, body: FlowUpdate) -> None:
    logic.update(transaction, id, body)
