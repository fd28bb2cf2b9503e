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
_details = msgspec.json.Decoder(StateDetails, strict=False).decode


def writer_key(transaction: Transaction, writer: UUID) -> int:
    """The key of a journal, locked; its row is made when the store has never heard of it."""
    query = sa.select(_WRITER.key).where(_WRITER.id == writer, _WRITER.workspace_id == transaction.workspace)
    found: int | None = transaction.scalar(query.with_for_update())
    if found is not None:
        return found
    now = transaction.now
    columns = ("next_seq", "first_seen", "last_seen", "workspace_id", "id")
    row = (1, now, now, transaction.workspace, transaction.verbs.id_in(writer.bytes))
    transaction.verbs.insert_missing(transaction.cursor, t.journal_writer, columns, [row])
    made: int | None = transaction.scalar(query)
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
    transaction.execute(sa.update(t.journal_writer).where(_WRITER.key == key).values(**values))


def cancelling(reader: Reader, key: int) -> list[UUID]:
    """The flow runs of a journal's process that are to be cancelled."""
    run = t.flow_run.c
    # as the partial index has it
    query = sa.select(run.id).where(run.writer_key == key, run.end_time.is_(None), run.state_type == _CANCELLING)
    return [row.id for row in reader.rows(query.order_by(run.key))]


def suspended(reader: Reader, key: int) -> list[UUID]:
    """The unfinished flow runs of a journal's process that were suspended: another process will go on with them."""
    run, state = t.flow_run.c, t.flow_run_state.c
    query = (
        sa.select(run.id, state.details)
        .join_from(t.flow_run, t.flow_run_state, sa.and_(state.run_key == run.key, state.seq == run.state_seq))
        .where(run.writer_key == key, run.end_time.is_(None), run.state_type == _PAUSED)
        .order_by(run.key)
    )
    return [row.id for row in reader.rows(query) if row.details and _details(row.details).pause_reschedule]


def fenced(reader: Reader, key: int) -> list[UUID]:
    """The flow runs that others have claimed since the journal's process began them."""
    query = (
        sa.select(t.flow_run.c.id)
        .join_from(t.run_fence, t.flow_run, t.flow_run.c.key == t.run_fence.c.run_key)
        .where(t.run_fence.c.writer_key == key)
        .order_by(t.run_fence.c.key)
    )
    return [row.id for row in reader.rows(query)]
