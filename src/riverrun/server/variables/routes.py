"""Variables over HTTP."""

from uuid import UUID

from riverrun.server.db.units import Reader, Transaction
from riverrun.server.http.pages import page
from riverrun.server.http.table import Routes
from riverrun.server.variables import logic
from riverrun.wire.requests import VariablesCountBody, VariablesFilterBody
from riverrun.wire.variables import Variable, VariableCreate, VariableUpdate

READ, WRITE = "variables:read", "variables:write"
routes = Routes("/variables", "Variables")


@routes.post("/", permission=WRITE, status=201, returns=Variable, errors=(409,))
def create_variable(transaction: Transaction, body: VariableCreate) -> Variable:
    return logic.create(transaction, body)


@routes.post("/filter", permission=READ, returns=list[Variable])
def read_variables(reader: Reader, body: VariablesFilterBody | None) -> list[Variable]:
    body = body or VariablesFilterBody()
    return logic.page(reader, body.variables, body.sort, page(body.limit), body.offset)


@routes.post("/count", permission=READ, returns=int)
def count_variables(reader: Reader, body: VariablesCountBody | None) -> int:
    return logic.count(reader, None if body is None else body.variables)


@routes.get("/{id}", permission=READ, returns=Variable, errors=(404,))
def read_variable(reader: Reader, id: UUID) -> Variable:
    return logic.answer(reader, logic.find(reader, id))


@routes.get("/name/{name}", permission=READ, returns=Variable, errors=(404,))
def read_variable_by_name(reader: Reader, name: str) -> Variable:
    return logic.answer(reader, logic.find(reader, name))


@routes.patch("/{id}", permission=WRITE, status=204, errors=(404, 409))
def update_variable(transaction: Transaction, id: UUID, body: VariableUpdate) -> None:
    logic.update(transaction, id, body)


@routes.patch("/name/{name}", permission=WRITE, status=204, errors=(404, 409))
def update_variable_by_name(transaction: Transaction, name: str, body: VariableUpdate) -> None:
    logic.update(transaction, name, body)


@routes.delete("/{id}", permission=WRITE, status=204, errors=(404,))
def delete_variable(transaction: Transaction, id: UUID) -> None:
    logic.delete(transaction, id)


@routes.delete("/name/{name}", permission=WRITE, status=204, errors=(404,))
def delete_variable_by_name(transaction: Transaction, name: str) -> None:
    logic.delete(transaction, name)
