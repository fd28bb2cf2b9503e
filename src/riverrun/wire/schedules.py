"""When a deployment runs: one of an interval, a cron expression, or an iCalendar recurrence rule.

The three share no tag on the wire; the key that is present decides (the protocol of the peer). One Struct therefore holds the
fields of all three and checks itself.
"""

from datetime import datetime, timedelta
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from riverrun.wire.model import Model


class Schedule(Struct, Model, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of `interval` (seconds), `cron` and `rrule`, with what belongs to it.

    `anchor_date` goes with an interval, `day_or` with cron; `timezone` (IANA) with all.
    """

    #: the interval as it travels; `interval` reads it as people mean it
    seconds: Annotated[float, Meta(gt=0, le=3_153_600_000)] | UnsetType = field(default=UNSET, name="interval")
    anchor_date: datetime | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    day_or: bool | UnsetType = UNSET
    rrule: str | UnsetType = UNSET
    timezone: str | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        kinds = [name for name in ("interval", "cron", "rrule") if getattr(self, name) is not UNSET]
        if len(kinds) != 1:
            raise ValueError(f"a schedule has one of interval, cron and rrule, not {' and '.join(kinds) or 'none'}")
        foreign = {"anchor_date": "interval", "day_or": "cron"}
        for name, kind in foreign.items():
            if getattr(self, name) is not UNSET and kinds[0] != kind:
                raise ValueError(f"{name} belongs to a schedule with {kind}, not with {kinds[0]}")

    @property
    def interval(self) -> timedelta | UnsetType:
        """The time between two runs."""
        return UNSET if self.seconds is UNSET else timedelta(seconds=self.seconds)

    @interval.setter
    def interval(self, interval: timedelta | UnsetType) -> None:
        self.seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
