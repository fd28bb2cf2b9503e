"""Runs that a process left behind: their last state becomes Crashed, so that nobody waits for them.

A process that is killed cannot say so, and one that ends may leave daemon threads and unfinished coroutines. When its spool
is read to its end and its writer certainly writes no more, or its lease has expired, the runs whose latest state it told of and
that are still on the way have ended with it; a run that was being cancelled is Cancelled. A state of another journal that
arrives later is put in order by its time like any other, so this never overrules a process that lived on.
"""

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.ids import uuid7
from riverrun.server.db.engine import Database
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import flow_run, journal_writer, log, task_run
from riverrun.server.ingest.unit import Counts
from riverrun.server.ingest.units import apply, cut
from riverrun.server.ingest.write import KINDS
from riverrun.wire.journal import FLOW_RUN, TASK_RUN, FlowRunRecord, StateRecord, TaskRunRecord, decode, encode
from riverrun.wire.states import TYPE_CODES, StateType

#: states that only a living process can leave; a Scheduled or Paused run may well wait without one, but not between retries
_ON_THE_WAY = [TYPE_CODES[kind] for kind in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)]
#: the same after a process that closed its journal itself: another one may be about to begin what it left Pending
_UNDER_WAY = [TYPE_CODES[kind] for kind in (StateType.RUNNING, StateType.CANCELLING)]
_CRASHED = TYPE_CODES[StateType.CRASHED]
_CANCELLED = TYPE_CODES[StateType.CANCELLED]
_SCHEDULED = TYPE_CODES[StateType.SCHEDULED]
_CANCELLING = TYPE_CODES[StateType.CANCELLING]
_WRITER = sa.select(journal_writer.c.key, journal_writer.c.next_seq).where(
    journal_writer.c.id == sa.bindparam("writer")
)
KILLED = "The process of this run ended without a word: it was killed, or its machine stopped."
CLOSED = "The process of this run ended before the run did, which was in a daemon thread or an unfinished coroutine."
SILENT = (
    "The process of this run{where} has given no sign of life since {since}: it was killed, or cannot reach the server."
)


def settle(
    database: Database, scope: Scope, writer: bytes, last: bytes | None = None, *, closed: bool = False
) -> Counts:
    """Let the unfinished runs of a dead writer end, at the instant of their last sign of life (see `endings`)."""
    with database.read() as connection:
        records = endings(connection, scope, writer, CLOSED if closed else KILLED, last, closed=closed)
    counts = Counts()
    if records:
        first = next_seq(database, teller_of(writer))
        for unit in cut(numbered(records, first)):
            counts.add(apply(database, scope, teller_of(writer), unit))
    return counts


def endings(
    connection: sa.Connection,
    scope: Scope,
    writer: bytes,
    message: str,
    last: bytes | None = None,
    *,
    closed: bool = False,
) -> list[StateRecord]:
    """The last states of the runs that a writer has left behind.

    `last` is the last record of its journal: a run that came into being there has not even entered its first state.
    """
    records = []
    found = connection.execute(_WRITER, {"writer": UUID(bytes=writer)}).first()
    values = {"writer_key": None if found is None else found.key, "workspace": scope.workspace_id}
    for kind in KINDS if found is not None else ():
        rows = [row for query in _LEFT_BEHIND[kind, closed] for row in connection.execute(query, values)]
        for row in sorted(rows, key=lambda row: row.key):
            instant = last_sign(connection, kind, row) + 1
            ending = _CANCELLED if row.state_type == _CANCELLING else _CRASHED
            said = "Cancelled: its process has ended." if ending == _CANCELLED else message
            records.append(StateRecord(kind, row.id.bytes, uuid7().bytes, ending, instant, message=said))
    stillborn = None if last is None or closed else _stillborn(connection, last, message)
    return records if stillborn is None else [*records, stillborn]


def teller_of(writer: bytes) -> bytes:
    """The journal that tells of the ends: numbers of the dead one stay free, in case it lives after all."""
    return hashlib.blake2b(writer, digest_size=16, person=b"settle").digest()


