"""The runs that schedules make: which instants are missing between two points in time, and the runs for them.

Shared by `POST /deployments/{id}/schedule` and the scheduler. An instant has one run, whoever asks: the idempotency key says
which schedule and instant it belongs to.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from riverrun.base.clock import from_micros
from riverrun.rules.schedules import instants
from riverrun.server.db.json_text import from_text
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.deployments import queries
from riverrun.server.runs.creation import FlowRunFields, create_flow_run
from riverrun.wire.states import StateDetails, StateType
from riverrun.wire.transitions import StateCreate

#: as the peer's scheduler has it
MIN_RUNS, MAX_RUNS = 3, 100
MIN_TIME, MAX_TIME = timedelta(hours=1), timedelta(days=100)
#: the most runs that one request makes of one schedule
MOST = 1000
AUTO = "auto-scheduled"


class Due(Struct):
    """An instant of a schedule of a deployment."""

    schedule_id: UUID
    instant: datetime
    parameters: dict[str, Any]
    slug: str | None


class Window(Struct, kw_only=True):
    """Between `start` and `end`, as many instants as `min_runs` and `min_time` ask for, and at most `max_runs`."""

    start: datetime
    end: datetime
    min_time: timedelta = MIN_TIME
    min_runs: int = MIN_RUNS
    max_runs: int = MAX_RUNS


def due(reader: Reader, deployment_id: UUID, window: Window) -> list[Due]:
    """The instants of the active schedules of a deployment; none while it is paused. Raises ObjectNotFound."""
    row = queries.find(reader, deployment_id)
    if row.paused:
        return []
    found: list[Due] = []
    for schedule in queries.schedules(reader, [deployment_id]).get(deployment_id, []):
        if schedule.active:
            most = min(window.max_runs, schedule.max_scheduled_runs or window.max_runs, MOST)
            stream = instants(schedule.schedule, window.start, window.end, most)
            enough = window.start + window.min_time
            wanted = [instant for n, instant in enumerate(stream) if n < window.min_runs or instant <= enough]
            found += [Due(schedule.id, instant, schedule.parameters, schedule.slug) for instant in wanted]
    return sorted(found, key=lambda one: one.instant)


def window_of(now: int, start: datetime | None, end: datetime | None, **sizes: Any) -> Window:
    """The window of a request; what is left out is as the scheduler has it."""
    start = start or from_micros(now)
    return Window(
        start=start, end=end or start + MAX_TIME, **{name: size for name, size in sizes.items() if size is not None}
    )


def make(transaction: Transaction, deployment_id: UUID, wanted: list[Due]) -> int:
    """Make the runs that are missing; how many were. Raises ObjectNotFound."""
    row = queries.find(transaction, deployment_id)
    parameters, tags, labels = (from_text(row.parameters, {}), from_text(row.tags, []), from_text(row.labels, {}))
    made = 0
    for one in wanted:
        fields = FlowRunFields(
            flow_id=row.flow_id,
            state=StateCreate(
                type=StateType.SCHEDULED,
                message="Flow run scheduled",
                state_details=StateDetails(scheduled_time=one.instant),
            ),
            parameters={**parameters, **one.parameters},
            tags=[AUTO, *tags],
            labels=labels,
            idempotency_key=f"scheduled {deployment_id} {one.schedule_id} {one.instant.isoformat()}",
            deployment_id=deployment_id,
            deployment_version=row.version,
            work_queue_id=row.work_queue_id,
            infrastructure_document_id=row.infrastructure_document_id,
            auto_scheduled=True,
            created_by={"id": str(deployment_id), "type": "SCHEDULE", "display_value": one.slug},
        )
        made += create_flow_run(transaction, fields)[1]
    return made
