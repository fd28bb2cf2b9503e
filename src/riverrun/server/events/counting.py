"""Counts of events: by name, by resource, or in even steps of time that begin on a Monday."""

from datetime import UTC, datetime, timedelta
from math import ceil

from riverrun.base.clock import from_micros, now, to_micros
from riverrun.base.errors import InputError
from riverrun.server.db.units import Reader
from riverrun.server.events import queries
from riverrun.wire.choices import Countable
from riverrun.wire.events import EventCount
from riverrun.wire.filters import EventOccurredFilter
from riverrun.wire.requests import EventsCountByBody

#: all steps are counted from here
PIVOT = datetime(2024, 4, 1, tzinfo=UTC)
_UNITS = {"week": 7 * 86400, "day": 86400, "hour": 3600, "minute": 60, "second": 1}
_MOST = 1000
_LOOK_BACK = timedelta(days=180)
_MICROSECOND = timedelta(microseconds=1)


def count(reader: Reader, body: EventsCountByBody, countable: Countable) -> list[EventCount]:
    """The counts that a request asks for; raises InputError when it asks for too many."""
    filter = body.filter
    today = now()
    since = _aware(filter.occurred.since or today.replace(hour=0, minute=0, second=0, microsecond=0) - _LOOK_BACK)
    until = _aware(filter.occurred.until or today)
    filter.occurred = EventOccurredFilter(since=since, until=until)
    unit, interval = ("day", 1.0) if countable == "day" else (body.time_unit, body.time_interval)
    step = timedelta(seconds=_UNITS[unit] * interval)
    number = ceil((to_micros(until) - to_micros(since)) * _MICROSECOND / step)
    if number > _MOST:
        raise InputError(
            f"The given interval would create {number} buckets, which is too many: ask for a longer interval or a shorter "
            f"range, {_MOST} buckets at most."
        )
    if countable in ("event", "resource"):
        found = queries.tally(reader, filter, countable, 1, 0)
        counts = [
            EventCount(
                value=value,
                label=each.label,
                count=each.count,
                start_time=from_micros(each.first),
                end_time=from_micros(each.last),
            )
            for value, each in found.items()
        ]
        return sorted(counts, key=lambda each: (-each.count, each.label))
    return _by_time(reader, body, since, min(until, _end_of(unit, today)), step)


def _aware(instant: datetime) -> datetime:
    return from_micros(to_micros(instant))


def _end_of(unit: str, instant: datetime) -> datetime:
    """The end of the unit of time that holds the instant."""
    seconds = timedelta(seconds=_UNITS[unit])
    return PIVOT + ((instant - PIVOT) // seconds + 1) * seconds - _MICROSECOND


def _by_time(
    reader: Reader, body: EventsCountByBody, since: datetime, until: datetime, step: timedelta
) -> list[EventCount]:
    bucket = step // _MICROSECOND
    found = queries.tally(reader, body.filter, "time", bucket, to_micros(PIVOT))
    first = (since - PIVOT) // step
    counts: list[EventCount] = []
    begin = PIVOT + first * step
    while begin < until:
        index = len(counts)
        there = found.get(str(first + index))
        counts.append(
            EventCount(
                value=str(index),
                label=begin.isoformat(),
                count=there.count if there else 0,
                start_time=begin,
                end_time=begin + step - _MICROSECOND,
            )
        )
        begin += step
    return counts
