"""Rows of the store into wire objects: those of the SDK (`FlowRun`, `TaskRun`) and the answers of the REST interface.

A row that cannot be rendered (damaged by hand, or written by a newer version) becomes an object with what could be read and
the label `UNREADABLE` that says why: one bad row never costs a page.
"""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from riverrun.base.clock import from_micros
from riverrun.wire.actors import CreatedBy
from riverrun.wire.flow_runs import FlowRunPolicy, FlowRunResponse
from riverrun.wire.runs import FlowRun, RunInput, RunPolicy, TaskRun
from riverrun.wire.states import (
    DEFAULT_NAMES,
    TERMINAL_STATES,
    TYPE_CODES,
    TYPES_BY_CODE,
    BaseState,
    StateDetails,
    StateType,
)
from riverrun.wire.task_runs import TaskRunPolicy, TaskRunResponse
from riverrun.wire.transitions import StateDetailsResponse, StateResponse

#: label of an object whose row could not be read in full; its value says why
UNREADABLE = "riverrun.unreadable"
#: label of a run whose creation has not been told (yet); what is shown comes from its states
PLACEHOLDER = "riverrun.placeholder"
#: what a run belongs to, as labels that every run carries
FLOW_LABEL = "prefect.flow.id"
FLOW_RUN_LABEL = "prefect.flow-run.id"
DEPLOYMENT_LABEL = "prefect.deployment.id"

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


class _Policy(RunPolicy, kw_only=True):
    """A policy as it is stored: what journals tell, or what a request said (with the peer's older names)."""

    max_retries: int = 0
    retry_delay_seconds: float = 0.0


_details = msgspec.json.Decoder(StateDetails, strict=False)
_answered_details = msgspec.json.Decoder(StateDetailsResponse, strict=False)
_any = msgspec.json.Decoder()
_tags = msgspec.json.Decoder(list[str])
_object = msgspec.json.Decoder(dict[str, Any])
_policy = msgspec.json.Decoder(_Policy, strict=False)
_creator = msgspec.json.Decoder(CreatedBy, strict=False)
_inputs = msgspec.msgpack.Decoder(dict[str, list[tuple[str, bytes | None, str | None]]])
T = TypeVar("T")
#: makes a duration of microseconds
Span = Callable[[int], Any]
_PLACEHOLDER_SAYS = "the record of this run's creation has not arrived"
_RUNNING = TYPE_CODES[StateType.RUNNING]
_FINAL = frozenset(TYPE_CODES[kind] for kind in TERMINAL_STATES)
_NOBODY = UUID(int=0)


