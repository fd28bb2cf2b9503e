"""States: what a run is doing, in the words both sides speak.

This module knows types, names and predicates. It must not know how a result is read (`riverrun.states` does) nor which
transition is allowed (`riverrun.rules` does).
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from msgspec import Struct, field

from riverrun.base.clock import now
from riverrun.base.ids import uuid7
from riverrun.wire.model import Model


class StateType(StrEnum):
    """The nine kinds of state that orchestration rules know; names refine them for people."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"


TERMINAL_STATES: Final = frozenset({StateType.COMPLETED, StateType.CANCELLED, StateType.FAILED, StateType.CRASHED})

#: Codes of the types in the journal and the store. Never renumber: they are on disk.
TYPE_CODES: Final[Mapping[StateType, int]] = {kind: code for code, kind in enumerate(StateType, start=1)}
TYPES_BY_CODE: Final[Mapping[int, StateType]] = {code: kind for kind, code in TYPE_CODES.items()}

DEFAULT_NAMES: Final[Mapping[StateType, str]] = {kind: kind.value.capitalize() for kind in StateType}


class StateDetails(Struct, Model, kw_only=True, omit_defaults=True):
    """Facts about a state beyond its type and name; all optional."""

    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    child_flow_run_id: UUID | None = None
    scheduled_time: datetime | None = None
    cache_key: str | None = None
    cache_expiration: datetime | None = None
    deferred: bool | None = False
    untrackable_result: bool = False
    pause_timeout: datetime | None = None
    pause_reschedule: bool = False
    pause_key: str | None = None
    run_input_keyset: dict[str, str] | None = None
    refresh_cache: bool | None = None
    retriable: bool | None = None
    transition_id: UUID | None = None
    task_parameters_id: UUID | None = None
    traceparent: str | None = None
    deployment_concurrency_lease_id: UUID | None = None


class BaseState(Struct, Model, kw_only=True):
    """One state of one run.

    `type`, optional `name` (default: the capitalised type), `message` for people, `data` (a result, a reference to one, an
    exception, or nothing), `timestamp` and `id`.
    """

    type: StateType
    name: str | None = None
    message: str | None = None
    data: Any = None
    state_details: StateDetails = field(default_factory=StateDetails)
    timestamp: datetime = field(default_factory=now)
    id: UUID = field(default_factory=uuid7)

    def __post_init__(self) -> None:
        kind = self.type
        if kind.__class__ is not StateType:
            self.type = kind = StateType(kind)
        if self.name is None:
            self.name = DEFAULT_NAMES[kind]
        if kind is StateType.SCHEDULED and self.state_details.scheduled_time is None:
            self.state_details.scheduled_time = now()

    def is_scheduled(self) -> bool:
        return self.type is StateType.SCHEDULED

    def is_pending(self) -> bool:
        return self.type is StateType.PENDING

    def is_running(self) -> bool:
        return self.type is StateType.RUNNING

    def is_completed(self) -> bool:
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        return self.type is StateType.FAILED

    def is_crashed(self) -> bool:
        return self.type is StateType.CRASHED

    def is_cancelled(self) -> bool:
        return self.type is StateType.CANCELLED

    def is_cancelling(self) -> bool:
        return self.type is StateType.CANCELLING

    def is_paused(self) -> bool:
        return self.type is StateType.PAUSED

    def is_final(self) -> bool:
        return self.type in TERMINAL_STATES
