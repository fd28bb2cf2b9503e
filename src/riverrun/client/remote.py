"""A server's store as the command line reads it: the same questions as `client.local.LocalStore` answers."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from riverrun.client.call import Call, at, get, post
from riverrun.client.calls import flow_runs, flows, task_runs
from riverrun.client.http import send
from riverrun.wire.logs import Log, LostStretch
from riverrun.wire.runs import Flow, FlowRun, TaskRun
from riverrun.wire.states import BaseState, StateType

T = TypeVar("T")

#: most that the server gives at once
_PAGE = 200
#: a person waits for the answer
_RETRIES = 1


class RemoteStore:
    """Reads from a server. Every list is newest first, with `limit` and `offset`; references are as in `LocalStore`."""

    notes: tuple[str, ...] = ()

    def flow_runs(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        state_types: Collection[StateType | str] | None = None,
        state_names: Collection[str] | None = None,
        flow_names: Collection[str] | None = None,
        name: str | None = None,
        tags: Collection[str] | None = None,
        since: datetime | None = None,
    ) -> list[FlowRun]:
        """Flow runs by expected start. `tags`: runs that have all of them; `name`: exactly this one."""
        body: dict[str, Any] = {"sort": "EXPECTED_START_TIME_DESC"}
        body["flow_runs"] = _run_filter(state_types, state_names, name, tags, since)
        if flow_names:
            body["flows"] = {"name": {"any_": list(flow_names)}}
        return _pages(lambda page: post(at("flow_runs", "filter"), {**body, **page}, list[FlowRun]), limit, offset)

    def flow_run(self, ref: UUID | str) -> FlowRun:
        """One flow run by reference."""
        return _ask(flow_runs.read_flow_run(_found("flow_run", ref)))

    def flow_run_states(self, flow_run_id: UUID) -> list[BaseState]:
        """The states of a flow run, first to last."""
        return _ask(flow_runs.read_flow_run_states(flow_run_id))

    def task_runs(
        self,
        *,
        flow_run_id: UUID | None = None,
        limit: int = 50,
        offset: int = 0,
        state_types: Collection[StateType | str] | None = None,
        state_names: Collection[str] | None = None,
        name: str | None = None,
        tags: Collection[str] | None = None,
        since: datetime | None = None,
    ) -> list[TaskRun]:
        """Task runs by expected start, of one flow run or of all."""
        body: dict[str, Any] = {"sort": "EXPECTED_START_TIME_DESC"}
        body["task_runs"] = _run_filter(state_types, state_names, name, tags, since)
        if flow_run_id is not None:
            body["task_runs"]["flow_run_id"] = {"any_": [flow_run_id]}
        return _pages(lambda page: post(at("task_runs", "filter"), {**body, **page}, list[TaskRun]), limit, offset)

    def task_run(self, ref: UUID | str) -> TaskRun:
        """One task run by reference."""
        return _ask(task_runs.read_task_run(_found("task_run", ref)))

    def task_run_states(self, task_run_id: UUID) -> list[BaseState]:
        """The states of a task run, first to last."""
        return _ask(task_runs.read_task_run_states(task_run_id))

    def counts(self, *, flow_run_id: UUID | None = None) -> dict[StateType | None, int]:
        """How many task runs are in states of each type, of one flow run or of all."""
        found = _ask(get("/find/counts", dict[str, int], query={"flow_run_id": flow_run_id}))
        return {StateType(kind) if kind else None: count for kind, count in found.items()}

    def logs(
        self,
        *,
        flow_run_id: UUID | None = None,
        task_run_id: UUID | None = None,
        min_level: int = 0,
        limit: int = 200,
        offset: int = 0,
        newest_first: bool = False,
    ) -> list[Log]:
        """Log lines of a flow run with its task runs, or of a task run."""
        lines: dict[str, Any] = {"level": {"ge_": min_level}}
        if flow_run_id is not None:
            lines["flow_run_id"] = {"any_": [flow_run_id]}
        if task_run_id is not None:
            lines["task_run_id"] = {"any_": [task_run_id]}
        body = {"logs": lines, "sort": "TIMESTAMP_DESC" if newest_first else "TIMESTAMP_ASC"}
        return _pages(lambda page: post(at("logs", "filter"), {**body, **page}, list[Log]), limit, offset)

    def lost(self, *, flow_run_id: UUID | None = None) -> list[LostStretch]:
        """Stretches of journals that are known to be lost; of the journal that a flow run wrote, or of all."""
        return _ask(get("/find/lost", list[LostStretch], query={"flow_run_id": flow_run_id}))

    def flows(self, limit: int = 50, offset: int = 0, *, name: str | None = None) -> list[Flow]:
        """Flows, newest first."""
        body: dict[str, Any] = {"sort": "CREATED_DESC"}
        if name is not None:
            body["flows"] = {"name": {"any_": [name]}}
        return _pages(lambda page: post(at("flows", "filter"), {**body, **page}, list[Flow]), limit, offset)

    def flow_name(self, flow_id: UUID) -> str:
        """The name of a flow."""
        return _ask(flows.read_flow(flow_id)).name

    def flow_names(self, flow_ids: Collection[UUID | None]) -> dict[UUID, str]:
        """The names of several flows."""
        wanted = sorted({flow_id for flow_id in flow_ids if flow_id is not None})
        names: dict[UUID, str] = {}
        for start in range(0, len(wanted), _PAGE):
            some = {"flows": {"id": {"any_": wanted[start : start + _PAGE]}}}
            found: list[Flow] = _ask(post(at("flows", "filter"), some, list[Flow]))
            names.update({flow.id: flow.name for flow in found})
        return names

    def delete_flow_run(self, flow_run_id: UUID) -> None:
        """Delete a flow run, its task runs, states and logs. Raises ObjectNotFound."""
        _ask(flow_runs.delete_flow_run(flow_run_id))


def _ask(call: Call[T]) -> T:
    return send(call, retries=_RETRIES)


def _found(noun: str, ref: UUID | str) -> UUID:
    if isinstance(ref, UUID):
        return ref
    found: UUID = _ask(get(f"/find/{noun}", UUID, query={"ref": ref}))
    return found


def _pages(page: Callable[[dict[str, int]], Call[list[T]]], limit: int, offset: int) -> list[T]:
    """As many as are wanted, by as many requests as it takes."""
    items: list[T] = []
    while len(items) < limit:
        size = min(_PAGE, limit - len(items))
        some = _ask(page({"limit": size, "offset": offset + len(items)}))
        items += some
        if len(some) < size:
            break
    return items


def _run_filter(
    state_types: Collection[StateType | str] | None,
    state_names: Collection[str] | None,
    name: str | None,
    tags: Collection[str] | None,
    since: datetime | None,
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if state_types or state_names:
        fields["state"] = {}
    if state_types:
        fields["state"]["type"] = {"any_": [str(kind) for kind in state_types]}
    if state_names:
        fields["state"]["name"] = {"any_": list(state_names)}
    if name is not None:
        fields["name"] = {"any_": [name]}
    if tags:
        fields["tags"] = {"all_": list(tags)}
    if since is not None:
        fields["expected_start_time"] = {"after_": since}
    return fields
