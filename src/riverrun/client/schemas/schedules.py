"""Schedules under the names that users import: three classes over the one Struct that `wire.schedules` defines.

What they make, and what is read of a server, is a `Schedule`; `isinstance` asks what kind of one it is.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from msgspec import UNSET

from riverrun.wire.schedules import Schedule

#: what the server takes, too, so that a schedule equals what is read of it
_ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)


class _Kind(type(Schedule)):  # type: ignore[misc]  # msgspec's metaclass
    """Of a name for one kind of schedule: what it makes are `Schedule`s, and all of that kind are its instances."""

    def __call__(cls, *args: Any, **fields: Any) -> Schedule:
        made: Schedule = cls._made(*args, **fields)
        return made

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Schedule) and getattr(instance, cls._key) is not UNSET


class IntervalSchedule(Schedule, metaclass=_Kind):
    """Every `interval` (seconds, or a timedelta), counted from `anchor_date` (default: the beginning of 2020)."""

    _key: ClassVar = "interval"

    @staticmethod
    def _made(
        interval: float | timedelta, anchor_date: datetime | str | None = None, timezone: str | None = None
    ) -> Schedule:
        seconds = interval.total_seconds() if isinstance(interval, timedelta) else float(interval)
        if seconds <= 0:
            raise ValueError(f"The interval of a schedule must be longer than 0 s, not {seconds:g} s")
        anchor = datetime.fromisoformat(anchor_date) if isinstance(anchor_date, str) else anchor_date
        return Schedule(seconds=seconds, anchor_date=anchor or _ANCHOR, timezone=timezone or "UTC")


class CronSchedule(Schedule, metaclass=_Kind):
    """At the instants of a cron expression; `day_or`: a day matches by month *or* by week where both are restricted."""

    _key: ClassVar = "cron"

    @staticmethod
    def _made(cron: str, timezone: str | None = None, day_or: bool = True) -> Schedule:
        return Schedule(cron=cron, timezone=timezone, day_or=day_or)


class RRuleSchedule(Schedule, metaclass=_Kind):
    """At the instants of an iCalendar recurrence rule."""

    _key: ClassVar = "rrule"

    @staticmethod
    def _made(rrule: str, timezone: str | None = None) -> Schedule:
        return Schedule(rrule=rrule, timezone=timezone or "UTC")


SCHEDULE_TYPES = (IntervalSchedule, CronSchedule, RRuleSchedule)


def construct_schedule(
    interval: float | timedelta | None = None,
    anchor_date: datetime | str | None = None,
    cron: str | None = None,
    rrule: str | None = None,
    timezone: str | None = None,
) -> Schedule:
    """The schedule of whichever of `interval`, `cron` and `rrule` is given; raises ValueError unless it is exactly one."""
    given = [name for name, value in {"interval": interval, "cron": cron, "rrule": rrule}.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"Give exactly one of interval, cron and rrule, not {' and '.join(given) or 'none'}")
    if anchor_date is not None and interval is None:
        raise ValueError("An anchor date goes with an interval only")
    if interval is not None:
        return IntervalSchedule._made(interval, anchor_date, timezone)
    return CronSchedule._made(cron, timezone) if cron is not None else RRuleSchedule._made(str(rrule), timezone)


def is_schedule_type(obj: object) -> bool:
    """Whether this is a schedule."""
    return isinstance(obj, Schedule)


__all__ = [
    "SCHEDULE_TYPES",
    "CronSchedule",
    "IntervalSchedule",
    "RRuleSchedule",
    "construct_schedule",
    "is_schedule_type",
]
