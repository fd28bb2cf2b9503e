"""Reads of deployments and their schedules."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.rules.schedules import ANCHOR
from riverrun.server.concurrency import limits
from riverrun.server.db import tables as t
from riverrun.server.db.filters import Filters, conditions_for
from riverrun.server.db.json_text import from_text
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Reader
from riverrun.server.runs.render import instant
from riverrun.server.work.queries import is_recent
from riverrun.wire.actors import CreatedBy, UpdatedBy
from riverrun.wire.deployments import ConcurrencyOptions, DeploymentResponse, DeploymentSchedule
from riverrun.wire.schedules import Schedule

_D = t.deployment.c
_ORDERS = {
    "CREATED_DESC": _D.created.desc(),
    "UPDATED_DESC": _D.updated.desc(),
    "NAME_ASC": _D.name.asc(),
    "NAME_DESC": _D.name.desc(),
}
_ROWS = (
    sa.select(
        t.deployment,
        t.work_queue.c.name.label("queue_name"),
        t.work_pool.c.id.label("pool_id"),
        t.work_pool.c.name.label("pool_name"),
        t.flow.c.name.label("flow_name"),
        t.work_pool.c.base_job_template.label("pool_template"),
    )
    .outerjoin_from(t.deployment, t.work_queue, t.work_queue.c.id == _D.work_queue_id)
    .outerjoin(t.work_pool, t.work_pool.c.id == t.work_queue.c.work_pool_id)
    .outerjoin(t.flow, t.flow.c.id == _D.flow_id)
)
_schedule = msgspec.json.Decoder(Schedule, strict=False).decode


def find(reader: Reader, deployment_id: UUID, *, lock: bool = False) -> Any:
    """The row of a deployment with the names of its queue and pool; raises ObjectNotFound."""
    query = _ROWS.where(_D.id == deployment_id, _D.workspace_id == reader.workspace)
    row = reader.row(query.with_for_update(of=t.deployment) if lock else query)
    if row is None:
        raise ObjectNotFound(f"Deployment {deployment_id} not found.")
    return row


def by_ids(reader: Reader, ids: Collection[UUID]) -> list[Any]:
    """The rows of those of the deployments that are there."""
    return reader.rows(_ROWS.where(_D.id.in_(ids), _D.workspace_id == reader.workspace))


def same(reader: Reader, flow_id: UUID, name: str, *, lock: bool = False) -> Any:
    """The row of a flow's deployment of this name, or None."""
    query = _ROWS.where(_D.flow_id == flow_id, _D.name == name, _D.workspace_id == reader.workspace)
    return reader.row(query.with_for_update(of=t.deployment) if lock else query)


def by_name(reader: Reader, flow_name: str, name: str) -> Any:
    """The row of a deployment by the names of its flow and of itself; raises ObjectNotFound."""
    flow = sa.select(t.flow.c.id).where(
        t.flow.c.workspace_id == reader.workspace, t.flow.c.name_key == index_key(flow_name)
    )
    mine = _D.workspace_id == reader.workspace
    row = reader.row(_ROWS.where(_D.flow_id == flow.scalar_subquery(), _D.name == name, mine))
    if row is None:
        raise ObjectNotFound(f"Deployment '{flow_name}/{name}' not found.")
    return row


def page(reader: Reader, filters: Filters, sort: str, limit: int, offset: int) -> list[Any]:
    """The rows of a page of deployments."""
    query = _ROWS.where(*conditions_for(reader, "deployment", filters)).order_by(_ORDERS[sort], _D.key.desc())
    return reader.rows(query.limit(limit).offset(offset))


def count(reader: Reader, filters: Filters) -> int:
    conditions = conditions_for(reader, "deployment", filters)
    return int(reader.scalar(sa.select(sa.func.count()).select_from(t.deployment).where(*conditions)))


