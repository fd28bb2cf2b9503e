"""Resources that events are related to: what the current run belongs to, with the names that the server knows.

`emit_event` adds the same without asking the server; this is for code that makes its own events.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from riverrun.base.errors import ObjectNotFound
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.events.emit import as_related
from riverrun.events.schemas.events import RelatedResource

__all__ = ["object_as_related_resource", "related_resources_from_run_context", "tags_as_related_resources"]


def tags_as_related_resources(tags: Iterable[str]) -> list[RelatedResource]:
    """Each tag once, in the order of the alphabet."""
    return [as_related("tag", tag) for tag in sorted(set(tags))]


def object_as_related_resource(kind: str, role: str, object: Any) -> RelatedResource:
    """An object that has an `id` and a `name`."""
    return as_related(kind, object.id, object.name, role)


async def related_resources_from_run_context(
    client: Any, exclude: Collection[str] | None = None
) -> list[RelatedResource]:
    """The runs that the current code belongs to, their flow, deployment, work queue and pool, and their tags.

    `exclude` names the ids of resources to leave out.
    """
    flow_run_context, task_run_context = FlowRunContext.get(), TaskRunContext.get()
    flow_run = None if flow_run_context is None else flow_run_context.flow_run
    task_run = None if task_run_context is None else task_run_context.task_run
    flow_run_id = flow_run.id if flow_run is not None else task_run.flow_run_id if task_run is not None else None
    if flow_run_id is not None and (flow_run is None or flow_run.flow_id is None):
        flow_run = await _read(client.read_flow_run, flow_run_id) or flow_run
    found = []
    if flow_run is not None:
        found.append(object_as_related_resource("flow-run", "flow-run", flow_run))
    if task_run is not None:
        found.append(object_as_related_resource("task-run", "task-run", task_run))
    for kind, read, field in (
        ("flow", client.read_flow, "flow_id"),
        ("deployment", client.read_deployment, "deployment_id"),
        ("work-queue", client.read_work_queue, "work_queue_id"),
        ("work-pool", client.read_work_pool, "work_pool_name"),
    ):
        thing = await _read(read, getattr(flow_run, field, None))
        if thing is not None:
            found.append(object_as_related_resource(kind, kind, thing))
    tags = {tag for run in (flow_run, task_run) if run is not None for tag in run.tags}
    excluded = exclude or ()
    return [each for each in [*found, *tags_as_related_resources(tags)] if each.id not in excluded]


async def _read(read: Callable[[Any], Awaitable[Any]], key: Any) -> Any:
    """What there is of this key; None for no key."""
    try:
        return None if key is None else await read(key)
    except ObjectNotFound:
        return None
