"""Reads of flows."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import paging
from riverrun.server.db.filters import Filters, conditions_for
from riverrun.server.db.names import index_key
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import flow
from riverrun.server.db.units import Reader
from riverrun.wire.choices import FlowSort
from riverrun.wire.runs import Flow

_CHANGED = sa.func.coalesce(flow.c.updated, flow.c.created)
_ORDERS: dict[FlowSort, tuple[sa.ColumnElement[Any], ...]] = {
    "CREATED_DESC": (flow.c.created.desc(), flow.c.key.desc()),
    "UPDATED_DESC": (_CHANGED.desc(), flow.c.key.desc()),
    "NAME_ASC": (flow.c.name.asc(), flow.c.key.asc()),
    "NAME_DESC": (flow.c.name.desc(), flow.c.key.desc()),
}


def flows(
    connection: sa.Connection, scope: Scope, *, limit: int = 50, offset: int = 0, name: str | None = None
) -> list[Flow]:
    """Flows, newest first."""
    query = sa.select(flow).where(flow.c.workspace_id == scope.workspace_id)
    if name is not None:
        query = query.where(flow.c.name_key == index_key(name))
    rows = connection.execute(query.order_by(flow.c.created.desc(), flow.c.key.desc()).limit(limit).offset(offset))
    return [flow_of(row) for row in rows]


def flow_of(row: Any) -> Flow:
    """The flow in a row of the table."""
    return Flow(
        id=row.id,
        name=row.name,
        tags=msgspec.json.decode(row.tags) if row.tags else [],
        labels=msgspec.json.decode(row.labels) if row.labels else {},
        created=from_micros(row.created),
        updated=from_micros(row.updated or row.created),
    )


def flow_by_id(reader: Reader, flow_id: UUID) -> Flow:
    """One flow; raises ObjectNotFound."""
    row = reader.row(sa.select(flow).where(flow.c.id == flow_id, flow.c.workspace_id == reader.workspace))
    if row is None:
        raise ObjectNotFound(f"There is no flow {flow_id}.")
    return flow_of(row)


def flow_by_name(reader: Reader, name: str) -> Flow | None:
    """The flow of exactly this name."""
    row = reader.row(sa.select(flow).where(flow.c.workspace_id == reader.workspace, flow.c.name_key == index_key(name)))
    return None if row is None else flow_of(row)


def flow_answers(reader: Reader, filters: Filters, sort: FlowSort, limit: int | None, offset: int = 0) -> list[Flow]:
    """A page of flows."""
    size = paging.page_size(limit)
    if not size or offset > paging.FURTHEST:
        return []
    query = sa.select(flow).where(*conditions_for(reader, "flow", filters)).order_by(*_ORDERS[sort])
    return [flow_of(row) for row in reader.rows(query.limit(size).offset(offset))]


def count(reader: Reader, filters: Filters) -> int:
    """How many flows the filters leave."""
    query = sa.select(sa.func.count()).select_from(flow).where(*conditions_for(reader, "flow", filters))
    return int(reader.scalar(query))


def flow_name(connection: sa.Connection, scope: Scope, flow_id: UUID) -> str:
    """The name of a flow; raises ObjectNotFound."""
    query = sa.select(flow.c.name).where(flow.c.id == flow_id, flow.c.workspace_id == scope.workspace_id)
    name = connection.execute(query).scalar()
    if name is None:
        raise ObjectNotFound(f"There is no flow {flow_id} in this store.")
    return str(name)


def flow_names(connection: sa.Connection, scope: Scope, flow_ids: set[UUID]) -> dict[UUID, str]:
    """The names of several flows, in one statement; flows that are not there are left out."""
    query = sa.select(flow.c.id, flow.c.name).where(flow.c.id.in_(flow_ids), flow.c.workspace_id == scope.workspace_id)
    return {row.id: row.name for row in connection.execute(query)}
