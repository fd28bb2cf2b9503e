"""Makes the runs of schedules a little ahead of time: each instant once, whoever leads and whatever the clock does.

Every schedule has a mark: up to there its instants have their runs, or were passed over on purpose. A pass takes the schedules
that are due to be looked at, plans what comes after their marks (pure, outside of any transaction), and makes the runs and moves
the marks in small bulk units. An instant that has passed before its run was made, because no server ran, is treated as the
schedule's `catch_up` says. The loop sleeps until the next schedule is due, or until a deployment is changed.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET, Struct

from riverrun.base.clock import from_micros, monotonic, to_micros
from riverrun.rules.schedules import LATEST
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
from riverrun.server.deployments.filling import MAX_RUNS, MAX_TIME, Due, due_at, instants_of, make_all
from riverrun.server.deployments.queries import schedule_of
from riverrun.server.runs.render import RENDER_ERRORS
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store
from riverrun.wire.deployments import DeploymentSchedule

log = logging.getLogger("riverrun.server.services")

#: how far ahead there are always runs
MIN_RUNS = 3
MIN_TIME = timedelta(minutes=2)
#: by how much more they are made, so that there is time to choose when to look again
_MORE_RUNS = 1
_MORE_TIME = timedelta(seconds=30)
#: a run that has not begun so long after its instant is late
LATE = timedelta(seconds=15)
#: of a long outage at most so many instants of a schedule are made up for, and at least a quarter of them
MOST_MISSED = 10_000
#: schedules that are read at once, and runs that are made in one unit
_PAGE = 500
_UNIT = 50
#: seconds after which a pass ends, so that the services can stop
_LONGEST = 5.0
#: when to look again at a schedule that has no instant ahead, or that cannot be read
_LOOK_AGAIN = timedelta(hours=6)
_NEVER = to_micros(LATEST)
_TICK = timedelta(microseconds=1)

_schedule = t.deployment_schedule
_S = _schedule.c
#: by these a schedule is known to be as it was
_SAME = ("mark", "filled", "next_fill", "updated", "active")
_DUE = (
    sa.select(_schedule, t.deployment.c.paused)
    .outerjoin_from(_schedule, t.deployment, t.deployment.c.id == _S.deployment_id)
    .where(_S.next_fill <= sa.bindparam("now"))
    .order_by(_S.next_fill)
    .limit(_PAGE)
)


class Plan(Struct):
    """What is to be made of a schedule, and what its row says afterwards. `row` is what it was made of."""

    row: Any
    wanted: list[Due]
    mark: int
    next_fill: int


def plan(schedule: DeploymentSchedule, mark: int, now: datetime) -> tuple[list[datetime], int]:
    """The instants to be made of a schedule after its mark, rising, and when to look at it again (microseconds).

    Raises ScheduleError.
    """
    done = from_micros(mark)
    missed = _missed(schedule, done + _TICK, now) if done < now else []
    most = min(schedule.max_scheduled_runs or MAX_RUNS, MAX_RUNS)
    # one more than can be made tells whether anything follows
    ahead = instants_of(schedule, now + _TICK, now + MAX_TIME, most + 1)
    wanted = [at for n, at in enumerate(ahead[:most]) if n < MIN_RUNS + _MORE_RUNS or at <= now + MIN_TIME + _MORE_TIME]
    return [*missed, *(at for at in wanted if at > done)], _look_again(schedule, ahead, len(wanted), most, now)


def _look_again(schedule: DeploymentSchedule, ahead: list[datetime], made: int, most: int, now: datetime) -> int:
    """When less than wanted will be left of the first `made` of the instants ahead."""
    if made == len(ahead):
        return to_micros(now + _LOOK_AGAIN)
    gap = min(ahead[made] - ahead[made - 1], timedelta(minutes=1)) / 2
    if made == most:
        at = ahead[max(0, made // 3 - 1)]
    else:
        at = min(ahead[made - MIN_RUNS - _MORE_RUNS], ahead[made] - MIN_TIME - gap)
    # what falls due at the same instants is not looked at all at once
    return to_micros(max(at + gap * (schedule.id.int % 1009 / 1009), now + _TICK))


def _missed(schedule: DeploymentSchedule, start: datetime, now: datetime) -> list[datetime]:
    """The instants from `start` until now that are still to be made, by the schedule's policy."""
    if schedule.max_late is not UNSET:
        start = max(start, now - timedelta(seconds=schedule.max_late))
    policy = "all" if schedule.catch_up is UNSET else schedule.catch_up
    on_time = max(start, now - LATE)
    if policy == "none":
        return instants_of(schedule, on_time, now, MOST_MISSED)
    if policy == "latest":
        return instants_of(schedule, on_time, now, MOST_MISSED) or _last(schedule, start, now, MOST_MISSED)[-1:]
    return _last(schedule, start, now, MOST_MISSED)


