"""riverrun's public names, resolved on first use.

Importing the package loads nothing but this table, so that `import riverrun` costs what the names you touch cost.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: public name -> module that defines it
_HOMES = {
    "Flow": "riverrun.flows",
    "State": "riverrun.states",
    "Task": "riverrun.tasks",
    "Transaction": "riverrun.transactions",
    "allow_failure": "riverrun.utilities.annotations",
    "adeploy": "riverrun.deployments.runner",
    "apause_flow_run": "riverrun.flow_runs",
    "aresume_flow_run": "riverrun.flow_runs",
    "aserve": "riverrun.deployments.serving",
    "asuspend_flow_run": "riverrun.flow_runs",
    "deploy": "riverrun.deployments.runner",
    "flatten": "riverrun.utilities.annotations",
    "flow": "riverrun.flows",
    "get_client": "riverrun.client.orchestration",
    "get_run_logger": "riverrun.logging",
    "opaque": "riverrun.utilities.annotations",
    "pause_flow_run": "riverrun.flow_runs",
    "quote": "riverrun.utilities.annotations",
    "resume_flow_run": "riverrun.flow_runs",
    "serve": "riverrun.deployments.serving",
    "suspend_flow_run": "riverrun.flow_runs",
    "tags": "riverrun.context",
    "task": "riverrun.tasks",
    "unmapped": "riverrun.utilities.annotations",
}

__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from riverrun.client.orchestration import get_client
    from riverrun.context import tags
    from riverrun.deployments.runner import adeploy, deploy
    from riverrun.deployments.serving import aserve, serve
    from riverrun.flow_runs import (
        apause_flow_run,
        aresume_flow_run,
        asuspend_flow_run,
        pause_flow_run,
        resume_flow_run,
        suspend_flow_run,
    )
    from riverrun.flows import Flow, flow
    from riverrun.logging import get_run_logger
    from riverrun.states import State
    from riverrun.tasks import Task, task
    from riverrun.transactions import Transaction
    from riverrun.utilities.annotations import allow_failure, flatten, opaque, quote, unmapped


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        try:
            return import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
