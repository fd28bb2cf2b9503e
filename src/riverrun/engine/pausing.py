"""Pausing, suspending and resuming flow runs. The server decides; this module asks it, and waits.

A paused run keeps its process, which waits here. A suspended one leaves it: `Pause` ends its life without an end state, and
whoever executes the run when it was resumed comes to the same place again, where the server says that this pause has been.
"""

import time
from typing import Any
from uuid import UUID, uuid4

from riverrun.base.clock import now
from riverrun.base.errors import (
    FlowPauseTimeout,
    FlowRunWaitTimeout,
    MissingContextError,
    NotPausedError,
    ObjectNotFound,
    Pause,
)
from riverrun.base.ids import uuid7
from riverrun.client.calls import flow_runs as calls
from riverrun.client.calls.answers import OrchestrationResult
from riverrun.client.talk import Talk, ask, nap
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.engine import commands
from riverrun.logging import flow_run_logger, get_logger
from riverrun.states import Paused, State, Suspended
from riverrun.wire.runs import FlowRun
from riverrun.wire.states import BaseState, StateType
from riverrun.wire.transitions import StateCreate

#: seconds between two looks at a run that is waited for: at first, and at most
_FIRST_LOOK = 0.05
_LONGEST_LOOK = 2.0
#: a run whose records the server takes in just now may be unknown to it for so many seconds
_UNKNOWN_SECONDS = 10.0


def propose(flow_run_id: UUID, state: BaseState) -> Talk[OrchestrationResult[Any]]:
    """Propose a state until the server neither knows no such run nor asks to wait."""
    unknown_until = time.monotonic() + _UNKNOWN_SECONDS
    while True:
        details = state.state_details.model_copy(update={"transition_id": uuid4()})
        proposed = StateCreate(type=state.type, name=state.name, message=state.message, state_details=details)
        try:
            result: OrchestrationResult[Any] = yield from ask(calls.set_flow_run_state(flow_run_id, proposed))
        except ObjectNotFound:
            if time.monotonic() > unknown_until:
                raise
            yield from nap(0.2)
            continue
        if result.status != "WAIT":
            return result
        yield from nap(result.details.delay_seconds or 1)


def pause(wait_for_input: Any, timeout: float, poll_interval: float, key: str | None) -> Talk[Any]:
    """Pause the current flow run, keep its process, and return when it was resumed; with its input, if one is asked for."""
    context = FlowRunContext.get()
    run = _run_of(context, "paused")
    logger = flow_run_logger(run, None if context is None else context.flow)
    proposed: State[Any] = Paused(timeout_seconds=timeout, pause_key=key or _next_key(context))
    expected = _expect(wait_for_input, proposed)
    # monotonic before the question: the server's deadline is not sooner than ours
    deadline = time.monotonic() + timeout
    result = yield from propose(run.id, proposed)
    state = _held(result, "paused")
    if state.type is StateType.RUNNING:  # this pause has been, before the process that runs here
        return (yield from _load(expected, run))
    logger.info("Pausing flow run, it goes on when it is resumed")
    adopt(run, state)
    if expected is not None:
        yield from expected[0]._save_talk(expected[1], run.id)
    found = yield from _wait_until_resumed(run.id, deadline, poll_interval)
    _adopt_run(run, found)
    if not found.state or found.state.type is not StateType.RUNNING:
        raise FlowPauseTimeout(f"Flow run {run.name!r} was paused and not resumed within {timeout:g} seconds.")
    logger.info("Resuming flow run")
    return (yield from _load(expected, run))


def _wait_until_resumed(flow_run_id: UUID, deadline: float, poll_interval: float) -> Talk[FlowRun]:
    """The run when it is not paused any more, or as it is at the deadline."""
    look = min(_FIRST_LOOK, poll_interval)
    while True:
        left = deadline - time.monotonic()
        yield from nap(max(min(look, left), 0))
        found: FlowRun = yield from ask(calls.read_flow_run(flow_run_id))
        if found.state is None or found.state.type is not StateType.PAUSED or left <= 0:
            return found
        look = min(look * 1.5, _LONGEST_LOOK, poll_interval)


def suspend(wait_for_input: Any, flow_run_id: UUID | None, timeout: float | None, key: str | None) -> Talk[Any]:
    """Suspend a flow run: the current one leaves its process by raising `Pause`, unless it comes back from this suspension."""
    context = FlowRunContext.get()
    run: FlowRun | None = None
    if flow_run_id is None:
        if TaskRunContext.get() is not None:
            raise RuntimeError("Cannot suspend task runs: suspend_flow_run() belongs in the flow's own function.")
        run = _run_of(context, "suspended")
        flow_run_id = run.id
        key = key or _next_key(context)
    proposed: State[Any] = Suspended(timeout_seconds=timeout, pause_key=key or str(uuid4()))
    expected = _expect(wait_for_input, proposed)
    if run is not None:
        commands.suspending.add(run.id)  # it leaves by itself; nobody need strike it
    try:
        result = yield from propose(flow_run_id, proposed)
        state = _held(result, "suspended")
    except BaseException:
        commands.suspending.discard(flow_run_id)
        raise
    if state.type is StateType.RUNNING:
        commands.suspending.discard(flow_run_id)
        return None if run is None else (yield from _load(expected, run))
    if expected is not None:
        yield from expected[0]._save_talk(expected[1], flow_run_id)
    if run is None:
        return None
    adopt(run, state)
    raise Pause("The flow run is suspended; it goes on in another process when it is resumed.", state=run.state)


