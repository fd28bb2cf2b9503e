"""Claims: a worker takes the runs that are due, and only it gets them; life signs keep what it took.

A claim waits on the event loop, looks with a reader, and writes when there is something to take: each run goes from Scheduled
to Pending by the rules, with its attempt in the same transaction.
"""

import asyncio
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from riverrun.server.claims import attempts
from riverrun.server.claims.answers import answers
from riverrun.server.claims.sources import (
    Plan,
    Source,
    Stretch,
    crowded,
    due,
    following,
    full_deployments,
)
from riverrun.server.claims.voiding import give_up
from riverrun.server.db import tables as t
from riverrun.server.db.units import Caller, Reader, Transaction
from riverrun.server.runs.stored import load_flow_run
from riverrun.server.runs.transitions import propose
from riverrun.server.store import Store
from riverrun.wire.claims import ClaimBody, Claims, WorkerPresence, WorkerPresenceBody
from riverrun.wire.states import BaseState, StateType

#: a claim looks again after so many seconds, should a wake-up get lost; and when others were quicker
_LOOK_SECONDS = 2.0
_AGAIN_SECONDS = 0.1
#: runs behind a full limit of their deployment that one claim tells so
_TOLD = 5
#: rounds of a claim whose runs the rules refuse (cancelled because of their deployment's limit)
_ROUNDS = 20


class Look(Struct):
    """What a claim sees: whether a run may go, whether runs are to be told to wait, when the next one is due."""

    ready: bool
    crowded: bool
    unseen: bool
    now: int
    following: int | None


class Taken(Struct):
    """A run that was taken."""

    run_id: UUID
    fence: int


async def claim(store: Store, caller: Caller, body: ClaimBody, source: Source) -> Claims:
    """Take what is due, or wait for it. Raises ObjectNotFound for a pool or queue that is not there."""
    loop = asyncio.get_running_loop()
    until = loop.time() + body.wait
    take_some = partial(take, body=body, source=source)
    look = await store.read(partial(_first_look, body=body, source=source), caller)
    taken: list[Taken] = []
    if look.unseen:
        await store.write(partial(source.seen, worker=body.worker, name=body.name), caller)
    if look.ready or look.crowded:
        taken = await store.write(take_some, caller)
    while not taken and until > loop.time():
        topics = source.topics()
        with store.hub.listen(*topics) as listener:
            # as long as there are no queues to listen to that are new
            while not taken and source.topics() == topics:
                look = await store.read(partial(_look, body=body, source=source), caller)
                if look.unseen:
                    await store.write(partial(source.seen, worker=body.worker, name=body.name), caller)
                if look.ready and (taken := await store.write(take_some, caller)):
                    break
                left = until - loop.time()
                if left <= 0:
                    break
                if source.topics() == topics:
                    await listener.wait(min(left, _AGAIN_SECONDS if look.ready else _pause(look)))
    if not taken:
        return Claims(claims=[], lease_seconds=attempts.LEASE_SECONDS)
    return await store.read(partial(answers, taken=taken), caller)


def _first_look(reader: Reader, body: ClaimBody, source: Source) -> Look:
    source.prepare(reader)
    return _look(reader, body, source)


def _pause(look: Look) -> float:
    """Seconds until the next run is due, if that is soon."""
    if look.following is None:
        return _LOOK_SECONDS
    # a moment more: a look that comes a moment too early would have to be repeated
    return min(_LOOK_SECONDS, (look.following - look.now) / 1_000_000 + 0.001)


def _look(reader: Reader, body: ClaimBody, source: Source) -> Look:
    plan = source.plan(reader, body.limit)
    full = full_deployments(reader) if plan.stretches else []
    ready = any(due(reader, stretch, full) for stretch in plan.stretches)
    told = False
    if full and not ready:
        told = any(crowded(reader, stretch, full) for stretch in plan.stretches)
    coming = [] if plan.following is None else [plan.following]
    if not ready and not plan.by_time:
        coming += [instant for stretch in plan.stretches if (instant := following(reader, stretch)) is not None]
    return Look(
        ready=ready,
        crowded=told,
        unseen=source.is_unseen(reader, body.worker, body.name),
        now=reader.now,
        following=min(coming, default=None),
    )


