"""`run_deployment`: have a deployment run, from anywhere, and wait for it."""

import re
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from riverrun.client.calls import deployments as calls
from riverrun.client.calls import flow_runs, flows, task_runs
from riverrun.client.talk import Talk, ask, nap
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.deployments.runner import as_json
from riverrun.engine.inputs import sources
from riverrun.engine.record import _run_input
from riverrun.states import Pending, Scheduled, State
from riverrun.utilities.talks import awaiting, talking
from riverrun.wire.deployments import DeploymentFlowRunCreate, DeploymentResponse
from riverrun.wire.runs import FlowRun
from riverrun.wire.states import BaseState
from riverrun.wire.task_runs import TaskRunCreate
from riverrun.wire.transitions import StateCreate

__all__ = ["arun_deployment", "run_deployment"]

_FIRST_LOOK = 0.05


def _run_deployment(
    name: str | UUID,
    client: Any = None,  # noqa: ARG001 - as in the peer
    parameters: dict[str, Any] | None = None,
    scheduled_time: datetime | None = None,
    flow_run_name: str | None = None,
    timeout: float | None = None,
    poll_interval: float | None = 5,
    tags: Iterable[str] | None = None,
    idempotency_key: str | None = None,
    work_queue_name: str | None = None,
    as_subflow: bool | None = True,
    job_variables: dict[str, Any] | None = None,
) -> Talk[FlowRun]:
    """Have a deployment (`flow/deployment`, or its id) run, and wait for the end of that run; the run as it is then.

    After `timeout` seconds the run is given as it is; 0 does not wait, None waits for ever. `scheduled_time` puts the start
    off. Runs with the same `idempotency_key` are one. In a flow the run is shown as its subflow, unless `as_subflow` is False.
    `poll_interval` is the longest time between two looks.
    """
    if timeout is not None and timeout < 0:
        raise ValueError("`timeout` cannot be negative")
    deployment = yield from ask(_read(name))
    parent = (yield from _stand_in(deployment, parameters or {})) if as_subflow else None
    scheduled: State[Any] = Scheduled(scheduled_time=scheduled_time)
    body = DeploymentFlowRunCreate(
        parameters=as_json(parameters or {}),
        state=_proposed(scheduled),
        name=flow_run_name,
        tags=list(tags or ()),
        idempotency_key=idempotency_key,
        parent_task_run_id=parent,
        work_queue_name=work_queue_name,
        job_variables=job_variables,
    )
    run: FlowRun = yield from ask(calls.create_flow_run_from_deployment(deployment.id, body))
    return (yield from _wait(run, timeout, poll_interval))


def _read(name: str | UUID) -> Any:
    try:
        return calls.read_deployment(name if isinstance(name, UUID) else UUID(name))
    except ValueError:
        return calls.read_deployment_by_name(str(name))


def _proposed(state: BaseState) -> StateCreate:
    return StateCreate(type=state.type, name=state.name, message=state.message, state_details=state.state_details)


def _wait(run: FlowRun, timeout: float | None, poll_interval: float | None) -> Talk[FlowRun]:
    """The run at its end, or when the time is over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    look, longest = _FIRST_LOOK, max(poll_interval or 0, _FIRST_LOOK)
    while True:
        left = look if deadline is None else deadline - time.monotonic()
        if left <= 0 or (run.state is not None and run.state.is_final()):
            return run
        yield from nap(min(look, left))
        look = min(look * 1.3, longest)
        run = yield from ask(flow_runs.read_flow_run(run.id))


def _stand_in(deployment: DeploymentResponse, parameters: dict[str, Any]) -> Talk[UUID | None]:
    """The task run that shows the run of a deployment in the flow run around; None outside of runs."""
    context, task_context = FlowRunContext.get(), TaskRunContext.get()
    around = context.flow_run.id if context is not None and context.flow_run is not None else None
    task_run = None if task_context is None else task_context.task_run
    around = around or (None if task_run is None else task_run.flow_run_id)
    if around is None:
        return None
    flow = yield from ask(flows.read_flow(deployment.flow_id))
    name = f"{flow.name}/{deployment.name}"
    parent = task_run.id if task_run is not None and task_run.flow_run_id == around else None
    _, inputs = sources(parameters, None, context, parent)
    pending: State[Any] = Pending()
    body = TaskRunCreate(
        name=name,
        flow_run_id=around,
        task_key=f"riverrun.deployments.run_deployment.{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}",
        dynamic_key=str(uuid4()),
        task_version=deployment.version,
        task_inputs=_as_inputs(inputs),
        state=_proposed(pending),
    )
    made = yield from ask(task_runs.create_task_run(body))
    return made.id


def _as_inputs(inputs: Any) -> dict[str, Any]:
    return {name: [_run_input(*each) for each in found] for name, found in inputs.items()}


def _named(talk: Any) -> Any:
    talk.__name__ = talk.__qualname__ = "run_deployment"
    return talk


run_deployment = talking(_named(_run_deployment))
arun_deployment = awaiting(_run_deployment)
