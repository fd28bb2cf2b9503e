"""When a deployment runs: one of an interval, a cron expression, or an iCalendar recurrence rule.

The three share no tag on the wire; the key that is present decides (the protocol of the peer). One Struct therefore holds the
fields of all three and checks itself.
"""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from riverrun.wire.model import Model


class Schedule(Struct, Model, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of `interval` (seconds), `cron` and `rrule`, with what belongs to it.

    `anchor_date` goes with an interval, `day_or` with cron; `timezone` (IANA) with all.
    """

    interval: Annotated[float, Meta(gt=0, le=3_153_600_000)] | UnsetType = UNSET
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
