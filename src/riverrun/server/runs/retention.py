"""Removing runs with everything that hangs on them, in batches that hold the writer only for milliseconds."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import now, to_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.concurrency import slots
from riverrun.server.db.engine import Database
from riverrun.server.db.filters import form_of
from riverrun.server.db.names import index_key
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import (
    attempt,
    flow_run,
    flow_run_input,
    flow_run_state,
    flow_run_tag,
    log,
    task_run,
    task_run_state,
    task_run_tag,
)
from riverrun.server.db.units import Caller, Shared, Transaction
from riverrun.server.runs import rollups
from riverrun.wire.journal import FLOW_RUN, TASK_RUN
from riverrun.wire.states import TERMINAL_STATES, TYPE_CODES

BATCH_RUNS = 500
BATCH_LOGS = 2000
_ENDED = frozenset(TYPE_CODES[kind] for kind in TERMINAL_STATES)


def delete_flow_run(database: Database, scope: Scope, flow_run_id: UUID) -> int:
    """Delete a flow run without a server; returns the number of task runs. Raises ObjectNotFound.

    Runs of subflows are runs of their own and stay. Interrupted, it can simply be called again.
    """
    deleted = 0
    caller = Caller(scope=scope)
    finished = False
    while not finished:
        with database.engine.begin() as connection:
            cursor = connection.connection.cursor()
            shared = Shared(verbs=database.verbs)
            batch = Batch(Transaction(connection, cursor, shared, caller, to_micros(now())), flow_run_id)
            finished = batch.delete()
            deleted += batch.task_runs
    database.give_back_space()
    return deleted


def delete_some(transaction: Transaction, flow_run_id: UUID) -> bool:
    """Delete a part of a flow run and of what hangs on it; true when nothing is left. Raises ObjectNotFound."""
    return Batch(transaction, flow_run_id).delete()


def delete_never_run(transaction: Transaction, conditions: list[sa.ColumnElement[bool]]) -> int:
    """Delete some of the flow runs for which the conditions hold, among them that they never ran; returns how many."""
    mine = _FLOW_RUNS.where(form_of(transaction).mine(flow_run), *conditions)
    rows = transaction.rows(mine.limit(BATCH_RUNS).with_for_update())
    if rows:
        _delete_runs(transaction, (flow_run, flow_run_state, flow_run_tag), rows, FLOW_RUN)
    return len(rows)


def delete_task_run(transaction: Transaction, task_run_id: UUID) -> None:
    """Delete one task run; raises ObjectNotFound."""
    mine = sa.and_(task_run.c.id == task_run_id, task_run.c.workspace_id == transaction.workspace)
    rows = transaction.rows(TASK_RUN_ROWS.where(mine))
    if not rows:
        raise ObjectNotFound(f"There is no task run {task_run_id}.")
    delete_task_runs(transaction, rows)


class Batch:
    """One transaction's part of deleting a flow run: what belongs to it goes first, its own row last."""

    def __init__(self, transaction: Transaction, flow_run_id: UUID) -> None:
        self.transaction = transaction
        mine = sa.and_(flow_run.c.id == flow_run_id, flow_run.c.workspace_id == transaction.workspace)
        self.row = transaction.row(_FLOW_RUNS.where(mine))
        if self.row is None:
            raise ObjectNotFound(f"There is no flow run {flow_run_id} in this store.")
        self.task_runs = 0

    def delete(self) -> bool:
        transaction, key = self.transaction, self.row.key
        logs = sa.select(log.c.key).where(log.c.flow_run_key == key).limit(BATCH_LOGS)
        if transaction.execute(sa.delete(log).where(log.c.key.in_(logs))).rowcount == BATCH_LOGS:
            return False
        rows = transaction.rows(TASK_RUN_ROWS.where(task_run.c.flow_run_key == key).limit(BATCH_RUNS))
        delete_task_runs(transaction, rows)
        self.task_runs = len(rows)
        if len(rows) == BATCH_RUNS:
            return False
        transaction.execute(sa.delete(flow_run_input).where(flow_run_input.c.flow_run_id == self.row.id))
        _delete_runs(transaction, (flow_run, flow_run_state, flow_run_tag), [self.row], FLOW_RUN)
        return True


def _keys(table: sa.Table, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    names = ("key", "id", "tags", "expected_start_time", "start_time", "total_run_time", "state_type", "state_name")
    return sa.select(*(table.c[name] for name in names), *columns)


_FLOW_RUNS = _keys(flow_run, flow_run.c.flow_key)
#: what `delete_task_runs` needs to know of each
TASK_RUN_ROWS = _keys(task_run)


def delete_task_runs(transaction: Transaction, rows: list[Any]) -> None:
    """Delete task runs by rows of `TASK_RUN_ROWS`, with their states, tags and logs."""
    if rows:
        transaction.execute(sa.delete(log).where(log.c.task_run_key.in_([row.key for row in rows])))
        _delete_runs(transaction, (task_run, task_run_state, task_run_tag), rows, TASK_RUN)


def _delete_runs(
    transaction: Transaction, tables: tuple[sa.Table, sa.Table, sa.Table], rows: list[Any], kind: int
) -> None:
    run, states, tag_table = tables
    keys = [row.key for row in rows]
    tagged = [
        (transaction.workspace, index_key(tag), row.key)
        for row in rows
        if row.tags
        for tag in msgspec.json.decode(row.tags)
    ]
    if tagged:
        transaction.verbs.delete(transaction.cursor, tag_table, ("workspace_id", "tag", "run_key"), tagged)
    transaction.execute(sa.delete(states).where(states.c.run_key.in_(keys)))
    if kind == FLOW_RUN:
        transaction.execute(sa.delete(attempt).where(attempt.c.flow_run_key.in_(keys)))
        # what was deleted on its way gives back what it holds
        slots.release_held_by(transaction, [row.id for row in rows if row.state_type not in _ENDED])
    transaction.execute(sa.delete(run).where(run.c.key.in_(keys)))
    rollups.change(transaction, [(kind, getattr(row, "flow_key", None), rollups.place_in(row), None) for row in rows])
