"""States as users hold them: made by name, asked for their result, turned into exceptions.

What a state *is* stands in `wire.states`, which one may follow which in `rules`; how the outcome of user code becomes
a state stands at the end of this file. This module must not read storages itself: a result's store does.
"""

import sys
from collections.abc import Generator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Self, TypeGuard, TypeVar

from riverrun.base.clock import now
from riverrun.base.errors import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    PausedRun,
    TerminationSignal,
    UnfinishedRun,
)
from riverrun.base.ids import uuid7
from riverrun.utilities.annotations import BaseAnnotation
from riverrun.utilities.collections import FutureBase, visit_collection
from riverrun.utilities.colours import by_colour
from riverrun.wire.states import TERMINAL_STATES, BaseState, StateDetails, StateType

R = TypeVar("R")

_SCHEDULED, _PENDING, _RUNNING, _COMPLETED, _FAILED, _CANCELLED, _CRASHED, _PAUSED, _CANCELLING = StateType
#: plain strings as keys: hashing a member of an enumeration calls Python code
_NAMES: Final = {kind.value: kind.value.capitalize() for kind in StateType}


class _NoneResult:
    """Stands in `state.data` for "the run returned None", which is not the same as "there is no result here"."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "None"

    def __reduce__(self) -> str:
        return "NONE_RESULT"


NONE_RESULT: Final = _NoneResult()


class State(BaseState, Generic[R], kw_only=True, eq=False, weakref=True):
    """One state of one run, with its result at hand.

    `data` holds the result itself (`NONE_RESULT` for None), an exception, a record or metadata of a persisted result, or
    None where the result is not known. Two states are equal if they are the same state of the same run; data is not compared.
    """

    def __post_init__(self) -> None:
        kind = self.type
        if kind.__class__ is not StateType:
            self.type = kind = StateType(kind)
        if self.name is None:
            self.name = _NAMES[kind._value_]
        if self.state_details.__class__ is not StateDetails:
            self.state_details = _as_details(self.state_details)
        if kind is _SCHEDULED and self.state_details.scheduled_time is None:
            self.state_details.scheduled_time = now()

    async def aresult(self, raise_on_failure: bool = True, retry_result_failure: bool = True) -> R:
        """As `result`, for coroutines."""
        return await aget_state_result(self, raise_on_failure, retry_result_failure)  # type: ignore[no-any-return]

    @by_colour(aresult)
    def result(self, raise_on_failure: bool = True, retry_result_failure: bool = True) -> R:
        """What the run returned.

        A failed, crashed or cancelled run raises its exception, or returns it with `raise_on_failure=False`. Raises
        UnfinishedRun or PausedRun before the run's end and MissingResult where the result was not kept. In async code
        this returns an awaitable (`utilities.colours`).
        """
        return get_state_result(self, raise_on_failure, retry_result_failure)  # type: ignore[no-any-return]

    def is_final(self) -> bool:
        kind = self.type
        return kind is _COMPLETED or kind is _FAILED or kind is _CRASHED or kind is _CANCELLED

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced, stamped now unless `update` says otherwise."""
        return super().model_copy(update={"timestamp": now(), **(update or {})}, deep=deep)

    def fresh_copy(self, **kwargs: Any) -> Self:
        """A copy to be entered anew: with an id and a timestamp of its own and no ids of runs or transitions."""
        details = self.state_details.model_copy()
        details.flow_run_id = details.task_run_id = details.child_flow_run_id = details.transition_id = None
        update = {"id": uuid7(), "timestamp": now(), "state_details": details, **kwargs.pop("update", {}), **kwargs}
        return super().model_copy(update=update)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseState):
            return NotImplemented
        return (
            self.id == other.id
            and self.type is other.type
            and self.name == other.name
            and self.message == other.message
            and self.timestamp == other.timestamp
        )

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"{self.name}(message={self.message!r}, type={self.type.value}, result={self.data!r})"

    def __str__(self) -> str:
        parts = [repr(self.message)] if self.message else []
        if self.name != _NAMES[self.type.value]:
            parts.append(f"type={self.type.value}")
        return f"{self.name}({', '.join(parts)})"


