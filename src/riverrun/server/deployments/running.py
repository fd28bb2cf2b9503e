"""Runs of deployments: what a request adds to a deployment, settled, checked, and made into a run.

Settling may start a process (`templates.settle`), so it is done between two units: what is read first is looked at again only as
far as it matters, when the run is made.
"""

from typing import Any
from uuid import UUID

from msgspec import Struct

from riverrun.base.clock import now
from riverrun.base.errors import ObjectNotFound, RiverrunError
from riverrun.server.db.json_text import from_text
from riverrun.server.db.units import Caller, Reader, Transaction
from riverrun.server.deployments import queries
from riverrun.server.http.errors import HTTPError
from riverrun.server.runs.creation import FlowRunFields, create_flow_run
from riverrun.server.runs.queries import flow_run_answer
from riverrun.server.store import Store
from riverrun.server.templates.hydration import variable_names
from riverrun.server.templates.settle import Outcome, Request, settle
from riverrun.server.variables import logic as variables
from riverrun.server.work import queues
from riverrun.server.work.template import check_variables
from riverrun.wire.deployments import DeploymentFlowRunCreate
from riverrun.wire.flow_runs import FlowRunCreateResult
from riverrun.wire.states import StateDetails, StateType
from riverrun.wire.transitions import StateCreate

#: how many runs one request makes
MOST = 100


class Prepared(Struct):
    """What is known of a run before it is made."""

    row: Any
    body: DeploymentFlowRunCreate
    parameters: dict[str, Any]


async def prepare(store: Store, caller: Caller, row: Any, body: DeploymentFlowRunCreate) -> Prepared:
    """Merge and check what a run is to be made of; raises HTTPError."""
    parameters = await settled_parameters(
        store,
        caller,
        {**from_text(row.parameters, {}), **body.parameters},
        schema=from_text(row.parameter_schema, {}),
        enforce=bool(row.enforce_parameter_schema)
        if body.enforce_parameter_schema is None
        else body.enforce_parameter_schema,
        what="flow run",
    )
    template = from_text(row.pool_template, {})
    own = from_text(row.job_variables, {})
    await check_variables(template, own, body.job_variables, what="creating flow run", required=True)
    if body.work_queue_name and row.pool_name is None:
        raise HTTPError(
            400,
            f"The run cannot go into the work queue {body.work_queue_name!r}: deployment {row.name!r} is not associated with a "
            "work pool. Leave out work_queue_name.",
        )
    return Prepared(row, body, parameters)


async def check_variables_of(store: Store, caller: Caller, flow_run_id: UUID, given: dict[str, Any]) -> None:
    """Whether a run may get these job variables: one that waits, of a deployment, whose pool takes them. Raises HTTPError."""

    def unit(reader: Reader) -> Any:
        run = flow_run_answer(reader, flow_run_id)
        if run.state_type is not StateType.SCHEDULED:
            now = "no state" if run.state_type is None else f"the state {run.state_type.value}"
            raise HTTPError(400, f"The flow run is in {now}; job variables can be changed while it is SCHEDULED.")
        try:
            return queries.find(reader, run.deployment_id) if run.deployment_id else None
        except ObjectNotFound:
            return None

    row = await store.read(unit, caller)
    if row is None:
        raise HTTPError(400, "The flow run has no deployment, whose work pool would take job variables.")
    own = from_text(row.job_variables, {})
    await check_variables(from_text(row.pool_template, {}), own, given, what="updating flow run", required=True)


async def settled_parameters(
    store: Store,
    caller: Caller,
    given: dict[str, Any],
    *,
    schema: dict[str, Any],
    enforce: bool,
    what: str,
    required: bool = True,
) -> dict[str, Any]:
    """Parameters with their forms replaced, held against the schema if it is enforced; raises HTTPError."""
    names = variable_names(given)
    known = await store.read(lambda reader: variables.values_of(reader, names), caller) if names else {}
    outcome = await settle(Request(value=given, variables=known, schema=schema if enforce else None, required=required))
    return _parameters(outcome, what)


def _parameters(outcome: Outcome, what: str) -> dict[str, Any]:
    if outcome.form_error is not None:
        raise HTTPError(400, f"Error hydrating {what} parameters: {outcome.form_error}")
    if outcome.schema_error is not None:
        raise HTTPError(422, outcome.schema_error)
    if outcome.problem is not None:
        raise HTTPError(409, f"Error {'creating' if what == 'flow run' else 'updating'} {what}: {outcome.problem}")
    result: dict[str, Any] = outcome.value
    return result


def make(transaction: Transaction, prepared: Prepared) -> tuple[UUID, bool]:
    """Make the run; its id, and whether this call made it. Raises ObjectNotFound for a deployment that is gone."""
    row, body = prepared.row, prepared.body
    row = queries.find(transaction, row.id)
    queue_id = row.work_queue_id
    if body.work_queue_name and body.work_queue_name != row.queue_name:
        queue_id = queues.id_of(transaction, row.pool_name, body.work_queue_name, make=True)
    state = body.state or StateCreate(type=StateType.SCHEDULED, state_details=StateDetails(scheduled_time=now()))
    return create_flow_run(
        transaction,
        FlowRunFields(
            flow_id=row.flow_id,
            state=state,
            name=body.name,
            parameters=prepared.parameters,
            context=body.context,
            parent_task_run_id=body.parent_task_run_id,
            infrastructure_document_id=body.infrastructure_document_id or row.infrastructure_document_id,
            empirical_policy=body.empirical_policy,
            tags=[*from_text(row.tags, []), *body.tags],
            labels={**from_text(row.labels, {}), **(body.labels or {})},
            idempotency_key=body.idempotency_key,
            job_variables=body.job_variables,
            deployment_id=row.id,
            deployment_version=row.version,
            deployment_version_number=row.version_number,
            work_queue_id=queue_id,
        ),
    )


async def make_many(
    store: Store, caller: Caller, row: Any, bodies: list[DeploymentFlowRunCreate]
) -> list[FlowRunCreateResult]:
    """Make several runs; what is wrong with one does not keep the others from being made."""
    results: list[FlowRunCreateResult] = [FlowRunCreateResult(status="FAILED") for _ in bodies]
    ready: list[tuple[int, Prepared]] = []
    for place, body in enumerate(bodies):
        try:
            ready.append((place, await prepare(store, caller, row, body)))
        except HTTPError as error:
            results[place].error = str(error.detail)

    def unit(transaction: Transaction) -> list[tuple[int, UUID | None, str | None]]:
        made: list[tuple[int, UUID | None, str | None]] = []
        for place, prepared in ready:
            try:
                made.append((place, make(transaction, prepared)[0], None))
            except RiverrunError as error:
                made.append((place, None, str(error)))
        return made

    for place, run_id, said in await store.write(unit, caller) if ready else ():
        results[place] = FlowRunCreateResult(
            flow_run_id=run_id, status="FAILED" if run_id is None else "CREATED", error=said
        )
    return results
