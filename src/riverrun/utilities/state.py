"""A state that can give its result. `riverrun.states` is the module that users know; it holds what makes states.

What a state *is* stands in `wire.states`, which one may follow which in `rules`. This module must not read storages itself:
a result's store does.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, Self, TypeGuard, TypeVar

from riverrun.base.clock import now
from riverrun.base.errors import CancelledRun, CrashedRun, FailedRun, MissingResult, PausedRun, UnfinishedRun
from riverrun.base.ids import uuid7
from riverrun.base.loops import in_thread
from riverrun.utilities.annotations import BaseAnnotation
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
            self.state_details = as_details(self.state_details)
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


def as_details(given: Any) -> StateDetails:
    """Details from details, a mapping or None."""
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
        return await in_thread(get_state_result, state, raise_on_failure, retry_result_failure)
    return get_state_result(state, raise_on_failure, retry_result_failure)


def _is_metadata(data: Any) -> bool:
    records = sys.modules.get("riverrun.result_records")  # not loaded: nothing here can be of its types
    return records is not None and isinstance(data, records.ResultRecordMetadata)


def _value_of(data: Any, retry: bool) -> Any:
    """What a state's `data` stands for."""
    if data is NONE_RESULT:
        return None
    records = sys.modules.get("riverrun.result_records")
    if records is None:
        return data
    if isinstance(data, records.ResultRecord):
        return data.result
    if isinstance(data, records.ResultRecordMetadata):
        return _read(data, attempts=4 if retry else 1)
    return data


def _read(metadata: Any, attempts: int) -> Any:
    """A persisted result. Storages that become consistent late are asked again, for about a second in all."""
    import time

    from riverrun.results import ResultStore

    for attempt in range(attempts - 1):
        try:
            return ResultStore.from_metadata(metadata).result
        except (OSError, MissingResult):
            time.sleep(0.1 * 2**attempt)
    return ResultStore.from_metadata(metadata).result


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
        return await in_thread(get_state_exception, state)
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