def numbered(records: list[StateRecord], first: int) -> list[tuple[int, bytes]]:
    """The records as items of a journal that goes on at `first`."""
    return [(seq, encode(record)) for seq, record in enumerate(records, start=first)]


def _stillborn(connection: sa.Connection, last: bytes, message: str) -> StateRecord | None:
    """The end of the run that the last record made, if the store knows no state of it. A run and its first state are
    written next to each other, so only the last record of a killed process can be a run without one."""
    try:
        record = decode(last)
    except msgspec.MsgspecError:
        return None
    if not isinstance(record, FlowRunRecord | TaskRunRecord):
        return None
    kind = FLOW_RUN if isinstance(record, FlowRunRecord) else TASK_RUN
    run = KINDS[kind].run
    query = sa.select(run.c.state_type).where(run.c.id == UUID(bytes=record.id))
    found = connection.execute(query).one_or_none()
    if found is None or found[0] is not None:
        return None
    return StateRecord(kind, record.id, uuid7().bytes, _CRASHED, record.created + 1, message=message)


def next_seq(database: Database, writer: bytes) -> int:
    """The first sequence number of a journal that the store has not ingested."""
    with database.read() as connection:
        return next_seq_on(connection, writer)


def next_seq_on(connection: sa.Connection, writer: bytes) -> int:
    """The same on a connection."""
    found = connection.execute(_WRITER, {"writer": UUID(bytes=writer)}).first()
    return 1 if found is None else int(found.next_seq)


def said_of(process: Mapping[str, Any] | None) -> str:
    """Which process it was, for a message."""
    if not process or not process.get("pid"):
        return ""
    return f" ({process['pid']} on {process.get('host') or 'an unknown machine'})"


def _left_behind_queries(kind: int, types: list[int]) -> tuple[sa.Select[Any], ...]:
    """Two statements, for each of which there is an index: stores have many runs, and few that are on the way."""
    run, state = KINDS[kind].run, KINDS[kind].state
    writer_key = sa.bindparam("writer_key", type_=sa.BigInteger)
    told = state.c.writer_key == writer_key
    between_retries = [run.c.state_type == _SCHEDULED, run.c.state_name == "AwaitingRetry"]
    if kind == FLOW_RUN:
        mine = flow_run.c.writer_key == writer_key
        # a run that was handed to the process: its Running state is the server's, and the run says whose it is
        claimed = sa.and_(state.c.writer_key.is_(None), mine, run.c.state_type.in_(_UNDER_WAY))
        told = sa.and_(sa.or_(told, claimed), sa.or_(flow_run.c.writer_key.is_(None), mine))
        between_retries += [mine, run.c.end_time.is_(None)]
    else:
        between_retries.append(run.c.next_scheduled_start_time.is_not(None))
    return tuple(
        sa.select(run.c.id, run.c.key, run.c.state_timestamp, run.c.state_type)
        .join_from(run, state, sa.and_(state.c.run_key == run.c.key, state.c.seq == run.c.state_seq))
        # a task run whose upstream failed stays so
        .where(run.c.workspace_id == sa.bindparam("workspace"), *conditions, told)
        .where(sa.or_(run.c.state_name.is_(None), run.c.state_name != "NotReady"))
        for conditions in ([run.c.state_type.in_(types)], between_retries)
    )


#: by kind of run, and whether the process closed its journal itself
_LEFT_BEHIND = {
    (kind, closed): _left_behind_queries(kind, _UNDER_WAY if closed else _ON_THE_WAY)
    for kind in KINDS
    for closed in (False, True)
}


def last_sign(connection: sa.Connection, kind: int, row: Any) -> int:
    """The latest instant that the store knows of a run: its state, its log, for a flow run the states of its tasks."""
    column = log.c.flow_run_key if kind == FLOW_RUN else log.c.task_run_key
    signs: list[int | None] = [
        row.state_timestamp,
        connection.execute(sa.select(sa.func.max(log.c.timestamp)).where(column == row.key)).scalar(),
    ]
    if kind == FLOW_RUN:
        tasks = sa.select(sa.func.max(task_run.c.state_timestamp)).where(task_run.c.flow_run_key == row.key)
        signs.append(connection.execute(tasks).scalar())
    return max(sign for sign in signs if sign is not None)
