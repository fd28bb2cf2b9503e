"""Slots of limits: who holds how many, until when, and who waits for them.

A slot is a row, so nothing can leak or drift: the slots in use are the live rows of a limit (docs/adr, SERVER-NOTES 8). A limit
with decay counts by a number that shrinks with time instead; the rows of its leases then only keep the leases. Everything that
decides locks the rows of the limits first, in the order of their keys, and reads the clock after that.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.ids import uuid7
from riverrun.server.db.tables import concurrency_limit as limits
from riverrun.server.db.tables import slot, slot_waiter, task_run
from riverrun.server.db.units import Reader, Transaction

#: who holds slots: a kind (flow_run, task_run, deployment) and an id
Holder = tuple[str, UUID]
#: the limit of a row that only keeps a lease: every limit that it was made for was switched off
NO_LIMIT = 0
#: seconds that a slot counts as held at least; and at most, where a time to wait is made of it
SHORTEST = 0.1
LONGEST = 30.0
_MICROS = 1_000_000
#: what is left of a decaying number by rounding is nothing
_TINY = 1e-6

_CLOCK = sa.select(sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * _MICROS, sa.BigInteger))
_now = sa.bindparam("clock", type_=sa.BigInteger)
_LIVE = sa.or_(slot.c.lease_until.is_(None), slot.c.lease_until > _now)
_keys: sa.BindParameter[Any] = sa.bindparam("limit_keys", expanding=True)
_USED = (
    sa.select(slot.c.limit_key, sa.func.sum(slot.c.slots))
    .where(slot.c.limit_key.in_(_keys), _LIVE)
    .group_by("limit_key")
)
_LOCK_BY_KEY = sa.select(limits).where(limits.c.key.in_(_keys)).order_by(limits.c.key).with_for_update()
_LOCK_BY_ID = sa.select(limits).where(limits.c.id == sa.bindparam("limit_id")).with_for_update()
_WAITING = (
    sa.select(slot_waiter.c.limit_key, slot_waiter.c.holder_id, slot_waiter.c.slots)
    .where(slot_waiter.c.limit_key.in_(_keys), slot_waiter.c.ticket_until > _now)
    .order_by(slot_waiter.c.key)
)


# -- for whoever moves runs -------------------------------------------------------------------------------------------------


def take(transaction: Transaction, limit_id: UUID, holder: Holder | None, lease_seconds: float | None) -> UUID | None:
    """Take a slot of a limit: the id of the lease, or None when none is free. A limit that is off or gone grants always."""
    row, now = _locked(transaction, limit_id)
    rows = [row] if row is not None and row.active else []
    if lacking(transaction, rows, 1, holder, now):
        return None
    until = None if lease_seconds is None else now + int(lease_seconds * _MICROS)
    return occupy(transaction, rows, 1, now, lease=True, until=until, holder=holder)


def free(transaction: Transaction, limit_id: UUID) -> tuple[int, int]:
    """The size of a limit, and how many of its slots nobody has or waits for; it stays locked, so `take` will agree."""
    row, now = _locked(transaction, limit_id)
    if row is None or not row.active:
        most = max(1, 0 if row is None else row.limit)
        return most, most
    ahead = sum(slots for _, _, slots in waiting(transaction, [row.key], now))
    return row.limit, max(0, int(row.limit - in_use(transaction, [row], now)[row.key] - ahead + _TINY))


def is_live(reader: Reader, lease_id: UUID) -> bool:
    """Whether somebody still holds the lease."""
    query = sa.select(slot.c.key).where(slot.c.lease_id == lease_id, _LIVE).limit(1)
    return reader.scalar(query, {"clock": clock(reader)}) is not None


def renew(transaction: Transaction, lease_id: UUID, seconds: float) -> bool:
    """Hold a lease for so many seconds from now; False when it has expired or was given back."""
    now = clock(transaction)
    until = now + int(seconds * _MICROS)
    renewed = sa.update(slot).where(slot.c.lease_id == lease_id, _LIVE).values(lease_until=until)
    return transaction.execute(renewed, {"clock": now}).rowcount > 0


def keep(transaction: Transaction, lease_id: UUID) -> None:
    """Hold a lease until it is given back: its holder's process has a lease of its own, with which the holder ends too."""
    transaction.execute(sa.update(slot).where(slot.c.lease_id == lease_id).values(lease_until=None))


def release(transaction: Transaction, lease_id: UUID) -> bool:
    """Give a lease's slots back; False when there were none any more."""
    return give_back(transaction, slot.c.lease_id == lease_id) > 0


def release_held_by(transaction: Transaction, holder_ids: Collection[UUID]) -> int:
    """Give back what these runs hold: they have ended, whatever their leases say."""
    return give_back(transaction, slot.c.holder_id.in_(holder_ids)) if holder_ids else 0


