"""What is done with flows."""

from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.errors import ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.db.names import index_key
from riverrun.server.db.tables import flow
from riverrun.server.db.units import Transaction
from riverrun.server.flows import queries
from riverrun.wire.flow_runs import FlowCreate, FlowUpdate
from riverrun.wire.runs import Flow


def _json(value: object) -> str | None:
    return msgspec.json.encode(value).decode() if value else None


def get_or_create(transaction: Transaction, body: FlowCreate) -> tuple[Flow, bool]:
    """The flow of that name, and whether it was made by this call."""
    found = queries.flow_by_name(transaction, body.name)
    if found is not None:
        return found, False
    transaction.execute(
        sa.insert(flow).values(
            id=uuid7(),
            workspace_id=transaction.workspace,
            created=transaction.now,
            name=body.name,
            name_key=index_key(body.name),
            tags=_json(body.tags),
            labels=_json(body.labels),
        )
    )
    made = queries.flow_by_name(transaction, body.name)
    assert made is not None
    return made, True


def update(transaction: Transaction, flow_id: UUID, body: FlowUpdate) -> None:
    """Change the fields that the body has; raises ObjectNotFound."""
    values: dict[str, object] = {"updated": transaction.now}
    if body.tags is not UNSET:
        values["tags"] = _json(body.tags)
    mine = sa.update(flow).where(flow.c.id == flow_id, flow.c.workspace_id == transaction.workspace)
    if not transaction.execute(mine.values(**values)).rowcount:
        raise ObjectNotFound(f"There is no flow {flow_id}.")
