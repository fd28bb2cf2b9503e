"""Attributes of the task run that the current code belongs to. Read on every access."""

from typing import Any

from riverrun.client import location
from riverrun.context import TaskRunContext
from riverrun.runtime.fields import look_up

__all__ = ["api_url", "id", "name", "parameters", "run_count", "tags", "task_name", "ui_url"]  # noqa: F822 - by __getattr__


def __getattr__(name: str) -> Any:
    return look_up(__name__, FIELDS, name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _id() -> str | None:
    context = TaskRunContext.get()
    return None if context is None else str(context.task_run.id)


def _tags() -> list[str]:
    context = TaskRunContext.get()
    return [] if context is None else list(context.task_run.tags)


def _run_count() -> int:
    context = TaskRunContext.get()
    return 0 if context is None else context.task_run.run_count


def _name() -> str | None:
    context = TaskRunContext.get()
    return None if context is None else context.task_run.name


def _task_name() -> str | None:
    context = TaskRunContext.get()
    return None if context is None else context.task.name


def _parameters() -> dict[str, Any]:
    context = TaskRunContext.get()
    return {} if context is None else dict(context.parameters)


def _api_url() -> str | None:
    api, run_id = location.api_url(), _id()
    return None if api is None or run_id is None else f"{api.rstrip('/')}/runs/task-run/{run_id}"


def _ui_url() -> str | None:
    api, run_id = location.api_url(), _id()
    return None if api is None or run_id is None else f"{api.rstrip('/').removesuffix('/api')}/runs/task-run/{run_id}"


FIELDS = {
    "api_url": _api_url,
    "id": _id,
    "name": _name,
    "parameters": _parameters,
    "run_count": _run_count,
    "tags": _tags,
    "task_name": _task_name,
    "ui_url": _ui_url,
}