def _as_details(given: Any) -> StateDetails:
    return StateDetails() if given is None else StateDetails.model_validate(given)


# -- results ----------------------------------------------------------------------------------------------------------------

_WRAPPERS: Final[Mapping[StateType, tuple[type[Exception], str]]] = {
    _FAILED: (FailedRun, "Run failed."),
    _CRASHED: (CrashedRun, "Run crashed."),
    _CANCELLED: (CancelledRun, "Run cancelled."),
}


def get_state_result(state: BaseState, raise_on_failure: bool = True, retry_result_failure: bool = True) -> Any:
    """`State.result` without looking at the context it is called in."""
    kind = state.type
    if kind is not _COMPLETED:
        if kind is _PAUSED:
            raise PausedRun("Run is paused, its result is not available.", state=state)
        if kind not in TERMINAL_STATES:
            raise UnfinishedRun(f"Run is in {kind.value} state, its result is not available.")
        if raise_on_failure:
            raise get_state_exception(state, retry_result_failure)
    data = state.data
    if data is None:
        if kind is _COMPLETED:
            raise MissingResult(
                "State data is missing: the run's result was not persisted, so only the process that ran it had it. "
                "Run it with persist_result=True to read its result elsewhere."
            )
        return get_state_exception(state, retry_result_failure)
    return _value_of(data, retry_result_failure)


async def aget_state_result(state: BaseState, raise_on_failure: bool = True, retry_result_failure: bool = True) -> Any:
    """As `get_state_result`; a result that lies in a storage is read in a thread."""
    if state.is_final() and _is_metadata(state.data):
        import asyncio

        return await asyncio.to_thread(get_state_result, state, raise_on_failure, retry_result_failure)
    return get_state_result(state, raise_on_failure, retry_result_failure)


def _is_metadata(data: Any) -> bool:
    results = sys.modules.get("riverrun.results")  # not loaded: nothing here can be of its types
    return results is not None and isinstance(data, results.ResultRecordMetadata)


def _value_of(data: Any, retry: bool) -> Any:
    """What a state's `data` stands for."""
    if data is NONE_RESULT:
        return None
    results = sys.modules.get("riverrun.results")
    if results is None:
        return data
    if isinstance(data, results.ResultRecord):
        return data.result
    if isinstance(data, results.ResultRecordMetadata):
        return _read(results, data, attempts=4 if retry else 1)
    return data


def _read(results: Any, metadata: Any, attempts: int) -> Any:
    """A persisted result. Storages that become consistent late are asked again, for about a second in all."""
    import time

    for attempt in range(attempts - 1):
        try:
            return results.ResultStore._from_metadata(metadata).result
        except (OSError, MissingResult):
            time.sleep(0.1 * 2**attempt)
    return results.ResultStore._from_metadata(metadata).result


def get_state_exception(state: BaseState, retry_result_failure: bool = True) -> BaseException:
    """The exception that a failed, crashed or cancelled state stands for.

    Its data decides: an exception itself; text or nothing: FailedRun, CrashedRun or CancelledRun with that text or the
    state's message; a state or a collection of states: the exception of the first that failed. Raises ValueError for other
    states and TypeError for other data.
    """
    wrapper = _WRAPPERS.get(state.type)
    if wrapper is None:
        raise ValueError(f"Expected failed or crashed state got {state!r}.")
    kind, default = wrapper
    value = None if state.data is None else _value_of(state.data, retry_result_failure)
    if value is None:
        return kind(state.message or default)
    if isinstance(value, BaseException):
        return value
    if isinstance(value, str):
        return kind(value)
    if isinstance(value, BaseState):
        return get_state_exception(value, retry_result_failure)
    if is_state_iterable(value):
        for inner in value:
            if inner.type in _WRAPPERS:
                return get_state_exception(inner, retry_result_failure)
        raise ValueError("Failed state result was an iterable of states but none were failed.")
    raise TypeError(
        f"Unexpected result for failed state: {value!r}: {type(value).__name__} cannot be resolved into an exception"
    )


