"""Slots by name: all of the names or none, the refusal with its time to wait, and the queue of those who were refused.

Clients that are refused ask again after Retry-After. One that says who it is (`holder`) gets a ticket, valid for twice that
time: until it is void nobody passes by (SERVER-NOTES 17). The time to wait follows from the place in the queue, so that whoever
is next asks often and whoever is far behind seldom.
"""

import random
from collections.abc import Collection, Sequence
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.ids import uuid7
from riverrun.server.concurrency import limits, slots
from riverrun.server.concurrency.slots import Holder
from riverrun.server.db.tables import slot_waiter
from riverrun.server.db.units import Transaction
from riverrun.server.http.errors import HTTPError
from riverrun.server.http.table import Reply

Mode = Literal["concurrency", "rate_limit"]
_MICROS = 1_000_000


class Granted(Struct):
    """The limits of the names that exist, and the lease if one was wanted."""

    rows: list[Any]
    #: made also where no limit was found: whoever asks for a lease gets an id
    lease_id: UUID | None


class Refused(Struct):
    """The limits that have too few free slots, and when to ask again (seconds)."""

    rows: list[Any]
    retry_after: float

    def reply(self, detail: str | None = None) -> Reply:
        """The refusal as an answer; it is no error, for its ticket has to be kept."""
        names = ", ".join(repr(row.name) for row in self.rows)
        said = detail or f"No slot is free in the concurrency limit {names}; ask again after the time in Retry-After."
        return Reply(status=423, value={"detail": said}, headers={"Retry-After": str(self.retry_after)})


def acquire(
    transaction: Transaction,
    names: Collection[str],
    slots_wanted: int,
    *,
    mode: Mode = "concurrency",
    lease: bool = False,
    seconds: float | None = None,
    holder: Holder | None = None,
) -> Granted | Refused:
    """Take slots of every limit that is named and on. Names without a limit do not count."""
    rows = limits.named(transaction, names)
    now = slots.clock(transaction)
    active = [row for row in rows if row.active]
    _check(active, slots_wanted, mode)
    short = slots.lacking(transaction, active, slots_wanted, holder, now)
    if short:
        return _refuse(transaction, short, slots_wanted, holder, now)
    until = None if seconds is None else now + int(seconds * _MICROS)
    if not rows:
        return Granted([], uuid7() if lease else None)
    lease_id = slots.occupy(transaction, active, slots_wanted, now, lease=lease, until=until, holder=holder)
    return Granted(rows, lease_id)


def _check(active: Sequence[Any], wanted: int, mode: Mode) -> None:
    for row in active:
        if row.limit < wanted:
            raise HTTPError(
                422, f"{wanted:,} slots are more than the concurrency limit {row.name!r} has ever: {row.limit:,}."
            )
        if mode == "rate_limit" and row.slot_decay_per_second <= 0:
            raise HTTPError(
                422,
                f"The concurrency limit {row.name!r} has no slot decay, so it cannot limit a rate; set one with gcl update.",
            )


def _refuse(
    transaction: Transaction, short: list[tuple[Any, int]], wanted: int, holder: Holder | None, now: int
) -> Refused:
    retry_after = 0.0
    for row, ahead in short:
        queue = ahead + wanted / 2 if holder is not None else ahead + row.denied_slots + wanted
        abreast = 1 if row.slot_decay_per_second > 0 else max(row.limit, 1)
        retry_after = max(retry_after, slots.pace(row) * queue / abreast)
        slots.count_up(transaction, row, 0, now, denied=0 if holder is not None else wanted)
    # those who were refused together shall not come back together
    retry_after = min(max(retry_after, slots.SHORTEST), slots.LONGEST) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
    if holder is not None:
        for row, _ in short:
            _ticket(transaction, row, holder, wanted, now, retry_after)
    return Refused([row for row, _ in short], round(retry_after, 3))


def _ticket(transaction: Transaction, row: Any, holder: Holder, wanted: int, now: int, retry_after: float) -> None:
    """Keep the holder's place in the queue; one whose ticket was void goes to the end."""
    mine = (slot_waiter.c.limit_key == row.key, slot_waiter.c.holder_id == holder[1])
    transaction.execute(sa.delete(slot_waiter).where(*mine, slot_waiter.c.ticket_until <= now))
    values = {"slots": wanted, "ticket_until": now + int(2 * retry_after * _MICROS) + _MICROS}
    if transaction.execute(sa.update(slot_waiter).where(*mine).values(**values)).rowcount:
        return
    key = {"limit_key": row.key, "holder_id": holder[1], "requested": now}
    transaction.execute(sa.insert(slot_waiter).values(**key, **values))
