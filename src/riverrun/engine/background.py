"""Background runs of tasks: made here, run by whichever task worker of the server takes them.

The parameters lie in the task's result storage (or that of the settings), under an id that the Scheduled state names; the
worker reads them there, and leaves the result in its own. Both sides need the same storage.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from riverrun.client.calls import task_runs as calls
from riverrun.client.http import send
from riverrun.context import FlowRunContext, TagsContext, TaskRunContext, serialize_context
from riverrun.engine import inputs
from riverrun.futures import PrefectDistributedFuture, PrefectFutureList
from riverrun.logging import get_logger
from riverrun.result_options import task_scheduling_storage
from riverrun.result_records import ResultRecord, ResultRecordMetadata
from riverrun.results import ResultStore
from riverrun.storages import read_from, write_to
from riverrun.wire.runs import RunInput
from riverrun.wire.states import StateDetails, StateType
from riverrun.wire.task_runs import TaskRunCreate, TaskRunPolicy
from riverrun.wire.transitions import StateCreate

if TYPE_CHECKING:
    from riverrun.tasks import Task


def schedule(
    task: "Task[..., Any]",
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None,
    dependencies: dict[str, set[RunInput]] | None,
) -> PrefectDistributedFuture[Any]:
    """Make a run of the task for a task worker; the future of its outcome."""
    context = FlowRunContext.var.get()
    parent = TaskRunContext.var.get()
    _, sources = inputs.sources(parameters, wait_for, context, None if parent is None else parent.task_run.id)
    if dependencies:
        inputs.add_origins(sources, dependencies)
    details = StateDetails(deferred=True)
    if parameters or wait_for:
        details.task_parameters_id = store_parameters(task, parameters, wait_for)
    key = uuid4().hex
    tags = TagsContext.get().current_tags
    delay = task.retry_delay_seconds
    run = send(
        calls.create_task_run(
            TaskRunCreate(
                name=f"{task.name}-{key[:6]}",
                flow_run_id=None if context is None or context.flow_run is None else context.flow_run.id,
                task_key=task.task_key,
                dynamic_key=key,
                task_version=task.version,
                tags=sorted(task.tags | tags),
                task_inputs={name: [as_input(*item) for item in items] for name, items in sources.items()},
                empirical_policy=TaskRunPolicy(
                    retries=task.retries, retry_delay=delay, retry_jitter_factor=task.retry_jitter_factor
                ),
                state=StateCreate(type=StateType.SCHEDULED, state_details=details),
            )
        )
    )
    get_logger("tasks").info("Created task run %r. A task worker that serves %r runs it.", run.name, task.name)
    return PrefectDistributedFuture(run.id)


def schedule_all(
    task: "Task[..., Any]", parameters: dict[str, Any], wait_for: Iterable[Any] | None
) -> PrefectFutureList[Any]:
    """A run for each item of the iterable parameters."""
    origins = inputs.mapped_origins(parameters) or None
    return PrefectFutureList(
        schedule(task, task.signature.complete(item), wait_for, origins)
        for item in inputs.expand_for_map(task, parameters)
    )


def as_input(kind: str, run_id: bytes | None, name: str | None) -> RunInput:
    """An entry of a run's inputs as the interface has it."""
    if run_id is not None:
        return RunInput(kind, id=UUID(bytes=run_id))  # type: ignore[arg-type]
    return RunInput("constant", type=name) if kind == "constant" else RunInput(kind, name=name)  # type: ignore[arg-type]


def store_parameters(task: "Task[..., Any]", parameters: dict[str, Any], wait_for: Iterable[Any] | None) -> UUID:
    """Keep what the run is called with; the id under which it lies. Raises SerializationError."""
    identifier = uuid4()
    store = _store(task)
    context = {name: value for name, value in serialize_context().items() if name != "settings_context"}
    called = {"parameters": parameters, "wait_for": list(wait_for or ()), "context": context}
    metadata = ResultRecordMetadata(storage_key=str(identifier), serializer=store.serializer)
    record = ResultRecord(result=called, metadata=metadata)
    write_to(store.result_storage, f"parameters/{identifier}", record.serialize())
    return identifier


def read_parameters(task: "Task[..., Any]", identifier: UUID) -> dict[str, Any]:
    """What `store_parameters` kept. Raises what the storage raises."""
    stored = read_from(_store(task).result_storage, f"parameters/{identifier}")
    called: dict[str, Any] = ResultRecord.deserialize(stored).result
    return called


def _store(task: "Task[..., Any]") -> ResultStore:
    return ResultStore(result_storage=task_scheduling_storage()).for_task(task)
