"""Reads of runs and their states, in wire objects. One statement per list; every query takes a Scope."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import paging
from riverrun.server.db.names import index_key
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import (
    flow,
    flow_run,
    flow_run_state,
    flow_run_tag,
    task_run,
    task_run_state,
    task_run_tag,
)
from riverrun.server.runs.render import flow_runs_of, states_of, task_runs_of
from riverrun.wire.runs import FlowRun, TaskRun
from riverrun.wire.states import TYPES_BY_CODE, BaseState, StateType

_STATE_FIELDS = ("id", "type", "timestamp", "name", "message", "details", "data")


def _state_columns(states: sa.Table) -> list[sa.ColumnElement[Any]]:
    return [states.c[name].label(f"s_{name}") for name in _STATE_FIELDS]


def _current(run: sa.Table, states: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(states.c.run_key == run.c.key, states.c.seq == run.c.state_seq)


_FLOW_RUN = (
    sa.select(flow_run, flow.c.id.label("flow_id"), *_state_columns(flow_run_state))
    .outerjoin_from(flow_run, flow, flow.c.key == flow_run.c.flow_key)
    .outerjoin(flow_run_state, _current(flow_run, flow_run_state))
)
_TASK_RUN = (
    sa.select(task_run, flow_run.c.id.label("flow_run_id"), *_state_columns(task_run_state))
    .outerjoin_from(task_run, flow_run, flow_run.c.key == task_run.c.flow_run_key)
    .outerjoin(task_run_state, _current(task_run, task_run_state))
)


def _on_page(query: sa.Select[Any], table: sa.Table, page: sa.Subquery) -> sa.Select[Any]:
    """The full rows of a page of keys, in the page's order."""
    return query.join(page, page.c.key == table.c.key).order_by(page.c.expected_start_time.desc(), page.c.key.desc())


def flow_runs(
    connection: sa.Connection,
    scope: Scope,
    *,
    limit: int = 50,
    offset: int = 0,
    state_types: Collection[StateType | str] | None = None,
    state_names: Collection[str] | None = None,
    flow_names: Collection[str] | None = None,
    name: str | None = None,
    tags: Collection[str] | None = None,
    since: datetime | None = None,
) -> list[FlowRun]:
    """Flow runs, newest expected start first. `tags`: all of them; `name`: exactly; `since`: expected start."""
    states, types = paging.state_filter(flow_run, state_types, state_names)
    conditions = [flow_run.c.workspace_id == scope.workspace_id, *states]
    if flow_names:
        wanted = sa.select(flow.c.key).where(
            flow.c.workspace_id == scope.workspace_id, flow.c.name_key.in_([index_key(each) for each in flow_names])
        )
        conditions.append(flow_run.c.flow_key.in_(wanted))
    if name is not None:
        conditions.append(paging.named(flow_run, name))
    if tags:
        conditions += paging.has_tags(flow_run, flow_run_tag, tags, scope)
    if since is not None:
        conditions.append(paging.since(flow_run, since))
    page = paging.page_of(flow_run, conditions, types, limit, offset, few=name is not None)
    # joined last: the page's keys decide which rows are read at all
    query = _on_page(_FLOW_RUN, flow_run, page)
    return flow_runs_of(list(connection.execute(query).all()))


def flow_run_by_id(connection: sa.Connection, scope: Scope, flow_run_id: UUID) -> FlowRun:
    """One flow run; raises ObjectNotFound."""
    query = _FLOW_RUN.where(flow_run.c.id == flow_run_id, flow_run.c.workspace_id == scope.workspace_id)
    rows = connection.execute(query).all()
    if not rows:
        raise ObjectNotFound(f"There is no flow run {flow_run_id} in this store.")
    return flow_runs_of(list(rows))[0]


def find_flow_run(connection: sa.Connection, scope: Scope, ref: UUID | str) -> FlowRun:
    """The flow run that a person means: by id, name or beginning of the id (`paging.resolve`)."""
    return flow_run_by_id(connection, scope, paging.resolve(connection, scope, flow_run, "flow run", ref))


