"""Reads of runs and their states, in wire objects. One statement per list; every query takes a Scope."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import now, to_micros
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
    work_pool,
    work_queue,
)
from riverrun.server.db.units import Reader
from riverrun.server.runs.render import (
    flow_run_answers_of,
    flow_runs_of,
    state_answers_of,
    states_of,
    task_run_answers_of,
    task_runs_of,
)
from riverrun.wire.flow_runs import FlowRunResponse
from riverrun.wire.runs import FlowRun, TaskRun
from riverrun.wire.states import TYPES_BY_CODE, BaseState, StateType
from riverrun.wire.task_runs import TaskRunResponse
from riverrun.wire.transitions import StateResponse

_STATE_FIELDS = ("id", "type", "timestamp", "name", "message", "details", "data")


def state_columns(states: sa.Table) -> list[sa.ColumnElement[Any]]:
    """The columns of a state as `render` reads them."""
    return [states.c[name].label(f"s_{name}") for name in _STATE_FIELDS]


def _current(run: sa.Table, states: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(states.c.run_key == run.c.key, states.c.seq == run.c.state_seq)


#: the rows that `render` takes
FLOW_RUN = (
    sa.select(
        flow_run,
        flow.c.id.label("flow_id"),
        work_queue.c.name.label("work_queue_name"),
        work_pool.c.id.label("work_pool_id"),
        work_pool.c.name.label("work_pool_name"),
        *state_columns(flow_run_state),
    )
    .outerjoin_from(flow_run, flow, flow.c.key == flow_run.c.flow_key)
    .outerjoin(flow_run_state, _current(flow_run, flow_run_state))
    .outerjoin(work_queue, work_queue.c.id == flow_run.c.work_queue_id)
    .outerjoin(work_pool, work_pool.c.id == work_queue.c.work_pool_id)
)
TASK_RUN = (
    sa.select(
        task_run,
        # a task run is changed by its states only
        sa.literal_column("NULL").label("updated"),
        flow_run.c.id.label("flow_run_id"),
        flow.c.id.label("flow_id"),
        *state_columns(task_run_state),
    )
    .outerjoin_from(task_run, flow_run, flow_run.c.key == task_run.c.flow_run_key)
    .outerjoin(flow, flow.c.key == flow_run.c.flow_key)
    .outerjoin(task_run_state, _current(task_run, task_run_state))
)


def _now() -> int:
    return to_micros(now())


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
    query = _on_page(FLOW_RUN, flow_run, page)
    return flow_runs_of(list(connection.execute(query).all()), _now())


def flow_run_by_id(connection: sa.Connection, scope: Scope, flow_run_id: UUID) -> FlowRun:
    """One flow run; raises ObjectNotFound."""
    query = FLOW_RUN.where(flow_run.c.id == flow_run_id, flow_run.c.workspace_id == scope.workspace_id)
    rows = connection.execute(query).all()
    if not rows:
        raise ObjectNotFound(f"There is no flow run {flow_run_id} in this store.")
    return flow_runs_of(list(rows), _now())[0]


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
    query = _on_page(TASK_RUN, task_run, page)
    return task_runs_of(list(connection.execute(query).all()), _now())


def task_run_by_id(connection: sa.Connection, scope: Scope, task_run_id: UUID) -> TaskRun:
    """One task run; raises ObjectNotFound."""
    query = TASK_RUN.where(task_run.c.id == task_run_id, task_run.c.workspace_id == scope.workspace_id)
    rows = connection.execute(query).all()
    if not rows:
        raise ObjectNotFound(f"There is no task run {task_run_id} in this store.")
    return task_runs_of(list(rows), _now())[0]


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
        sa.select(*state_columns(states))
        .join_from(run, states, states.c.run_key == run.c.key)
        .where(run.c.id == run_id, run.c.workspace_id == scope.workspace_id)
        .order_by(states.c.seq)
    )
    return list(connection.execute(query).all())


# -- answers of the REST interface --------------------------------------------------------------------------------------------

_ID: sa.BindParameter[UUID] = sa.bindparam("id")
_WORKSPACE: sa.BindParameter[int] = sa.bindparam("workspace")
#: statements of what is asked most are built once
_ONE_FLOW_RUN = FLOW_RUN.where(flow_run.c.id == _ID, flow_run.c.workspace_id == _WORKSPACE)
_ONE_TASK_RUN = TASK_RUN.where(task_run.c.id == _ID, task_run.c.workspace_id == _WORKSPACE)
_FLOW_RUN_STATE = sa.select(
    *state_columns(flow_run_state),
    flow_run.c.id.label("run_id"),
    flow_run.c.id.label("flow_run_id"),
    flow_run.c.parent_task_run_id.label("task_run_id"),
).join_from(flow_run_state, flow_run, flow_run.c.key == flow_run_state.c.run_key)
_TASK_RUN_STATE = (
    sa.select(
        *state_columns(task_run_state),
        task_run.c.id.label("run_id"),
        flow_run.c.id.label("flow_run_id"),
        task_run.c.id.label("task_run_id"),
    )
    .join_from(task_run_state, task_run, task_run.c.key == task_run_state.c.run_key)
    .outerjoin(flow_run, flow_run.c.key == task_run.c.flow_run_key)
)


def flow_run_answer(reader: Reader, flow_run_id: UUID) -> FlowRunResponse:
    """One flow run; raises ObjectNotFound."""
    row = reader.row(_ONE_FLOW_RUN, {"id": flow_run_id, "workspace": reader.workspace})
    if row is None:
        raise ObjectNotFound(f"There is no flow run {flow_run_id}.")
    return flow_run_answers_of([row], reader.now)[0]


def flow_run_answers(reader: Reader, flow_run_ids: Collection[UUID]) -> list[FlowRunResponse]:
    """Several flow runs in the order of the ids, in one statement; what is not there is left out."""
    if not flow_run_ids:
        return []
    query = FLOW_RUN.where(flow_run.c.id.in_(flow_run_ids), flow_run.c.workspace_id == reader.workspace)
    found = {run.id: run for run in flow_run_answers_of(reader.rows(query), reader.now)}
    return [found[run_id] for run_id in flow_run_ids if run_id in found]


def task_run_answer(reader: Reader, task_run_id: UUID) -> TaskRunResponse:
    """One task run; raises ObjectNotFound."""
    row = reader.row(_ONE_TASK_RUN, {"id": task_run_id, "workspace": reader.workspace})
    if row is None:
        raise ObjectNotFound(f"There is no task run {task_run_id}.")
    return task_run_answers_of([row], reader.now)[0]


def _answered_states(reader: Reader, *, task: bool, condition: sa.ColumnElement[bool]) -> list[Any]:
    query, run, states = (
        (_TASK_RUN_STATE, task_run, task_run_state) if task else (_FLOW_RUN_STATE, flow_run, flow_run_state)
    )
    rows = reader.rows(query.where(run.c.workspace_id == reader.workspace, condition).order_by(states.c.seq))
    return state_answers_of(rows, task=task)


def state_answers(reader: Reader, run_id: UUID, *, task: bool) -> list[StateResponse]:
    """The states of a run in the order they were entered; none of a run that is not there."""
    return _answered_states(reader, task=task, condition=(task_run if task else flow_run).c.id == run_id)


def state_answer(reader: Reader, state_id: UUID, *, task: bool) -> StateResponse:
    """One state; raises ObjectNotFound."""
    states = _answered_states(
        reader, task=task, condition=(task_run_state if task else flow_run_state).c.id == state_id
    )
    if not states:
        raise ObjectNotFound(f"There is no state {state_id} of a {'task' if task else 'flow'} run.")
    found: StateResponse = states[0]
    return found