def instant(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _seconds(micros: int) -> float:
    return micros / 1_000_000


def _delta(micros: int) -> timedelta:
    return timedelta(microseconds=micros)


# -- states -----------------------------------------------------------------------------------------------------------------


def state_of(row: Any, *, flow_run_id: UUID | None, task_run_id: UUID | None) -> BaseState:
    """The state in a row with the columns `s_id`, `s_type`, `s_timestamp`, `s_name`, `s_message`, `s_details`, `s_data`."""
    details = _details.decode(row.s_details) if row.s_details else StateDetails()
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


def state_answer_of(row: Any, *, flow_run_id: UUID | None, task_run_id: UUID | None) -> StateResponse:
    """The same as an answer of the REST interface."""
    kind = TYPES_BY_CODE[row.s_type]
    details = _answered_details.decode(row.s_details) if row.s_details else StateDetailsResponse()
    details.flow_run_id = flow_run_id
    details.task_run_id = task_run_id
    timestamp = from_micros(row.s_timestamp)
    if kind is StateType.SCHEDULED and details.scheduled_time is None:
        details.scheduled_time = timestamp
    return StateResponse(
        id=row.s_id,
        type=kind,
        name=row.s_name or DEFAULT_NAMES[kind],
        timestamp=timestamp,
        message=row.s_message,
        data=_any.decode(row.s_data) if row.s_data else None,
        state_details=details,
    )


def states_of(rows: Sequence[Any], *, flow_run_id: UUID | None, task_run_id: UUID | None) -> list[BaseState]:
    """The states in rows; one that cannot be read keeps its type and place, and its message says why."""

    def bare(row: Any, why: str) -> BaseState:
        kind = TYPES_BY_CODE.get(row.s_type, StateType.CRASHED)
        return BaseState(type=kind, message=f"This state cannot be read from the store: {why}", id=row.s_id)

    return _each(rows, lambda row: state_of(row, flow_run_id=flow_run_id, task_run_id=task_run_id), bare)


def state_answers_of(rows: Sequence[Any], *, task: bool) -> list[StateResponse]:
    """The states in rows that also tell their `flow_run_id` and `task_run_id` (of a flow run: that of its parent)."""

    def whole(row: Any) -> StateResponse:
        return state_answer_of(row, flow_run_id=row.flow_run_id, task_run_id=row.task_run_id)

    def bare(row: Any, why: str) -> StateResponse:
        kind = TYPES_BY_CODE.get(row.s_type, StateType.CRASHED)
        return StateResponse(
            id=row.s_id or _NOBODY,
            type=kind,
            name=DEFAULT_NAMES[kind],
            timestamp=from_micros(0),
            message=f"This state cannot be read from the store: {why}",
            state_details=StateDetailsResponse(**{"task_run_id" if task else "flow_run_id": row.run_id}),
        )

    return _each(rows, whole, bare)


# -- runs -------------------------------------------------------------------------------------------------------------------


def _run_fields(row: Any, span: Span, now: int) -> dict[str, Any]:
    """What flow runs and task runs have in common; `span` makes durations, `now` is what estimates stand on."""
    return {
        "id": row.id,
        "name": _name(row),
        "created": from_micros(row.created),
        "updated": from_micros(max(row.updated or 0, row.state_timestamp or 0, row.created)),
        "run_count": row.run_count,
        "tags": _tags.decode(row.tags) if row.tags else [],
        "expected_start_time": instant(row.expected_start_time),
        "next_scheduled_start_time": instant(row.next_scheduled_start_time),
        "start_time": instant(row.start_time),
        "end_time": instant(row.end_time),
        "total_run_time": span(row.total_run_time),
        "estimated_run_time": span(_run_time(row, now)),
        "estimated_start_time_delta": span(_lateness(row, now)),
    }


def _run_time(row: Any, now: int) -> int:
    running = row.state_type == _RUNNING and row.state_timestamp is not None
    return int(row.total_run_time + (max(now - row.state_timestamp, 0) if running else 0))


def _lateness(row: Any, now: int) -> int:
    if row.start_time is not None:
        return int(max(row.start_time - row.expected_start_time, 0))
    waits = row.state_seq and row.state_type not in _FINAL and row.expected_start_time < now
    return now - int(row.expected_start_time) if waits else 0


def _name(row: Any) -> str:
    return row.name if row.name is not None else f"unknown-{row.id.hex[-8:]}"


def _labels(row: Any, system: tuple[tuple[str, UUID | None], ...]) -> dict[str, Any]:
    labels: dict[str, Any] = {name: str(value) for name, value in system if value is not None}
    if row.labels:
        labels |= _object.decode(row.labels)
    if row.placeholder:
        labels[PLACEHOLDER] = _PLACEHOLDER_SAYS
    return labels


def _flow_run_labels(row: Any) -> dict[str, Any]:
    return _labels(row, ((FLOW_LABEL, row.flow_id), (DEPLOYMENT_LABEL, row.deployment_id)))


def _task_run_labels(row: Any) -> dict[str, Any]:
    return _labels(row, ((FLOW_LABEL, row.flow_id), (FLOW_RUN_LABEL, row.flow_run_id)))


def _policy_of(row: Any) -> _Policy:
    policy = _policy.decode(row.policy) if row.policy else _Policy(retries=0, retry_delay=0.0)
    policy.resuming = bool(row.resuming)
    return policy


def _own_policy(row: Any) -> RunPolicy:
    stored = _policy_of(row)
    return RunPolicy(**{name: getattr(stored, name) for name in RunPolicy.__struct_fields__})


def _state_fields(state: BaseState | StateResponse | None) -> dict[str, Any]:
    if state is None:
        return {}
    return {"state": state, "state_id": state.id, "state_type": state.type, "state_name": state.name}


def _flow_run_fields(row: Any) -> dict[str, Any]:
    return {
        "labels": _flow_run_labels(row),
        "deployment_id": row.deployment_id,
        "deployment_version": row.deployment_version,
        "work_queue_id": row.work_queue_id,
        "work_queue_name": row.work_queue_name,
        "work_pool_id": row.work_pool_id,
        "work_pool_name": row.work_pool_name,
        "flow_version": row.flow_version,
        "parameters": _object.decode(row.parameters) if row.parameters else {},
        "idempotency_key": row.idempotency_key,
        "context": _object.decode(row.context) if row.context else {},
        "parent_task_run_id": row.parent_task_run_id,
        "auto_scheduled": bool(row.auto_scheduled),
        "infrastructure_document_id": row.infrastructure_document_id,
        "infrastructure_pid": row.infrastructure_pid,
        "created_by": _creator.decode(row.created_by) if row.created_by else None,
        "job_variables": _object.decode(row.job_variables) if row.job_variables else {},
    }


def _task_run_fields(row: Any) -> dict[str, Any]:
    return {
        "labels": _task_run_labels(row),
        "flow_run_id": row.flow_run_id,
        "task_key": row.task_key or "",
        "dynamic_key": row.dynamic_key or "",
        "cache_key": row.cache_key,
        "cache_expiration": instant(row.cache_expiration),
        "task_version": row.task_version,
        "task_inputs": inputs_of(row.inputs),
        "flow_run_run_count": row.flow_run_run_count,
    }


def _flow_run(row: Any, now: int) -> FlowRun:
    state = None if row.s_id is None else state_of(row, flow_run_id=row.id, task_run_id=None)
    return FlowRun(
        **_run_fields(row, _delta, now),
        **_flow_run_fields(row),
        **_state_fields(state),
        flow_id=row.flow_id,
        state_timestamp=instant(row.state_timestamp),
        empirical_policy=_own_policy(row),
    )


def _task_run(row: Any, now: int) -> TaskRun:
    state = None if row.s_id is None else state_of(row, flow_run_id=row.flow_run_id, task_run_id=row.id)
    return TaskRun(
        **_run_fields(row, _delta, now),
        **_task_run_fields(row),
        **_state_fields(state),
        state_timestamp=instant(row.state_timestamp),
        empirical_policy=_own_policy(row),
    )


def _flow_run_answer(row: Any, now: int) -> FlowRunResponse:
    state = None
    if row.s_id is not None:
        state = state_answer_of(row, flow_run_id=row.id, task_run_id=row.parent_task_run_id)
    policy = _policy_of(row)
    delay = policy.retry_delay
    return FlowRunResponse(
        **_run_fields(row, _seconds, now),
        **_flow_run_fields(row),
        **_state_fields(state),
        flow_id=row.flow_id or _NOBODY,
        empirical_policy=FlowRunPolicy(
            max_retries=policy.max_retries,
            retry_delay_seconds=policy.retry_delay_seconds,
            retries=policy.retries,
            # the peer's clients take whole seconds only
            retry_delay=None if delay is None else math.ceil(delay[0] if isinstance(delay, list) else delay),
            pause_keys=policy.pause_keys or [],
            resuming=policy.resuming,
            retry_type=policy.retry_type,
        ),
    )


def _task_run_answer(row: Any, now: int) -> TaskRunResponse:
    state = None
    if row.s_id is not None:
        state = state_answer_of(row, flow_run_id=row.flow_run_id, task_run_id=row.id)
    policy = _policy_of(row)
    return TaskRunResponse(
        **_run_fields(row, _seconds, now),
        **_task_run_fields(row),
        **_state_fields(state),
        empirical_policy=TaskRunPolicy(
            max_retries=policy.max_retries,
            retry_delay_seconds=policy.retry_delay_seconds,
            retries=policy.retries,
            retry_delay=policy.retry_delay,
            retry_jitter_factor=policy.retry_jitter_factor,
        ),
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


def flow_runs_of(rows: Sequence[Any], now: int) -> list[FlowRun]:
    """Flow runs from rows of `queries.FLOW_RUN`; `now` in microseconds."""
    return _each(
        rows,
        lambda row: _flow_run(row, now),
        lambda row, why: FlowRun(id=row.id, name=str(row.name), labels={UNREADABLE: why}),
    )


def task_runs_of(rows: Sequence[Any], now: int) -> list[TaskRun]:
    """Task runs from rows of `queries.TASK_RUN`; `now` in microseconds."""
    return _each(
        rows,
        lambda row: _task_run(row, now),
        lambda row, why: TaskRun(id=row.id, name=str(row.name), labels={UNREADABLE: why}),
    )


def flow_run_answers_of(rows: Sequence[Any], now: int) -> list[FlowRunResponse]:
    """Answers from rows of `queries.FLOW_RUN`."""
    return _each(
        rows,
        lambda row: _flow_run_answer(row, now),
        lambda row, why: FlowRunResponse(
            id=row.id,
            created=None,
            updated=None,
            name=str(row.name),
            flow_id=row.flow_id or _NOBODY,
            labels={UNREADABLE: why},
        ),
    )


def task_run_answers_of(rows: Sequence[Any], now: int) -> list[TaskRunResponse]:
    """Answers from rows of `queries.TASK_RUN`."""
    return _each(
        rows,
        lambda row: _task_run_answer(row, now),
        lambda row, why: TaskRunResponse(
            id=row.id,
            created=None,
            updated=None,
            name=str(row.name),
            flow_run_id=row.flow_run_id,
            task_key=str(row.task_key),
            dynamic_key=str(row.dynamic_key),
            labels={UNREADABLE: why},
        ),
    )
