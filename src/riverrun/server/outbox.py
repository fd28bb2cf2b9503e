"""The outbox: what was committed, in the order of commits, for streams and automations. Read it by cursor.

Entries are tuples `(kind, ...)` that a unit gives to `Transaction.announce`:

- `("F", run key, first seq[, last seq])`: states of a flow run,
- `("T", run key, first seq[, last seq])`: states of a task run,
- `("E", event key)`: an event that stands in the table `event`,
- `("L", first key, last key)`: lines of a log, with all keys between.

`server.events.documents` makes the events of entries when they are read; nothing of them is stored twice. `emit` is for events
that the server itself makes about other things than runs.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.ids import uuid7
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Reader, Transaction
from riverrun.wire.events import ReceivedEvent

FLOW_RUN_STATE, TASK_RUN_STATE, EVENT, LOGS = "F", "T", "E", "L"
#: entries stay so long (microseconds): whoever reads by cursor and was away for longer starts anew
KEEP = 10 * 60 * 1_000_000
_BATCH = 500

_decode = msgspec.msgpack.Decoder(list[list[Any]]).decode
_INSERT_EVENT = sa.insert(t.event)
_OUTBOX = t.outbox.c


class Cursor(Struct, frozen=True, order=True):
    """A place in the outbox. On PostgreSQL commits are ordered by their transaction's number first; on SQLite that is 0."""

    xid: int = 0
    key: int = 0


class Batch(Struct, kw_only=True):
    """Entries with their workspace and instant, and where to go on."""

    entries: Sequence[tuple[int, int, Sequence[Any]]]
    cursor: Cursor


def emit(
    transaction: Transaction,
    event: str,
    resource: Mapping[str, str | None],
    related: Sequence[Mapping[str, str | None]] = (),
    payload: Mapping[str, Any] | None = None,
    *,
    id: UUID | None = None,
    follows: UUID | None = None,
) -> UUID:
    """Store and announce an event that the server makes, such as "prefect.variable.created"; returns its id.

    `resource` and each of `related` hold "prefect.resource.id"; a related one also "prefect.resource.role".
    """
    made = ReceivedEvent(
        id=id or uuid7(),
        occurred=from_micros(transaction.now),
        received=from_micros(transaction.now),
        event=event,
        resource=dict(resource),
        related=[dict(each) for each in related],
        payload=dict(payload or {}),
        follows=follows,
    )
    result = transaction.execute(_INSERT_EVENT, event_row(made, transaction.workspace, transaction.now))
    transaction.announce(EVENT, result.inserted_primary_key[0])  # type: ignore[index]
    return made.id


def event_row(event: ReceivedEvent, workspace: int, now: int) -> dict[str, Any]:
    """The row of a stored event."""
    return {
        "occurred": to_micros(event.occurred),
        "received": now,
        "workspace_id": workspace,
        "id": event.id,
        "event": index_key(event.event),
        "resource_id": index_key(event.resource.get("prefect.resource.id") or ""),
        "document": msgspec.json.encode(event).decode(),
    }


def end(reader: Reader) -> Cursor:
    """The place after everything that can be read now."""
    query = sa.select(_OUTBOX.xid, _OUTBOX.key).order_by(*(column.desc() for column in _order(reader))).limit(1)
    row = reader.row(_settled(reader, query))
    return Cursor() if row is None else Cursor(row.xid, row.key)


def read(reader: Reader, cursor: Cursor, limit: int = 100) -> Batch:
    """The entries of at most `limit` commits after the cursor, in order."""
    after = _OUTBOX.key > cursor.key
    if not reader.is_sqlite:
        after = sa.or_(_OUTBOX.xid > cursor.xid, sa.and_(_OUTBOX.xid == cursor.xid, after))
    query = sa.select(t.outbox).where(after).order_by(*_order(reader)).limit(limit)
    rows = reader.rows(_settled(reader, query))
    entries = [(row.workspace_id, row.created, entry) for row in rows for entry in _decode(row.body)]
    last = Cursor(rows[-1].xid, rows[-1].key) if rows else cursor
    return Batch(entries=entries, cursor=last)


def _order(reader: Reader) -> tuple[sa.ColumnElement[Any], ...]:
    """By what entries are in the order of their commits: SQLite's numbers of transactions are all 0."""
    return (_OUTBOX.key,) if reader.is_sqlite else (_OUTBOX.xid, _OUTBOX.key)


def _settled(reader: Reader, query: sa.Select[Any]) -> sa.Select[Any]:
    """Only what no running transaction can still come before: an older one may commit later than a newer one."""
    if reader.is_sqlite:
        return query
    oldest = sa.cast(sa.cast(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot()), sa.Text), sa.BigInteger)
    return query.where(_OUTBOX.xid < oldest)


def clean(transaction: Transaction) -> int:
    """Remove some of what is older than `KEEP`; returns how many rows went.

    The newest row stays, whatever its age: SQLite would give its key to the next one, behind the cursors of readers.
    """
    newest = sa.select(sa.func.max(_OUTBOX.key)).scalar_subquery()
    old = (
        sa.select(_OUTBOX.key)
        .where(_OUTBOX.created < transaction.now - KEEP, _OUTBOX.key < newest)
        .order_by(_OUTBOX.created)
        .limit(_BATCH)
    )
    return transaction.execute(sa.delete(t.outbox).where(_OUTBOX.key.in_(old))).rowcount
