"""Who asks for the runs of deployments: asking makes a deployment READY for a while."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.server import outbox
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
from riverrun.server.deployments.queries import find
from riverrun.server.notices import related
from riverrun.server.work import queries, queues

_D = t.deployment.c


def queues_asked(transaction: Transaction, queue_ids: list[UUID]) -> None:
    """Somebody asked for the runs of these queues."""
    if queue_ids:
        queues.mark_polled(transaction, queue_ids)
        _mark(transaction, _D.work_queue_id.in_(queue_ids))


def deployments_asked(transaction: Transaction, deployment_ids: Collection[UUID]) -> None:
    """Somebody asked for the runs of these deployments."""
    if deployment_ids:
        _mark(transaction, _D.id.in_(deployment_ids))


def _mark(transaction: Transaction, condition: sa.ColumnElement[bool]) -> None:
    mine = sa.and_(_D.workspace_id == transaction.workspace, condition)
    unready = sa.or_(_D.last_polled.is_(None), _D.last_polled <= transaction.now - queries.POLLED_FOR)
    rows = transaction.rows(sa.select(_D.id).where(mine, unready))
    transaction.execute(sa.update(t.deployment).where(mine).values(last_polled=transaction.now))
    for row in rows:
        tell(transaction, find(transaction, row.id), "ready")


def tell(transaction: Transaction, row: Any, what: str, payload: Mapping[str, Any] | None = None) -> None:
    """Emit an event ("created", "ready" ...) about the deployment in a row of `queries`."""
    resource = {"prefect.resource.id": f"prefect.deployment.{row.id}", "prefect.resource.name": row.name}
    things = [related("flow", row.flow_id, "flow", row.flow_name or "")]
    if row.work_queue_id is not None and row.queue_name is not None:
        things.append(related("work-queue", row.work_queue_id, "work-queue", row.queue_name))
    if row.pool_id is not None:
        things.append(related("work-pool", row.pool_id, "work-pool", row.pool_name))
    outbox.emit(transaction, f"prefect.deployment.{what}", resource, things, payload)
