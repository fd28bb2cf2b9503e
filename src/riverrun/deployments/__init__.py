"""Deployments: flows that run on a schedule or when they are asked to, wherever their code is fetched to."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from riverrun.deployments.flow_runs import arun_deployment, run_deployment
    from riverrun.deployments.runner import RunnerDeployment, adeploy, deploy

_HOMES = {
    "RunnerDeployment": "riverrun.deployments.runner",
    "adeploy": "riverrun.deployments.runner",
    "arun_deployment": "riverrun.deployments.flow_runs",
    "deploy": "riverrun.deployments.runner",
    "run_deployment": "riverrun.deployments.flow_runs",
}

__all__ = ["RunnerDeployment", "adeploy", "arun_deployment", "deploy", "run_deployment"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
