"""Who asks for the runs of deployments: asking makes a deployment READY for a while."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.server import outbox
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
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
    rows = transaction.rows(sa.select(_D.id, _D.name, _D.flow_id).where(mine, unready))
    transaction.execute(sa.update(t.deployment).where(mine).values(last_polled=transaction.now))
    for row in rows:
        outbox.emit(transaction, "prefect.deployment.ready", resource_of(row), related_to(row))


def resource_of(row: Any) -> dict[str, str | None]:
    """A deployment as the resource of an event."""
    return {"prefect.resource.id": f"prefect.deployment.{row.id}", "prefect.resource.name": row.name}


def related_to(row: Any) -> list[dict[str, str | None]]:
    return [{"prefect.resource.id": f"prefect.flow.{row.flow_id}", "prefect.resource.role": "flow"}]
