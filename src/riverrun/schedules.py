"""When deployments run: `Cron`, `Interval` and `RRule` make a `Schedule`, which is checked at once.

flow.serve(name="etl", schedules=[Cron("0 3 * * *", timezone="Europe/Berlin"), Interval(600, parameters={"full": False})])
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET

from riverrun.base.errors import InputError
from riverrun.wire.deployments import CatchUp, DeploymentSchedule, DeploymentScheduleCreate
from riverrun.wire.schedules import Schedule as Rule

__all__ = ["Cron", "Interval", "RRule", "Schedule"]


@dataclass(frozen=True)
class Schedule:
    """One of `interval`, `cron` and `rrule`, with what belongs to it.

    `parameters` go over the deployment's. `slug` names the schedule within its deployment, so that deploying again changes it.
    `catch_up` says what becomes of instants that nobody could run in time: all run later, the `latest` one, or `none`;
    `max_late` discards a run that has not begun so many seconds after its instant; `jitter` moves each run by up to so many
    seconds; nothing runs before `start` or after `end`. Raises ValueError for what no schedule can be.
    """

    interval: timedelta | float | None = None
    cron: str | None = None
    rrule: str | None = None
    timezone: str | None = None
    anchor_date: datetime | None = None
    day_or: bool = True
    active: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)
    slug: str | None = None
    catch_up: CatchUp = "all"
    jitter: float | None = None
    max_late: float | None = None
    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        self.to_create()

    def to_create(self) -> DeploymentScheduleCreate:
        """As it is told to the server."""
        return DeploymentScheduleCreate(
            schedule=_rule(self),
            active=self.active,
            parameters=self.parameters,
            slug=self.slug,
            catch_up=self.catch_up,
            jitter=self.jitter,
            max_late=self.max_late,
            start=self.start,
            end=self.end,
        )


def Cron(  # noqa: N802 - a public name of the peer
    cron: str, /, timezone: str | None = None, day_or: bool = True, **options: Any
) -> Schedule:
    """At the instants of a cron expression; `options` are those of `Schedule`."""
    return Schedule(cron=cron, timezone=timezone, day_or=day_or, **options)


def Interval(  # noqa: N802
    interval: timedelta | float, /, anchor_date: datetime | None = None, timezone: str | None = None, **options: Any
) -> Schedule:
    """Every `interval` (seconds, or a timedelta), counted from `anchor_date`; `options` are those of `Schedule`."""
    return Schedule(interval=interval, anchor_date=anchor_date, timezone=timezone, **options)


def RRule(rrule: str, /, timezone: str | None = None, **options: Any) -> Schedule:  # noqa: N802
    """At the instants of an iCalendar recurrence rule; `options` are those of `Schedule`."""
    return Schedule(rrule=rrule, timezone=timezone, **options)


def _rule(given: Schedule) -> Rule:
    from riverrun.rules.schedules import check

    interval = given.interval.total_seconds() if isinstance(given.interval, timedelta) else given.interval
    if interval is not None and interval <= 0:
        raise ValueError(f"The interval of a schedule must be longer than 0 s, not {interval:g} s.")
    kinds = {"seconds": interval, "cron": given.cron, "rrule": given.rrule}
    known: dict[str, Any] = {kind: value for kind, value in kinds.items() if value is not None}
    if given.cron is not None and given.day_or is False:
        known["day_or"] = False
    if interval is not None and given.anchor_date is not None:
        known["anchor_date"] = given.anchor_date
    if given.timezone is not None:
        known["timezone"] = given.timezone
    rule = Rule(**known)
    check(rule)
    return rule


# -- whatever users give ----------------------------------------------------------------------------------------------------

_FIELDS = {each.name for each in fields(Schedule)}


def as_create(given: Any) -> DeploymentScheduleCreate:
    """Any form of a schedule as it is told to the server; raises InputError or ValueError for what is none."""
    from riverrun.rules.schedules import check

    if isinstance(given, Schedule):
        return given.to_create()
    if isinstance(given, DeploymentScheduleCreate):
        check(given.schedule)
        return given
    if isinstance(given, DeploymentSchedule):
        values = {
            name: getattr(given, name) for name in DeploymentScheduleCreate.__struct_fields__ if hasattr(given, name)
        }
        return DeploymentScheduleCreate(**{name: value for name, value in values.items() if value is not UNSET})
    if isinstance(given, Rule):
        check(given)
        return DeploymentScheduleCreate(schedule=given)
    if isinstance(given, Mapping):
        return _of_mapping(given)
    raise InputError(f"{given!r} is no schedule: use Cron, Interval or RRule of riverrun.schedules.")


def _of_mapping(given: Mapping[str, Any]) -> DeploymentScheduleCreate:
    """A schedule as project files write it: the fields of `Schedule`, or those of the API."""
    values = dict(given)
    if isinstance(values.get("schedule"), Mapping):
        try:
            return as_create(msgspec.convert(values, DeploymentScheduleCreate, strict=False))
        except msgspec.ValidationError as error:
            raise InputError(f"A schedule is wrong: {error}") from None
    unknown = values.keys() - _FIELDS - {"replaces"}
    if unknown:
        raise InputError(
            f"A schedule has no {', '.join(map(repr, sorted(unknown)))}. It has: {', '.join(sorted(_FIELDS))}."
        )
    replaces = values.pop("replaces", None)
    for name in ("anchor_date", "start", "end"):
        if isinstance(values.get(name), str):
            values[name] = datetime.fromisoformat(values[name])
    known = {name: value for name, value in values.items() if value is not None}
    return msgspec.structs.replace(Schedule(**known).to_create(), replaces=replaces)


def collect(
    interval: Any = None,
    cron: Any = None,
    rrule: Any = None,
    schedule: Any = None,
    schedules: Any = None,
    **shared: Any,
) -> list[DeploymentScheduleCreate] | None:
    """The schedules that options of a deployment mean; None if none of them is given.

    `interval`, `cron` and `rrule` may be one or several, `shared` (a time zone, an anchor) goes with each of them.
    """
    kinds = {"interval": interval, "cron": cron, "rrule": rrule, "schedule": schedule, "schedules": schedules}
    given = [name for name, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise ValueError(
            f"Give only one of {', '.join(kinds)}, not {' and '.join(given)}; `schedules` takes several of any kind."
        )
    if not given:
        return None
    if given[0] in ("schedule", "schedules"):
        several = [schedule] if given[0] == "schedule" else list(schedules)
        return [as_create(each) for each in several]
    value = kinds[given[0]]
    each_of = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    options = {name: option for name, option in shared.items() if option is not None}
    return [Schedule(**{given[0]: each}, **options).to_create() for each in each_of]
