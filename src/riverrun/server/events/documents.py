"""Events of runs made from the states of the ledger, and stored events read back (SERVER-NOTES 7)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import EPOCH, from_micros
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader
from riverrun.server.runs.render import RENDER_ERRORS, UNREADABLE, inputs_of
from riverrun.wire.events import ReceivedEvent
from riverrun.wire.journal import FLOW_RUN, TASK_RUN
from riverrun.wire.states import DEFAULT_NAMES, TYPES_BY_CODE, StateType

#: a run's states by key and sequence: (run key, first, last)
Span = tuple[int, int, int]
Labels = dict[str, str | None]

_MESSAGE = 100_000
#: states nearer than this are linked, so that readers know their order
_TIGHT = timedelta(minutes=5)
_AT_ONCE = 500
_RUNNING = 3
_tags = msgspec.json.Decoder(list[str]).decode
_json = msgspec.json.decode
_event = msgspec.json.Decoder(ReceivedEvent).decode
_parent = t.task_run.alias("parent")


class Place(Struct, frozen=True):
    """A state by its run's key and its sequence number."""

    run_key: int
    seq: int


def _around(run: sa.Table, flow_run: sa.Table) -> list[sa.ColumnElement[Any]]:
    """Columns of a run and what its flow run hangs together with."""
    return [
        *run.c,
        flow_run.c.id.label("flow_run_id"),
        flow_run.c.name.label("flow_run_name"),
        flow_run.c.tags.label("flow_run_tags"),
        flow_run.c.created_by.label("flow_run_created_by"),
        t.flow.c.id.label("flow_id"),
        t.flow.c.name.label("flow_name"),
        t.flow.c.tags.label("flow_tags"),
        t.deployment.c.id.label("the_deployment_id"),
        t.deployment.c.name.label("deployment_name"),
        t.deployment.c.tags.label("deployment_tags"),
        t.work_queue.c.id.label("the_queue_id"),
        t.work_queue.c.name.label("queue_name"),
        t.work_pool.c.id.label("pool_id"),
        t.work_pool.c.name.label("pool_name"),
        t.work_pool.c.type.label("pool_type"),
        _parent.c.id.label("parent_id"),
        _parent.c.name.label("parent_name"),
        _parent.c.tags.label("parent_tags"),
    ]


def _joined(source: sa.FromClause) -> sa.FromClause:
    return (
        source.outerjoin(t.flow, t.flow.c.key == t.flow_run.c.flow_key)
        .outerjoin(t.deployment, t.deployment.c.id == t.flow_run.c.deployment_id)
        .outerjoin(t.work_queue, t.work_queue.c.id == t.flow_run.c.work_queue_id)
        .outerjoin(t.work_pool, t.work_pool.c.id == t.work_queue.c.work_pool_id)
        .outerjoin(_parent, _parent.c.id == t.flow_run.c.parent_task_run_id)
    )


_RUNS = {
    FLOW_RUN: sa.select(*_around(t.flow_run, t.flow_run)).select_from(_joined(t.flow_run)),
    TASK_RUN: sa.select(*_around(t.task_run, t.flow_run)).select_from(
        _joined(t.task_run.outerjoin(t.flow_run, t.flow_run.c.key == t.task_run.c.flow_run_key))
    ),
}
_TABLES = {FLOW_RUN: (t.flow_run, t.flow_run_state), TASK_RUN: (t.task_run, t.task_run_state)}


def of_states(reader: Reader, kind: int, spans: Sequence[Span]) -> dict[Place, ReceivedEvent]:
    """The events of some states of one kind of run; of states that are gone there is none."""
    found: dict[Place, ReceivedEvent] = {}
    keys = sorted({span[0] for span in spans})
    wanted: dict[int, list[tuple[int, int]]] = {}
    for key, first, last in spans:
        wanted.setdefault(key, []).append((first, last))
    run, states = _TABLES[kind]
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        query = sa.select(states).where(states.c.run_key.in_(some)).order_by(states.c.run_key, states.c.seq)
        by_run: dict[int, list[Any]] = {}
        for state in reader.rows(query):
            by_run.setdefault(state.run_key, []).append(state)
        for row in reader.rows(_RUNS[kind].where(run.c.key.in_(some))):
            before, runs = None, 0
            for state in by_run.get(row.key, ()):
                runs += state.type == _RUNNING
                if any(first <= state.seq <= last for first, last in wanted[row.key]):
                    found[Place(row.key, state.seq)] = _of_state(kind, row, state, before, min(runs, row.run_count))
                before = state
    return found


def stored(reader: Reader, keys: Iterable[int]) -> dict[int, ReceivedEvent]:
    """Stored events by their keys."""
    found = {}
    wanted = sorted(keys)
    for start in range(0, len(wanted), _AT_ONCE):
        query = sa.select(t.event).where(t.event.c.key.in_(wanted[start : start + _AT_ONCE]))
        for row in reader.rows(query):
            found[row.key] = of_row(row)
    return found


def of_row(row: Any) -> ReceivedEvent:
    """The event in a row of the table."""
    try:
        event = _event(row.document)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        event = ReceivedEvent(
            id=row.id,
            occurred=EPOCH,
            event=row.event,
            resource={"prefect.resource.id": row.resource_id, UNREADABLE: str(error)},
        )
    event.occurred, event.received = _instant(row.occurred), _instant(row.received)
    return event


def _instant(micros: int) -> datetime:
    try:
        return from_micros(micros)
    except OverflowError:
        return EPOCH