async def aget_state_exception(state: BaseState) -> BaseException:
    """As `get_state_exception`, for coroutines."""
    if _is_metadata(state.data):
        import asyncio

        return await asyncio.to_thread(get_state_exception, state)
    return get_state_exception(state)


async def araise_state_exception(state: BaseState) -> None:
    """Raise the exception of a failed, crashed or cancelled state; nothing happens for others."""
    if state.type in _WRAPPERS:
        raise await aget_state_exception(state)


@by_colour(araise_state_exception)
def raise_state_exception(state: BaseState) -> None:
    """Raise the exception of a failed, crashed or cancelled state; nothing happens for others."""
    if state.type in _WRAPPERS:
        raise get_state_exception(state)


def is_state(obj: Any) -> TypeGuard[State[Any]]:
    """Whether `obj` is a state (not a class of states)."""
    return isinstance(obj, BaseState)


def is_state_iterable(obj: Any) -> TypeGuard[Iterable[State[Any]]]:
    """Whether `obj` is a list, tuple or set of states and nothing else, and not empty."""
    return (
        isinstance(obj, (list, tuple, set))
        and not isinstance(obj, BaseAnnotation)
        and len(obj) > 0
        and all(isinstance(item, BaseState) for item in obj)
    )


class StateGroup:
    """Several states looked at together."""

    def __init__(self, states: list[Any]) -> None:
        self.states = states
        self.type_counts = dict.fromkeys(StateType, 0)
        for state in states:
            self.type_counts[state.type] += 1
        self.total_count = len(states)
        self.not_final_count = sum(not state.is_final() for state in states)

    @property
    def fail_count(self) -> int:
        """Failed and crashed ones."""
        return self.type_counts[_FAILED] + self.type_counts[_CRASHED]

    def all_completed(self) -> bool:
        return self.type_counts[_COMPLETED] == self.total_count

    def any_cancelled(self) -> bool:
        return self.type_counts[_CANCELLED] > 0

    def any_failed(self) -> bool:
        return self.fail_count > 0

    def any_paused(self) -> bool:
        return self.type_counts[_PAUSED] > 0

    def all_final(self) -> bool:
        return self.not_final_count == 0

    def counts_message(self) -> str:
        parts = [f"total={self.total_count}"]
        if self.not_final_count:
            parts.append(f"not_final={self.not_final_count}")
        parts += [f"'{kind.value}'={count}" for kind, count in self.type_counts.items() if count]
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"StateGroup<{self.counts_message()}>"


# -- constructors, one for each well-known name -----------------------------------------------------------------------------
# `cls` is there for code that makes states of a class of its own.


def Scheduled(cls: type[State[R]] = State, scheduled_time: datetime | None = None, **kwargs: Any) -> State[R]:  # noqa: N802
    """To start at `scheduled_time` (default: now)."""
    if scheduled_time is not None:
        details = _details(kwargs)
        if details.scheduled_time is not None:
            raise ValueError("An extra scheduled_time was provided in state_details")
        details.scheduled_time = scheduled_time
    return cls(type=_SCHEDULED, **kwargs)


