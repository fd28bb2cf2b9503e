"""The queue of background tasks. It is the ledger itself: scheduled, deferred task runs that no living subscription has.

A run that was handed out belongs to its subscription while that lives and the run stays in the same state. What was not
acknowledged goes back when the socket closes; what was goes back when its worker is silent for a lease and has not begun it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.runs.queries import task_run_answer
from riverrun.wire.task_runs import TaskRunResponse, TaskWorkerResponse

LEASE_SECONDS = 30.0
LEASE = int(LEASE_SECONDS * 1_000_000)
_DEFERRED = '"deferred":true'
_RUN, _STATE, _SUB, _HANDED = t.task_run.c, t.task_run_state.c, t.task_subscription.c, t.task_delivery.c


def subscribe(transaction: Transaction, client_id: str, task_keys: Sequence[str]) -> int:
    """Make a subscription; returns its key. Those that ended long ago are removed."""
    _remove(transaction, _SUB.until < transaction.now - LEASE)
    values = {
        "workspace_id": transaction.workspace,
        "client_id": client_id,
        "task_keys": msgspec.json.encode(list(task_keys)).decode(),
        "seen": transaction.now,
        "until": transaction.now + LEASE,
        "gone": 0,
    }
    key: int = transaction.execute(sa.insert(t.task_subscription).values(**values)).inserted_primary_key[0]  # type: ignore[index]
    return key


def renew(transaction: Transaction, subscription: int) -> None:
    """A sign of life of a subscription."""
    values = {"seen": transaction.now, "until": transaction.now + LEASE}
    transaction.execute(sa.update(t.task_subscription).where(_SUB.key == subscription).values(**values))


def leave(transaction: Transaction, subscription: int, task_keys: Sequence[str]) -> None:
    """End a subscription; what it has not acknowledged is free again."""
    mine = _HANDED.subscription_key == subscription
    transaction.execute(sa.delete(t.task_delivery).where(mine, _HANDED.acknowledged == 0))
    if transaction.scalar(sa.select(sa.func.count()).select_from(t.task_delivery).where(mine)):
        ended = sa.update(t.task_subscription).where(_SUB.key == subscription)
        transaction.execute(ended.values(gone=1, until=transaction.now + LEASE))
    else:
        _remove(transaction, _SUB.key == subscription)
    transaction.wake(*(f"task_key:{key}" for key in task_keys))


def _remove(transaction: Transaction, condition: sa.ColumnElement[bool]) -> None:
    keys = [row.key for row in transaction.rows(sa.select(_SUB.key).where(condition))]
    if keys:
        transaction.execute(sa.delete(t.task_delivery).where(_HANDED.subscription_key.in_(keys)))
        transaction.execute(sa.delete(t.task_subscription).where(_SUB.key.in_(keys)))


def _waiting(reader: Reader, task_keys: Sequence[str], due: int | None) -> sa.Select[tuple[int, int]]:
    """Runs that nobody has, the longest due first."""
    taken = (
        sa.exists()
        .where(
            _HANDED.run_key == _RUN.key,
            _HANDED.state_seq == _RUN.state_seq,
            _SUB.key == _HANDED.subscription_key,
            _SUB.until > reader.now,
        )
        .correlate(t.task_run)
    )
    query = (
        sa.select(_RUN.key, _RUN.state_seq)
        .join_from(t.task_run, t.task_run_state, sa.and_(_STATE.run_key == _RUN.key, _STATE.seq == _RUN.state_seq))
        .where(
            _RUN.workspace_id == reader.workspace,
            _RUN.task_key.in_(task_keys),
            # as the index has it
            _RUN.requested == sa.literal_column("1"),
            _RUN.next_scheduled_start_time.is_not(None),
            _STATE.details.contains(_DEFERRED),
            ~taken,
        )
        .order_by(_RUN.next_scheduled_start_time, _RUN.key)
        .limit(1)
    )
    return query if due is None else query.where(_RUN.next_scheduled_start_time <= due)


def is_waiting(reader: Reader, task_keys: Sequence[str]) -> bool:
    """Whether a run waits for one of the task keys."""
    return reader.row(_waiting(reader, task_keys, reader.now)) is not None


def take(transaction: Transaction, subscription: int, task_keys: Sequence[str]) -> TaskRunResponse | None:
    """The next run for a subscription, which has it from now on."""
    query = _waiting(transaction, task_keys, transaction.now).with_for_update(of=t.task_run, skip_locked=True)
    while True:
        row = transaction.row(query)
        if row is None:
            return None
        if not _is_taken(transaction, row):
            break
    values = {"state_seq": row.state_seq, "subscription_key": subscription, "acknowledged": 0}
    known = transaction.execute(sa.update(t.task_delivery).where(_HANDED.run_key == row.key).values(**values)).rowcount
    if not known:
        transaction.execute(sa.insert(t.task_delivery).values(run_key=row.key, **values))
    renew(transaction, subscription)
    run_id = transaction.scalar(sa.select(_RUN.id).where(_RUN.key == row.key))
    return task_run_answer(transaction, run_id)


def _is_taken(transaction: Transaction, row: Any) -> bool:
    """Whether somebody took the run just before it was locked: the statement that locks it looked before their commit."""
    held = sa.select(_HANDED.run_key).join_from(
        t.task_delivery, t.task_subscription, _SUB.key == _HANDED.subscription_key
    )
    mine = (_HANDED.run_key == row.key, _HANDED.state_seq == row.state_seq, _SUB.until > transaction.now)
    return not transaction.is_sqlite and transaction.scalar(held.where(*mine)) is not None


def acknowledge(transaction: Transaction, subscription: int) -> None:
    """The worker has what was handed to it."""
    mine = sa.update(t.task_delivery).where(_HANDED.subscription_key == subscription)
    transaction.execute(mine.values(acknowledged=1))


def workers(reader: Reader, task_keys: Sequence[str] | None) -> list[TaskWorkerResponse]:
    """Workers that are subscribed, for all task keys or for some."""
    query = sa.select(t.task_subscription).where(
        _SUB.workspace_id == reader.workspace, _SUB.gone == 0, _SUB.until > reader.now
    )
    found: dict[str, TaskWorkerResponse] = {}
    for row in reader.rows(query.order_by(_SUB.key)):
        keys: list[str] = msgspec.json.decode(row.task_keys)
        known = found.get(row.client_id)
        if known is not None:
            known.task_keys = sorted({*known.task_keys, *keys})
            known.timestamp = max(known.timestamp, from_micros(row.seen))
        else:
            found[row.client_id] = TaskWorkerResponse(
                identifier=row.client_id, task_keys=keys, timestamp=from_micros(row.seen)
            )
    return [worker for worker in found.values() if not task_keys or set(task_keys) & set(worker.task_keys)]