def _of_state(kind: int, row: Any, state: Any, before: Any, run_count: int) -> ReceivedEvent:
    name = state.name or DEFAULT_NAMES[TYPES_BY_CODE[state.type]]
    noun = "flow-run" if kind == FLOW_RUN else "task-run"
    occurred = _instant(state.timestamp)
    message = None if state.message is None else state.message[:_MESSAGE]
    resource: Labels = {
        "prefect.resource.id": f"prefect.{noun}.{row.id}",
        "prefect.resource.name": row.name,
        "prefect.run-count": str(run_count),
        "prefect.state-message": message,
        "prefect.state-name": name,
        "prefect.state-timestamp": occurred.isoformat(),
        "prefect.state-type": TYPES_BY_CODE[state.type].value,
    }
    intended = {
        "from": None if before is None else TYPES_BY_CODE[before.type].value,
        "to": resource["prefect.state-type"],
    }
    payload: dict[str, Any] = {"intended": intended}
    try:
        related = _related(kind, row)
        told = _told if kind == FLOW_RUN else _told_in_full
        payload["initial_state"] = None if before is None else told(before)
        payload["validated_state"] = told(state)
        if kind == TASK_RUN:
            # who waits for a task's result takes it from here
            payload["validated_state"]["data"] = _json(state.data) if state.data else None
            # a subflow's task run, and the first state of a background task, are the server's
            mine = row.requested and (row.flow_run_key is not None or state.seq == 1)
            resource["prefect.orchestration"] = "server" if mine else "client"
            payload["task_run"] = _task_run(row, run_count)
    except RENDER_ERRORS as error:
        related, resource[UNREADABLE] = [], str(error)
    tight = before is not None and occurred - _instant(before.timestamp) < _TIGHT
    return ReceivedEvent(
        id=state.id,
        occurred=occurred,
        received=occurred,
        event=f"prefect.{noun}.{name}",
        resource=resource,
        related=related,
        payload=payload,
        follows=before.id if tight else None,
    )


def _told(state: Any) -> dict[str, Any]:
    kind = TYPES_BY_CODE[state.type]
    told: dict[str, Any] = {"type": kind.value, "name": state.name or DEFAULT_NAMES[kind]}
    if state.message:
        told["message"] = state.message[:_MESSAGE]
    if kind is StateType.PAUSED:
        details = _json(state.details) if state.details else {}
        told["pause_reschedule"] = str(bool(details.get("pause_reschedule"))).lower()
    return told


def _told_in_full(state: Any) -> dict[str, Any]:
    kind = TYPES_BY_CODE[state.type]
    return {
        "type": kind.value,
        "name": state.name or DEFAULT_NAMES[kind],
        "message": None if state.message is None else state.message[:_MESSAGE],
        "state_details": _json(state.details) if state.details else {},
    }


def _related(kind: int, row: Any) -> list[Labels]:
    related: list[Labels] = []

    def add(noun: str, thing_id: UUID | None, name: str | None, **more: str | None) -> None:
        if thing_id is not None:
            labels = {"prefect.resource.id": f"prefect.{noun}.{thing_id}", "prefect.resource.role": noun}
            related.append({**labels, "prefect.resource.name": name, **more})

    if kind == TASK_RUN:
        add("flow-run", row.flow_run_id, row.flow_run_name)
    add("flow", row.flow_id, row.flow_name)
    add("deployment", row.the_deployment_id, row.deployment_name)
    add("work-queue", row.the_queue_id, row.queue_name)
    add("work-pool", row.pool_id, row.pool_name, **{"prefect.work-pool.type": row.pool_type})
    lists = [row.tags]
    if kind == FLOW_RUN:
        add("task-run", row.parent_id, row.parent_name)
        lists += [row.flow_tags, row.deployment_tags, row.parent_tags]
    tags = sorted({tag for text in lists if text for tag in _tags(text)})
    related += [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in tags]
    if kind == FLOW_RUN and row.flow_run_created_by:
        related += _creator(_json(row.flow_run_created_by))
    return related


def _creator(made_by: dict[str, Any]) -> list[Labels]:
    noun = {"DEPLOYMENT": "deployment", "AUTOMATION": "automation"}.get(made_by.get("type") or "")
    if noun is None:
        return []
    labels: Labels = {"prefect.resource.id": f"prefect.{noun}.{made_by.get('id')}", "prefect.resource.role": "creator"}
    if made_by.get("display_value"):
        labels["prefect.resource.name"] = made_by["display_value"]
    return [labels]


def _task_run(row: Any, run_count: int) -> dict[str, Any]:
    values = {
        "name": row.name,
        "task_key": row.task_key,
        "dynamic_key": row.dynamic_key,
        "task_version": row.task_version,
        "cache_key": row.cache_key,
        "empirical_policy": _json(row.policy) if row.policy else None,
        "tags": _tags(row.tags) if row.tags else [],
        "labels": _json(row.labels) if row.labels else None,
        "task_inputs": {
            name: [msgspec.to_builtins(one) for one in given] for name, given in inputs_of(row.inputs).items()
        },
        "run_count": run_count,
        "flow_run_run_count": row.flow_run_run_count,
        "total_run_time": row.total_run_time / 1_000_000,
    }
    for name in ("expected_start_time", "start_time", "end_time"):
        value = getattr(row, name)
        values[name] = None if value is None else from_micros(value).isoformat()
    return {name: value for name, value in values.items() if value is not None}
