"""Spans and instants as people write them."""

import re
from datetime import UTC, datetime, time, timedelta

from riverrun.base.errors import InputError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604_800}
_PART = re.compile(
    r"(\d+(?:\.\d+)?)\s*(?:(s)(?:ec(?:ond)?s?)?|(m)(?:in(?:ute)?s?)?|(h)(?:(?:ou)?rs?)?|(d)(?:ays?)?|(w)(?:eeks?)?)(?![a-z])[\s,]*"
)
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s*(am|pm)?")


def span(text: str) -> timedelta:
    """`30s`, `5 minutes`, `in 1 hour 30 minutes`, `2d`; raises InputError."""
    rest = text.strip().lower().removeprefix("in ").strip()
    seconds, place = 0.0, 0
    while place < len(rest):
        part = _PART.match(rest, place)
        if part is None:
            break
        unit = next(letter for letter in part.groups()[1:] if letter)
        seconds += float(part[1]) * _UNITS[unit]
        place = part.end()
    if not rest or place < len(rest):
        raise InputError(f"{text!r} is no span of time: those look like 30s, '5 minutes' or '1 hour 30 minutes'.")
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise InputError(f"{text!r} is too long a span of time.") from None


def instant(text: str) -> datetime:
    """A date or time of ISO 8601, or a time of the clock (the next one to come); raises InputError.

    Without a zone it is this machine's time.
    """
    given = text.strip().lower().removeprefix("at ").strip()
    try:
        return datetime.fromisoformat(given.upper()).astimezone()
    except (ValueError, OverflowError):
        pass
    clock = _CLOCK.fullmatch(given)
    if clock is not None and (clock[2] or clock[4]):
        hour = int(clock[1]) % 12 + (12 if clock[4] == "pm" else 0) if clock[4] else int(clock[1])
        try:
            when = datetime.combine(
                datetime.now().astimezone().date(), time(hour, int(clock[2] or 0), int(clock[3] or 0))
            )
        except ValueError:
            pass
        else:
            soon = when.astimezone()
            return soon if soon > datetime.now(UTC) else (when + timedelta(days=1)).astimezone()
    raise InputError(f"{text!r} is no time: those look like 2026-01-31T17:30, 17:30 or 5:30pm.")
