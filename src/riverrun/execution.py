"""Executing a flow run that exists already: made for a deployment, scheduled, or resumed. Only one process gets each.

`python -m riverrun.engine ID` and `riverrun flow-run execute ID` come here. The run is claimed from the server before any of
the flow's code runs; what happens then goes into the journal of this process, as for a flow that is called.
"""

import asyncio
import atexit
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec

from riverrun.base.errors import InputError, Pause, RiverrunError
from riverrun.base.sources import told
from riverrun.client import journal
from riverrun.client.call import Call
from riverrun.client.calls import deployments as deployment_calls
from riverrun.client.calls import flow_runs as calls
from riverrun.client.calls import task_runs as task_run_calls
from riverrun.client.calls.answers import Begun, ClaimedRun
from riverrun.client.http import send
from riverrun.client.location import ensure_api_url
from riverrun.client.talk import Talk, hold, look_for
from riverrun.context import tags
from riverrun.engine import pausing, record
from riverrun.engine.flow_run import FlowRunLife
from riverrun.engine.run import arun_flow, run_flow
from riverrun.engine.streams import astream, stream
from riverrun.entrypoints import load_flow
from riverrun.logging import flow_run_logger
from riverrun.states import Crashed, Failed, Pending, State
from riverrun.wire.deployments import DeploymentResponse
from riverrun.wire.flow_runs import FlowRunPolicy, FlowRunUpdate
from riverrun.wire.runs import FlowRun, TaskRun
from riverrun.wire.states import StateType

if TYPE_CHECKING:
    from riverrun.flows import Flow

#: the step of a deployment that needs no code to be fetched
_WORKING_DIRECTORY = "set_working_directory"


class NotOurs(RiverrunError):
    """The run is executed by another process, has ended, or may not begin; there is nothing to do here."""

    code = "not_ours"


def execute_flow_run(flow_run_id: UUID, flow: "Flow[..., Any] | None" = None) -> State[Any]:
    """Execute a flow run to its end, or until it is suspended; its state then.

    `flow` is given where it is loaded already; else the run's deployment says where it is. Raises NotOurs, and RiverrunError
    where the flow cannot be found (the run has crashed then).
    """
    ensure_api_url()
    run = send(calls.read_flow_run(flow_run_id))
    _refuse_ended(run)
    problem: Exception | None = None
    try:
        flow = flow or _load(run)
        _note_flow(run, flow)
    except (RiverrunError, OSError) as error:
        problem = error
    return _run_or_crash(_claim(run), flow, problem)


def execute_claimed(
    claimed: ClaimedRun,
    flow: "Flow[..., Any] | None" = None,
    on_begin: Callable[[], object] = lambda: None,
    ask: Callable[[Call[Begun]], Begun] = send,
) -> State[Any]:
    """Execute a run that a worker has claimed, in one of its processes; otherwise as `execute_flow_run`.

    `on_begin` is called as soon as the run is this process's own; `ask` sends the one call that this takes.
    """
    run = claimed.flow_run
    problem: Exception | None = None
    try:
        flow = flow or _load(run, claimed.deployment)
        if flow.retries:
            _note_flow(run, flow)
    except (RiverrunError, OSError) as error:
        problem = error
    begun = _begin(run, claimed.fence, ask)
    on_begin()
    if flow is not None and not flow.retries:
        # along with the states, where it costs no request
        record.update(begun, flow_version=flow.version)
    return _run_or_crash(begun, flow, problem)


def _run_or_crash(run: FlowRun, flow: "Flow[..., Any] | None", problem: Exception | None) -> State[Any]:
    if problem is not None or flow is None:
        problem = problem or InputError("there is no flow")
        _end(run, Crashed(message=f"The flow could not be loaded: {problem}"))
        raise problem
    return _run(flow, run)


def _refuse_ended(run: FlowRun) -> None:
    state = run.state
    if state is None:
        return
    if state.is_final():
        raise NotOurs(f"Flow run {run.name!r} has already ended: it is {state.name}.")
    if state.type is StateType.RUNNING:
        raise NotOurs(f"Flow run {run.name!r} is already running in another process.")
    if state.type in (StateType.CANCELLING, StateType.PAUSED):
        raise NotOurs(f"Flow run {run.name!r} cannot begin: it is {state.name}.")


# -- the flow ---------------------------------------------------------------------------------------------------------------


def _load(run: FlowRun, deployment: DeploymentResponse | None = None) -> "Flow[..., Any]":
    """The flow of a run: where its deployment says, or who started this process."""
    given = told("FLOW_ENTRYPOINT")
    if run.deployment_id is None:
        if given is None:
            raise InputError(
                f"Flow run {run.name!r} belongs to no deployment, so nobody knows where its flow is. Set "
                "RIVERRUN__FLOW_ENTRYPOINT to its FILE:FLOW."
            )
        return load_flow(given)
    deployment = deployment or send(deployment_calls.read_deployment(run.deployment_id))
    entrypoint = given or deployment.entrypoint
    if entrypoint is None:
        raise InputError(f"Deployment {deployment.name!r} has no entrypoint, so nobody knows where its flow is.")
    _go_to_code(deployment)
    return load_flow(entrypoint)


