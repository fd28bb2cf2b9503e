"""Retention: what is older than `RIVERRUN_SERVER_RETENTION_DAYS` goes, in units of at most 500 rows behind all other work.

Every table that grows by itself is here; what people made (deployments, blocks, variables ...) stays. Rows are looked for by
readers, so the writer is taken only for what there is to delete.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.config import settings
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import (
    artifact,
    artifact_collection,
    cache_entry,
    event,
    flow_run,
    journal_aside,
    journal_lost,
    journal_writer,
    log,
    run_fence,
    run_rollup,
    task_run,
    worker,
    workspace,
)
from riverrun.server.db.units import Caller, Reader, Transaction
from riverrun.server.runs import rollups
from riverrun.server.runs.retention import TASK_RUN_ROWS, Batch, delete_task_runs
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store
from riverrun.wire.states import TYPE_CODES, StateType

BATCH = 500
#: a pass ends after so long; the next one goes on
_SECONDS = 5.0
_DAY = 86_400_000_000
_FLOW_RUNS = 100
_SCHEDULED = TYPE_CODES[StateType.SCHEDULED]


class Rule(Struct, frozen=True):
    """Rows of a table that go. `of(cutoff, now)` is the condition."""

    table: sa.Table
    of: Callable[[int, int], sa.ColumnElement[bool]]


def _before(column: sa.Column[Any], *more: sa.ColumnElement[bool]) -> Callable[[int, int], sa.ColumnElement[bool]]:
    return lambda cutoff, _now: sa.and_(column < cutoff, *more)


#: beside runs and what goes with them; the outbox has a loop of its own
RULES = (
    Rule(log, _before(log.c.timestamp)),
    Rule(event, _before(event.c.occurred)),
    # the newest of a key stays, whatever its age
    Rule(artifact, _before(artifact.c.created, artifact.c.id.not_in(sa.select(artifact_collection.c.latest_id)))),
    Rule(
        cache_entry,
        lambda cutoff, now: sa.or_(cache_entry.c.expires < now, cache_entry.c.created < cutoff),
    ),
    Rule(journal_lost, _before(journal_lost.c.noticed)),
    Rule(journal_aside, _before(journal_aside.c.noticed)),
    Rule(run_fence, _before(run_fence.c.noticed)),
    Rule(
        journal_writer,
        lambda cutoff, now: sa.and_(
            journal_writer.c.last_seen < cutoff,
            sa.or_(journal_writer.c.lease_until.is_(None), journal_writer.c.lease_until < now),
        ),
    ),
    Rule(worker, _before(worker.c.last_heartbeat)),
    Rule(run_rollup, lambda cutoff, _now: sa.and_(run_rollup.c.minute < cutoff // rollups.MINUTE, run_rollup.c.n == 0)),
)


def run_once(store: Store, now: int) -> int:
    """Delete what is too old; the number of rows (runs with all that hangs on them count as one)."""
    days = settings().server_retention_days
    if days <= 0:
        return 0
    cutoff = now - int(days * _DAY)
    deadline = time.monotonic() + _SECONDS
    deleted = 0
    for number in _steps(store, cutoff, now):
        deleted += number
        if time.monotonic() >= deadline:
            break
    if deleted:
        store.database.give_back_space()
    return deleted


def _steps(store: Store, cutoff: int, now: int) -> Iterator[int]:
    for (workspace_id,) in store.read_now(lambda reader: reader.rows(sa.select(workspace.c.key))):
        caller = Caller(scope=Scope(workspace_id), name="retention")
        while ids := store.read_now(partial(_old_flow_runs, cutoff), caller):
            yield store.write_now(partial(_delete_flow_runs, ids), caller, bulk=True)
        while found := store.read_now(partial(_old_task_runs, cutoff), caller):
            yield store.write_now(partial(_delete_task_runs, found), caller, bulk=True)
    for rule in RULES:
        condition = rule.of(cutoff, now)
        while keys := store.read_now(partial(_keys, rule.table, condition)):
            yield store.write_now(partial(_delete, rule.table, keys), bulk=True)


def _is_over(run: sa.Table, cutoff: int) -> sa.ColumnElement[bool]:
    """Finished before the cutoff, or never begun though it was due before."""
    left_over = sa.and_(run.c.state_type == _SCHEDULED, run.c.state_timestamp < cutoff)
    return sa.and_(run.c.expected_start_time < cutoff, sa.or_(run.c.end_time < cutoff, left_over))


def _old_flow_runs(cutoff: int, reader: Reader) -> list[UUID]:
    query = sa.select(flow_run.c.id).where(flow_run.c.workspace_id == reader.workspace, _is_over(flow_run, cutoff))
    return [row.id for row in reader.rows(query.order_by(flow_run.c.expected_start_time).limit(_FLOW_RUNS))]


def _delete_flow_runs(ids: list[UUID], transaction: Transaction) -> int:
    """Delete the runs one after the other, until the unit is full; how many were wholly deleted, at least 1 for a part."""
    rows = finished = 0
    for run_id in ids:
        try:
            batch = Batch(transaction, run_id)
        except ObjectNotFound:  # somebody else was faster
            finished += 1
            continue
        done = batch.delete()
        rows += 1 + batch.task_runs
        finished += done
        if not done or rows >= BATCH:
            break
    return max(1, finished)


def _old_task_runs(cutoff: int, reader: Reader) -> list[int]:
    """Keys of task runs that belong to no flow run."""
    mine = sa.and_(task_run.c.workspace_id == reader.workspace, task_run.c.flow_run_key.is_(None))
    query = sa.select(task_run.c.key).where(mine, _is_over(task_run, cutoff)).limit(BATCH)
    return [row.key for row in reader.rows(query)]


def _delete_task_runs(keys: list[int], transaction: Transaction) -> int:
    # read again, and locked: what a second leader has deleted meanwhile must not be subtracted from the roll-ups twice
    rows = transaction.rows(TASK_RUN_ROWS.where(task_run.c.key.in_(keys)).with_for_update())
    delete_task_runs(transaction, rows)
    return len(keys)


def _keys(table: sa.Table, condition: sa.ColumnElement[bool], reader: Reader) -> list[tuple[Any, ...]]:
    keys = list(table.primary_key.columns)
    return [tuple(row) for row in reader.rows(sa.select(*keys).where(condition).limit(BATCH))]


def _delete(table: sa.Table, keys: list[tuple[Any, ...]], transaction: Transaction) -> int:
    names = tuple(column.name for column in table.primary_key.columns)
    transaction.verbs.delete(transaction.cursor, table, names, keys)
    return len(keys)


LOOP = Loop(
    name="retention",
    doc="Deletes finished runs, logs, events and what else grows when it is older than RIVERRUN_SERVER_RETENTION_DAYS.",
    interval=600,
    run_once=run_once,
    again=True,
)
