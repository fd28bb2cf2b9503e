"""What the API answers, under the module path that users import it from; defined in `wire` and `states`.

`as_users_hold` gives answers the states that users know: those that can give their results.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from msgspec import MsgspecError, Struct

from riverrun.client.calls.answers import OrchestrationResult, ScheduledWork
from riverrun.states import State
from riverrun.wire.admin import CsrfToken, ServerDefaultResultStorage, ServerDefaultResultStorageUpdate
from riverrun.wire.artifacts import Artifact, ArtifactCollection
from riverrun.wire.blocks import BlockDocument, BlockSchema, BlockType
from riverrun.wire.concurrency import ConcurrencyLeaseHolder, ConcurrencyLimit
from riverrun.wire.concurrency import GlobalConcurrencyLimitResponse as GlobalConcurrencyLimit
from riverrun.wire.deployments import ConcurrencyOptions, DeploymentSchedule, VersionInfo
from riverrun.wire.deployments import DeploymentResponse as Deployment
from riverrun.wire.filters import QueueFilter
from riverrun.wire.flow_runs import FlowRunInput
from riverrun.wire.logs import Log
from riverrun.wire.model import Model
from riverrun.wire.runs import Flow, FlowRun, RunInput, RunPolicy, TaskRun
from riverrun.wire.searches import SavedSearch, SavedSearchFilter
from riverrun.wire.states import TERMINAL_STATES, BaseState, StateDetails, StateType
from riverrun.wire.variables import Variable
from riverrun.wire.work import WorkerResponse as Worker
from riverrun.wire.work import WorkPoolResponse as WorkPool
from riverrun.wire.work import WorkPoolStorageConfiguration, WorkQueueHealthPolicy, WorkQueueStatusDetail
from riverrun.wire.work import WorkQueueResponse as WorkQueue

T = TypeVar("T")

FlowRunPolicy = TaskRunPolicy = RunPolicy


class RunType(StrEnum):
    FLOW_RUN = "flow_run"
    TASK_RUN = "task_run"


class DeploymentStatus(StrEnum):
    READY = "READY"
    NOT_READY = "NOT_READY"


class WorkPoolStatus(StrEnum):
    READY = "READY"
    NOT_READY = "NOT_READY"
    PAUSED = "PAUSED"


WorkQueueStatus = WorkPoolStatus


class WorkerStatus(StrEnum):
    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"


class ConcurrencyLimitStrategy(StrEnum):
    ENQUEUE = "ENQUEUE"
    CANCEL_NEW = "CANCEL_NEW"


class ConcurrencyLimitConfig(Struct, Model, kw_only=True):
    """How many runs of a deployment may go on at once, and what becomes of one too many."""

    limit: int
    collision_strategy: ConcurrencyLimitStrategy = ConcurrencyLimitStrategy.ENQUEUE
    grace_period_seconds: int | None = None


def TaskRunResult(id: UUID) -> RunInput:  # noqa: N802 - a public name of the peer
    """An input that is the result of a task run."""
    return RunInput("task_run", id=id)


def FlowRunResult(id: UUID) -> RunInput:  # noqa: N802 - a public name of the peer
    """An input that is the result of a flow run."""
    return RunInput("flow_run", id=id)


def Parameter(name: str) -> RunInput:  # noqa: N802 - a public name of the peer
    """An input that is a parameter of the flow run."""
    return RunInput("parameter", name=name)


def Constant(type: str) -> RunInput:  # noqa: N802 - a public name of the peer
    """An input that is a constant of some type."""
    return RunInput("constant", type=type)


# -- answers as users hold them ---------------------------------------------------------------------------------------------


def as_users_hold(answer: T) -> T:
    """The answer with the states in it as `State`s."""
    if isinstance(answer, list):
        return [as_users_hold(each) for each in answer]  # type: ignore[return-value]
    if isinstance(answer, FlowRun | TaskRun | OrchestrationResult):
        if answer.state is not None:
            answer.state = users_state(answer.state)
    elif isinstance(answer, ScheduledWork):
        as_users_hold(answer.flow_run)
    elif isinstance(answer, BaseState):
        return users_state(answer)  # type: ignore[return-value]
    return answer


def users_state(state: BaseState) -> State[Any]:
    """The state as one that can give its result, if that was persisted."""
    if isinstance(state, State):
        return state
    return State(
        type=state.type,
        name=state.name,
        message=state.message,
        data=_metadata(state.data),
        state_details=state.state_details,
        timestamp=state.timestamp,
        id=state.id,
    )


def _metadata(data: Any) -> Any:
    """Where a persisted result lies, out of what travels; anything else as it is."""
    if not isinstance(data, Mapping) or "storage_key" not in data:
        return data
    from riverrun.result_records import ResultRecordMetadata

    try:
        return ResultRecordMetadata.model_validate(data)
    except (MsgspecError, ValueError):  # written by something else: still readable as what it is
        return data


__all__ = [
    "TERMINAL_STATES",
    "Artifact",
    "ArtifactCollection",
    "BlockDocument",
    "BlockSchema",
    "BlockType",
    "ConcurrencyLeaseHolder",
    "ConcurrencyLimit",
    "ConcurrencyLimitConfig",
    "ConcurrencyLimitStrategy",
    "ConcurrencyOptions",
    "Constant",
    "CsrfToken",
    "Deployment",
    "DeploymentSchedule",
    "DeploymentStatus",
    "Flow",
    "FlowRun",
    "FlowRunInput",
    "FlowRunPolicy",
    "FlowRunResult",
    "GlobalConcurrencyLimit",
    "Log",
    "Parameter",
    "QueueFilter",
    "RunInput",
    "RunType",
    "SavedSearch",
    "SavedSearchFilter",
    "ServerDefaultResultStorage",
    "ServerDefaultResultStorageUpdate",
    "State",
    "StateDetails",
    "StateType",
    "TaskRun",
    "TaskRunPolicy",
    "TaskRunResult",
    "Variable",
    "VersionInfo",
    "WorkPool",
    "WorkPoolStatus",
    "WorkPoolStorageConfiguration",
    "WorkQueue",
    "WorkQueueHealthPolicy",
    "WorkQueueStatus",
    "WorkQueueStatusDetail",
    "Worker",
    "WorkerStatus",
    "as_users_hold",
    "users_state",
]
