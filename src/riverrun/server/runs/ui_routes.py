"""Sums over runs that pages for people draw: one statement each."""

from collections import defaultdict
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Meta, Struct

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.filter_fields import started
from riverrun.server.db.filters import filters_of
from riverrun.server.db.units import Reader
from riverrun.server.http.errors import HTTPError
from riverrun.server.http.table import Routes
from riverrun.server.runs import history, listing, queries, render, sums
from riverrun.server.runs.listing import FLOW_RUNS, TASK_RUNS
from riverrun.server.runs.rollups import EXPECTED, STARTED
from riverrun.wire.filters import TaskRunFilterState, TaskRunFilterStateType
from riverrun.wire.flow_runs import CountByState, SimpleFlowRun, SimpleNextFlowRun
from riverrun.wire.requests import (
    UiFlowRunsHistoryBody,
    UiTaskRunsCountBody,
    UiTaskRunsDashboardCountsBody,
)
from riverrun.wire.states import DEFAULT_NAMES, TERMINAL_STATES, TYPE_CODES, TYPES_BY_CODE, StateType
from riverrun.wire.task_runs import TaskRunCount, TaskRunResponse

_flow_runs = Routes("/ui/flow_runs", "Flow Runs")
_flows = Routes("/ui/flows", "Flows")
_task_runs = Routes("/ui/task_runs", "Task Runs")
#: parts of the time that the dashboard shows
_PARTS = 20
_LONGEST = 1000
_MINUTE = 60 * history.SECOND
_FAILED = [TYPE_CODES[kind] for kind in (StateType.FAILED, StateType.CRASHED)]
_SCHEDULED = TYPE_CODES[StateType.SCHEDULED]
Ids = Annotated[list[UUID], Meta(max_length=200)]


class FlowIds(Struct, kw_only=True):
    """Which flows are asked about."""

    flow_ids: Ids


class FlowRunIds(Struct, kw_only=True):
    """Which flow runs are asked about."""

    flow_run_ids: Ids


class UITaskRun(TaskRunResponse, kw_only=True):
    """A task run with the name of its flow run."""

    flow_run_name: str | None = None


@_flow_runs.post("/history", permission="flow_runs:read", returns=list[SimpleFlowRun])
def read_flow_run_history(reader: Reader, body: UiFlowRunsHistoryBody) -> list[SimpleFlowRun]:
    """Flow runs as points in a diagram."""
    run = t.flow_run
    query = sa.select(
        run.c.id,
        run.c.state_type,
        started(run).label("timestamp"),
        sums.run_time(run, reader.now).label("duration"),
        sums.lateness(run, reader.now).label("lateness"),
    )
    rows = listing.rows(reader, FLOW_RUNS, query, filters_of(body), body.sort, body.limit, body.offset, _LONGEST)
    return [
        SimpleFlowRun(
            id=row.id,
            state_type=TYPES_BY_CODE[row.state_type],
            timestamp=from_micros(row.timestamp),
            duration=row.duration / history.SECOND,
            lateness=row.lateness / history.SECOND,
        )
        for row in rows
        if row.state_type in TYPES_BY_CODE
    ]


@_flow_runs.post("/count-task-runs", permission="task_runs:read", returns=dict[str, int])
def count_task_runs_by_flow_run(reader: Reader, body: FlowRunIds) -> dict[UUID, int]:
    """How many task runs each flow run has, those that stand for subflow runs left out."""
    task, run, child = t.task_run, t.flow_run, t.flow_run.alias("child")
    is_subflow = sa.exists().where(child.c.parent_task_run_id == task.c.id)
    query = (
        sa.select(run.c.id, sa.func.count().label("n"))
        .join_from(run, task, task.c.flow_run_key == run.c.key)
        .where(run.c.id.in_(body.flow_run_ids), run.c.workspace_id == reader.workspace, sa.not_(is_subflow))
        .group_by(run.c.id)
    )
    return _by_id(reader, body.flow_run_ids, query)


def _by_id(reader: Reader, ids: list[UUID], query: sa.Select[Any]) -> dict[UUID, int]:
    numbers = {row.id: row.n for row in reader.rows(query)}
    return {each: numbers.get(each, 0) for each in ids}