def take(transaction: Transaction, body: ClaimBody, source: Source) -> list[Taken]:
    """Take runs for a worker, at most `body.limit`."""
    taken: list[Taken] = []
    refused: set[int] = set()
    for _ in range(_ROUNDS):
        plan = source.plan(transaction, body.limit - len(taken), lock=True)
        full = full_deployments(transaction) if plan.stretches else []
        before = len(refused)
        for key, run_id in _next(transaction, plan, full, refused):
            fence = _take_one(transaction, run_id, body)
            if fence is None:
                refused.add(key)
            else:
                taken.append(Taken(run_id, fence))
        if len(refused) == before:
            break
    if full and len(taken) < body.limit:
        _tell_to_wait(transaction, plan.stretches, full)
    return taken


def _next(transaction: Transaction, plan: Plan, full: list[UUID], refused: set[int]) -> list[tuple[int, UUID]]:
    """The keys and ids of runs to take, locked."""
    found: list[Any] = []
    for stretch in plan.stretches:
        room = plan.room if plan.by_time else plan.room - len(found)
        if room <= 0:
            break
        found += due(transaction, stretch, full, min(room, stretch.room), refused, lock=True)
    if plan.by_time:
        found.sort(key=lambda row: (row.next_scheduled_start_time, row.key))
    return [(row.key, row.id) for row in found[: max(plan.room, 0)]]


def _take_one(transaction: Transaction, run_id: UUID, body: ClaimBody) -> int | None:
    """Claim one run; its fence, or None where the rules do not let it go."""
    run = load_flow_run(transaction, run_id)
    propose(transaction, run, BaseState(type=StateType.PENDING))
    if run.state is None or run.state.type is not StateType.PENDING:
        return None
    attempts.give(transaction, run.key, run.seq, body.worker, body.name)
    return run.seq


def _tell_to_wait(transaction: Transaction, stretches: list[Stretch], full: list[UUID]) -> None:
    """Let some of the runs say that they wait for a slot: they become AwaitingConcurrencySlot by the rules."""
    for stretch in stretches:
        for row in crowded(transaction, stretch, full, _TOLD):
            propose(transaction, load_flow_run(transaction, row.id), BaseState(type=StateType.PENDING))


# -- life signs -------------------------------------------------------------------------------------------------------------


async def presence(store: Store, caller: Caller, body: WorkerPresenceBody) -> WorkerPresence:
    """Renew the attempts of a worker's process, then wait until there is something new to tell, or `body.wait` seconds."""
    await store.write(partial(_alive, body=body), caller)
    loop = asyncio.get_running_loop()
    until = loop.time() + body.wait
    known = set(body.known)
    with store.hub.listen(attempts.topic(body.worker)) as listener:
        while True:
            read = partial(attempts.news, worker=body.worker, holding=body.holding)
            cancelling, lost = await store.read(read, caller)
            left = until - loop.time()
            if left <= 0 or not known.issuperset((*cancelling, *lost)):
                return WorkerPresence(lease_seconds=attempts.LEASE_SECONDS, cancelling=cancelling, lost=lost)
            await listener.wait(min(left, _LOOK_SECONDS))


def _alive(transaction: Transaction, body: WorkerPresenceBody) -> None:
    mine = sa.and_(t.worker.c.process_id == body.worker, t.worker.c.workspace_id == transaction.workspace)
    if not body.leaving:
        attempts.renew(transaction, body.worker, body.holding)
        transaction.execute(sa.update(t.worker).where(mine).values(last_heartbeat=transaction.now))
        return
    for run_id in attempts.pending(transaction, body.worker):
        give_up(transaction, run_id, body.worker, "The worker {name} has stopped before it began this run.")
    attempts.renew(transaction, body.worker, body.holding)
    # it beats no more, and was not silent: it is OFFLINE from now on
    transaction.execute(sa.update(t.worker).where(mine).values(heartbeat_interval_seconds=0, process_id=None))
