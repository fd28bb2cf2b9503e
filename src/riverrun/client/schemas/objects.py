"""Runs, states and logs under the module path that users import them from; they are defined in `wire` and `states`."""

from riverrun.states import State
from riverrun.wire.logs import Log
from riverrun.wire.runs import Flow, FlowRun, RunInput, RunPolicy, TaskRun
from riverrun.wire.states import TERMINAL_STATES, StateDetails, StateType

FlowRunPolicy = TaskRunPolicy = RunPolicy

__all__ = [
    "TERMINAL_STATES",
    "Flow",
    "FlowRun",
    "FlowRunPolicy",
    "Log",
    "RunInput",
    "State",
    "StateDetails",
    "StateType",
    "TaskRun",
    "TaskRunPolicy",
]