def resume(flow_run_id: UUID, run_input: dict[str, Any] | None = None) -> Talk[None]:
    """Let a paused or suspended run go on. Raises NotPausedError, FlowPauseTimeout, or RuntimeError on a wrong input."""
    result: OrchestrationResult[Any] = yield from ask(calls.resume_flow_run(flow_run_id, run_input=run_input))
    if result.status == "ACCEPT":
        return
    reason = result.details.reason
    if result.status == "ABORT":
        raise NotPausedError(f"Cannot resume flow run {flow_run_id}: {reason}")
    if result.state is not None and result.state.type is StateType.FAILED:
        raise FlowPauseTimeout(f"Flow run {flow_run_id} can no longer be resumed: {reason}")
    raise RuntimeError(f"Cannot resume flow run {flow_run_id}: {reason}")


def wait_for_end(flow_run_id: UUID, timeout: float | None, log_states: bool = False) -> Talk[FlowRun]:
    """The run when it has ended. Raises FlowRunWaitTimeout."""
    deadline = None if timeout is None else time.monotonic() + timeout
    look, known = _FIRST_LOOK, None
    while True:
        run: FlowRun = yield from ask(calls.read_flow_run(flow_run_id))
        if log_states and run.state is not None and run.state.id != known:
            known = run.state.id
            get_logger("flow_runs").info("Flow run is in state %r", run.state.name)
        if run.state is not None and run.state.is_final():
            return run
        left = _LONGEST_LOOK if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise FlowRunWaitTimeout(f"Flow run {flow_run_id} has not ended within {timeout:g} seconds")
        yield from nap(min(look, left))
        look = min(look * 1.3, _LONGEST_LOOK)


# -- what the server says, on the run of this process -----------------------------------------------------------------------


def adopt(run: FlowRun, state: Any) -> None:
    """Take over a state that the server has written: it is on record there, so not in our journal."""
    taken: State[Any] = State(
        id=state.id or uuid7(),
        type=state.type,
        name=state.name,
        message=state.message,
        timestamp=state.timestamp or now(),
        state_details=state.state_details.model_copy(),
    )
    run.state, run.state_id = taken, taken.id
    run.state_type, run.state_name, run.state_timestamp = taken.type, taken.name, taken.timestamp


#: what the server keeps count of when it writes a state
_COUNTED = ("run_count", "start_time", "end_time", "total_run_time", "expected_start_time", "empirical_policy")


def _adopt_run(run: FlowRun, found: FlowRun) -> None:
    if found.state is not None:
        adopt(run, found.state)
    for name in _COUNTED:
        setattr(run, name, getattr(found, name))


def _run_of(context: FlowRunContext | None, what: str) -> FlowRun:
    if context is None or context.flow_run is None:
        raise MissingContextError(f"Flow runs can only be {what} from within a flow run.")
    run: FlowRun = context.flow_run
    return run


def _next_key(context: Any) -> str:
    context._pauses = (context._pauses or 0) + 1
    return str(context._pauses)


def _held(result: OrchestrationResult[Any], what: str) -> Any:
    """The state that holds after a proposal to pause. Raises RuntimeError if it is neither the proposed one nor Running."""
    state = result.state
    if result.status == "ABORT" or state is None:
        raise RuntimeError(f"Flow run cannot be {what}: {result.details.reason}")
    if state.type not in (StateType.PAUSED, StateType.RUNNING):
        raise RuntimeError(f"Flow run cannot be {what}: it is {state.name}. {result.details.reason or ''}".rstrip())
    return state


# -- input ------------------------------------------------------------------------------------------------------------------


def _expect(wait_for_input: Any, state: State[Any]) -> tuple[Any, dict[str, str]] | None:
    """The class of the input that is waited for and the keys it is kept under; they go into the paused state."""
    if wait_for_input is None:
        return None
    from riverrun.input import keyset_from_paused_state, run_input_subclass_from_type

    keyset = keyset_from_paused_state(state)
    state.state_details.run_input_keyset = keyset
    return run_input_subclass_from_type(wait_for_input), keyset


def _load(expected: tuple[Any, dict[str, str]] | None, run: FlowRun) -> Talk[Any]:
    if expected is None:
        return None
    kind, keyset = expected
    return (yield from kind._load_talk(keyset, run.id))
