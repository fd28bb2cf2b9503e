"""A proposed state and what its proposer learns, as they travel."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct, field

from riverrun.wire.choices import SetStateStatus
from riverrun.wire.model import Model
from riverrun.wire.states import StateDetails, StateType


class StateCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    type: StateType
    name: str | None = None
    message: str | None = None
    data: Any = None
    state_details: StateDetails = field(default_factory=StateDetails)


class StateDetailsResponse(StateDetails, kw_only=True, omit_defaults=False):
    """The details of a state in answers: every field is there."""


class StateResponse(Struct, Model, kw_only=True):
    """A state in answers of the REST interface."""

    id: UUID
    type: StateType
    name: str | None
    timestamp: datetime
    message: str | None = None
    data: Any = None
    state_details: StateDetailsResponse


class ResponseDetails(Struct, Model, kw_only=True, omit_defaults=True):
    """Beside the answer: why, and for WAIT how long (whole seconds)."""

    type: Literal["accept_details", "reject_details", "wait_details", "abort_details"]
    reason: str | None = None
    delay_seconds: int | None = None


class OrchestrationResult(Struct, Model, kw_only=True):
    """The answer to a proposed state; `state` is what holds now, None for a run without one."""

    state: StateResponse | None
    status: SetStateStatus
    details: ResponseDetails
