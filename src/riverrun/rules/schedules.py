"""When a schedule falls due: pure functions of a schedule and a range of time. They make runs, and they show what is to come.

Everything is iterated towards UTC, with rules of our own at changes of the clock (RELIABILITY M8):

- a wall-clock time that a change leaves out falls due at the first instant after it;
- a wall-clock time that happens twice counts once (the first time), but what repeats within the day (`*`, `/n`, SECONDLY to
  HOURLY) counts each time;
- an interval below a day is absolute time; a longer one keeps its wall-clock time in the schedule's zone.
"""

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError
from dateutil import rrule as dateutil_rrule
from msgspec import UNSET

from riverrun.wire.schedules import Schedule

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
#: no change of the clock is longer, but for days that a country skipped when it moved to the other side of the date line
_LONGEST_CHANGE = timedelta(hours=3)
#: anchor of intervals that name none, as the peer has it
ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)
#: instants lie within these
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
#: of recurrence rules: those that choose days
_DAY_FILTERS = ("bymonth", "bymonthday", "byyearday", "byeaster", "byweekno", "byweekday")
MAX_RULE = 6500
MAX_COUNT = 100_000
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: units of the frequencies that are whole multiples of a length of time
_STEPS = {
    dateutil_rrule.WEEKLY: timedelta(weeks=1),
    dateutil_rrule.DAILY: _DAY,
    dateutil_rrule.HOURLY: timedelta(hours=1),
    dateutil_rrule.MINUTELY: timedelta(minutes=1),
    dateutil_rrule.SECONDLY: timedelta(seconds=1),
}


