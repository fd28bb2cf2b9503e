"""Rows of the store into wire objects.

A row that cannot be rendered (damaged by hand, or written by a newer version) becomes an object with what could be read and
the label `UNREADABLE` that says why: one bad row never costs a page.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from riverrun.base.clock import from_micros
from riverrun.wire.runs import FlowRun, RunInput, RunPolicy, TaskRun
from riverrun.wire.states import TYPES_BY_CODE, BaseState, StateDetails

#: label of an object whose row could not be read in full; its value says why
UNREADABLE = "riverrun.unreadable"
#: label of a run whose creation has not been told (yet); what is shown comes from its states
PLACEHOLDER = "riverrun.placeholder"

#: what decoding a damaged row may raise
RENDER_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    msgspec.MsgspecError,
    RecursionError,
)

_details = msgspec.json.Decoder(dict[str, Any])
_any = msgspec.json.Decoder()
_tags = msgspec.json.Decoder(list[str])
_parameters = msgspec.json.Decoder(dict[str, Any])
_policy = msgspec.json.Decoder(RunPolicy, strict=False)
_inputs = msgspec.msgpack.Decoder(dict[str, list[tuple[str, bytes | None, str | None]]])
T = TypeVar("T")
_PLACEHOLDER_SAYS = "the record of this run's creation has not arrived"


def instant(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def state_of(row: Any, *, flow_run_id: UUID | None, task_run_id: UUID | None) -> BaseState:
    """The state in a row with the columns `s_id`, `s_type`, `s_timestamp`, `s_name`, `s_message`, `s_details`, `s_data`."""
    details = (
        msgspec.convert(_details.decode(row.s_details), StateDetails, strict=False) if row.s_details else StateDetails()
    )
    details.flow_run_id = flow_run_id
    details.task_run_id = task_run_id
    return BaseState(
        type=TYPES_BY_CODE[row.s_type],
        name=row.s_name,
        message=row.s_message,
        data=_any.decode(row.s_data) if row.s_data else None,
        state_details=details,
        timestamp=from_micros(row.s_timestamp),
        id=row.s_id,
    )


def states_of(rows: Sequence[Any], *, flow_run_id: UUID | None, task_run_id: UUID | None) -> list[BaseState]:
    """The states in rows; one that cannot be read keeps its type and place, and its message says why."""
    states = []
    for row in rows:
        try:
            states.append(state_of(row, flow_run_id=flow_run_id, task_run_id=task_run_id))
        except RENDER_ERRORS as error:
            states.append(_unreadable_state(row, error))
    return states


def _unreadable_state(row: Any, error: Exception) -> BaseState:
    from riverrun.wire.states import StateType

    kind = TYPES_BY_CODE.get(row.s_type, StateType.CRASHED)
    return BaseState(type=kind, name=None, message=f"This state cannot be read from the store: {error}", id=row.s_id)


def _run_fields(row: Any) -> dict[str, Any]:
    labels = {PLACEHOLDER: _PLACEHOLDER_SAYS} if row.placeholder else {}
    return {
        "id": row.id,
        "name": _name(row),
        "created": instant(row.created),
        "updated": instant(max(row.state_timestamp or 0, row.created)),
        "run_count": row.run_count,
        "tags": _tags.decode(row.tags) if row.tags else [],
        "labels": labels,
        "empirical_policy": _policy.decode(row.policy) if row.policy else RunPolicy(retries=0, retry_delay=0.0),
        "expected_start_time": instant(row.expected_start_time),
        "next_scheduled_start_time": instant(row.next_scheduled_start_time),
        "start_time": instant(row.start_time),
        "end_time": instant(row.end_time),
        "total_run_time": timedelta(microseconds=row.total_run_time),
        "state_timestamp": instant(row.state_timestamp),
    }


def _name(row: Any) -> str:
    return row.name if row.name is not None else f"unknown-{row.id.hex[-8:]}"


def _state_fields(state: BaseState | None) -> dict[str, Any]:
    if state is None:
        return {}
    return {"state": state, "state_id": state.id, "state_type": state.type, "state_name": state.name}


def _flow_run(row: Any) -> FlowRun:
    state = None if row.s_id is None else state_of(row, flow_run_id=row.id, task_run_id=None)
    return FlowRun(
        **_run_fields(row),
        **_state_fields(state),
        flow_id=row.flow_id,
        deployment_id=row.deployment_id,
        flow_version=row.flow_version,
        parameters=_parameters.decode(row.parameters) if row.parameters else {},
        parent_task_run_id=row.parent_task_run_id,
    )


def _task_run(row: Any) -> TaskRun:
    state = None if row.s_id is None else state_of(row, flow_run_id=row.flow_run_id, task_run_id=row.id)
    return TaskRun(
        **_run_fields(row),
        **_state_fields(state),
        flow_run_id=row.flow_run_id,
        task_key=row.task_key or "",
        dynamic_key=row.dynamic_key or "",
        cache_key=row.cache_key,
        cache_expiration=instant(row.cache_expiration),
        task_version=row.task_version,
        task_inputs=inputs_of(row.inputs),
        flow_run_run_count=row.flow_run_run_count,
    )


def inputs_of(blob: bytes | None) -> dict[str, list[RunInput]]:
    """The inputs of a task run from their stored form."""
    if not blob:
        return {}
    return {name: [_input(*item) for item in items] for name, items in _inputs.decode(blob).items()}


def _input(kind: str, run_id: bytes | None, name: str | None) -> RunInput:
    if run_id is not None:
        return RunInput(kind, id=UUID(bytes=run_id))  # type: ignore[arg-type]
    if kind == "constant":
        return RunInput("constant", type=name)
    return RunInput(kind, name=name)  # type: ignore[arg-type]


def _each(rows: Sequence[Any], render: Callable[[Any], T], bare: Callable[[Any, str], T]) -> list[T]:
    result = []
    for row in rows:
        try:
            result.append(render(row))
        except RENDER_ERRORS as error:
            result.append(bare(row, f"{type(error).__name__}: {error}"))
    return result


def flow_runs_of(rows: Sequence[Any]) -> list[FlowRun]:
    """Flow runs from rows of `queries.flow_runs`."""
    return _each(rows, _flow_run, lambda row, why: FlowRun(id=row.id, name=str(row.name), labels={UNREADABLE: why}))


def task_runs_of(rows: Sequence[Any]) -> list[TaskRun]:
    """Task runs from rows of `queries.task_runs`."""
    return _each(rows, _task_run, lambda row, why: TaskRun(id=row.id, name=str(row.name), labels={UNREADABLE: why}))
