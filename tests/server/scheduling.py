"""Deployments with schedules in a store without a server, for tests that own the time."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.ids import uuid7
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Transaction
from riverrun.server.deployments import logic
from riverrun.server.store import Store
from riverrun.wire.deployments import DeploymentCreate, DeploymentScheduleCreate
from riverrun.wire.schedules import Schedule
from riverrun.wire.states import DEFAULT_NAMES, TYPES_BY_CODE

SECOND = 1_000_000
MINUTE = 60 * SECOND
RUN = t.flow_run.c


def every(seconds: float, **fields: Any) -> DeploymentScheduleCreate:
    """A schedule of an interval that is anchored at the epoch."""
    anchor = datetime(1970, 1, 1, tzinfo=UTC)
    return DeploymentScheduleCreate(schedule=Schedule(seconds=float(seconds), anchor_date=anchor), **fields)


def deploy(store: Store, *schedules: DeploymentScheduleCreate, at: int | None = None, **fields: Any) -> UUID:
    """Make a deployment, at an instant if one is given."""
    flow = store.write_now(make_flow)
    body = DeploymentCreate(name="d", flow_id=flow, schedules=list(schedules), **fields)

    def unit(transaction: Transaction) -> UUID:
        transaction.now = transaction.now if at is None else at
        return logic.upsert(transaction, body, {"schedules", *fields})[0].id

    return store.write_now(unit)


def make_flow(transaction: Transaction) -> UUID:
    flow_id = uuid7()
    name = f"flow {flow_id}"
    values = {"id": flow_id, "name": name, "name_key": index_key(name), "created": 0, "workspace_id": 1}
    transaction.execute(sa.insert(t.flow).values(**values))
    return flow_id


def starts(store: Store, deployment_id: UUID, *conditions: Any) -> list[int]:
    """When the runs of a deployment start, rising."""
    query = sa.select(RUN.expected_start_time).where(RUN.deployment_id == deployment_id, *conditions)
    return sorted(store.read_now(lambda reader: [row[0] for row in reader.rows(query)]))


def states(store: Store, deployment_id: UUID) -> dict[int, str]:
    """The names of the states of a deployment's runs by their starts."""
    query = sa.select(RUN.expected_start_time, RUN.state_type, RUN.state_name).where(RUN.deployment_id == deployment_id)
    rows = store.read_now(lambda reader: reader.rows(query))
    return {row[0]: row[2] or DEFAULT_NAMES[TYPES_BY_CODE[row[1]]] for row in sorted(rows)}


def instants(seconds: float, first: int, last: int) -> list[int]:
    """What an `every(seconds)` is due at, after `first` and up to `last`."""
    step = int(seconds * SECOND)
    start = (first // step + 1) * step
    return list(range(start, last + 1, step))


def later(micros: int, **span: float) -> int:
    return micros + int(timedelta(**span).total_seconds() * SECOND)
