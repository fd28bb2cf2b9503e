"""Flow runs, task runs and their states over HTTP: what only reads."""

from uuid import UUID

from riverrun.server.db.units import Reader
from riverrun.server.http.table import Routes
from riverrun.server.runs import queries
from riverrun.wire.flow_runs import FlowRunResponse
from riverrun.wire.task_runs import TaskRunResponse
from riverrun.wire.transitions import StateResponse

_flow_runs = Routes("/flow_runs", "Flow Runs")
_task_runs = Routes("/task_runs", "Task Runs")
_flow_run_states = Routes("/flow_run_states", "Flow Run States")
_task_run_states = Routes("/task_run_states", "Task Run States")


@_flow_runs.get("/{id}", permission="flow_runs:read", returns=FlowRunResponse, errors=(404,))
def read_flow_run(reader: Reader, id: UUID) -> FlowRunResponse:
    return queries.flow_run_answer(reader, id)


@_task_runs.get("/{id}", permission="task_runs:read", returns=TaskRunResponse, errors=(404,))
def read_task_run(reader: Reader, id: UUID) -> TaskRunResponse:
    return queries.task_run_answer(reader, id)


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


routes = [*_flow_runs, *_task_runs, *_flow_run_states, *_task_run_states]
