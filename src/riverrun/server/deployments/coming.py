"""What the schedules of a deployment will do: instants that are computed when somebody asks, far beyond the runs that are made."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from riverrun.base.clock import now
from riverrun.rules.schedules import note, zone_of
from riverrun.server.db.units import Caller, Reader
from riverrun.server.deployments import queries
from riverrun.server.deployments.filling import due_at, instants_of
from riverrun.server.store import Store
from riverrun.wire.deployments import ComingInstant, ComingInstants, DeploymentSchedule

AHEAD = timedelta(days=7)
_TICK = timedelta(microseconds=1)


async def instants_until(
    store: Store, caller: Caller, deployment_id: UUID, until: datetime | None, limit: int
) -> ComingInstants:
    """The coming instants of the active schedules of a deployment, rising. Raises ObjectNotFound."""

    def unit(reader: Reader) -> tuple[bool, list[DeploymentSchedule]]:
        row = queries.find(reader, deployment_id)
        return bool(row.paused), queries.schedules(reader, [deployment_id]).get(deployment_id, [])

    paused, schedules = await store.read(unit, caller)
    start = now()
    end = until or start + AHEAD
    # a rule may take its time
    found = await asyncio.to_thread(_found, [each for each in schedules if each.active], start, end, limit)
    instants = [_told(schedule, instant) for instant, schedule in found[:limit]]
    return ComingInstants(paused=paused, until=end, instants=instants, more=len(found) > limit)


def _found(
    schedules: list[DeploymentSchedule], start: datetime, end: datetime, limit: int
) -> list[tuple[datetime, DeploymentSchedule]]:
    found = [
        (instant, schedule)
        for schedule in schedules
        for instant in instants_of(schedule, start + _TICK, end, limit + 1)
    ]
    return sorted(found, key=lambda one: one[0])


def _told(schedule: DeploymentSchedule, instant: datetime) -> ComingInstant:
    return ComingInstant(
        instant=instant,
        local=instant.astimezone(zone_of(schedule.schedule)).isoformat(),
        starts=due_at(schedule, instant).starts,
        schedule_id=schedule.id,
        slug=schedule.slug,
        note=note(schedule.schedule, instant),
    )
