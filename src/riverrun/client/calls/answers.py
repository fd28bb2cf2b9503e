"""Answers in the shape in which the SDK wants them: with runs and states that users can hold, not with those of `wire`."""

from typing import Any, Generic, TypeVar
from uuid import UUID

from msgspec import Raw, Struct

from riverrun.wire.choices import SetStateStatus
from riverrun.wire.deployments import DeploymentResponse
from riverrun.wire.model import Model
from riverrun.wire.runs import FlowRun
from riverrun.wire.states import BaseState
from riverrun.wire.transitions import ResponseDetails

R = TypeVar("R")


class OrchestrationResult(Struct, Model, Generic[R], kw_only=True):
    """The answer to a proposed state; `state` is what holds now, or None where nothing was written."""

    state: BaseState | None
    status: SetStateStatus
    details: ResponseDetails


class Begun(OrchestrationResult[FlowRun], kw_only=True):
    """The same for a process that wants to run a flow run, with the run as it is now."""

    flow_run: FlowRun


class ScheduledWork(Struct, Model, kw_only=True):
    """A run that a worker may take, and where it waited."""

    work_pool_id: UUID
    work_queue_id: UUID
    flow_run: FlowRun


class ClaimedRun(Struct, Model, kw_only=True):
    """A run that a worker or runner has claimed: `wire.claims.Claim` as those who run it read it."""

    flow_run: FlowRun
    deployment: DeploymentResponse | None = None
    flow_name: str | None = None
    job_configuration: dict[str, Any] = {}
    fence: int


class ClaimedRuns(Struct, kw_only=True):
    """What a claim gave. Each run is a `ClaimedRun`, left as it came: another process reads it once more."""

    claims: list[Raw]
    lease_seconds: float
