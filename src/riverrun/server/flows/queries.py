"""Reads of flows."""

from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db.names import index_key
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import flow
from riverrun.wire.runs import Flow


def flows(
    connection: sa.Connection, scope: Scope, *, limit: int = 50, offset: int = 0, name: str | None = None
) -> list[Flow]:
    """Flows, newest first."""
    query = sa.select(flow).where(flow.c.workspace_id == scope.workspace_id)
    if name is not None:
        query = query.where(flow.c.name_key == index_key(name))
    rows = connection.execute(query.order_by(flow.c.created.desc(), flow.c.key.desc()).limit(limit).offset(offset))
    return [Flow(id=row.id, name=row.name, created=from_micros(row.created)) for row in rows]


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
