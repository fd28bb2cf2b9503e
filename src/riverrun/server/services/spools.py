"""Takes the journals of this machine in whose processes do not send them: they were killed, or began before the server.

Each process of a server does this for the machine it runs on. A process that sends its journal itself (its lease runs) is left
alone while it lives.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.config import settings
from riverrun.server.claims import handover
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.ingest.settle import CLOSED, KILLED, next_seq_on
from riverrun.server.ingest.unit import Item, Unit
from riverrun.server.ingest.units import cut, drive
from riverrun.server.journal.logic import UNIT_RECORDS, finish
from riverrun.server.runs.transitions import propose
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store
from riverrun.wire.spool import Spool, spools, sweep

_WRITER = t.journal_writer.c


def run_once(store: Store, now: int) -> int:
    """Take in what the spools of this machine hold; how many records that were."""
    journal_dir = settings().journal_dir
    return take_spools(store, journal_dir, now)


def take_spools(store: Store, journal_dir: Path, now: int) -> int:
    """The same for one directory of spools."""
    taken = 0
    for spool in spools(journal_dir):
        # asked before reading: what a process writes between its last record read here and its death must not be missed
        dead = spool.is_dead()
        done, lease_until = store.read_now(partial(_state_of, writer=spool.writer))
        if not dead and lease_until is not None and lease_until > now:
            continue
        taken += _take(store, spool, done, dead)
    sweep(journal_dir)
    return taken


def _state_of(reader: Reader, writer: bytes) -> tuple[int, int | None]:
    """The last record of a journal that is stored, and until when its process counts as alive."""
    lease = reader.scalar(sa.select(_WRITER.lease_until).where(_WRITER.id == UUID(bytes=writer)))
    return next_seq_on(reader.connection, writer) - 1, lease


def _take(store: Store, spool: Spool, done: int, dead: bool) -> int:
    before = done
    for items in cut(spool.records(done), UNIT_RECORDS):
        drive(items, lambda *attempt: _attempt(store, spool.writer, *attempt), store.shared.verbs)
        done = items[-1][0]
    if dead:
        store.write_now(lambda transaction: _settle(transaction, spool), bulk=True)
    if done or dead:
        spool.release(done)
    return max(done - before, 0)


def _attempt(store: Store, writer: bytes, items: Sequence[Item], careful: bool, error: Exception | None) -> None:
    def unit(transaction: Transaction) -> None:
        work = Unit(transaction.verbs, transaction.scope, writer, items, careful=careful)
        if error is None:
            work.apply(transaction.cursor)
        else:
            work.set_aside(transaction.cursor, error)
        work.tell_all(transaction)
        handover.ingested(transaction, work, propose)

    store.write_now(unit, bulk=True)


def _settle(transaction: Transaction, spool: Spool) -> None:
    closed = spool.closed_at is not None
    key = transaction.scalar(sa.select(_WRITER.key).where(_WRITER.id == UUID(bytes=spool.writer)))
    if key is not None:
        finish(transaction, spool.writer, key, CLOSED if closed else KILLED, closed=closed, last=spool.last_payload())


LOOP = Loop(
    name="spools",
    doc="Journals of this machine whose processes do not send them are taken in.",
    interval=5.0,
    run_once=run_once,
    one_for_all=False,
)
