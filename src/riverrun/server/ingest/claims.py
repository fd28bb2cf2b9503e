"""Who drives a flow run: the journal whose process made it or claimed it. A claim shuts the former driver out."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.errors import ConflictError
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.wire.states import TYPE_CODES, StateDetails, StateType

#: how long a process counts as alive without a sign of life
LEASE_SECONDS = 30.0
LEASE = int(LEASE_SECONDS * 1_000_000)
_WRITER = t.journal_writer.c
_CANCELLING = TYPE_CODES[StateType.CANCELLING]
_PAUSED = TYPE_CODES[StateType.PAUSED]
#: what every request of a journal asks, made once
_KEY = (
    sa.select(_WRITER.key)
    .where(_WRITER.id == sa.bindparam("writer"), _WRITER.workspace_id == sa.bindparam("workspace"))
    .with_for_update()
)
_CANCELLED = (
    sa.select(t.flow_run.c.id)
    # as the partial index has it
    .where(
        t.flow_run.c.writer_key == sa.bindparam("writer_key"),
        t.flow_run.c.end_time.is_(None),
        t.flow_run.c.state_type == _CANCELLING,
    )
    .order_by(t.flow_run.c.key)
)
_SUSPENDED = (
    sa.select(t.flow_run.c.id, t.flow_run_state.c.details)
    .join_from(
        t.flow_run,
        t.flow_run_state,
        sa.and_(t.flow_run_state.c.run_key == t.flow_run.c.key, t.flow_run_state.c.seq == t.flow_run.c.state_seq),
    )
    .where(
        t.flow_run.c.writer_key == sa.bindparam("writer_key"),
        t.flow_run.c.end_time.is_(None),
        t.flow_run.c.state_type == _PAUSED,
    )
    .order_by(t.flow_run.c.key)
)
_FENCED = (
    sa.select(t.flow_run.c.id)
    .join_from(t.run_fence, t.flow_run, t.flow_run.c.key == t.run_fence.c.run_key)
    .where(t.run_fence.c.writer_key == sa.bindparam("writer_key"))
    .order_by(t.run_fence.c.key)
)
_details = msgspec.json.Decoder(StateDetails, strict=False).decode


def writer_key(transaction: Transaction, writer: UUID) -> int:
    """The key of a journal, locked; its row is made when the store has never heard of it."""
    values = {"writer": writer, "workspace": transaction.workspace}
    found: int | None = transaction.scalar(_KEY, values)
    if found is not None:
        return found
    now = transaction.now
    columns = ("next_seq", "first_seen", "last_seen", "workspace_id", "id")
    row = (1, now, now, transaction.workspace, transaction.verbs.id_in(writer.bytes))
    transaction.verbs.insert_missing(transaction.cursor, t.journal_writer, columns, [row])
    made: int | None = transaction.scalar(_KEY, values)
    if made is None:
        raise ConflictError(f"The journal {writer} belongs to somebody else.")
    return made


def claim(transaction: Transaction, run_key: int, former: int | None, writer: UUID) -> int:
    """Let a journal's process drive the flow run from now on; returns the journal's key, for `flow_run.writer_key`.

    `former` is that column as it stands: what that journal tells of the run's states from now on does not count.
    """
    key = writer_key(transaction, writer)
    renew(transaction, key)
    fence = t.run_fence
    transaction.execute(sa.delete(fence).where(fence.c.writer_key == key, fence.c.run_key == run_key))
    if former is not None and former != key:
        row = (run_key, transaction.now, former)
        transaction.verbs.insert_missing(transaction.cursor, fence, ("run_key", "noticed", "writer_key"), [row])
        transaction.wake(f"writer:{former}")
    return key


def renew(transaction: Transaction, key: int, process: Any = None) -> None:
    """A sign of life of a journal's process."""
    values: dict[str, Any] = {"lease_until": transaction.now + LEASE, "last_seen": transaction.now}
    if process is not None:
        values["process"] = msgspec.json.encode(process).decode()
    transaction.verbs.update(transaction.cursor, t.journal_writer, tuple(values), [(*values.values(), key)])


def cancelling(reader: Reader, key: int) -> list[UUID]:
    """The flow runs of a journal's process that are to be cancelled."""
    return [row.id for row in reader.rows(_CANCELLED, {"writer_key": key})]


def suspended(reader: Reader, key: int) -> list[UUID]:
    """The unfinished flow runs of a journal's process that were suspended: another process will go on with them."""
    rows = reader.rows(_SUSPENDED, {"writer_key": key})
    return [row.id for row in rows if row.details and _details(row.details).pause_reschedule]


def fenced(reader: Reader, key: int) -> list[UUID]:
    """The flow runs that others have claimed since the journal's process began them."""
    return [row.id for row in reader.rows(_FENCED, {"writer_key": key})]