def _last(schedule: DeploymentSchedule, start: datetime, end: datetime, most: int) -> list[datetime]:
    """The last instants between two points in time, at most `most`; looked for further and further back."""
    found: list[datetime] = []
    span = timedelta(minutes=1)
    while True:
        further = instants_of(schedule, max(start, end - span), end, most + 1)
        if len(further) > most:
            log.warning(
                "Schedule %s of deployment %s missed more instants than are made up for: %d, from %s on, are.",
                schedule.id, schedule.deployment_id, len(found), found[0] if found else end,
            )  # fmt: skip
            return found
        found = further
        if end - span <= start:
            return found
        span *= 4


class Scheduler:
    """Passes over the schedules; remembers the last one to see whether the clock went back."""

    def __init__(self) -> None:
        self._last: int | None = None

    def run_once(self, store: Store, now: int) -> int:
        """Make what is due; how many schedules were looked at."""
        if self._last is None or now < self._last:
            store.write_now(lambda transaction: _go_back(transaction, now), bulk=True)
        self._last = now
        looked, stop = 0, monotonic() + _LONGEST
        while monotonic() < stop and (rows := store.read_now(lambda reader: reader.rows(_DUE, {"now": now}))):
            for unit in _units(_planned(row, now) for row in rows):
                store.write_now(partial(_fill, plans=unit, now=now), bulk=True)
            looked += len(rows)
        return looked


def next_due(store: Store) -> int | None:
    """When the next schedule is to be looked at."""
    found: int | None = store.read_now(lambda reader: reader.scalar(sa.select(sa.func.min(_S.next_fill))))
    return found


def _planned(row: Any, now: int) -> Plan:
    mark = now if row.mark is None else row.mark
    if not row.active or row.paused is None or row.paused:
        return Plan(row, [], mark, _NEVER)
    try:
        schedule = schedule_of(row)
        wanted, next_fill = plan(schedule, mark, from_micros(now))
        dues = [due_at(schedule, at) for at in wanted[:_UNIT]]
    except RENDER_ERRORS:
        log.exception("Schedule %s of deployment %s makes no runs: it cannot be read.", row.id, row.deployment_id)
        return Plan(row, [], mark, to_micros(from_micros(now) + _LOOK_AGAIN))
    if len(dues) < len(wanted):
        return Plan(row, dues, to_micros(dues[-1].instant), now)
    return Plan(row, dues, max(mark, now, to_micros(wanted[-1]) if wanted else 0), next_fill)


def _units(plans: Iterable[Plan]) -> Iterator[list[Plan]]:
    """The plans in groups that are quickly written."""
    unit: list[Plan] = []
    size = 0
    for one in plans:
        if unit and (size + len(one.wanted) > _UNIT or len(unit) >= _UNIT):
            yield unit
            unit, size = [], 0
        unit.append(one)
        size += len(one.wanted)
    if unit:
        yield unit


def _fill(transaction: Transaction, plans: list[Plan], now: int) -> None:
    """Make the runs of the plans whose schedules are still as they were, and move the marks."""
    keys = [one.row.key for one in plans]
    query = sa.select(_S.key, *(_S[name] for name in _SAME)).where(_S.key.in_(keys)).order_by(_S.key)
    found = {row.key: row for row in transaction.rows(query.with_for_update())}
    good = [
        one
        for one in plans
        if one.row.key in found and all(getattr(one.row, name) == getattr(found[one.row.key], name) for name in _SAME)
    ]
    make_all(transaction, [(one.row.deployment_id, due) for one in good for due in one.wanted])
    moved = [(one.mark, now, one.next_fill, one.row.key) for one in good]
    transaction.verbs.update(transaction.cursor, _schedule, ("mark", "filled", "next_fill"), moved)


def _go_back(transaction: Transaction, now: int) -> None:
    """Look again at the schedules whose marks are of a time when the clock was ahead.

    What was made then is known by its keys, and is not made twice.
    """
    ahead = sa.or_(_S.filled > now, sa.and_(_S.filled.is_(None), _S.mark > now))
    transaction.execute(sa.update(_schedule).where(ahead).values(mark=now, filled=None, next_fill=0))


LOOP = Loop(
    name="scheduler",
    doc="Makes the coming runs of schedules, and those that were missed.",
    interval=5.0,
    run_once=Scheduler().run_once,
    topics=("deployments",),
    due=next_due,
)