@_flows.post("/count-deployments", permission="deployments:read", returns=dict[str, int])
def count_deployments_by_flow(reader: Reader, body: FlowIds) -> dict[UUID, int]:
    """How many deployments each flow has."""
    deployment = t.deployment
    query = (
        sa.select(deployment.c.flow_id.label("id"), sa.func.count().label("n"))
        .where(deployment.c.flow_id.in_(body.flow_ids), deployment.c.workspace_id == reader.workspace)
        .group_by(deployment.c.flow_id)
    )
    return _by_id(reader, body.flow_ids, query)


@_flows.post("/next-runs", permission="flow_runs:read", returns=dict[str, SimpleNextFlowRun | None])
def next_runs_by_flow(reader: Reader, body: FlowIds) -> dict[UUID, SimpleNextFlowRun | None]:
    """The scheduled run of each flow that comes first."""
    run, flow = t.flow_run, t.flow
    scheduled = run.c.next_scheduled_start_time
    query = (
        sa.select(
            flow.c.id.label("flow_id"), run.c.id, run.c.name, run.c.state_type, run.c.state_name, scheduled.label("at")
        )
        .join_from(run, flow, flow.c.key == run.c.flow_key)
        .where(
            run.c.workspace_id == reader.workspace,
            run.c.state_type == _SCHEDULED,
            scheduled.is_not(None),
            flow.c.id.in_(body.flow_ids),
        )
        .order_by(scheduled, run.c.key)
    )
    first: dict[UUID, Any] = {}
    for row in reader.rows(query):
        first.setdefault(row.flow_id, row)
    return {flow_id: _next_run(first[flow_id]) if flow_id in first else None for flow_id in body.flow_ids}


def _next_run(row: Any) -> SimpleNextFlowRun:
    kind = TYPES_BY_CODE[row.state_type]
    return SimpleNextFlowRun(
        id=row.id,
        flow_id=row.flow_id,
        name=row.name or "",
        state_name=row.state_name or DEFAULT_NAMES[kind],
        state_type=kind,
        next_scheduled_start_time=from_micros(row.at),
    )


@_task_runs.post("/dashboard/counts", permission="task_runs:read", returns=list[TaskRunCount])
def read_dashboard_task_run_counts(reader: Reader, body: UiTaskRunsDashboardCountsBody) -> list[TaskRunCount]:
    """Finished task runs since `task_runs.start_time.after_` in twenty parts: how many completed, how many failed."""
    span = body.task_runs.start_time
    if span is None or span.after_ is None:
        raise HTTPError(422, "task_runs.start_time.after_ is required")
    kinds = TaskRunFilterStateType(any_=sorted(TERMINAL_STATES))
    body.task_runs.state = TaskRunFilterState(type=kinds)
    start = to_micros(span.after_) // _MINUTE * _MINUTE
    end = (reader.now if span.before_ is None else to_micros(span.before_)) // _MINUTE * _MINUTE + _MINUTE
    counts = [{"completed": 0, "failed": 0} for _ in range(_PARTS)]
    grid = sums.Grid(start, max(end - start, 1), _PARTS, _PARTS)
    for cell in sums.cells(reader, TASK_RUNS, filters_of(body), STARTED, grid):
        counts[cell.index]["failed" if cell.state_type in _FAILED else "completed"] += cell.n
    return counts


@_task_runs.post("/count", permission="task_runs:read", returns=CountByState)
def read_task_run_counts_by_state(reader: Reader, body: UiTaskRunsCountBody) -> CountByState:
    """How many task runs are in each type of state."""
    numbers: dict[str, int] = defaultdict(int)
    by_start = body.task_runs is not None and body.task_runs.start_time is not None
    for cell in sums.cells(reader, TASK_RUNS, filters_of(body), STARTED if by_start else EXPECTED, sums.Grid()):
        numbers[TYPES_BY_CODE[cell.state_type].value] += cell.n
    return CountByState(**numbers)


@_task_runs.get("/{id}", permission="task_runs:read", returns=UITaskRun, errors=(404,))
def read_task_run_with_flow_run_name(reader: Reader, id: UUID) -> UITaskRun:
    """A task run with the name of its flow run."""
    run = t.task_run
    query = queries.TASK_RUN.add_columns(t.flow_run.c.name.label("flow_run_name"))
    row = reader.row(query.where(run.c.id == id, run.c.workspace_id == reader.workspace))
    if row is None:
        raise ObjectNotFound(f"There is no task run {id}.")
    (answer,) = render.task_run_answers_of([row], reader.now)
    fields = {name: getattr(answer, name) for name in TaskRunResponse.__struct_fields__}
    return UITaskRun(**fields, flow_run_name=row.flow_run_name)


routes = [*_flow_runs, *_flows, *_task_runs]
