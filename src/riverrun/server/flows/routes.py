"""Flows over HTTP."""

from uuid import UUID

from riverrun.base.errors import ObjectNotFound
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.flows import logic, queries
from riverrun.server.http.table import Reply, Routes
from riverrun.wire.flow_runs import FlowCreate, FlowUpdate
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


@routes.patch("/{id}", permission="flows:write", status=204, errors=(404,))
def update_flow(transaction: Transaction, id: UUID, body: FlowUpdate) -> None:
    logic.update(transaction, id, body)
