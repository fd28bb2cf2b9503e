"""Ends the runs of processes that give no sign of life any more.

After a start, and after the clock has jumped or the machine has slept, nobody is judged for one lease: the processes may not
have had the chance to be heard.
"""

from functools import partial
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.ingest.claims import LEASE
from riverrun.server.ingest.settle import SILENT, said_of
from riverrun.server.journal.logic import finish
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store

_WRITER = t.journal_writer.c
_MANY = 100
_INTERVAL = 5.0
#: a pass that comes so much later than it should, or earlier, tells of a clock that jumped (microseconds)
_JUMP = 15_000_000
#: who was cut off is told so for a week (microseconds)
_KEEP_FENCES = 7 * 24 * 3600 * 1_000_000


class Sweeper:
    """Passes over expired leases; remembers since when it is on watch."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._last = 0

    def run_once(self, store: Store, now: int) -> int:
        """End what expired writers left behind; how many writers had expired."""
        if self._since is None or not 0 <= now - self._last <= _JUMP:
            self._since = now
        self._last = now
        if now - self._since < LEASE:
            return 0
        expired = store.read_now(lambda reader: _expired(reader, now))
        for writer in expired:
            store.write_now(partial(_end, writer=writer, now=now), bulk=True)
        if not expired:
            store.write_now(lambda transaction: _forget(transaction, now), bulk=True)
        return len(expired)


def _expired(reader: Reader, now: int) -> list[UUID]:
    query = sa.select(_WRITER.id).where(_WRITER.lease_until < now).order_by(_WRITER.lease_until).limit(_MANY)
    return [row.id for row in reader.rows(query)]


def _end(transaction: Transaction, writer: UUID, now: int) -> None:
    query = sa.select(_WRITER.key, _WRITER.lease_until, _WRITER.last_seen, _WRITER.process).where(_WRITER.id == writer)
    row = transaction.row(query.with_for_update())
    if row is None or row.lease_until is None or row.lease_until >= now:
        return
    process = None if row.process is None else msgspec.json.decode(row.process)
    since = f"{from_micros(row.last_seen):%Y-%m-%d %H:%M:%S} UTC"
    message = SILENT.format(where=said_of(process), since=since)
    finish(transaction, writer.bytes, row.key, message, closed=False)


def _forget(transaction: Transaction, now: int) -> None:
    fence = t.run_fence
    transaction.execute(sa.delete(fence).where(fence.c.noticed < now - _KEEP_FENCES))


LOOP = Loop(
    name="leases",
    doc="Runs of processes that give no sign of life become Crashed.",
    interval=_INTERVAL,
    run_once=Sweeper().run_once,
)
