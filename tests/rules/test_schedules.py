"""Instants of schedules: the rules at changes of the clock over all IANA zones, and what is refused."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riverrun.rules import schedules
from riverrun.wire.schedules import Schedule

YEARS = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "SystemV/")))


def _instants(start: str, n: int, **fields) -> list[str]:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    found = schedules.instants(Schedule(**fields), begin, begin + timedelta(days=900), n)
    return [f"{instant:%m-%dT%H:%M}" for instant in found]


def _minutes_of(zone: ZoneInfo, first: datetime, last: datetime):
    """Every minute of UTC with its wall clock: the independent enumeration."""
    instant = first
    while instant <= last:
        yield instant, instant.astimezone(zone).replace(tzinfo=None)
        instant += timedelta(minutes=1)


@pytest.mark.parametrize("zone_name", ZONES[::7])
def test_daily_times_fall_due_once_a_day_in_every_zone(zone_name: str) -> None:
    """A fixed time comes once per calendar day: at it, its first time, or the first instant after it."""
    zone = ZoneInfo(zone_name)
    for hour, minute in ((0, 30), (2, 30)):
        schedule = Schedule(cron=f"{minute} {hour} * * *", timezone=zone_name)
        found = schedules.instants(schedule, *YEARS, 2000)
        by_rule = schedules.instants(
            Schedule(rrule=f"DTSTART:20200101T{hour:02}{minute:02}00\nRRULE:FREQ=DAILY", timezone=zone_name),
            *YEARS,
            2000,
        )
        assert found == by_rule
        assert 729 <= len(found) <= 731
        for instant in found:
            wall = instant.astimezone(zone).replace(tzinfo=None)
            if (wall.hour, wall.minute) == (hour, minute):
                assert instant.astimezone(zone).fold == 0
            else:  # left out: nothing between the wanted time and this one existed
                wanted = wall.replace(hour=hour, minute=minute)
                before = (instant - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None)
                assert before < wanted < wall


@settings(deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from([15, 20, 30]))
def test_what_repeats_within_the_day_falls_due_every_time(zone_name: str, step: int) -> None:
    zone = ZoneInfo(zone_name)
    changes = [
        day
        for day in (YEARS[0] + timedelta(days=n) for n in range(730))
        if day.astimezone(zone).utcoffset() != (day + timedelta(days=1)).astimezone(zone).utcoffset()
    ]
    for day in changes[:3]:
        first, last = day, day + timedelta(days=1)
        expected = [instant for instant, wall in _minutes_of(zone, first, last) if wall.minute % step == 0]
        assert schedules.instants(Schedule(cron=f"*/{step} * * * *", timezone=zone_name), first, last, 500) == expected


def test_days_keep_the_wall_clock_and_hours_do_not() -> None:
    anchor = datetime(2026, 1, 1, 8, tzinfo=ZoneInfo("Europe/Berlin"))
    daily = _instants("2026-03-28", 3, interval=86400.0, anchor_date=anchor, timezone="Europe/Berlin")
    assert daily == ["03-28T07:00", "03-29T06:00", "03-30T06:00"]
    half = _instants("2026-03-28T12:00", 4, interval=43200.0, anchor_date=anchor, timezone="Europe/Berlin")
    assert half == ["03-28T19:00", "03-29T07:00", "03-29T19:00", "03-30T07:00"]
    hourly = _instants("2026-10-24T23:30", 3, rrule="FREQ=HOURLY", timezone="Europe/Berlin")
    assert hourly == ["10-25T00:00", "10-25T01:00", "10-25T02:00"]


def test_forms_of_cron() -> None:
    assert _instants("2026-01-01", 2, cron="@daily") == ["01-01T00:00", "01-02T00:00"]
    assert _instants("2026-01-01", 2, cron="0 0 13 * 5", day_or=False) == ["02-13T00:00", "03-13T00:00"]
    assert _instants("2026-01-01", 3, cron="0 0 13 * 5") == ["01-02T00:00", "01-09T00:00", "01-13T00:00"]
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    found = schedules.instants(Schedule(cron="* * * * * */20"), begin, begin + timedelta(days=1), 3)
    assert [instant.second for instant in found] == [0, 20, 40]


def test_rules_far_from_their_start_are_quick_and_end() -> None:
    assert _instants("2026-01-01", 1, rrule="DTSTART:19500101T000000\nRRULE:FREQ=SECONDLY;INTERVAL=7")
    assert _instants("2026-01-01", 5, rrule="FREQ=DAILY;COUNT=3") == []
    assert _instants("2019-01-01", 5, rrule="FREQ=DAILY;COUNT=3") == ["01-01T00:00", "01-02T00:00", "01-03T00:00"]
    assert _instants("2026-01-01", 2, rrule="RRULE:FREQ=DAILY\nEXDATE:20260102T000000") == [
        "01-01T00:00",
        "01-03T00:00",
    ]


@pytest.mark.parametrize(
    ("field", "schedule"),
    [
        ("cron", {"cron": "x"}),
        ("cron", {"cron": "0 0 30 2 *"}),
        ("cron", {"cron": "61 * * * *"}),
        ("cron", {"cron": "* " * 5000}),
        ("rrule", {"rrule": "FREQ=NEVER"}),
        ("rrule", {"rrule": ""}),
        ("rrule", {"rrule": "FREQ=DAILY;INTERVAL=0"}),
        ("rrule", {"rrule": "FREQ=DAILY;COUNT=100001"}),
        ("rrule", {"rrule": "DTSTART:00010101T000000\nRRULE:FREQ=DAILY"}),
        ("rrule", {"rrule": "FREQ=DAILY;" + "X" * 7000}),
        ("timezone", {"cron": "* * * * *", "timezone": "Mars/Olympus"}),
        ("timezone", {"interval": 60.0, "timezone": "../../etc/passwd"}),
        ("interval", {"interval": 1e-9}),
        ("anchor_date", {"interval": 60.0, "anchor_date": datetime(1, 1, 1, tzinfo=UTC)}),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(field: str, schedule: dict) -> None:
    with pytest.raises(schedules.ScheduleError) as refusal:
        schedules.check(Schedule(**schedule))
    assert refusal.value.field == field
