"""Faces: the modules under which users import what is sent to a server and read from it.

The names that are also imported from here are found on first use.
"""

from typing import TYPE_CHECKING, Any

_HOMES = {
    "objects": (
        "BlockDocument",
        "BlockSchema",
        "BlockType",
        "FlowRun",
        "FlowRunPolicy",
        "FlowRunResult",
        "RunInput",
        "State",
        "StateDetails",
        "StateType",
        "TaskRun",
        "TaskRunPolicy",
        "TaskRunResult",
    ),
    "actions": ("BlockTypeUpdate", "StateCreate"),
    "responses": (
        "OrchestrationResult",
        "SetStateStatus",
        "StateAbortDetails",
        "StateAcceptDetails",
        "StateRejectDetails",
    ),
}

if TYPE_CHECKING:
    from riverrun.client.schemas.actions import BlockTypeUpdate as BlockTypeUpdate
    from riverrun.client.schemas.actions import StateCreate as StateCreate
    from riverrun.client.schemas.objects import BlockDocument as BlockDocument
    from riverrun.client.schemas.objects import BlockSchema as BlockSchema
    from riverrun.client.schemas.objects import BlockType as BlockType
    from riverrun.client.schemas.objects import FlowRun as FlowRun
    from riverrun.client.schemas.objects import FlowRunPolicy as FlowRunPolicy
    from riverrun.client.schemas.objects import FlowRunResult as FlowRunResult
    from riverrun.client.schemas.objects import RunInput as RunInput
    from riverrun.client.schemas.objects import State as State
    from riverrun.client.schemas.objects import StateDetails as StateDetails
    from riverrun.client.schemas.objects import StateType as StateType
    from riverrun.client.schemas.objects import TaskRun as TaskRun
    from riverrun.client.schemas.objects import TaskRunPolicy as TaskRunPolicy
    from riverrun.client.schemas.objects import TaskRunResult as TaskRunResult
    from riverrun.client.schemas.responses import OrchestrationResult as OrchestrationResult
    from riverrun.client.schemas.responses import SetStateStatus as SetStateStatus
    from riverrun.client.schemas.responses import StateAbortDetails as StateAbortDetails
    from riverrun.client.schemas.responses import StateAcceptDetails as StateAcceptDetails
    from riverrun.client.schemas.responses import StateRejectDetails as StateRejectDetails


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
