"""Where events are found: the stored ones, and the states of flow runs and task runs. Filters into SQL, as far as SQL goes.

What SQL cannot say (labels, text ...) makes a search inexact: `match.matches` then looks at each document. SQL may let too much
through, never too little.
"""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import to_micros
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Reader
from riverrun.server.db.where import listed
from riverrun.server.events.match import ID, as_list
from riverrun.wire.filters import EventFilter, EventNameFilter
from riverrun.wire.states import DEFAULT_NAMES, TYPE_CODES

Condition = sa.ColumnElement[bool]
#: an indexed text is whole up to so many characters (`db.names`)
_WHOLE = 150
STORED, FLOW_RUNS, TASK_RUNS = 0, 1, 2


class Source(Struct, frozen=True, kw_only=True):
    """One place of events: how to select them, and what their columns mean."""

    #: of equal instants the source with the lower rank comes first
    rank: int
    prefix: str
    tables: sa.FromClause
    workspace: Any
    occurred: Any
    id: Any
    name: Any
    #: the keys that tell an event from others of the same instant
    keys: tuple[Any, Any]
    #: what groups by resource, and the resource's name
    resource: Any
    label: Any


def _name_of(states: sa.Table, prefix: str) -> sa.ColumnElement[str]:
    names = {TYPE_CODES[kind]: name for kind, name in DEFAULT_NAMES.items()}
    return sa.literal(prefix).concat(sa.func.coalesce(states.c.name, sa.case(names, value=states.c.type)))


def _of_runs(rank: int, prefix: str, run: sa.Table, states: sa.Table, tables: sa.FromClause) -> Source:
    return Source(
        rank=rank,
        prefix=prefix,
        tables=tables,
        workspace=run.c.workspace_id,
        occurred=states.c.timestamp,
        id=states.c.id,
        name=_name_of(states, prefix),
        keys=(states.c.run_key, states.c.seq),
        resource=run.c.id,
        label=run.c.name,
    )


_flow_runs = t.flow_run_state.join(t.flow_run, t.flow_run.c.key == t.flow_run_state.c.run_key)
_task_runs = t.task_run_state.join(t.task_run, t.task_run.c.key == t.task_run_state.c.run_key)
SOURCES: Final = (
    Source(
        rank=STORED,
        prefix="",
        tables=t.event,
        workspace=t.event.c.workspace_id,
        occurred=t.event.c.occurred,
        id=t.event.c.id,
        name=t.event.c.event,
        keys=(t.event.c.key, sa.literal_column("0")),
        resource=t.event.c.resource_id,
        label=t.event.c.resource_id,
    ),
    _of_runs(
        FLOW_RUNS,
        "prefect.flow-run.",
        t.flow_run,
        t.flow_run_state,
        _flow_runs.outerjoin(t.flow, t.flow.c.key == t.flow_run.c.flow_key),
    ),
    _of_runs(
        TASK_RUNS,
        "prefect.task-run.",
        t.task_run,
        t.task_run_state,
        _task_runs.outerjoin(t.flow_run, t.flow_run.c.key == t.task_run.c.flow_run_key).outerjoin(
            t.flow, t.flow.c.key == t.flow_run.c.flow_key
        ),
    ),
)


class Search(Struct, kw_only=True):
    """What a filter means for each source that may have matches: its conditions. `exact`: they say all."""

    conditions: list[tuple[Source, list[Condition]]]
    exact: bool


def search(reader: Reader, filter: EventFilter) -> Search:
    """The search of a filter, in the caller's workspace."""
    found: list[tuple[Source, list[Condition]]] = []
    for source in SOURCES:
        conditions = _conditions(source, filter)
        if conditions is not None:
            found.append((source, [source.workspace == reader.workspace, *conditions]))
    return Search(conditions=found, exact=_is_exact(filter))


def _is_exact(filter: EventFilter) -> bool:
    resource = filter.resource
    return (
        filter.text is None
        and not as_list(filter.related)
        and not as_list(filter.any_resource)
        and (resource is None or not (resource.labels or resource.id_prefix or resource.distinct))
    )


