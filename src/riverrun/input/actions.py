"""The inputs that are kept with a flow run: JSON values under keys."""

from typing import Any
from uuid import UUID

import msgspec

from riverrun.base.errors import InputError, MissingContextError
from riverrun.client.calls import flow_runs as calls
from riverrun.client.talk import Talk, ask, look_for
from riverrun.context import FlowRunContext
from riverrun.utilities.talks import awaiting, talking
from riverrun.wire.flow_runs import FlowRunInput


def ensure_flow_run_id(flow_run_id: UUID | None = None) -> UUID:
    """The id given, or that of the current flow run; raises RuntimeError where there is none."""
    if flow_run_id is not None:
        return flow_run_id
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise MissingContextError("Must either provide a flow run ID or be within a flow run.")
    run_id: UUID = context.flow_run.id
    return run_id


def sender_here() -> str | None:
    """How the current flow run signs what it sends; None outside of runs."""
    context = FlowRunContext.get()
    return None if context is None or context.flow_run is None else f"prefect.flow-run.{context.flow_run.id}"


def create_talk(key: str, value: Any, flow_run_id: UUID | None = None, sender: str | None = None) -> Talk[None]:
    """Leave a JSON value under a key of a flow run (default: the current one). Raises ObjectAlreadyExists."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError) as error:
        raise InputError(f"The input {key!r} has no JSON form: {error}") from error
    yield from ask(calls.create_flow_run_input(ensure_flow_run_id(flow_run_id), key, text, sender))


def create_from_model_talk(
    key: str, model_instance: Any, flow_run_id: UUID | None = None, sender: str | None = None
) -> Talk[None]:
    """Leave a pydantic model under a key of a flow run, signed by the current one."""
    value = msgspec.json.decode(model_instance.model_dump_json())
    yield from create_talk(key, value, flow_run_id, sender or sender_here())


def read_talk(key: str, flow_run_id: UUID | None = None) -> Talk[Any]:
    """The value under a key of a flow run; None if nothing is there."""
    answer = yield from look_for(calls.read_flow_run_input(ensure_flow_run_id(flow_run_id), key))
    return None if answer is None else msgspec.json.decode(answer.content)


def filter_talk(
    key_prefix: str, limit: int = 1, exclude_keys: set[str] | None = None, flow_run_id: UUID | None = None
) -> Talk[list[FlowRunInput]]:
    """The inputs of a flow run whose keys begin with a prefix, oldest first."""
    run_id = ensure_flow_run_id(flow_run_id)
    return (yield from ask(calls.filter_flow_run_input(run_id, key_prefix, limit, exclude_keys)))


def delete_talk(key: str, flow_run_id: UUID | None = None) -> Talk[None]:
    """Forget what is under a key of a flow run. Raises ObjectNotFound."""
    yield from ask(calls.delete_flow_run_input(ensure_flow_run_id(flow_run_id), key))


create_flow_run_input, acreate_flow_run_input = talking(create_talk), awaiting(create_talk)
create_flow_run_input_from_model = talking(create_from_model_talk)
acreate_flow_run_input_from_model = awaiting(create_from_model_talk)
read_flow_run_input, aread_flow_run_input = talking(read_talk), awaiting(read_talk)
filter_flow_run_input, afilter_flow_run_input = talking(filter_talk), awaiting(filter_talk)
delete_flow_run_input, adelete_flow_run_input = talking(delete_talk), awaiting(delete_talk)
