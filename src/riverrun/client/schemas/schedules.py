"""Schedules under the names that users import: three ways to make the one Struct that `wire.schedules` defines."""

from datetime import UTC, datetime, timedelta

from riverrun.wire.schedules import Schedule

SCHEDULE_TYPES = Schedule

#: what the server takes, too, so that a schedule equals what is read of it
_ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)


def IntervalSchedule(  # noqa: N802 - a public name of the peer
    interval: float | timedelta, anchor_date: datetime | str | None = None, timezone: str | None = None
) -> Schedule:
    """Every `interval` (seconds, or a timedelta), counted from `anchor_date` (default: the beginning of 2020)."""
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else float(interval)
    if seconds <= 0:
        raise ValueError(f"The interval of a schedule must be longer than 0 s, not {seconds:g} s")
    anchor = datetime.fromisoformat(anchor_date) if isinstance(anchor_date, str) else anchor_date
    return Schedule(interval=seconds, anchor_date=anchor or _ANCHOR, timezone=timezone or "UTC")


def CronSchedule(cron: str, timezone: str | None = None, day_or: bool = True) -> Schedule:  # noqa: N802
    """At the instants of a cron expression; `day_or`: a day matches by month *or* by week where both are restricted."""
    return Schedule(cron=cron, timezone=timezone, day_or=day_or)


def RRuleSchedule(rrule: str, timezone: str | None = None) -> Schedule:  # noqa: N802
    """At the instants of an iCalendar recurrence rule."""
    return Schedule(rrule=rrule, timezone=timezone or "UTC")


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
        return IntervalSchedule(interval, anchor_date, timezone)
    return CronSchedule(cron, timezone) if cron is not None else RRuleSchedule(str(rrule), timezone)


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