def schedules(reader: Reader, deployment_ids: Collection[UUID]) -> dict[UUID, list[DeploymentSchedule]]:
    """The schedules of deployments, the latest changed first."""
    table = t.deployment_schedule
    query = (
        sa.select(table)
        .where(table.c.deployment_id.in_(deployment_ids))
        .order_by(table.c.updated.desc(), table.c.key.desc())
    )
    found: dict[UUID, list[DeploymentSchedule]] = {}
    for row in reader.rows(query) if deployment_ids else ():
        found.setdefault(row.deployment_id, []).append(schedule_of(row))
    return found


def schedule_of(row: Any) -> DeploymentSchedule:
    return DeploymentSchedule(
        id=row.id,
        created=from_micros(row.created),
        updated=from_micros(row.updated),
        deployment_id=row.deployment_id,
        schedule=_whole(_schedule(row.schedule)),
        active=bool(row.active),
        max_scheduled_runs=row.max_scheduled_runs,
        parameters=from_text(row.parameters, {}),
        slug=row.slug,
        catch_up=_given(row.catch_up),
        jitter=_given(row.jitter),
        max_late=_given(row.max_late),
        start=_given(instant(row.start_time)),
        end=_given(instant(row.end_time)),
    )


def _given(value: Any) -> Any:
    return UNSET if value is None else value


def _whole(schedule: Schedule) -> Schedule:
    """The schedule with what it leaves open said, as clients would take it for something else: their own time, for one."""
    if schedule.seconds is not UNSET and schedule.anchor_date is UNSET:
        schedule.anchor_date = ANCHOR
    if schedule.cron is not UNSET and schedule.day_or is UNSET:
        schedule.day_or = True
    if schedule.timezone is UNSET:
        schedule.timezone = None if schedule.cron is not UNSET else "UTC"
    return schedule


def answers(reader: Reader, rows: Collection[Any]) -> list[DeploymentResponse]:
    """Deployments as answers carry them."""
    of = schedules(reader, [row.id for row in rows])
    limited = limits.answers_by_id(reader, {row.concurrency_limit_id for row in rows if row.concurrency_limit_id})
    return [_answer(reader, row, of.get(row.id, []), limited.get(row.concurrency_limit_id)) for row in rows]


def answer(reader: Reader, row: Any) -> DeploymentResponse:
    return answers(reader, [row])[0]


def _answer(reader: Reader, row: Any, own: list[DeploymentSchedule], limit: Any) -> DeploymentResponse:
    options = None
    if row.collision_strategy is not None:
        options = ConcurrencyOptions(
            collision_strategy=row.collision_strategy, grace_period_seconds=row.grace_period_seconds
        )
    return DeploymentResponse(
        id=row.id,
        created=from_micros(row.created),
        updated=from_micros(row.updated),
        name=row.name,
        version=row.version,
        description=row.description,
        flow_id=row.flow_id,
        paused=bool(row.paused),
        schedules=own,
        global_concurrency_limit=limit,
        concurrency_options=options,
        job_variables=from_text(row.job_variables, {}),
        parameters=from_text(row.parameters, {}),
        tags=from_text(row.tags, []),
        labels=from_text(row.labels, {}),
        work_queue_name=row.queue_name or row.work_queue_name,
        work_queue_id=row.work_queue_id,
        work_pool_name=row.pool_name,
        last_polled=instant(row.last_polled),
        parameter_openapi_schema=from_text(row.parameter_schema, {}),
        path=row.path,
        pull_steps=from_text(row.pull_steps),
        entrypoint=row.entrypoint,
        storage_document_id=row.storage_document_id,
        infrastructure_document_id=row.infrastructure_document_id,
        created_by=None if row.created_by is None else msgspec.json.decode(row.created_by, type=CreatedBy),
        updated_by=None if row.updated_by is None else msgspec.json.decode(row.updated_by, type=UpdatedBy),
        status="READY" if is_recent(row.last_polled, reader.now) else "NOT_READY",
        enforce_parameter_schema=bool(row.enforce_parameter_schema),
    )
