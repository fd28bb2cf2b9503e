"""What is done with flows."""

from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.errors import ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.tables import flow
from riverrun.server.db.units import Transaction
from riverrun.server.flows import queries
from riverrun.server.notices import Action, happened
from riverrun.server.runs import retention
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
    _told(transaction, "created", made)
    return made, True


def _told(transaction: Transaction, action: Action, flow: Flow) -> None:
    happened(
        transaction, "flow", action, flow.id, flow.name, {"name": flow.name, "tags": flow.tags, "labels": flow.labels}
    )


def update(transaction: Transaction, flow_id: UUID, body: FlowUpdate) -> None:
    """Change the fields that the body has; raises ObjectNotFound."""
    values: dict[str, object] = {"updated": transaction.now}
    if body.tags is not UNSET:
        values["tags"] = _json(body.tags)
    mine = sa.update(flow).where(flow.c.id == flow_id, flow.c.workspace_id == transaction.workspace)
    if not transaction.execute(mine.values(**values)).rowcount:
        raise ObjectNotFound(f"There is no flow {flow_id}.")
    _told(transaction, "updated", queries.flow_by_id(transaction, flow_id))


def delete_some(transaction: Transaction, flow_id: UUID) -> bool:
    """Delete a part of a flow with its runs and deployments; true when nothing is left. Raises ObjectNotFound.

    The flow goes last, so that a deletion that was interrupted can be asked for again.
    """
    found = queries.flow_by_id(transaction, flow_id)
    key = sa.select(flow.c.key).where(flow.c.id == flow_id).scalar_subquery()
    run_id = transaction.scalar(sa.select(t.flow_run.c.id).where(t.flow_run.c.flow_key == key).limit(1))
    if run_id is not None:
        retention.delete_some(transaction, run_id)
        return False
    _delete_deployments(transaction, flow_id)
    transaction.execute(sa.delete(flow).where(flow.c.id == flow_id))
    _told(transaction, "deleted", found)
    return True


def _delete_deployments(transaction: Transaction, flow_id: UUID) -> None:
    deployment, mine = t.deployment, t.deployment.c.flow_id == flow_id
    rows = transaction.rows(sa.select(deployment.c.id, deployment.c.concurrency_limit_id).where(mine))
    ids = [row.id for row in rows]
    for table in (t.deployment_schedule, t.deployment_tag):
        transaction.execute(sa.delete(table).where(table.c.deployment_id.in_(ids)))
    limits = [row.concurrency_limit_id for row in rows if row.concurrency_limit_id is not None]
    transaction.execute(sa.delete(t.concurrency_limit).where(t.concurrency_limit.c.id.in_(limits)))
    transaction.execute(sa.delete(deployment).where(mine))
