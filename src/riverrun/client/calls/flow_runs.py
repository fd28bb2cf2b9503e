"""Calls about flow runs, their states and inputs."""

from typing import Any
from uuid import UUID

from riverrun.client.call import Call, Id, Raw, at, delete, get, patch, post
from riverrun.client.calls.answers import Begun, OrchestrationResult
from riverrun.wire.claims import Why
from riverrun.wire.flow_runs import (
    FlowRunCreate,
    FlowRunInput,
    FlowRunUpdate,
)
from riverrun.wire.requests import (
    FlowRunsCountBody,
    FlowRunsFilterBody,
    FlowRunsInputBody,
    FlowRunsInputFilterBody,
    FlowRunsResumeBody,
    FlowRunsSetStateBody,
)
from riverrun.wire.runs import FlowRun
from riverrun.wire.states import BaseState
from riverrun.wire.transitions import StateCreate


def _run(flow_run_id: Id, *parts: object) -> str:
    return at("flow_runs", flow_run_id, *parts)


def _noun(flow_run_id: Id) -> str:
    return f"Flow run {flow_run_id}:"


def create_flow_run(flow_run: FlowRunCreate) -> Call[FlowRun]:
    """Make a flow run, or get the one of this flow that has the same idempotency key."""
    return post(at("flow_runs", ""), flow_run, FlowRun)


def read_flow_run(flow_run_id: Id) -> Call[FlowRun]:
    return get(_run(flow_run_id), FlowRun, noun=_noun(flow_run_id))


def read_flow_runs(body: FlowRunsFilterBody | None = None) -> Call[list[FlowRun]]:
    return post(at("flow_runs", "filter"), body or FlowRunsFilterBody(), list[FlowRun])


def count_flow_runs(body: FlowRunsCountBody | None = None) -> Call[int]:
    return post(at("flow_runs", "count"), body or FlowRunsCountBody(), int)


def update_flow_run(flow_run_id: Id, flow_run: FlowRunUpdate) -> Call[None]:
    return patch(_run(flow_run_id), flow_run, noun=_noun(flow_run_id))


def update_flow_run_labels(flow_run_id: Id, labels: dict[str, Any]) -> Call[None]:
    return patch(_run(flow_run_id, "labels"), labels, noun=_noun(flow_run_id))


def delete_flow_run(flow_run_id: Id) -> Call[None]:
    return delete(_run(flow_run_id), noun=_noun(flow_run_id))


def set_flow_run_state(flow_run_id: Id, state: StateCreate, force: bool = False) -> Call[OrchestrationResult[Any]]:
    """Propose a state. Give it a `transition_id` of its own: a repetition of the same request is then told apart."""
    body = FlowRunsSetStateBody(state=state, force=force)
    return post(_run(flow_run_id, "set_state"), body, OrchestrationResult, noun=_noun(flow_run_id))


def resume_flow_run(flow_run_id: Id, run_input: dict[str, Any] | None = None) -> Call[OrchestrationResult[Any]]:
    body = FlowRunsResumeBody(run_input=run_input)
    return post(_run(flow_run_id, "resume"), body, OrchestrationResult, noun=_noun(flow_run_id))


def read_flow_run_states(flow_run_id: Id) -> Call[list[BaseState]]:
    """The states of the run, oldest first."""
    return get(at("flow_run_states", ""), list[BaseState], query={"flow_run_id": flow_run_id})


def read_flow_run_state(flow_run_state_id: Id) -> Call[BaseState]:
    return get(at("flow_run_states", flow_run_state_id), BaseState, noun=f"State {flow_run_state_id}:")


def begin_flow_run(flow_run_id: Id, writer: UUID, transition_id: UUID, fence: int | None = None) -> Call[Begun]:
    """Let the process that writes the journal `writer` start the run; as a proposal of Running.

    `fence` is that of the worker's claim: one that has been claimed by somebody else since is refused.
    """
    body: dict[str, Any] = {"writer": writer, "transition_id": transition_id}
    if fence is not None:
        body["fence"] = fence
    return post(_run(flow_run_id, "begin"), body, Begun, noun=_noun(flow_run_id))


def why_flow_run(flow_run_id: Id) -> Call[Why]:
    """Why the run is not running."""
    return get(_run(flow_run_id, "why"), Why, noun=_noun(flow_run_id))


# -- inputs ---------------------------------------------------------------------------------------------------------------


def create_flow_run_input(flow_run_id: Id, key: str, value: str, sender: str | None = None) -> Call[None]:
    """Leave JSON text under a key of the run; ObjectAlreadyExists if the key is taken."""
    body = FlowRunsInputBody(key=key, value=value, sender=sender)
    return post(_run(flow_run_id, "input"), body, noun=_noun(flow_run_id))


def filter_flow_run_input(
    flow_run_id: Id, key_prefix: str, limit: int = 1, exclude_keys: "set[str] | None" = None
) -> Call[list[FlowRunInput]]:
    body = FlowRunsInputFilterBody(prefix=key_prefix, limit=limit, exclude_keys=sorted(exclude_keys or ()))
    return post(_run(flow_run_id, "input", "filter"), body, list[FlowRunInput], noun=_noun(flow_run_id))


def read_flow_run_input(flow_run_id: Id, key: str) -> Call[Any]:
    """The answer is the HTTP response, for its text is the stored JSON text as it was left."""
    return get(_run(flow_run_id, "input", key), Raw, noun=f"Input {key!r} of flow run {flow_run_id}:")


def delete_flow_run_input(flow_run_id: Id, key: str) -> Call[None]:
    return delete(_run(flow_run_id, "input", key), noun=f"Input {key!r} of flow run {flow_run_id}:")
