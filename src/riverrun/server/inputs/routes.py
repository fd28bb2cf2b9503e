"""Inputs of flow runs over HTTP: texts under a key, read back as they were sent."""

import re
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectAlreadyExists, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.db.tables import flow_run
from riverrun.server.db.tables import flow_run_input as table
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import listed
from riverrun.server.http.errors import InvalidRequest
from riverrun.server.http.pages import short
from riverrun.server.http.table import Reply, Routes
from riverrun.wire.flow_runs import FlowRunInput
from riverrun.wire.requests import FlowRunsInputBody, FlowRunsInputFilterBody

_KEY = re.compile(r"[\w.:-]+", re.ASCII)
#: clients that listen ask for everything since they last looked
_MOST = 10_000
routes = Routes("/flow_runs/{id}/input", "Flow Runs")


def _mine(reader: Reader, id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.workspace_id == reader.workspace, table.c.flow_run_id == id


@routes.post("", permission="flow_runs:write", status=201, errors=(404, 409))
def create_flow_run_input(transaction: Transaction, id: UUID, body: FlowRunsInputBody) -> None:
    """Send a text to a run; each key is taken once."""
    if not _KEY.fullmatch(body.key):
        raise InvalidRequest(("body", "key"), "A key has only letters, digits and any of _ . : -")
    short(body.key, "key")
    run = sa.select(flow_run.c.key).where(flow_run.c.id == id, flow_run.c.workspace_id == transaction.workspace)
    if transaction.scalar(run) is None:
        raise ObjectNotFound(f"There is no flow run {id}.")
    taken = sa.select(table.c.key).where(*_mine(transaction, id), table.c.input_key == body.key)
    if transaction.scalar(taken) is not None:
        raise ObjectAlreadyExists(f"The flow run {id} has an input {body.key!r} already.")
    transaction.execute(
        sa.insert(table).values(
            id=uuid7(),
            workspace_id=transaction.workspace,
            created=transaction.now,
            updated=transaction.now,
            flow_run_id=id,
            input_key=body.key,
            value=body.value,
            sender=body.sender,
        )
    )
    transaction.wake(f"flow_run_input:{id.hex}")


@routes.post("/filter", permission="flow_runs:read", returns=list[FlowRunInput])
def filter_flow_run_input(reader: Reader, id: UUID, body: FlowRunsInputFilterBody) -> list[FlowRunInput]:
    """Inputs whose keys begin with a text, the oldest first."""
    if not 0 <= body.limit <= _MOST:
        raise InvalidRequest(("body", "limit"), f"The limit {body.limit:,} is not between 0 and {_MOST:,}.")
    query = sa.select(table).where(*_mine(reader, id), table.c.input_key.startswith(body.prefix, autoescape=True))
    if body.exclude_keys:
        query = query.where(table.c.input_key.not_in(listed(body.exclude_keys)))
    return [_answer(row) for row in reader.rows(query.order_by(table.c.created, table.c.key).limit(body.limit))]


@routes.get("/{key}", permission="flow_runs:read", returns=str, errors=(404,))
def read_flow_run_input(reader: Reader, id: UUID, key: str) -> Reply:
    """The text as it was sent."""
    value = reader.scalar(sa.select(table.c.value).where(*_mine(reader, id), table.c.input_key == key))
    if value is None:
        raise ObjectNotFound(f"The flow run {id} has no input {key!r}.")
    return Reply(value=value.encode(), media_type="text/plain; charset=utf-8")


@routes.delete("/{key}", permission="flow_runs:write", status=204, errors=(404,))
def delete_flow_run_input(transaction: Transaction, id: UUID, key: str) -> None:
    gone = sa.delete(table).where(*_mine(transaction, id), table.c.input_key == key)
    if not transaction.execute(gone).rowcount:
        raise ObjectNotFound(f"The flow run {id} has no input {key!r}.")


def _answer(row: Any) -> FlowRunInput:
    return FlowRunInput(
        id=row.id,
        created=from_micros(row.created),
        updated=from_micros(row.updated),
        flow_run_id=row.flow_run_id,
        key=row.input_key,
        value=row.value,
        sender=row.sender,
    )
