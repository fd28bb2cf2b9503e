"""Attributes of the flow run that the current code belongs to. Read on every access."""

from datetime import datetime
from typing import Any

from riverrun.base.clock import now
from riverrun.base.sources import told
from riverrun.client import location
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.runtime.fields import known_to_server, look_up
from riverrun.wire.runs import FlowRun

__all__ = [  # noqa: F822 - answered by __getattr__
    "api_url",
    "flow_name",
    "flow_version",
    "id",
    "job_variables",
    "name",
    "parameters",
    "parent_deployment_id",
    "parent_flow_run_id",
    "root_flow_run_id",
    "run_count",
    "scheduled_start_time",
    "tags",
    "ui_url",
]


def __getattr__(name: str) -> Any:
    return look_up(__name__, FIELDS, name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _run(context: FlowRunContext | None = None) -> FlowRun | None:
    context = context or FlowRunContext.get()
    if context is not None:
        return context.flow_run
    # a process that was started for a run, and code of it that runs outside of the flow
    run_id = told("FLOW_RUN_ID")
    run: FlowRun | None = None if run_id is None else known_to_server("flow_run", run_id)
    return run


def _parent() -> FlowRun | None:
    context = FlowRunContext.get()
    if context is not None and context.parent is not None:
        return _run(context.parent)
    return _started_by(_run())


def _started_by(run: FlowRun | None) -> FlowRun | None:
    """The flow run that started this one in another process, by a run of a deployment."""
    if run is None or run.parent_task_run_id is None:
        return None
    stand_in = known_to_server("task_run", str(run.parent_task_run_id))
    flow_run_id = None if stand_in is None else stand_in.flow_run_id
    parent: FlowRun | None = None if flow_run_id is None else known_to_server("flow_run", str(flow_run_id))
    return parent


def _id() -> str | None:
    run = _run()
    if run is not None:
        return str(run.id)
    task_context = TaskRunContext.get()
    if task_context is not None:
        flow_run_id = task_context.task_run.flow_run_id
        return None if flow_run_id is None else str(flow_run_id)
    return told("FLOW_RUN_ID")


def _tags() -> list[str]:
    run = _run()
    return [] if run is None else list(run.tags)


def _name() -> str | None:
    run = _run()
    return None if run is None else run.name


def _run_count() -> int:
    run = _run()
    return 0 if run is None else run.run_count


def _flow_name() -> str | None:
    context = FlowRunContext.get()
    return None if context is None or context.flow is None else context.flow.name


def _flow_version() -> str | None:
    context = FlowRunContext.get()
    if context is not None and context.flow is not None:
        return context.flow.version
    run = _run()
    return None if run is None else run.flow_version


def _parameters() -> dict[str, Any]:
    context = FlowRunContext.get()
    if context is not None:
        return dict(context.parameters or {})
    run = _run()
    return {} if run is None else dict(run.parameters or {})


def _scheduled_start_time() -> datetime:
    run = _run()
    return now() if run is None or run.expected_start_time is None else run.expected_start_time


def _parent_flow_run_id() -> str | None:
    parent = _parent()
    return None if parent is None else str(parent.id)


def _parent_deployment_id() -> str | None:
    parent = _parent()
    return None if parent is None or parent.deployment_id is None else str(parent.deployment_id)


def _root_flow_run_id() -> str | None:
    context = FlowRunContext.get()
    while context is not None and context.parent is not None:
        context = context.parent
    run = _run(context)
    while (above := _started_by(run)) is not None:
        run = above
    return None if run is None else str(run.id)


def _job_variables() -> dict[str, Any] | None:
    run = _run()
    return None if run is None else run.job_variables or {}


def _api_url() -> str | None:
    api, run_id = location.api_url(), _id()
    return None if api is None or run_id is None else f"{api.rstrip('/')}/flow-runs/flow-run/{run_id}"


def _ui_url() -> str | None:
    api, run_id = location.api_url(), _id()
    return None if api is None or run_id is None else f"{_page(api)}/flow-runs/flow-run/{run_id}"


def _page(api: str) -> str:
    return api.rstrip("/").removesuffix("/api")


FIELDS = {
    "api_url": _api_url,
    "flow_name": _flow_name,
    "flow_version": _flow_version,
    "id": _id,
    "job_variables": _job_variables,
    "name": _name,
    "parameters": _parameters,
    "parent_deployment_id": _parent_deployment_id,
    "parent_flow_run_id": _parent_flow_run_id,
    "root_flow_run_id": _root_flow_run_id,
    "run_count": _run_count,
    "scheduled_start_time": _scheduled_start_time,
    "tags": _tags,
    "ui_url": _ui_url,
}