class ScheduleError(ValueError):
    """A schedule that cannot be; `field` names what is wrong with it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def instants(schedule: Schedule, start: datetime, until: datetime, limit: int) -> list[datetime]:
    """The first `limit` instants of a schedule at or after `start` and up to `until`, in UTC, rising.

    Raises ScheduleError. A recurrence rule that hits nothing may take long to say so: check it once, in a process of its own.
    """
    start, until = max(start, EARLIEST), min(until, LATEST)
    if start > until or limit <= 0:
        return []
    zone = zone_of(schedule)
    if isinstance(schedule.seconds, int | float):
        stream = _interval(schedule, zone, start)
    elif isinstance(schedule.cron, str):
        stream = _cron(schedule, zone, start)
    else:
        stream = _rrule(schedule, zone, start)
    return list(islice(takewhile(lambda instant: instant <= until, _rising(stream, start)), limit))


def note(schedule: Schedule, instant: datetime) -> str | None:
    """What a change of the clock does to an instant of a schedule, in words; None where there is none."""
    zone = zone_of(schedule)
    local = instant.astimezone(zone)
    wall = local.replace(tzinfo=None)
    before = (instant - _SECOND).astimezone(zone).replace(tzinfo=None) + _SECOND
    if wall > before:
        left_out = None if _wanted(schedule, zone, wall, wall + _SECOND) else _wanted(schedule, zone, before, wall)
        return (
            None
            if left_out is None
            else (
                f"The clock goes from {before:%H:%M} to {wall:%H:%M}: {left_out:%H:%M} does not exist that day, so it runs at once "
                "after the change."
            )
        )
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if second <= first:
        return None
    which = "second" if local.fold else "first"
    return f"The clock is set back: {wall:%H:%M} comes twice that day, this is the {which} time."


def _wanted(schedule: Schedule, zone: tzinfo, first: datetime, until: datetime) -> datetime | None:
    """The first wall-clock time from `first` to before `until` that a schedule asks for."""
    if isinstance(schedule.seconds, int | float):
        step, anchor = _anchored(schedule, zone)
        if step < _DAY:
            return None
        schedule = msgspec.structs.replace(schedule, anchor_date=anchor.astimezone(zone).replace(tzinfo=UTC))
    schedule = msgspec.structs.replace(schedule, timezone=UNSET)
    found = instants(schedule, first.replace(tzinfo=UTC), until.replace(tzinfo=UTC) - timedelta(microseconds=1), 1)
    return found[0].replace(tzinfo=None) if found else None


def check(schedule: Schedule) -> None:
    """Raises ScheduleError if the schedule is wrong in itself."""
    zone = zone_of(schedule)
    if isinstance(schedule.cron, str):
        _cronsim(schedule, EARLIEST)
    elif isinstance(schedule.rrule, str):
        _rule(schedule.rrule)
    else:
        _anchored(schedule, zone)


def zone_of(schedule: Schedule) -> tzinfo:
    """The time zone of a schedule; UTC where it names none."""
    name = schedule.timezone
    if not isinstance(name, str):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(
            "timezone", f"{name[:80]!r} is not an IANA time zone; names look like 'Europe/Berlin'."
        ) from None


def _rising(stream: Iterator[datetime], start: datetime) -> Iterator[datetime]:
    """What comes at or after `start`, each instant once."""
    last = start - timedelta(microseconds=1)
    for instant in stream:
        if instant > last:
            yield instant
            last = instant


def at(naive: datetime, zone: tzinfo, fold: int = 0) -> datetime:
    """The instant (UTC) of a wall-clock time; of one that a change of the clock leaves out, the instant of the change."""
    local = naive.replace(tzinfo=zone, fold=fold)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == naive:
        return instant
    before, after = local.replace(fold=1).astimezone(UTC), local.replace(fold=0).astimezone(UTC)
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


# -- intervals --------------------------------------------------------------------------------------------------------------


def _anchored(schedule: Schedule, zone: tzinfo) -> tuple[timedelta, datetime]:
    """The length of the interval and where it starts."""
    step = timedelta(seconds=float(schedule.seconds))  # type: ignore[arg-type]  # the caller has looked
    if step <= timedelta(0):
        raise ScheduleError("interval", "An interval is at least a microsecond.")
    anchor = schedule.anchor_date if isinstance(schedule.anchor_date, datetime) else ANCHOR
    anchor = anchor if anchor.tzinfo is not None else anchor.replace(tzinfo=zone)
    if not 1900 < anchor.year < LATEST.year:
        raise ScheduleError(
            "anchor_date", f"The anchor lies in the year {anchor.year}; it must be after 1900 and before 2200."
        )
    return step, anchor.astimezone(UTC)


def _interval(schedule: Schedule, zone: tzinfo, start: datetime) -> Iterator[datetime]:
    step, anchor = _anchored(schedule, zone)
    if step < _DAY:
        instant = anchor + -((anchor - start) // step) * step
        while True:
            yield instant
            instant += step
    naive = anchor.astimezone(zone).replace(tzinfo=None)
    # one step early: a change of the clock moves the wall clock against UTC by less than that
    naive += (start.astimezone(zone).replace(tzinfo=None) - naive) // step * step
    while True:
        yield at(naive, zone)
        naive += step


# -- cron -------------------------------------------------------------------------------------------------------------------


def _cronsim(schedule: Schedule, start: datetime) -> CronSim:
    text = str(schedule.cron).strip()
    fields = _MACROS.get(text.lower(), text).replace("?", "*").split()
    if len(text) > 1000 or len(fields) not in (5, 6):
        raise ScheduleError(
            "cron", f"{text[:80]!r} has {len(fields)} fields; a cron expression has 5, or 6 with seconds."
        )
    # seconds come last in the peer's expressions, and first in cronsim's
    expression = " ".join(fields if len(fields) == 5 else [fields[5], *fields[:5]])
    try:
        simulation = CronSim(expression, start)
    except (CronSimError, ValueError) as error:
        raise ScheduleError("cron", f"{text[:80]!r} is not a cron expression: {error}.") from None
    if schedule.day_or is False:
        simulation.day_and = True
    return simulation


def _cron(schedule: Schedule, zone: tzinfo, start: datetime) -> Iterator[datetime]:
    # the simulation begins after its start
    local = (start - _SECOND).astimezone(zone)
    early = (start - _LONGEST_CHANGE).astimezone(zone)
    if early.utcoffset() != local.utcoffset():
        # it goes by the wall clock, which may be in the second of two equal hours
        local = early
    for instant in _cronsim(schedule, local):
        yield at(instant.replace(tzinfo=None), zone, instant.fold)


# -- recurrence rules -------------------------------------------------------------------------------------------------------


def _rule(text: str) -> Any:
    """The parsed rule or set of rules, in wall-clock times."""
    if len(text) > MAX_RULE:
        raise ScheduleError("rrule", f"The rule has {len(text):,} characters; at most {MAX_RULE:,} are taken.")
    try:
        rule = dateutil_rrule.rrulestr(text, dtstart=ANCHOR.replace(tzinfo=None), ignoretz=True, cache=False)
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
        raise ScheduleError("rrule", f"{text[:80]!r} is not a recurrence rule (RFC 5545): {error}.") from None
    for part in _parts(rule):
        if (part._count or 0) > MAX_COUNT:
            raise ScheduleError("rrule", f"COUNT is {part._count:,}; at most {MAX_COUNT:,} instants are counted.")
        if part._interval < 1:
            raise ScheduleError("rrule", "INTERVAL must be at least 1.")
        if not 1900 < part._dtstart.year < LATEST.year:
            raise ScheduleError(
                "rrule", f"DTSTART lies in the year {part._dtstart.year}; it must be after 1900 and before 2200."
            )
    return rule


def _parts(rule: Any) -> list[Any]:
    return [*rule._rrule, *rule._exrule] if isinstance(rule, dateutil_rrule.rruleset) else [rule]


def _advanced(rule: Any, naive: datetime) -> Any:
    """The rule begun shortly before `naive`, where that changes nothing but the time it takes to get there."""
    if rule._count is not None or rule._freq not in _STEPS or rule._dtstart >= naive:
        return rule
    step = _STEPS[rule._freq] * rule._interval
    return rule.replace(dtstart=rule._dtstart + (naive - rule._dtstart) // step * step)


def _by_days(rule: Any, early: datetime) -> Iterator[datetime]:
    """What comes after `early` of a rule within days, gone through by days: the library would look at every second of a year to
    find that none of them lies in December.
    """
    within = rule.replace(**dict.fromkeys(_DAY_FILTERS))
    start = max(early, rule._dtstart)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in rule.replace(freq=dateutil_rrule.DAILY, interval=1, dtstart=midnight, byhour=0, byminute=0, bysecond=0):
        begin = max(day, start)
        for naive in _advanced(within, begin):
            if naive >= day + _DAY:
                break
            if naive >= begin:
                yield naive


def _rrule(schedule: Schedule, zone: tzinfo, start: datetime) -> Iterator[datetime]:
    rule = _rule(str(schedule.rrule))
    early = (start - _LONGEST_CHANGE).astimezone(zone).replace(tzinfo=None)
    if isinstance(rule, dateutil_rrule.rruleset):
        rule._rrule = [_advanced(part, early) for part in rule._rrule]
        rule._exrule = [_advanced(part, early) for part in rule._exrule]
    elif rule._freq >= dateutil_rrule.HOURLY and rule._count is None and not rule._bysetpos:
        return _twice(_by_days(rule, early), zone)
    else:
        rule = _advanced(rule, early)
    if all(part._freq < dateutil_rrule.HOURLY for part in _parts(rule)):
        return (at(naive, zone) for naive in rule)
    return _twice(iter(rule), zone)


def _twice(stream: Iterator[datetime], zone: tzinfo) -> Iterator[datetime]:
    """The instants of wall-clock times, those that happen twice both times."""
    later: list[datetime] = []
    for naive in stream:
        first, second = at(naive, zone), at(naive, zone, fold=1)
        while later and later[0] <= first:
            yield heapq.heappop(later)
        yield first
        if second > first:
            heapq.heappush(later, second)
    while later:
        yield heapq.heappop(later)
