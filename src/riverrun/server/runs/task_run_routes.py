"""Changing task runs over HTTP: subflows' task runs, background tasks, older clients."""

from uuid import UUID

from riverrun.server.db.units import Transaction
from riverrun.server.http.table import Reply, Routes
from riverrun.server.runs import changes, queries, retention, transitions
from riverrun.server.runs.creation import create_task_run
from riverrun.wire.requests import TaskRunsSetStateBody
from riverrun.wire.task_runs import TaskRunCreate, TaskRunResponse, TaskRunUpdate
from riverrun.wire.transitions import OrchestrationResult

routes = Routes("/task_runs", "Task Runs")


@routes.post("/", permission="task_runs:write", status=201, also=(200,), returns=TaskRunResponse, errors=(404,))
def create(transaction: Transaction, body: TaskRunCreate) -> Reply:
    run_id, is_new = create_task_run(transaction, body)
    return Reply(value=queries.task_run_answer(transaction, run_id), status=201 if is_new else 200)


@routes.patch("/{id}", permission="task_runs:write", status=204, errors=(404,))
def update(transaction: Transaction, id: UUID, body: TaskRunUpdate) -> None:
    changes.update_task_run(transaction, id, body)


@routes.delete("/{id}", permission="task_runs:delete", status=204, errors=(404,))
def delete(transaction: Transaction, id: UUID) -> None:
    retention.delete_task_run(transaction, id)


@routes.post(
    "/{id}/set_state", permission="task_runs:run", status=201, also=(200,), returns=OrchestrationResult, errors=(404,)
)
def set_state(transaction: Transaction, id: UUID, body: TaskRunsSetStateBody) -> Reply:
    """Propose a state; the answer tells what holds now and what to do."""
    result, written = transitions.set_task_run_state(transaction, id, body.state, force=body.force)
    return Reply(value=result, status=201 if written else 200)