def release_of_flow_run(transaction: Transaction, key: int, flow_run_id: UUID) -> int:
    """Give back what a flow run and its task runs hold: its process has ended without doing so."""
    task = sa.exists().where(task_run.c.id == slot.c.holder_id, task_run.c.flow_run_key == key).correlate(slot)
    of_tasks = sa.and_(slot.c.holder_type == "task_run", task)
    return give_back(transaction, sa.or_(slot.c.holder_id == flow_run_id, of_tasks))


# -- the pieces -------------------------------------------------------------------------------------------------------------


def clock(reader: Reader) -> int:
    """The instant by the one clock that leases go by: the database's, or on SQLite that of the one process that writes."""
    return reader.now if reader.is_sqlite else int(reader.scalar(_CLOCK))


def _locked(transaction: Transaction, limit_id: UUID) -> tuple[Any, int]:
    row = transaction.row(_LOCK_BY_ID, {"limit_id": limit_id})
    return row, clock(transaction)


def in_use(reader: Reader, rows: Sequence[Any], now: int) -> dict[int, float]:
    """How many slots of each limit are taken, by the limit's key."""
    used: dict[int, float] = dict.fromkeys((row.key for row in rows), 0)
    for key, count in reader.rows(_USED, {"limit_keys": list(used), "clock": now}) if used else ():
        used[key] = int(count)
    for row in rows:
        if row.slot_decay_per_second > 0:
            used[row.key] = decayed(row, now)
    return used


def decayed(row: Any, now: int) -> float:
    """What is left of a decaying limit's number."""
    left = float(row.occupied - row.slot_decay_per_second * max(0, now - row.occupied_at) / _MICROS)
    return left if left > _TINY else 0.0


def waiting(reader: Reader, limit_keys: Iterable[int], now: int) -> list[tuple[int, UUID, int]]:
    """Limit, holder and wanted slots of every valid ticket, the oldest first."""
    return [tuple(row) for row in reader.rows(_WAITING, {"limit_keys": list(limit_keys), "clock": now})]


def ahead(tickets: list[tuple[int, UUID, int]], limit_key: int, holder: Holder | None) -> int:
    """The slots that those want who came before the holder; who has no ticket stands behind all."""
    total = 0
    for key, waiter, slots in tickets:
        if key == limit_key:
            if holder is not None and waiter == holder[1]:
                break
            total += slots
    return total


def lacking(
    transaction: Transaction, rows: Sequence[Any], slots: int, holder: Holder | None, now: int
) -> list[tuple[Any, int]]:
    """The limits that have too few free slots, with the number of slots that are wanted by those ahead."""
    if not rows:
        return []
    used = in_use(transaction, rows, now)
    tickets = waiting(transaction, used, now)
    short = []
    for row in rows:
        before = ahead(tickets, row.key, holder)
        if used[row.key] + before + slots > row.limit + _TINY:
            short.append((row, before))
    return short


def occupy(
    transaction: Transaction,
    rows: Sequence[Any],
    slots: int,
    now: int,
    *,
    lease: bool,
    until: int | None = None,
    holder: Holder | None = None,
) -> UUID | None:
    """Write slots of all the limits as taken. The id of their lease, if one is wanted."""
    lease_id = uuid7() if lease else None
    kind, holder_id = holder or (None, None)
    made = {"lease_id": lease_id, "taken": now, "lease_until": until, "holder_type": kind, "holder_id": holder_id}
    new = []
    for row in rows:
        if row.slot_decay_per_second > 0:
            count_up(transaction, row, slots, now)
        if lease or row.slot_decay_per_second <= 0:
            new.append({"limit_key": row.key, "slots": slots, **made})
    if lease and not new:
        new.append({"limit_key": NO_LIMIT, "slots": 0, **made})
    if new:
        transaction.execute(sa.insert(slot), new)
    if holder_id is not None and rows:
        served = sa.delete(slot_waiter).where(
            slot_waiter.c.holder_id == holder_id, slot_waiter.c.limit_key.in_([row.key for row in rows])
        )
        transaction.execute(served)
    return lease_id


def give_back(transaction: Transaction, condition: sa.ColumnElement[bool]) -> int:
    """End all slots that the condition names; how many rows there were."""
    keys = [row[0] for row in transaction.rows(sa.select(slot.c.limit_key).where(condition).distinct())]
    if not keys:
        return 0
    by_key = {row.key: row for row in transaction.rows(_LOCK_BY_KEY, {"limit_keys": keys})}
    now = clock(transaction)
    ended = transaction.rows(sa.delete(slot).where(condition).returning(*slot.c))
    for key, row in by_key.items():
        mine = [one for one in ended if one.limit_key == key]
        count = sum(one.slots for one in mine)
        if not count:
            continue
        average = row.avg_slot_occupancy_seconds
        for one in mine:
            average = averaged(row.limit, average, (min(now, one.lease_until or now) - one.taken) / _MICROS, one.slots)
        change(transaction, row, avg_slot_occupancy_seconds=average)
        if row.slot_decay_per_second > 0:
            count_up(transaction, row, -count, now)
        transaction.wake(topic(row.id))
    return len(ended)


