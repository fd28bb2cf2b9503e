"""Time enters the program here, so that tests can own it.

Wall-clock instants are aware UTC `datetime`s in objects that people see, and integer microseconds since the Unix epoch in
the journal and the store. Durations inside a process are measured on the monotonic clock: a wall clock that jumps moves no
deadline.
"""

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

monotonic = time.monotonic


def now() -> datetime:
    """The current instant, aware, UTC."""
    return datetime.now(UTC)


def to_micros(instant: datetime) -> int:
    """Microseconds since the epoch; a naive datetime is taken as UTC."""
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=micros)
