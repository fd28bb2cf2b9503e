"""Changing flow runs over HTTP: making them, their states, their fields."""

from typing import Any
from uuid import UUID

from msgspec import Struct, structs

from riverrun.base.errors import ObjectNotFound
from riverrun.server.db.filters import Filters
from riverrun.server.db.units import Transaction
from riverrun.server.deployments import running
from riverrun.server.http.table import Call, Reply, Routes
from riverrun.server.runs import changes, listing, queries, resuming, retention, transitions
from riverrun.server.runs.creation import FlowRunFields, create_flow_run
from riverrun.server.templates.hydration import variable_names
from riverrun.server.variables.logic import values_of
from riverrun.server.work.lookup import queue_id
from riverrun.wire.flow_runs import (
    FlowRunBulkDeleteResponse,
    FlowRunBulkSetStateResponse,
    FlowRunCreate,
    FlowRunOrchestrationResult,
    FlowRunResponse,
    FlowRunUpdate,
)
from riverrun.wire.requests import (
    FlowRunsBulkDeleteBody,
    FlowRunsBulkSetStateBody,
    FlowRunsResumeBody,
    FlowRunsSetStateBody,
)
from riverrun.wire.transitions import OrchestrationResult

routes = Routes("/flow_runs", "Flow Runs")
Labels = dict[str, bool | int | float | str]
#: how many runs one bulk request changes
BULK_LIMIT = 200


class BeginBody(Struct, kw_only=True):
    """Which journal will tell of the run; `transition_id` makes the request repeatable. `fence` is that of the claim by which the
    run was handed to this process."""

    writer: UUID
    transition_id: UUID
    fence: int | None = None


@routes.post("/", permission="flow_runs:write", status=201, also=(200,), returns=FlowRunResponse, errors=(404,))
def create(transaction: Transaction, body: FlowRunCreate) -> Reply:
    run_id, is_new = create_flow_run(
        transaction,
        FlowRunFields(
            flow_id=body.flow_id,
            state=body.state,
            name=body.name,
            flow_version=body.flow_version,
            parameters=body.parameters,
            context=body.context,
            parent_task_run_id=body.parent_task_run_id,
            infrastructure_document_id=body.infrastructure_document_id,
            empirical_policy=body.empirical_policy,
            tags=body.tags,
            labels=body.labels or {},
            idempotency_key=body.idempotency_key,
            job_variables=body.job_variables,
            deployment_id=body.deployment_id,
            work_queue_id=queue_id(transaction, body.work_pool_name, body.work_queue_name),
        ),
    )
    return Reply(value=queries.flow_run_answer(transaction, run_id), status=201 if is_new else 200)


@routes.patch("/{id}", permission="flow_runs:write", status=204, errors=(400, 404))
async def update(call: Call, id: UUID, body: FlowRunUpdate) -> None:
    if isinstance(body.job_variables, dict):
        await running.check_variables_of(call.store, call.caller, id, body.job_variables)
    await call.store.write(lambda transaction: changes.update_flow_run(transaction, id, body), call.caller)


@routes.patch("/{id}/labels", permission="flow_runs:write", status=204, errors=(404,))
def update_labels(transaction: Transaction, id: UUID, body: Labels) -> None:
    changes.update_labels(transaction, id, body)


@routes.delete("/{id}", permission="flow_runs:delete", status=204, errors=(404,))
async def delete(call: Call, id: UUID) -> None:
    await _delete(call, id)


@routes.post("/bulk_delete", permission="flow_runs:delete", returns=FlowRunBulkDeleteResponse)
async def bulk_delete(call: Call, body: FlowRunsBulkDeleteBody) -> FlowRunBulkDeleteResponse:
    """Delete the runs that the filter finds, at most `limit` of them."""
    filters = Filters(flow_runs=body.flow_runs)
    found = await call.store.read(lambda reader: listing.flow_run_ids(reader, filters, body.limit), call.caller)
    for run_id in found:
        await _delete(call, run_id)
    return FlowRunBulkDeleteResponse(deleted=found)


async def _delete(call: Call, run_id: UUID) -> None:
    """Delete a run in batches, each a bulk unit, so that no request waits behind a large run."""
    while not await call.store.write(lambda tx: retention.delete_some(tx, run_id), call.caller, bulk=True):
        pass


@routes.post(
    "/{id}/set_state", permission="flow_runs:run", status=201, also=(200,), returns=OrchestrationResult, errors=(404,)
)
def set_state(transaction: Transaction, id: UUID, body: FlowRunsSetStateBody) -> Reply:
    """Propose a state; the answer tells what holds now and what to do."""
    return _answered(transitions.set_flow_run_state(transaction, id, body.state, force=body.force))


@routes.post("/bulk_set_state", permission="flow_runs:run", returns=FlowRunBulkSetStateResponse)
def bulk_set_state(transaction: Transaction, body: FlowRunsBulkSetStateBody) -> FlowRunBulkSetStateResponse:
    """Propose one state for each of the runs that the filter finds, at most `limit` of them."""
    results = []
    for run_id in listing.flow_run_ids(transaction, Filters(flow_runs=body.flow_runs), min(body.limit, BULK_LIMIT)):
        try:
            result, _ = transitions.set_flow_run_state(transaction, run_id, body.state, force=body.force)
        except ObjectNotFound:
            continue  # deleted meanwhile
        results.append(FlowRunOrchestrationResult(flow_run_id=run_id, **structs.asdict(result)))
    return FlowRunBulkSetStateResponse(results=results)


@routes.post(
    "/{id}/resume", permission="flow_runs:run", status=201, also=(200,), returns=OrchestrationResult, errors=(404,)
)
async def resume(call: Call, id: UUID, body: FlowRunsResumeBody | None) -> Reply:
    """Let a paused run go on, with the input that it waits for."""
    given = (None if body is None else body.run_input) or {}
    want, variables = await call.store.read(
        lambda reader: (resuming.wanted(reader, id), values_of(reader, variable_names(given))), call.caller
    )
    value, problem = (None, None) if want is None else await resuming.checked(given, want, variables)
    return _answered(await call.store.write(lambda tx: resuming.resume(tx, id, want, value, problem), call.caller))


@routes.post("/{id}/begin", permission="flow_runs:run", returns=dict[str, Any], errors=(404,))
def begin(transaction: Transaction, id: UUID, body: BeginBody) -> dict[str, Any]:
    """Start a run in a process of riverrun: as a proposal of Running, and the run now belongs to that process."""
    result, _ = changes.begin(transaction, id, body.writer, body.transition_id, body.fence)
    return {
        "state": result.state,
        "status": result.status,
        "details": result.details,
        "flow_run": queries.flow_run_answer(transaction, id),
    }


def _answered(outcome: tuple[OrchestrationResult, bool]) -> Reply:
    result, written = outcome
    return Reply(value=result, status=201 if written else 200)