def _conditions(source: Source, filter: EventFilter) -> list[Condition] | None:
    """The conditions of a filter on a source; None: nothing there can match."""
    conditions: list[Condition] = []
    if filter.occurred.since is not None:
        conditions.append(source.occurred >= to_micros(filter.occurred.since))
    if filter.occurred.until is not None:
        conditions.append(source.occurred <= to_micros(filter.occurred.until))
    if filter.id.id:
        conditions.append(source.id.in_(listed(filter.id.id)))
    if filter.event is not None:
        if not _may_be_named(source, filter.event):
            return None
        conditions += _named(source, filter.event)
    resource_ids = list(filter.resource.id or ()) if filter.resource is not None else []
    if filter.resource is not None and not resource_ids:
        # an id among the labels, without a pattern, is looked up as well
        wanted = (filter.resource.labels or {}).get(ID)
        given = [wanted] if isinstance(wanted, str) else list(wanted or ())
        resource_ids = [] if any(set(one) & set("*?[!") for one in given) else given
    if resource_ids:
        one = _of_resource(source, resource_ids)
        if one is None:
            return None
        conditions.append(one)
    for any_filter in as_list(filter.any_resource):
        if any_filter.id:
            conditions += _involved(source, any_filter.id, itself=True)
    for related in as_list(filter.related):
        if related.id:
            conditions += _involved(source, related.id, itself=False)
    return conditions


def _may_be_named(source: Source, filter: EventNameFilter) -> bool:
    """Whether names of the source may pass; spares reading it."""
    if not source.prefix:
        return True
    if filter.name and not any(name.startswith(source.prefix) for name in filter.name):
        return False
    prefixes = filter.prefix or [""]
    return any(one.startswith(source.prefix) or source.prefix.startswith(one) for one in prefixes)


def _named(source: Source, filter: EventNameFilter) -> Iterable[Condition]:
    if filter.prefix:
        yield sa.or_(*(source.name.startswith(one[:_WHOLE], autoescape=True) for one in filter.prefix))
    for one in filter.exclude_prefix or ():
        yield sa.not_(source.name.startswith(one[:_WHOLE], autoescape=True))
    if filter.name:
        yield source.name.in_([index_key(one) for one in filter.name])
    if filter.exclude_name:
        yield source.name.not_in([index_key(one) for one in filter.exclude_name])


def _of_resource(source: Source, resource_ids: list[str]) -> Condition | None:
    if source.rank == STORED:
        return t.event.c.resource_id.in_([index_key(one) for one in listed(resource_ids)])
    ids = _ids(resource_ids, source.prefix)
    return source.resource.in_(ids) if ids else None


def _ids(resource_ids: Iterable[str], prefix: str) -> list[UUID]:
    found = []
    for one in resource_ids:
        if one.startswith(prefix):
            try:
                found.append(UUID(one.removeprefix(prefix)))
            except ValueError:
                continue
    return found


#: by source and kind of resource, the column that holds its id; a kind that is not here cannot be narrowed
_INVOLVED: dict[int, dict[str, Any]] = {
    FLOW_RUNS: {
        "prefect.flow.": t.flow.c.id,
        "prefect.deployment.": t.flow_run.c.deployment_id,
        "prefect.work-queue.": t.flow_run.c.work_queue_id,
        "prefect.task-run.": t.flow_run.c.parent_task_run_id,
    },
    TASK_RUNS: {
        "prefect.flow-run.": t.flow_run.c.id,
        "prefect.flow.": t.flow.c.id,
        "prefect.deployment.": t.flow_run.c.deployment_id,
        "prefect.work-queue.": t.flow_run.c.work_queue_id,
    },
}
#: resources that events of runs are never related to, but by kinds above
_RUN_KINDS = ("prefect.flow-run.", "prefect.task-run.")


def _involved(source: Source, resource_ids: list[str], *, itself: bool) -> list[Condition]:
    """A condition for events in which one of the resources is involved, or none where SQL cannot tell."""
    listed(resource_ids)
    if source.rank == STORED:
        return [sa.or_(*(t.event.c.document.contains(_in_json(one), autoescape=True) for one in resource_ids))]
    columns = dict(_INVOLVED[source.rank])
    if itself:
        columns[source.prefix] = source.resource
    parts: list[Condition] = []
    for one in resource_ids:
        prefix = next((prefix for prefix in columns if one.startswith(prefix)), None)
        if prefix is None:
            if not one.startswith(_RUN_KINDS):
                return []
            continue
        parts.append(columns[prefix].in_(_ids([one], prefix)))
    return [sa.or_(sa.false(), *parts)]


def _in_json(text: str) -> str:
    """The text as it stands in a JSON document, whoever wrote that: up to the first character that may be written in two ways."""
    plain = []
    for char in text:
        if char in '"\\/' or not " " <= char <= "~":
            break
        plain.append(char)
    return "".join(plain)
