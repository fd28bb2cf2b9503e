"""Where a worker's runs come from: the queues of a pool, or deployments. Which are due, in which order, and how many may go.

Honoured are the pauses of pools and queues, and of deployments for the runs that schedules made; limits of pools and queues
(who decides locks their rows); and limits of deployments, of which only those that are full matter here: their runs stay where
they are, the rules have the last word.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from riverrun.server.claims.handover import AWAITING
from riverrun.server.concurrency import slots
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import hidden
from riverrun.server.deployments import polls
from riverrun.server.work import pools, queries
from riverrun.server.work.scheduled import FREE, SCHEDULED

#: how often a worker that claims is to be seen to (seconds), and how often it says so of itself
SEEN_EVERY = 10 * queries.SECOND
HEARTBEAT_SECONDS = 30
_RUN, _D, _Q, _L = t.flow_run.c, t.deployment.c, t.work_queue.c, t.concurrency_limit.c
_ORDER = (_RUN.next_scheduled_start_time, _RUN.key)
_PAUSED = sa.and_(
    _RUN.auto_scheduled.is_not(None),
    sa.exists().where(_D.id == _RUN.deployment_id, _D.paused != 0).correlate(t.flow_run),
)
_ENQUEUES = sa.or_(_D.collision_strategy.is_(None), _D.collision_strategy != "CANCEL_NEW")


class Stretch(Struct):
    """Runs of one queue or deployment, and how many of them may be taken."""

    column: Literal["work_queue_id", "deployment_id"]
    place: UUID
    room: int


class Plan(Struct):
    """Where to look, how many runs may be taken in all, and when the next ones are due as far as the source knows."""

    stretches: list[Stretch]
    room: int
    #: whether the runs of all stretches are in one order; otherwise the first stretch comes first
    by_time: bool = False
    following: int | None = None


class Source(Protocol):
    """Where runs come from. `prepare` is called first, once; it raises ObjectNotFound."""

    def prepare(self, reader: Reader) -> None: ...

    def topics(self) -> list[str]: ...

    def plan(self, reader: Reader, limit: int, *, lock: bool = False) -> Plan:
        """Where to look for at most `limit` runs; with `lock` nobody else decides about the same limits meanwhile."""
        ...

    def is_unseen(self, reader: Reader, worker: UUID, name: str) -> bool:
        """Whether it is time to note that somebody asks."""
        ...

    def seen(self, transaction: Transaction, worker: UUID, name: str) -> None: ...


class Pool:
    """The queues of a work pool, all or some, by priority."""

    def __init__(self, name: str, queue_names: Sequence[str] | None) -> None:
        self.name = name
        self.queue_names = list(dict.fromkeys(queue_names or ()))
        self._pool: Any = None
        self._queues: list[Any] = []

    def prepare(self, reader: Reader) -> None:
        self._pool = queries.pool(reader, self.name)
        self._queues = self._read(reader)
        known = {queue.name for queue in self._queues}
        for missing in (name for name in self.queue_names if name not in known):
            queries.queue(reader, self.name, missing)

    def topics(self) -> list[str]:
        # those that were not named too: a slot of the pool may come free in any
        return [f"work_pool:{self._pool.id.hex}", *(f"work_queue:{queue.id.hex}" for queue in self._queues)]

    def plan(self, reader: Reader, limit: int, *, lock: bool = False) -> Plan:
        pool = queries.find_pool(reader, self.name)
        if pool is None or pool.is_paused:
            return Plan([], 0)
        self._queues = self._read(reader)
        asked = sorted(self._asked(), key=lambda queue: (queue.priority, queue.key))
        limited = [queue for queue in asked if queue.concurrency_limit is not None]
        if lock and not reader.is_sqlite and (pool.concurrency_limit is not None or limited):
            reader.row(sa.select(t.work_pool.c.key).where(t.work_pool.c.id == pool.id).with_for_update())
        if pool.concurrency_limit is not None:
            limit = min(limit, pool.concurrency_limit - queries.pool_slots(reader, [pool.id]).get(pool.id, 0))
        used = queries.queue_slots(reader, [queue.id for queue in limited])
        found = []
        for queue in asked:
            room = limit
            if queue.concurrency_limit is not None:
                room = min(room, queue.concurrency_limit - used.get(queue.id, 0))
            if room > 0 and not queue.is_paused:
                found.append(Stretch("work_queue_id", queue.id, room))
        return Plan(found, limit)

    def is_unseen(self, reader: Reader, worker: UUID, name: str) -> bool:
        old = reader.now - SEEN_EVERY
        if any(queue.last_polled is None or queue.last_polled <= old for queue in self._asked()):
            return True
        mine = (t.worker.c.work_pool_id == self._pool.id, t.worker.c.name == name, t.worker.c.process_id == worker)
        return reader.row(sa.select(t.worker.c.key).where(*mine, t.worker.c.last_heartbeat > old)) is None

    def seen(self, transaction: Transaction, worker: UUID, name: str) -> None:
        """The worker is ONLINE, the queues are READY."""
        pools.heartbeat(transaction, self.name, name, HEARTBEAT_SECONDS)
        mine = sa.and_(t.worker.c.work_pool_id == self._pool.id, t.worker.c.name == name)
        transaction.execute(sa.update(t.worker).where(mine).values(process_id=worker))
        polls.queues_asked(transaction, [queue.id for queue in self._asked()])

    def _read(self, reader: Reader) -> list[Any]:
        return reader.rows(queries.queues(reader, _Q.work_pool_id == self._pool.id))

    def _asked(self) -> list[Any]:
        return [queue for queue in self._queues if not self.queue_names or queue.name in self.queue_names]


class Deployments:
    """Some deployments, whatever their queues; the longest due first."""

    def __init__(self, ids: Sequence[UUID]) -> None:
        self.ids = list(dict.fromkeys(ids))

    def prepare(self, reader: Reader) -> None:
        """Deployments that are not there (any more) have no runs; that is no reason to refuse the others."""

    def topics(self) -> list[str]:
        return [f"deployment:{deployment_id.hex}" for deployment_id in self.ids]

    def plan(self, reader: Reader, limit: int, *, lock: bool = False) -> Plan:
        head = sa.select(_RUN.next_scheduled_start_time).where(
            _RUN.deployment_id == _D.id, _RUN.next_scheduled_start_time.is_not(None)
        )
        first = head.order_by(*_ORDER).limit(1).correlate(t.deployment).scalar_subquery().label("first")
        mine = sa.select(_D.id, first).where(_D.id.in_(self.ids), _D.workspace_id == reader.workspace)
        rows = [row for row in reader.rows(mine) if row.first is not None]
        heads = [Stretch("deployment_id", row.id, limit) for row in rows if row.first <= reader.now]
        coming = [row.first for row in rows if row.first > reader.now]
        return Plan(heads, limit, by_time=True, following=min(coming, default=None))

    def is_unseen(self, reader: Reader, worker: UUID, name: str) -> bool:
        unseen = sa.or_(_D.last_polled.is_(None), _D.last_polled <= reader.now - SEEN_EVERY)
        mine = sa.select(_D.key).where(_D.id.in_(self.ids), _D.workspace_id == reader.workspace, unseen)
        return reader.row(mine.limit(1)) is not None

    def seen(self, transaction: Transaction, worker: UUID, name: str) -> None:
        """The deployments are READY."""
        polls.deployments_asked(transaction, self.ids)


@lru_cache(64)
def _statement(
    sqlite: bool, column: str, which: Literal["due", "crowded", "following"], full: bool, without: bool
) -> sa.Select[Any]:
    """Made once each: building a statement costs more than asking it."""
    # the workspace is only tested: its index of scheduled runs has those of everybody
    mine = (hidden(_RUN.workspace_id) if sqlite else _RUN.workspace_id) == sa.bindparam("workspace")
    due_at_all = _RUN.next_scheduled_start_time.is_not(None)  # as the partial index has it
    conditions = [_RUN[column] == sa.bindparam("place"), mine, _RUN.state_type == SCHEDULED, due_at_all, FREE]
    now: sa.BindParameter[Any] = sa.bindparam("now")
    if which == "following":
        conditions.append(_RUN.next_scheduled_start_time > now)
    else:
        conditions += [_RUN.next_scheduled_start_time <= now, ~_PAUSED]
    closed: sa.BindParameter[Any] = sa.bindparam("full", expanding=True)
    if which == "crowded":
        conditions += [_RUN.deployment_id.in_(closed), sa.or_(_RUN.state_name.is_(None), _RUN.state_name != AWAITING)]
    elif full:
        conditions.append(sa.or_(_RUN.deployment_id.is_(None), _RUN.deployment_id.not_in(closed)))
    if without:
        conditions.append(_RUN.key.not_in(sa.bindparam("without", expanding=True)))
    query = sa.select(_RUN.key, _RUN.id, _RUN.next_scheduled_start_time).where(*conditions)
    return query.order_by(*_ORDER).limit(sa.bindparam("many"))


def _asked(
    reader: Reader,
    which: Literal["due", "crowded", "following"],
    stretch: Stretch,
    full: Sequence[UUID] = (),
    many: int = 1,
    without: Collection[int] = (),
    *,
    lock: bool = False,
) -> list[Any]:
    query = _statement(reader.is_sqlite, stretch.column, which, bool(full), bool(without))
    values = {"place": stretch.place, "workspace": reader.workspace, "now": reader.now, "many": many}
    if full:
        values["full"] = full
    if without:
        values["without"] = list(without)
    if lock and not reader.is_sqlite:
        query = query.with_for_update(of=t.flow_run, skip_locked=True)
    return reader.rows(query, values)


def due(
    reader: Reader,
    stretch: Stretch,
    full: Sequence[UUID],
    many: int = 1,
    without: Collection[int] = (),
    *,
    lock: bool = False,
) -> list[Any]:
    """Key, id and instant of the runs of a stretch that may go now, in their order; with `lock` nobody else gets them."""
    return _asked(reader, "due", stretch, full, many, without, lock=lock)


def crowded(reader: Reader, stretch: Stretch, full: Sequence[UUID], many: int = 1) -> list[Any]:
    """The runs of a stretch that are due behind a full limit of their deployment and do not say so yet."""
    return _asked(reader, "crowded", stretch, full, many)


def following(reader: Reader, stretch: Stretch) -> int | None:
    """When the next run of a stretch is due that is not due yet."""
    found = _asked(reader, "following", stretch)
    return found[0].next_scheduled_start_time if found else None


_LIVE = sa.or_(t.slot.c.lease_until.is_(None), t.slot.c.lease_until > sa.bindparam("clock", type_=sa.BigInteger))
_LIMITED = (_D.workspace_id == sa.bindparam("workspace"), _L.active != 0, _ENQUEUES)
#: from the slots in use, of which there are few, to the limits that they fill; and those that were never open
_FULL = sa.union(
    sa.select(_D.id)
    .join_from(t.slot, t.concurrency_limit, _L.key == t.slot.c.limit_key)
    .join(t.deployment, _D.concurrency_limit_id == _L.id)
    .where(_LIVE, *_LIMITED)
    .group_by(_D.id, _L.limit)
    .having(sa.func.sum(t.slot.c.slots) >= _L.limit),
    sa.select(_D.id)
    .join_from(t.concurrency_limit, t.deployment, _D.concurrency_limit_id == _L.id)
    .where(_L.limit <= 0, *_LIMITED),
)


def full_deployments(reader: Reader) -> list[UUID]:
    """Deployments that make their runs wait and have no slot left."""
    return [row.id for row in reader.rows(_FULL, {"clock": slots.clock(reader), "workspace": reader.workspace})]
