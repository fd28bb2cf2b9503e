"""States as users hold them: made by name, counted in groups, made of what user code returned or raised.

What a state *is* stands in `wire.states`, how it gives its result in `utilities.state`, which one may follow which in `rules`.
"""

import sys
from collections.abc import Generator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final

from riverrun.base.clock import now
from riverrun.base.errors import TerminationSignal
from riverrun.utilities.collections import FutureBase, visit_collection
from riverrun.utilities.state import (
    NONE_RESULT,
    R,
    State,
    aget_state_exception,
    aget_state_result,
    araise_state_exception,
    as_details,
    get_state_exception,
    get_state_result,
    is_state,
    is_state_iterable,
    raise_state_exception,
)
from riverrun.wire.states import TERMINAL_STATES, BaseState, StateDetails, StateType

__all__ = [
    "NONE_RESULT",
    "TERMINAL_STATES",
    "AwaitingConcurrencySlot",
    "AwaitingRetry",
    "Cancelled",
    "Cancelling",
    "Completed",
    "Crashed",
    "Failed",
    "InfrastructurePending",
    "Late",
    "Paused",
    "Pending",
    "Retrying",
    "Running",
    "Scheduled",
    "State",
    "StateDetails",
    "StateGroup",
    "StateType",
    "Submitting",
    "Suspended",
    "aget_state_exception",
    "aget_state_result",
    "araise_state_exception",
    "exception_to_crashed_state",
    "exception_to_crashed_state_sync",
    "exception_to_failed_state",
    "exception_to_failed_state_sync",
    "format_exception",
    "get_state_exception",
    "get_state_result",
    "is_state",
    "is_state_iterable",
    "raise_state_exception",
    "return_value_to_state",
    "return_value_to_state_sync",
]

_SCHEDULED, _PENDING, _RUNNING, _COMPLETED, _FAILED, _CANCELLED, _CRASHED, _PAUSED, _CANCELLING = StateType


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

    def __call__(self, cls: type[State[R]] = State, scheduled_time: datetime | None = None, **kwargs: Any) -> State[R]:
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
    details = as_details(kwargs.get("state_details")).model_copy()
    kwargs["state_details"] = details
    return details


# -- from the outcome of user code to a state -------------------------------------------------------------------------------


def return_value_to_state_sync(
    retval: Any,
    result_store: Any = None,
    key: str | None = None,
    expiration: datetime | None = None,
    write_result: bool = False,
    *,
    has_futures: bool = True,
) -> State[Any]:
    """The final state of a run whose function returned `retval`.

    A state that the user made stands as it is. A state that came from a run, or a list, tuple or set of nothing but
    states, is judged: all completed or else failed, cancelled or paused. Anything else is a completed run's data. Futures
    stand for the states of their runs, which must have ended (`has_futures=False`: there are none, so nothing is looked
    for, however deep it may be). With a store the data becomes one of its records, written if
    `write_result`.
    """
    if has_futures and retval.__class__ not in _DATA:
        retval = visit_collection(retval, visit_fn=_state_of, return_data=True)

    def held(value: Any) -> Any:
        records = sys.modules.get("riverrun.result_records")
        if records is not None and isinstance(value, (records.ResultRecord, records.ResultRecordMetadata)):
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


def exception_to_failed_state_sync(
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
    message = f"{prefix} {format_exception(exc)}" if prefix else format_exception(exc)
    data: Any = exc
    if result_store is not None:
        data = result_store.create_result_record(exc)
        if write_result:
            result_store.persist_result_record(data)
    details = _details(kwargs)
    details.retriable = False
    return Failed(message=message, data=data, **kwargs)


def exception_to_crashed_state_sync(exc: BaseException, result_store: Any = None) -> State[Any]:
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
        message = f"Request failed while attempting to contact the server: {format_exception(exc)}"
    else:
        message = f"Execution was interrupted by an unexpected exception: {format_exception(exc)}"
    return Crashed(message=message, data=exc if result_store is None else result_store.create_result_record(exc))


#: the names without `_sync`, which the engine calls
async def return_value_to_state(*args: Any, **kwargs: Any) -> State[Any]:
    """`return_value_to_state_sync` as a coroutine, as the peer has it."""
    return return_value_to_state_sync(*args, **kwargs)


async def exception_to_failed_state(*args: Any, **kwargs: Any) -> State[Any]:
    """`exception_to_failed_state_sync` as a coroutine, as the peer has it."""
    return exception_to_failed_state_sync(*args, **kwargs)


async def exception_to_crashed_state(*args: Any, **kwargs: Any) -> State[Any]:
    """`exception_to_crashed_state_sync` as a coroutine, as the peer has it."""
    return exception_to_crashed_state_sync(*args, **kwargs)


def format_exception(exc: BaseException, tb: TracebackType | None = None) -> str:
    """The exception's type and text, with a traceback if one is given; never raises, whatever its `__str__` does."""
    try:
        text = f"{type(exc).__name__}: {exc}"
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything, and the run must end all the same
        text = f"{type(exc).__name__}: (its text could not be made)"
    if tb is None:
        return text
    import traceback

    return f"Traceback (most recent call last):\n{''.join(traceback.format_tb(tb))}{text}"