def give_back_anonymous(transaction: Transaction, row: Any, count: int, now: int, seconds: float | None) -> None:
    """End so many slots that were taken without a lease, the oldest first; they were held for `seconds`. The limit is locked."""
    if seconds is not None:
        average = averaged(row.limit, row.avg_slot_occupancy_seconds, seconds, count)
        change(transaction, row, avg_slot_occupancy_seconds=average)
    if row.slot_decay_per_second > 0:
        count_up(transaction, row, -count, now)
    else:
        _shrink(transaction, row, count, slot.c.lease_id.is_(None))
    transaction.wake(topic(row.id))


def set_in_use(transaction: Transaction, row: Any, count: int, now: int) -> None:
    """Let exactly so many slots be taken. Leases stay, though they may lose their slots. The limit is locked."""
    if row.slot_decay_per_second > 0:
        count_up(transaction, row, count - decayed(row, now), now)
    else:
        surplus = int(in_use(transaction, [row], now)[row.key]) - count
        if surplus < 0:
            occupy(transaction, [row], -surplus, now, lease=False)
        else:
            surplus = _shrink(transaction, row, surplus, slot.c.lease_id.is_(None))
            _shrink(transaction, row, surplus, slot.c.lease_id.is_not(None))
    transaction.wake(topic(row.id))


def _shrink(transaction: Transaction, row: Any, count: int, condition: sa.ColumnElement[bool]) -> int:
    """Take slots off rows, the oldest first; how many there were too few."""
    oldest = sa.select(slot).where(slot.c.limit_key == row.key, slot.c.slots > 0, condition).order_by(slot.c.key)
    for one in transaction.rows(oldest) if count else ():
        if one.slots > count or one.lease_id is not None:
            left = max(0, one.slots - count)
            transaction.execute(sa.update(slot).where(slot.c.key == one.key).values(slots=left))
        else:
            transaction.execute(sa.delete(slot).where(slot.c.key == one.key))
        count = max(0, count - one.slots)
        if not count:
            break
    return count


def forget_limit(transaction: Transaction, row: Any) -> None:
    """The limit goes away: its leases are kept for those who renew them, its other slots and its tickets end."""
    mine = slot.c.limit_key == row.key
    transaction.execute(sa.delete(slot).where(mine, slot.c.lease_id.is_(None)))
    transaction.execute(sa.update(slot).where(mine).values(limit_key=NO_LIMIT, slots=0))
    transaction.execute(sa.delete(slot_waiter).where(slot_waiter.c.limit_key == row.key))
    transaction.wake(topic(row.id))


def change(transaction: Transaction, row: Any, **values: Any) -> None:
    """Change the numbers of a limit's row."""
    transaction.execute(sa.update(limits).where(limits.c.key == row.key).values(**values))


def count_up(transaction: Transaction, row: Any, taken: float, now: int, denied: float = 0) -> None:
    """Bring the numbers of a limit that shrink with time up to now, and add to them."""
    occupied = max(0.0, decayed(row, now) + taken)
    still_denied = row.denied_slots - max(0, now - row.occupied_at) / _MICROS / pace(row)
    change(transaction, row, occupied=occupied, denied_slots=max(0.0, still_denied) + denied, occupied_at=now)


def pace(row: Any) -> float:
    """Seconds after which a limit has a slot again, as far as one can tell."""
    if row.slot_decay_per_second > 0:
        return max(float(1 / row.slot_decay_per_second), _TINY)
    return float(min(max(row.avg_slot_occupancy_seconds, SHORTEST), LONGEST))


def averaged(limit: int, average: float, seconds: float, slots: int) -> float:
    """The average time that a slot is held, with one more sample; it follows the last (2 x limit) samples."""
    sample = min(max(seconds / max(slots, 1), SHORTEST), 1e9)
    return average + (sample - average) / (2 * max(limit, 1))


def topic(limit_id: UUID) -> str:
    """What is woken when slots of the limit become free."""
    return f"slots:{limit_id.hex}"


def holders(reader: Reader, limit_keys: Collection[int], kind: str) -> dict[int, list[UUID]]:
    """Who holds slots of the limits, by limit; of one kind, the oldest first."""
    query = (
        sa.select(slot.c.limit_key, slot.c.holder_id)
        .where(slot.c.limit_key.in_(_keys), _LIVE, slot.c.holder_type == kind, slot.c.slots > 0)
        .order_by(slot.c.key)
    )
    found: dict[int, list[UUID]] = {key: [] for key in limit_keys}
    for key, holder_id in reader.rows(query, {"limit_keys": list(found), "clock": clock(reader)}) if found else ():
        found[key].append(holder_id)
    return found
