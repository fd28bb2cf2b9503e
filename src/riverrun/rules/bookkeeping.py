"""What a run's row remembers when a state is entered: start, end, counts, durations. Pure.

Semantics: the protocol page of the peer (section 3, "Always"). Times and durations are integer microseconds, so that the
store and the journal's ingestion share one function with the engine, whose runs hold datetimes and timedeltas and pass a
`tick` of that kind.
"""

from typing import Any, Protocol

from msgspec import Struct

from riverrun.wire.states import TERMINAL_STATES, StateType


class LedgerLike(Protocol):
    """What `enter` reads and writes; instants are of one type T, durations of the type of T - T."""

    state_type: StateType | None
    state_timestamp: Any
    run_count: int
    start_time: Any
    end_time: Any
    total_run_time: Any
    expected_start_time: Any
    next_scheduled_start_time: Any
    resuming: bool


class Ledger(Struct, kw_only=True):
    """The derived fields of a run, in integer microseconds. Mutable: `enter` moves it on."""

    state_type: StateType | None = None
    state_timestamp: int | None = None
    run_count: int = 0
    start_time: int | None = None
    end_time: int | None = None
    total_run_time: int = 0
    expected_start_time: int | None = None
    next_scheduled_start_time: int | None = None
    resuming: bool = False


def enter(ledger: LedgerLike, kind: StateType, timestamp: Any, scheduled_time: Any = None, tick: Any = 1) -> Any:
    """Move the ledger into a state of type `kind`; returns the timestamp used, unique within the run.

    A timestamp that is not later than the current state's is moved to one microsecond after it, so that the order of a
    run's states is the order in which they were entered even when the wall clock jumps back.
    """
    before = ledger.state_type
    last = ledger.state_timestamp
    if last is not None:
        if timestamp <= last:
            timestamp = last + tick
        if before is StateType.RUNNING:
            ledger.total_run_time += timestamp - last
    if ledger.expected_start_time is None:
        ledger.expected_start_time = timestamp if scheduled_time is None else scheduled_time
    ledger.next_scheduled_start_time = scheduled_time if kind is StateType.SCHEDULED else None
    if kind is StateType.RUNNING:
        if ledger.start_time is None:
            ledger.start_time = timestamp
        if not ledger.resuming:
            ledger.run_count += 1
    if kind in TERMINAL_STATES:
        if ledger.start_time is None:
            ledger.start_time = timestamp
        ledger.end_time = timestamp
        ledger.resuming = False
    else:
        ledger.end_time = None
        if kind is StateType.RUNNING:
            ledger.resuming = False
    ledger.state_type = kind
    ledger.state_timestamp = timestamp
    return timestamp
