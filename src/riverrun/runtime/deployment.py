"""Attributes of the deployment that the current flow run was made from; None and empty for a flow that was just called."""

from typing import Any

from riverrun.context import FlowRunContext
from riverrun.runtime import flow_run
from riverrun.runtime.fields import look_up

__all__ = ["flow_run_id", "id", "name", "parameters", "version"]  # noqa: F822 - answered by __getattr__


def __getattr__(name: str) -> Any:
    return look_up(__name__, FIELDS, name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _id() -> str | None:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return None
    return str(context.flow_run.deployment_id)


def _unknown() -> str | None:
    """Names and versions are the server's to know; a worker tells them by the environment."""
    return None


def _parameters() -> dict[str, Any]:
    return {} if _id() is None else flow_run._parameters()


FIELDS = {
    "flow_run_id": flow_run._id,
    "id": _id,
    "name": _unknown,
    "parameters": _parameters,
    "version": _unknown,
}
