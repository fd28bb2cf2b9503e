"""Instants of schedules: the rules at changes of the clock over all IANA zones, and what is refused."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from dateutil.rrule import rrulestr
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


EVERY_ZONE = sorted(zone for zone in available_timezones() if not zone.startswith("SystemV/") and zone != "localtime")
#: fixed times, among them some that changes leave out or repeat
TIMES = ((0, 0), (0, 30), (1, 0), (1, 30), (2, 0), (2, 30), (3, 0), (23, 30))


def _offsets(zone: ZoneInfo) -> list[tuple[datetime, timedelta]]:
    """The instants of two years at which a zone's offset changes, with the new one, found hour by hour and then by minutes."""
    found: list[tuple[datetime, timedelta]] = [(YEARS[0], zone.utcoffset(YEARS[0].astimezone(zone)))]
    instant = YEARS[0]
    while instant <= YEARS[1] + timedelta(days=1):
        after = instant + timedelta(hours=1)
        if after.astimezone(zone).utcoffset() != found[-1][1]:
            minute = instant
            while minute.astimezone(zone).utcoffset() == found[-1][1]:
                minute += timedelta(minutes=1)
            found.append((minute, minute.astimezone(zone).utcoffset()))
        instant = after
    return found


def _first_reached(wall: datetime, offsets: list[tuple[datetime, timedelta]]) -> datetime:
    """The first instant whose wall clock shows `wall`, or more because that was left out."""
    for n, (begin, offset) in enumerate(offsets):
        end = offsets[n + 1][0] if n + 1 < len(offsets) else datetime.max.replace(tzinfo=UTC)
        instant = max(begin, wall.replace(tzinfo=UTC) - offset) if n else wall.replace(tzinfo=UTC) - offset
        if instant < end:
            return instant
    raise AssertionError


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(8))
def test_two_years_of_every_zone_agree_with_an_independent_enumeration(part: int) -> None:
    days = [YEARS[0].replace(tzinfo=None) + timedelta(days=n) for n in range(-1, 732)]
    for zone_name in EVERY_ZONE[part::8]:
        offsets = _offsets(ZoneInfo(zone_name))
        for hour, minute in TIMES:
            reached = {_first_reached(day.replace(hour=hour, minute=minute), offsets) for day in days}
            expected = sorted(instant for instant in reached if YEARS[0] <= instant <= YEARS[1])
            cron = Schedule(cron=f"{minute} {hour} * * *", timezone=zone_name)
            assert schedules.instants(cron, *YEARS, 2000) == expected, (zone_name, hour, minute)
            anchor = datetime(2020, 1, 1, hour, minute, tzinfo=ZoneInfo(zone_name))
            daily = Schedule(seconds=86400.0, anchor_date=anchor, timezone=zone_name)
            assert schedules.instants(daily, *YEARS, 2000) == expected, (zone_name, hour, minute)
        for begin, _ in offsets[1:5]:
            first, last = begin - timedelta(hours=6), begin + timedelta(hours=6)
            wanted = [
                instant for instant, wall in _minutes_of(ZoneInfo(zone_name), first, last) if wall.minute % 20 == 0
            ]
            often = Schedule(cron="*/20 * * * *", timezone=zone_name)
            assert schedules.instants(often, first, last, 100) == wanted, zone_name
            # it begins anywhere, with the same outcome
            for instant in wanted:
                assert schedules.instants(often, instant, last, 1) == [instant]


@pytest.mark.parametrize(
    ("schedule", "day", "notes"),
    [
        ({"cron": "30 2 * * *"}, "2026-03-29", ["goes from 02:00 to 03:00: 02:30 does not exist that day"]),
        ({"cron": "30 2 * * *"}, "2026-10-25", ["02:30 comes twice that day, this is the first time"]),
        ({"cron": "0 3 * * *"}, "2026-03-29", [None]),
        ({"cron": "30 12 * * *"}, "2026-03-29", [None]),
        ({"cron": "30 * * * *"}, "2026-10-25", [None] * 2 + ["first time", "second time"] + [None] * 20),
        ({"rrule": "DTSTART:20200101T021500\nRRULE:FREQ=DAILY"}, "2026-03-29", ["02:15 does not exist"]),
        ({"seconds": 86400.0, "anchor_date": datetime(2026, 1, 1, 1, 15, tzinfo=UTC)}, "2026-03-29", ["02:15 does"]),
        ({"seconds": 86399.0, "anchor_date": datetime(2026, 3, 29, 1, tzinfo=UTC)}, "2026-03-29", [None]),
    ],
)
def test_notes_tell_what_a_change_of_the_clock_does(schedule: dict, day: str, notes: list[str | None]) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC)
    given = Schedule(**schedule, timezone="Europe/Berlin")
    end = begin.astimezone(zone).replace(hour=23, minute=59).astimezone(UTC)
    found = [schedules.note(given, instant) for instant in schedules.instants(given, begin, end, 50)]
    assert len(found) >= len(notes)
    for said, expected in zip(found, notes, strict=False):
        assert (said is None) if expected is None else (said is not None and expected in said)


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
    daily = _instants("2026-03-28", 3, seconds=86400.0, anchor_date=anchor, timezone="Europe/Berlin")
    assert daily == ["03-28T07:00", "03-29T06:00", "03-30T06:00"]
    half = _instants("2026-03-28T12:00", 4, seconds=43200.0, anchor_date=anchor, timezone="Europe/Berlin")
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
    "text",
    [
        "FREQ=HOURLY;INTERVAL=5;BYDAY=MO,FR",
        "FREQ=MINUTELY;INTERVAL=7;BYMONTH=3;BYHOUR=9,17",
        "FREQ=SECONDLY;INTERVAL=4000;BYMONTHDAY=-1,15",
        "FREQ=HOURLY;BYMINUTE=5,50;BYWEEKNO=7;UNTIL=20260301T000000",
        "FREQ=HOURLY;INTERVAL=11;BYYEARDAY=50,60",
    ],
)
def test_rules_within_chosen_days_are_those_of_the_library(text: str) -> None:
    begin, end = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 12, 20, tzinfo=UTC)
    rule = rrulestr(text, dtstart=datetime(2026, 1, 1, 3, 20))
    expected = [
        naive.replace(tzinfo=UTC)
        for naive in rule.between(begin.replace(tzinfo=None), end.replace(tzinfo=None), inc=True)
    ]
    schedule = Schedule(rrule=f"DTSTART:20260101T032000\nRRULE:{text}")
    assert expected
    assert schedules.instants(schedule, begin, end, 100_000) == expected


def test_rules_of_seconds_in_few_days_are_quick() -> None:
    began = time.process_time()
    found = _instants("2026-02-01", 3, rrule="DTSTART:20260101T000000\nRRULE:FREQ=SECONDLY;BYMONTH=1;BYMONTHDAY=1")
    assert found == ["01-01T00:00"] * 3
    assert time.process_time() - began < 1  # the library takes a minute


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
        ("timezone", {"seconds": 60.0, "timezone": "../../etc/passwd"}),
        ("interval", {"seconds": 1e-9}),
        ("anchor_date", {"seconds": 60.0, "anchor_date": datetime(1, 1, 1, tzinfo=UTC)}),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(field: str, schedule: dict) -> None:
    with pytest.raises(schedules.ScheduleError) as refusal:
        schedules.check(Schedule(**schedule))
    assert refusal.value.field == field
