"""Flow runs, task runs and their states over HTTP: what only reads."""

from datetime import datetime
from uuid import UUID

from riverrun.server.db import paging
from riverrun.server.db.filters import Filters, filters_of
from riverrun.server.db.units import Reader
from riverrun.server.http.table import Routes
from riverrun.server.runs import graph, history, listing, queries, sums
from riverrun.server.runs.listing import FLOW_RUNS, TASK_RUNS, Kind
from riverrun.server.runs.why import why
from riverrun.wire.claims import Why
from riverrun.wire.flow_runs import (
    DependencyResult,
    FlowRunPaginationResponse,
    FlowRunResponse,
    Graph,
    HistoryResponse,
)
from riverrun.wire.requests import (
    FlowRunsCountBody,
    FlowRunsFilterBody,
    FlowRunsHistoryBody,
    FlowRunsLatenessBody,
    FlowRunsPaginateBody,
    TaskRunsCountBody,
    TaskRunsFilterBody,
    TaskRunsHistoryBody,
    TaskRunsPaginateBody,
)
from riverrun.wire.task_runs import TaskRunPaginationResponse, TaskRunResponse
from riverrun.wire.transitions import StateResponse

_flow_runs = Routes("/flow_runs", "Flow Runs")
_task_runs = Routes("/task_runs", "Task Runs")
_flow_run_states = Routes("/flow_run_states", "Flow Run States")
_task_run_states = Routes("/task_run_states", "Task Run States")


@_flow_runs.get("/{id}", permission="flow_runs:read", returns=FlowRunResponse, errors=(404,))
def read_flow_run(reader: Reader, id: UUID) -> FlowRunResponse:
    return queries.flow_run_answer(reader, id)


@_flow_runs.get("/{id}/why", permission="flow_runs:read", returns=Why, errors=(404,))
def why_flow_run(reader: Reader, id: UUID) -> Why:
    """Why a run is not running: in one sentence, and as data."""
    return why(reader, id)


@_task_runs.get("/{id}", permission="task_runs:read", returns=TaskRunResponse, errors=(404,))
def read_task_run(reader: Reader, id: UUID) -> TaskRunResponse:
    return queries.task_run_answer(reader, id)


@_flow_runs.post("/filter", permission="flow_runs:read", returns=list[FlowRunResponse])
def filter_flow_runs(reader: Reader, body: FlowRunsFilterBody) -> list[FlowRunResponse]:
    """A page of flow runs."""
    return listing.flow_run_answers(reader, filters_of(body), body.sort, body.limit, body.offset)


@_flow_runs.post("/count", permission="flow_runs:read", returns=int)
def count_flow_runs(reader: Reader, body: FlowRunsCountBody) -> int:
    return _count(reader, FLOW_RUNS, filters_of(body))


@_flow_runs.post("/paginate", permission="flow_runs:read", returns=FlowRunPaginationResponse)
def paginate_flow_runs(reader: Reader, body: FlowRunsPaginateBody) -> FlowRunPaginationResponse:
    """A page of flow runs by its number, with the number of all."""
    filters, limit = filters_of(body), paging.page_size(body.limit)
    count = _count(reader, FLOW_RUNS, filters)
    found = listing.flow_run_answers(reader, filters, body.sort, limit, paging.offset_of(body.page, limit))
    pages = paging.pages(count, limit)
    return FlowRunPaginationResponse(results=found, count=count, limit=limit, pages=pages, page=body.page)


@_flow_runs.post("/history", permission="flow_runs:read", returns=list[HistoryResponse])
def flow_run_history(reader: Reader, body: FlowRunsHistoryBody) -> list[HistoryResponse]:
    """Flow runs by interval of their expected start, and state."""
    span = (body.history_start, body.history_end, body.history_interval_seconds)
    return history.history(reader, FLOW_RUNS, filters_of(body), *span)


@_flow_runs.post("/lateness", permission="flow_runs:read", returns=float | None)
def flow_run_lateness(reader: Reader, body: FlowRunsLatenessBody) -> float | None:
    """The average lateness in seconds."""
    return history.lateness_average(reader, filters_of(body))


@_flow_runs.get("/{id}/graph", permission="flow_runs:read", returns=list[DependencyResult], errors=(400, 404))
def flow_run_dependencies(reader: Reader, id: UUID) -> list[DependencyResult]:
    """The task runs of a flow run with what they took from."""
    return graph.dependencies(reader, id)


@_flow_runs.get("/{id}/graph-v2", permission="flow_runs:read", returns=Graph, errors=(400, 404))
def flow_run_graph(reader: Reader, id: UUID, since: datetime | None = None) -> Graph:
    """The graph of a flow run; `since` leaves out what ended before."""
    return graph.graph(reader, id, since)


@_task_runs.post("/filter", permission="task_runs:read", returns=list[TaskRunResponse])
def filter_task_runs(reader: Reader, body: TaskRunsFilterBody) -> list[TaskRunResponse]:
    """A page of task runs."""
    return listing.task_run_answers(reader, filters_of(body), body.sort, body.limit, body.offset)


@_task_runs.post("/count", permission="task_runs:read", returns=int)
def count_task_runs(reader: Reader, body: TaskRunsCountBody) -> int:
    return _count(reader, TASK_RUNS, filters_of(body))


@_task_runs.post("/paginate", permission="task_runs:read", returns=TaskRunPaginationResponse)
def paginate_task_runs(reader: Reader, body: TaskRunsPaginateBody) -> TaskRunPaginationResponse:
    """A page of task runs by its number, with the number of all."""
    filters, limit = filters_of(body), paging.page_size(body.limit)
    count = _count(reader, TASK_RUNS, filters)
    found = listing.task_run_answers(reader, filters, body.sort, limit, paging.offset_of(body.page, limit))
    pages = paging.pages(count, limit)
    return TaskRunPaginationResponse(results=found, count=count, limit=limit, pages=pages, page=body.page)


@_task_runs.post("/history", permission="task_runs:read", returns=list[HistoryResponse])
def task_run_history(reader: Reader, body: TaskRunsHistoryBody) -> list[HistoryResponse]:
    """Task runs by interval of their expected start, and state."""
    span = (body.history_start, body.history_end, body.history_interval_seconds)
    return history.history(reader, TASK_RUNS, filters_of(body), *span)


@_flow_run_states.get("/", permission="flow_runs:read", returns=list[StateResponse])
def read_flow_run_states(reader: Reader, flow_run_id: UUID) -> list[StateResponse]:
    """The states of a flow run in the order they were entered."""
    return queries.state_answers(reader, flow_run_id, task=False)


@_flow_run_states.get("/{id}", permission="flow_runs:read", returns=StateResponse, errors=(404,))
def read_flow_run_state(reader: Reader, id: UUID) -> StateResponse:
    return queries.state_answer(reader, id, task=False)


@_task_run_states.get("/", permission="task_runs:read", returns=list[StateResponse])
def read_task_run_states(reader: Reader, task_run_id: UUID) -> list[StateResponse]:
    """The states of a task run in the order they were entered."""
    return queries.state_answers(reader, task_run_id, task=True)


@_task_run_states.get("/{id}", permission="task_runs:read", returns=StateResponse, errors=(404,))
def read_task_run_state(reader: Reader, id: UUID) -> StateResponse:
    return queries.state_answer(reader, id, task=True)


def _count(reader: Reader, kind: Kind, filters: Filters) -> int:
    number = sums.count(reader, kind, filters)
    return listing.count(reader, kind, filters) if number is None else number


routes = [*_flow_runs, *_task_runs, *_flow_run_states, *_task_run_states]