def flow_run_states(connection: sa.Connection, scope: Scope, flow_run_id: UUID) -> list[BaseState]:
    """The states of a flow run in the order they were entered."""
    rows = _states(connection, scope, flow_run, flow_run_state, flow_run_id)
    return states_of(rows, flow_run_id=flow_run_id, task_run_id=None)


def task_runs(
    connection: sa.Connection,
    scope: Scope,
    *,
    flow_run_id: UUID | None = None,
    limit: int = 50,
    offset: int = 0,
    state_types: Collection[StateType | str] | None = None,
    state_names: Collection[str] | None = None,
    name: str | None = None,
    tags: Collection[str] | None = None,
    since: datetime | None = None,
) -> list[TaskRun]:
    """Task runs, newest expected start first; of one flow run with `flow_run_id`. Other filters as for `flow_runs`."""
    states, types = paging.state_filter(task_run, state_types, state_names)
    conditions = [task_run.c.workspace_id == scope.workspace_id, *states]
    if flow_run_id is not None:
        conditions.append(task_run.c.flow_run_key == _key_of(flow_run, flow_run_id))
    if name is not None:
        conditions.append(task_run.c.name == name)
    if tags:
        conditions += paging.has_tags(task_run, task_run_tag, tags, scope)
    if since is not None:
        conditions.append(paging.since(task_run, since))
    page = paging.page_of(task_run, conditions, types, limit, offset)
    query = _on_page(_TASK_RUN, task_run, page)
    return task_runs_of(list(connection.execute(query).all()))


def task_run_by_id(connection: sa.Connection, scope: Scope, task_run_id: UUID) -> TaskRun:
    """One task run; raises ObjectNotFound."""
    query = _TASK_RUN.where(task_run.c.id == task_run_id, task_run.c.workspace_id == scope.workspace_id)
    rows = connection.execute(query).all()
    if not rows:
        raise ObjectNotFound(f"There is no task run {task_run_id} in this store.")
    return task_runs_of(list(rows))[0]


def find_task_run(connection: sa.Connection, scope: Scope, ref: UUID | str) -> TaskRun:
    """The task run that a person means: by id, name or beginning of the id (`paging.resolve`)."""
    return task_run_by_id(connection, scope, paging.resolve(connection, scope, task_run, "task run", ref))


def task_run_states(connection: sa.Connection, scope: Scope, task_run_id: UUID) -> list[BaseState]:
    """The states of a task run in the order they were entered."""
    rows = _states(connection, scope, task_run, task_run_state, task_run_id)
    return states_of(rows, flow_run_id=None, task_run_id=task_run_id)


def counts(connection: sa.Connection, scope: Scope, *, flow_run_id: UUID | None = None) -> dict[StateType | None, int]:
    """How many runs are in each type of state: task runs of one flow run, or all flow runs. None: not in any state yet."""
    if flow_run_id is None:
        table, condition = flow_run, flow_run.c.workspace_id == scope.workspace_id
    else:
        table = task_run
        condition = sa.and_(
            task_run.c.workspace_id == scope.workspace_id, task_run.c.flow_run_key == _key_of(flow_run, flow_run_id)
        )
    query = sa.select(table.c.state_type, sa.func.count()).where(condition).group_by(table.c.state_type)
    return {
        None if code is None else TYPES_BY_CODE[code]: number
        for code, number in sorted(connection.execute(query), key=lambda row: row[0] or 0)
    }


def _key_of(table: sa.Table, run_id: UUID) -> sa.ScalarSelect[Any]:
    return sa.select(table.c.key).where(table.c.id == run_id).scalar_subquery()


def _states(connection: sa.Connection, scope: Scope, run: sa.Table, states: sa.Table, run_id: UUID) -> list[Any]:
    query = (
        sa.select(*_state_columns(states))
        .join_from(run, states, states.c.run_key == run.c.key)
        .where(run.c.id == run_id, run.c.workspace_id == scope.workspace_id)
        .order_by(states.c.seq)
    )
    return list(connection.execute(query).all())