def _go_to_code(deployment: DeploymentResponse) -> None:
    """Work where the deployment's code is; it is fetched to a directory of this process's own, if its steps say so."""
    if deployment.path:
        os.chdir(Path(deployment.path).expanduser())
    if not deployment.pull_steps:
        return
    from riverrun.deployments.steps.core import fetches, run_pull_steps

    place: str | None = None
    if fetches(deployment.pull_steps):
        place = tempfile.mkdtemp(prefix="riverrun-code-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    run_pull_steps(deployment.pull_steps, place)


def local_directory(deployment: DeploymentResponse, base: Path) -> Path | None:
    """The directory on this machine where the deployment's code is, seen from `base`; None where each run fetches it."""
    directory = deployment.path or ""
    for step in deployment.pull_steps or ():
        for name, options in step.items():
            if name.rpartition(".")[2] != _WORKING_DIRECTORY:
                return None
            directory = (options or {}).get("directory") or directory
    return None if "{{" in str(directory) else base / Path(directory).expanduser()


def _note_flow(run: FlowRun, flow: "Flow[..., Any]") -> None:
    """Let the server know the flow's version and retries; what was set for this run stays."""
    policy = run.empirical_policy
    policy.retries = policy.retries or flow.retries
    delay = policy.retry_delay or flow.retry_delay_seconds
    policy.retry_delay = delay = delay[0] if isinstance(delay, list) else delay
    fields: dict[str, Any] = {
        name: getattr(policy, name) for name in ("retries", "retry_delay", "pause_keys", "resuming", "retry_type")
    }
    fields["retry_delay"] = math.ceil(delay or 0)  # the server keeps whole seconds; this process does not
    update = FlowRunUpdate(flow_version=flow.version, empirical_policy=msgspec.convert(fields, FlowRunPolicy))
    send(calls.update_flow_run(run.id, update))


# -- the claim --------------------------------------------------------------------------------------------------------------


def _claim(run: FlowRun) -> FlowRun:
    """Have the server give the run to this process; the run as it is then. Raises NotOurs."""
    if run.state is not None and run.state.is_scheduled():
        pending: State[Any] = Pending()
        result = hold(pausing.propose(run.id, pending))
        if result.status != "ACCEPT":
            raise NotOurs(f"Flow run {run.name!r} was not given to this process: {result.details.reason}")
    given = told("FENCE")
    # of a worker that has started this process by the command of its pool, and not of one further up
    fence = int(given) if given is not None and told("FLOW_RUN_ID") == str(run.id) else None
    return _begin(run, fence)


def _begin(run: FlowRun, fence: int | None = None, ask: Callable[[Call[Begun]], Begun] = send) -> FlowRun:
    writer, transition = UUID(bytes=journal.open_writer()), uuid4()
    while True:
        begun = ask(calls.begin_flow_run(run.id, writer, transition, fence))
        state = begun.state
        ours = state is not None and state.state_details.transition_id == transition
        if begun.status == "ACCEPT" or ours:
            break
        if begun.status != "WAIT":
            raise NotOurs(f"Flow run {run.name!r} was not given to this process: {begun.details.reason}")
        time.sleep(begun.details.delay_seconds or 1)
    pausing.adopt(begun.flow_run, begun.flow_run.state or state)
    begun.flow_run.empirical_policy.retry_delay = run.empirical_policy.retry_delay
    return begun.flow_run


# -- the run ----------------------------------------------------------------------------------------------------------------


def _run(flow: "Flow[..., Any]", run: FlowRun) -> State[Any]:
    with tags(*run.tags):
        try:
            parameters = flow.signature.complete(dict(run.parameters or {}))
            args, kwargs = flow.signature.split(parameters)
        except (RiverrunError, TypeError) as error:
            return _end(run, Failed(message=f"The parameters do not fit the flow: {error}"))
        life = FlowRunLife(flow, args, kwargs, parameters, run=run, begun=True)
        if run.parent_task_run_id is not None:
            # the task run that stands for this run in the flow run that asked for it follows
            life.parent = hold(_parent(run.parent_task_run_id))
        with suppress(Pause):
            _drive(flow, life)
    struck, _ = life.verdict(return_state=True)
    if struck is not None and not isinstance(struck, Pause):
        raise struck
    return life.state


def _parent(task_run_id: UUID) -> Talk[TaskRun | None]:
    found: TaskRun | None = yield from look_for(task_run_calls.read_task_run(task_run_id))
    return found


def _drive(flow: "Flow[..., Any]", life: FlowRunLife) -> None:
    if flow.isgenerator:
        with suppress(Exception):  # it is the run's outcome
            asyncio.run(_drain(life)) if flow.isasync else [None for _ in stream(lambda: life)]
    elif flow.isasync:
        asyncio.run(arun_flow(life))
    else:
        run_flow(life)


async def _drain(life: FlowRunLife) -> None:
    async for _ in astream(lambda: life):
        pass


def _end(run: FlowRun, state: State[Any]) -> State[Any]:
    """End a run of which no code has run."""
    record.enter(run, state)
    journal.hurry()
    flow_run_logger(run, None).error("%s", state.message)
    return state


def main(flow_run_id: str | None = None) -> int:
    """The exit code of a process that executes one run: 0 also where there was nothing to do."""
    import sys

    given = flow_run_id or told("FLOW_RUN_ID") or (sys.argv[1] if len(sys.argv) > 1 else None)
    if given is None:
        sys.stderr.write("Which flow run? Give its id, or set RIVERRUN__FLOW_RUN_ID.\n")
        return 2
    try:
        state = execute_flow_run(UUID(given))
    except NotOurs as error:
        sys.stderr.write(f"{error}\n")
        return 0
    except (RiverrunError, OSError, ValueError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0 if state.is_completed() or state.is_paused() else 1
