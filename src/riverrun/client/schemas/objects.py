"""Runs, states and logs under the module path that users import them from; they are defined in `wire` and `states`."""

from uuid import UUID

from riverrun.states import State
from riverrun.wire.logs import Log
from riverrun.wire.runs import Flow, FlowRun, RunInput, RunPolicy, TaskRun
from riverrun.wire.states import TERMINAL_STATES, StateDetails, StateType

FlowRunPolicy = TaskRunPolicy = RunPolicy


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


__all__ = [
    "TERMINAL_STATES",
    "Constant",
    "Flow",
    "FlowRun",
    "FlowRunPolicy",
    "FlowRunResult",
    "Log",
    "Parameter",
    "RunInput",
    "State",
    "StateDetails",
    "StateType",
    "TaskRun",
    "TaskRunPolicy",
    "TaskRunResult",
]
