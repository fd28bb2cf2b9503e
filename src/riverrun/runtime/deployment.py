"""Attributes of the deployment that the current flow run was made from; None and empty for a flow that was just called."""

from collections.abc import Callable
from functools import partial
from typing import Any

from riverrun.runtime import flow_run
from riverrun.runtime.fields import known_to_server, look_up

__all__ = ["flow_run_id", "id", "name", "parameters", "version"]  # noqa: F822 - answered by __getattr__


def __getattr__(name: str) -> Any:
    return look_up(__name__, FIELDS, name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _id() -> str | None:
    run = flow_run._run()
    return None if run is None or run.deployment_id is None else str(run.deployment_id)


def _of_server(field: str) -> str | None:
    """Names and versions are the server's to know."""
    deployment_id = _id()
    deployment = None if deployment_id is None else known_to_server("deployment", deployment_id)
    value: str | None = None if deployment is None else getattr(deployment, field)
    return value


def _parameters() -> dict[str, Any]:
    return {} if _id() is None else flow_run._parameters()


FIELDS: dict[str, Callable[[], Any]] = {
    "flow_run_id": flow_run._id,
    "id": _id,
    "name": partial(_of_server, "name"),
    "parameters": _parameters,
    "version": partial(_of_server, "version"),
}
