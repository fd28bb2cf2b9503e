"""Taking journals in, and telling their processes what they have to know."""

import asyncio
import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from riverrun.base.errors import InputError
from riverrun.server.claims import handover
from riverrun.server.concurrency import slots
from riverrun.server.db import tables as t
from riverrun.server.db.units import Caller, Reader, Transaction
from riverrun.server.ingest.claims import LEASE, LEASE_SECONDS, cancelling, fenced, renew, suspended, writer_key
from riverrun.server.ingest.settle import CLOSED, endings, next_seq_on, numbered, teller_of
from riverrun.server.ingest.unit import Item, Unit, tells_of_gap
from riverrun.server.ingest.units import adrive, cut
from riverrun.server.runs.transitions import propose
from riverrun.server.store import Store
from riverrun.wire.journal import decode
from riverrun.wire.presence import JournalAnswer, JournalBody, Presence, PresenceBody

#: some 100 task runs, five milliseconds of the writer: small requests never wait long (SERVER-NOTES 4)
UNIT_RECORDS = 400
#: a presence looks again after so many seconds, should a wake-up get lost
_LOOK_SECONDS = 2.0


async def take(store: Store, caller: Caller, body: JournalBody) -> JournalAnswer:
    """Store the records; returns when they are committed. Raises JournalGap, and InputError for numbers without order."""
    _check(body.records)
    for items in cut(body.records, UNIT_RECORDS):
        await adrive(items, partial(_attempt, store, caller, body.writer), store.shared.verbs)
    return await store.write(lambda transaction: _answer(transaction, body), caller)


def _check(records: Sequence[Item]) -> None:
    for (seq, _), (following, payload) in itertools.pairwise(records):
        if following != seq + 1 and not tells_of_gap(_decoded(payload), seq + 1):
            raise InputError(f"Record {following} follows record {seq}: a journal's records are sent without gaps.")


async def _attempt(
    store: Store, caller: Caller, writer: bytes, items: Sequence[Item], careful: bool, error: Exception | None
) -> None:
    decoded = [_decoded(payload) for _, payload in items]

    def unit(transaction: Transaction) -> None:
        work = Unit(transaction.verbs, transaction.scope, writer, items, careful=careful, whole=True, decoded=decoded)
        work.writer_changes = {"lease_until": transaction.now + LEASE}
        if error is None:
            work.apply(transaction.cursor)
        else:
            work.set_aside(transaction.cursor, error)
        work.tell_all(transaction)
        handover.ingested(transaction, work, propose)

    await store.write(unit, caller, bulk=True)


def _decoded(payload: bytes) -> Any:
    try:
        return decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        return error


def _answer(transaction: Transaction, body: JournalBody) -> JournalAnswer:
    """Renew the lease, or end it with what the process has left unfinished; what the process is to know."""
    key = writer_key(transaction, UUID(bytes=body.writer))
    if body.closed:
        finish(transaction, body.writer, key, CLOSED, closed=True)
    else:
        renew(transaction, key, body.process)
    return JournalAnswer(
        lease_seconds=LEASE_SECONDS,
        cancelling=cancelling(transaction, key),
        fenced=fenced(transaction, key),
        suspended=suspended(transaction, key),
        next_seq=next_seq_on(transaction.connection, body.writer),
    )


def finish(
    transaction: Transaction, writer: bytes, key: int, message: str, *, closed: bool, last: bytes | None = None
) -> int:
    """End a journal's lease and the runs that its process has left behind (`settle.endings`); how many these were."""
    records = endings(transaction.connection, transaction.scope, writer, message, last, closed=closed)
    if records:
        teller = teller_of(writer)
        items = numbered(records, next_seq_on(transaction.connection, teller))
        unit = Unit(transaction.verbs, transaction.scope, teller, items)
        unit.apply(transaction.cursor)
        unit.tell_all(transaction)
        handover.ingested(transaction, unit, propose)
        slots.release_held_by(transaction, [UUID(bytes=record.run_id) for record in records])
    transaction.verbs.update(transaction.cursor, t.journal_writer, ("lease_until",), [(None, key)])
    return len(records)


async def presence(store: Store, caller: Caller, body: PresenceBody) -> Presence:
    """Renew the lease, then wait until there is something to tell, for at most `body.wait` seconds."""
    key = await store.write(lambda transaction: _alive(transaction, body.writer), caller)
    loop = asyncio.get_running_loop()
    until = loop.time() + body.wait
    with store.hub.listen(f"writer:{key}") as listener:
        while True:
            said = await store.read(lambda reader: _news(reader, key), caller)
            left = until - loop.time()
            if said.cancelling or said.fenced or said.suspended or left <= 0:
                return said
            await listener.wait(min(left, _LOOK_SECONDS))


def _alive(transaction: Transaction, writer: UUID) -> int:
    key = writer_key(transaction, writer)
    renew(transaction, key)
    return key


def _news(reader: Reader, key: int) -> Presence:
    return Presence(
        lease_seconds=LEASE_SECONDS,
        cancelling=cancelling(reader, key),
        fenced=fenced(reader, key),
        suspended=suspended(reader, key),
    )
