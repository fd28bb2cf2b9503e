"""Removing runs with everything that hangs on them, in batches that hold the writer only for milliseconds."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.errors import ObjectNotFound
from riverrun.server.db.engine import Database
from riverrun.server.db.names import index_key
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import (
    flow_run,
    flow_run_state,
    flow_run_tag,
    log,
    task_run,
    task_run_state,
    task_run_tag,
)

BATCH_RUNS = 500
BATCH_LOGS = 2000


def delete_flow_run(database: Database, scope: Scope, flow_run_id: UUID) -> int:
    """Delete a flow run with its task runs, states, tags and logs; returns the number of task runs.

    What belongs to it goes first, batch by batch, and the run's own row last: interrupted, it can simply be called again.
    Raises ObjectNotFound. Runs of subflows are runs of their own and stay.
    """
    with database.read() as connection:
        mine = sa.select(flow_run.c.key).where(
            flow_run.c.id == flow_run_id, flow_run.c.workspace_id == scope.workspace_id
        )
        key = connection.execute(mine).scalar()
    if key is None:
        raise ObjectNotFound(f"There is no flow run {flow_run_id} in this store.")
    deleted = 0
    while _delete_logs(database, log.c.flow_run_key == key):
        pass
    while number := _delete_task_runs(database, scope, task_run.c.flow_run_key == key):
        deleted += number
    with database.write() as connection:
        # what was ingested since the last batch goes in this transaction, so that nothing is left without its run
        connection.execute(sa.delete(log).where(log.c.flow_run_key == key))
        keys = connection.execute(
            sa.select(task_run.c.key, task_run.c.tags).where(task_run.c.flow_run_key == key)
        ).all()
        _delete_runs(connection, scope, (task_run, task_run_state, task_run_tag), keys)
        row = connection.execute(sa.select(flow_run.c.key, flow_run.c.tags).where(flow_run.c.key == key)).all()
        _delete_runs(connection, scope, (flow_run, flow_run_state, flow_run_tag), row)
    database.give_back_space()
    return deleted + len(keys)


def _delete_logs(database: Database, condition: sa.ColumnElement[bool]) -> int:
    batch = sa.select(log.c.key).where(condition).limit(BATCH_LOGS)
    with database.write() as connection:
        return connection.execute(sa.delete(log).where(log.c.key.in_(batch))).rowcount


def _delete_task_runs(database: Database, scope: Scope, condition: sa.ColumnElement[bool]) -> int:
    batch = sa.select(task_run.c.key, task_run.c.tags).where(condition).limit(BATCH_RUNS)
    with database.write() as connection:
        rows = connection.execute(batch).all()
        keys = [row.key for row in rows]
        connection.execute(sa.delete(log).where(log.c.task_run_key.in_(keys)))
        _delete_runs(connection, scope, (task_run, task_run_state, task_run_tag), rows)
    return len(rows)


def _delete_runs(connection: sa.Connection, scope: Scope, kind: tuple[sa.Table, sa.Table, sa.Table], rows: Any) -> None:
    run, states, tag_table = kind
    keys = [row.key for row in rows]
    if not keys:
        return
    tagged = [(row.key, tag) for row in rows if row.tags for tag in msgspec.json.decode(row.tags)]
    if tagged:
        one = sa.delete(tag_table).where(
            tag_table.c.workspace_id == scope.workspace_id,
            tag_table.c.tag == sa.bindparam("a_tag"),
            tag_table.c.run_key == sa.bindparam("a_key"),
        )
        connection.execute(one, [{"a_tag": index_key(tag), "a_key": key} for key, tag in tagged])
    connection.execute(sa.delete(states).where(states.c.run_key.in_(keys)))
    connection.execute(sa.delete(run).where(run.c.key.in_(keys)))