def Completed(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    """`data=None` says that the result is None; without `data` nothing is known of a result."""
    if kwargs.get("data", NONE_RESULT) is None:
        kwargs["data"] = NONE_RESULT
    return cls(type=_COMPLETED, **kwargs)


def Running(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return cls(type=_RUNNING, **kwargs)


def Failed(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return cls(type=_FAILED, **kwargs)


def Crashed(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return cls(type=_CRASHED, **kwargs)


def Cancelling(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return cls(type=_CANCELLING, **kwargs)


def Cancelled(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return cls(type=_CANCELLED, **kwargs)


def Pending(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return cls(type=_PENDING, **kwargs)


def Paused(  # noqa: N802
    cls: type[State[R]] = State,
    timeout_seconds: float | None = None,
    pause_expiration_time: datetime | None = None,
    reschedule: bool = False,
    pause_key: str | None = None,
    **kwargs: Any,
) -> State[R]:
    """Waiting to be resumed, for at most `timeout_seconds` or until `pause_expiration_time`.

    With `reschedule` the process ends meanwhile. `pause_key` names a pause that happens once in a run.
    """
    details = _details(kwargs)
    if pause_expiration_time is not None and timeout_seconds is not None:
        raise ValueError("Cannot supply both a pause_expiration_time and timeout_seconds")
    if details.pause_timeout is not None and (pause_expiration_time or timeout_seconds):
        raise ValueError("An extra pause timeout was provided in state_details")
    if timeout_seconds is not None:
        pause_expiration_time = now() + timedelta(seconds=timeout_seconds)
    details.pause_timeout = pause_expiration_time or details.pause_timeout
    details.pause_reschedule = reschedule or details.pause_reschedule
    details.pause_key = pause_key or details.pause_key
    return cls(type=_PAUSED, **kwargs)


def Suspended(  # noqa: N802
    cls: type[State[R]] = State,
    timeout_seconds: float | None = None,
    pause_expiration_time: datetime | None = None,
    pause_key: str | None = None,
    **kwargs: Any,
) -> State[R]:
    """Paused with its process ended; a later process goes on."""
    kwargs.setdefault("name", "Suspended")
    return Paused(cls, timeout_seconds, pause_expiration_time, reschedule=True, pause_key=pause_key, **kwargs)


class _AwaitingRetry:
    """`AwaitingRetry(...)` makes a state as the other names do; `AwaitingRetry.after(...)` one that follows a failure."""

    __name__ = "AwaitingRetry"

    def __call__(
        self, cls: type[State[R]] = State, scheduled_time: datetime | None = None, **kwargs: Any
    ) -> State[R]:
        return Scheduled(cls, scheduled_time, **{"name": "AwaitingRetry", **kwargs})

    def after(self, delay: float, failure: BaseState) -> State[Any]:
        """Scheduled `delay` seconds from now, with the message and the data of the failed state."""
        return self(scheduled_time=now() + timedelta(seconds=delay), message=failure.message, data=failure.data)


AwaitingRetry: Final = _AwaitingRetry()


def AwaitingConcurrencySlot(  # noqa: N802
    cls: type[State[R]] = State, scheduled_time: datetime | None = None, **kwargs: Any
) -> State[R]:
    return Scheduled(cls, scheduled_time, **{"name": "AwaitingConcurrencySlot", **kwargs})


def Late(cls: type[State[R]] = State, scheduled_time: datetime | None = None, **kwargs: Any) -> State[R]:  # noqa: N802
    return Scheduled(cls, scheduled_time, **{"name": "Late", **kwargs})


def Submitting(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return Pending(cls, **{"name": "Submitting", **kwargs})


def InfrastructurePending(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return Pending(cls, **{"name": "InfrastructurePending", **kwargs})


def Retrying(cls: type[State[R]] = State, **kwargs: Any) -> State[R]:  # noqa: N802
    return Running(cls, **{"name": "Retrying", **kwargs})


def _details(kwargs: dict[str, Any]) -> StateDetails:
    """The details among the keyword arguments of a constructor, as an object of our own that may be changed."""
    details = _as_details(kwargs.get("state_details")).model_copy()
    kwargs["state_details"] = details
    return details


# -- from the outcome of user code to a state -------------------------------------------------------------------------------


def return_value_to_state(
    retval: Any,
    result_store: Any = None,
    key: str | None = None,
    expiration: datetime | None = None,
    write_result: bool = False,
) -> State[Any]:
    """The final state of a run whose function returned `retval`.

    A state that the user made stands as it is. A state that came from a run, or a list, tuple or set of nothing but
    states, is judged: all completed or else failed, cancelled or paused. Anything else is a completed run's data. Futures
    stand for the states of their runs, which must have ended. With a store the data becomes one of its records, written if
    `write_result`.
    """
    if retval.__class__ not in _DATA:
        retval = visit_collection(retval, visit_fn=_state_of, return_data=True)

    def held(value: Any) -> Any:
        results = sys.modules.get("riverrun.results")
        if results is not None and isinstance(value, (results.ResultRecord, results.ResultRecordMetadata)):
            return value
        if result_store is None:
            return NONE_RESULT if value is None else value
        record = result_store.create_result_record(value, key=key, expiration=expiration)
        if write_result:
            result_store.persist_result_record(record)
        return record

    if isinstance(retval, BaseState):
        details = retval.state_details
        if details.flow_run_id is None and details.task_run_id is None:
            # Of a state that did not complete, None means "no more than the message says".
            if result_store is not None or retval.type is _COMPLETED:
                retval.data = held(None if retval.data is NONE_RESULT else retval.data)
            return retval if isinstance(retval, State) else _as_state(retval)
        return _judge([retval], held(retval))
    if is_state_iterable(retval):
        return _judge(list(retval), held(retval))
    if isinstance(retval, Generator):
        retval = list(retval)
    return State(type=_COMPLETED, data=held(retval))


_DATA: Final = frozenset({int, float, str, bytes, bool, type(None)})


def _state_of(item: Any) -> Any:
    return item.state if isinstance(item, FutureBase) else item  # type: ignore[attr-defined]


def _as_state(state: BaseState) -> State[Any]:
    return State(**{name: getattr(state, name) for name in BaseState.__struct_fields__})


def _judge(states: list[Any], data: Any) -> State[Any]:
    group = StateGroup(states)
    total = group.total_count
    if group.any_paused():
        kind, message = _PAUSED, f"{group.type_counts[_PAUSED]}/{total} states paused."
    elif group.any_cancelled():
        kind, message = _CANCELLED, f"{group.type_counts[_CANCELLED]}/{total} states cancelled."
    elif group.all_completed():
        kind, message = _COMPLETED, "All states completed."
    elif not group.all_final():
        kind, message = _FAILED, f"{group.not_final_count}/{total} states are not final."
    else:
        kind, message = _FAILED, f"{group.fail_count}/{total} states failed."
    return State(type=kind, message=message, data=data)


def exception_to_failed_state(
    exc: BaseException | None = None,
    result_store: Any = None,
    write_result: bool = False,
    *,
    prefix: str | None = None,
    **kwargs: Any,
) -> State[Any]:
    """The failed state of a run whose function raised `exc` (default: the exception being handled).

    `prefix` (or `message`, as in the peer) stands before the exception's own text. Raises ValueError without an exception.
    """
    if exc is None:
        exc = sys.exc_info()[1]
        if exc is None:
            raise ValueError("Exception was not passed and no active exception could be found.")
    prefix = kwargs.pop("message", None) or prefix
    message = f"{prefix} {_describe(exc)}" if prefix else _describe(exc)
    data: Any = exc
    if result_store is not None:
        data = result_store.create_result_record(exc)
        if write_result:
            result_store.persist_result_record(data)
    details = _details(kwargs)
    details.retriable = False
    return Failed(message=message, data=data, **kwargs)


def exception_to_crashed_state(exc: BaseException, result_store: Any = None) -> State[Any]:
    """The crashed state of a run that was ended by `exc` from outside its function."""
    asyncio, httpx = sys.modules.get("asyncio"), sys.modules.get("httpx")
    if asyncio is not None and isinstance(exc, asyncio.CancelledError):
        message = "Execution was cancelled by the runtime environment."
    elif isinstance(exc, KeyboardInterrupt):
        message = "Execution was aborted by an interrupt signal."
    elif isinstance(exc, TerminationSignal):
        message = "Execution was aborted by a termination signal."
    elif isinstance(exc, SystemExit):
        message = "Execution was aborted by Python system exit call."
    elif httpx is not None and isinstance(exc, httpx.TimeoutException):
        message = f"Request failed while attempting to contact the server: {_describe(exc)}"
    else:
        message = f"Execution was interrupted by an unexpected exception: {_describe(exc)}"
    return Crashed(message=message, data=exc if result_store is None else result_store.create_result_record(exc))


def _describe(exc: BaseException) -> str:
    """The exception in one line or more; never raises, whatever its `__str__` does."""
    try:
        return f"{type(exc).__name__}: {exc}"
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything, and the run must end all the same
        return f"{type(exc).__name__}: (its text could not be made)"
