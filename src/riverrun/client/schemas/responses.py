"""Answers to commands, under the module path that users import them from; defined in `wire`."""

from enum import StrEnum

from riverrun.client.calls.answers import OrchestrationResult
from riverrun.client.calls.answers import ScheduledWork as WorkerFlowRunResponse
from riverrun.wire.concurrency import (
    ConcurrencyLimitWithLeaseResponse,
    GlobalConcurrencyLimitResponse,
    MinimalConcurrencyLimitResponse,
)
from riverrun.wire.deployments import DeploymentResponse
from riverrun.wire.flow_runs import FlowRunSlotSummary, HistoryResponse, HistoryResponseState
from riverrun.wire.runs import FlowRun as FlowRunResponse
from riverrun.wire.transitions import ResponseDetails
from riverrun.wire.work import (
    WorkPoolConcurrencyStatus,
    WorkQueueConcurrencyStatus,
    WorkQueueConcurrencyStatusDetail,
)

#: one shape serves all four; its `type` tells which it is
StateAcceptDetails = StateRejectDetails = StateAbortDetails = StateWaitDetails = ResponseDetails


class SetStateStatus(StrEnum):
    """What became of a proposed state."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    ABORT = "ABORT"
    WAIT = "WAIT"


__all__ = [
    "ConcurrencyLimitWithLeaseResponse",
    "DeploymentResponse",
    "FlowRunResponse",
    "FlowRunSlotSummary",
    "GlobalConcurrencyLimitResponse",
    "HistoryResponse",
    "HistoryResponseState",
    "MinimalConcurrencyLimitResponse",
    "OrchestrationResult",
    "SetStateStatus",
    "StateAbortDetails",
    "StateAcceptDetails",
    "StateRejectDetails",
    "StateWaitDetails",
    "WorkPoolConcurrencyStatus",
    "WorkQueueConcurrencyStatus",
    "WorkQueueConcurrencyStatusDetail",
    "WorkerFlowRunResponse",
]
