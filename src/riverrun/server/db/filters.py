"""What every field of every filter means, and how entities hang together: from the wire's filters to conditions.

`conditions_for(reader, "deployment", filters_of(body))` gives the conditions of a query `FROM deployment`: those of the
workspace, of the entity's own filter, and of the filters on what it hangs together with; all are and-ed. Entities are "flow",
"flow_run", "task_run", "deployment", "work_pool" and "work_queue". An empty filter filters nothing.

Every condition comes in two forms (SERVER-NOTES 12, SQLite knows nothing of the distribution of values): one that tests a row
that is there already, one that drives, so that an index finds the rows. `server.runs.listing` chooses.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.server.db import paging
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Reader
from riverrun.server.db.watch import SECONDS, TookTooLongError
from riverrun.server.db.where import (
    Condition,
    Rule,
    contains,
    hidden,
    is_null,
    joined,
    like,
    listed,
    operators,
    rules_of,
)
from riverrun.wire.states import DEFAULT_NAMES, TYPE_CODES

Fields = Mapping[str, sa.ColumnElement[Any] | Rule]
Table = sa.FromClause
#: terms whose index begins with the workspace; for others it only leads SQLite astray
LED_BY_WORKSPACE = frozenset(
    ("name", "state", "start_time", "end_time", "expected_start_time", "next_scheduled_start_time")
)
#: flow runs by which flows and deployments are found
_FEW = 2_000
#: flows that are named one by one
_FLOWS = 50
_SMALL = ("flow", "deployment", "work_pool", "work_queue")
_CODES_BY_NAME = {name: TYPE_CODES[kind] for kind, name in DEFAULT_NAMES.items()}


class Filters(Struct, kw_only=True):
    """The filters of one request, each on one kind of thing."""

    flows: Any = None
    flow_runs: Any = None
    task_runs: Any = None
    deployments: Any = None
    work_pools: Any = None
    work_queues: Any = None

    def only(self, *names: str) -> bool:
        """Whether no filter stands but those on `names`."""
        return all(name in names or not _filters(getattr(self, name)) for name in self.__struct_fields__)

    def sentence(self) -> str:
        """The filters that say something, as their fields are named."""
        names = [f"{name}.{field}" for name in self.__struct_fields__ for field in _fields(getattr(self, name))]
        return ", ".join(names) or "no filter at all"


@contextmanager
def named_when_slow(filters: Filters) -> Iterator[None]:
    """Say which filters took the database too long; raises TookTooLongError with their names."""
    try:
        yield
    except TookTooLongError:
        raise TookTooLongError(
            f"This takes the database longer than {SECONDS:g} seconds, and was stopped. Asked for: {filters.sentence()}. "
            "Narrow it down by state, flow, tag or a span of time."
        ) from None


def filters_of(body: Any) -> Filters:
    """The filters in the body of a request, whatever its names for queues."""
    found = {name: getattr(body, name, None) for name in Filters.__struct_fields__}
    found["work_queues"] = getattr(body, "work_pool_queues", None) or found["work_queues"]
    return Filters(**found)


def _filters(value: Any) -> bool:
    return value is not None and bool(says(value))


def _fields(value: Any) -> list[str]:
    return [] if value is None else sorted(says(value))


def says(value: Any) -> set[str]:
    """The fields that a filter says something about."""
    return {name for name in value.__struct_fields__ if getattr(value, name) is not None} - {"operator"}


class Form(Struct, frozen=True):
    """How conditions are written: for whom (dialect, workspace), and whether they test or drive."""

    sqlite: bool
    workspace: int
    drive: bool = False
    #: so few flow runs are left by the filters on runs that their owners are found by them
    few: bool = False
    #: the flows that the filter on flows leaves, where they are known and not many
    flow_keys: tuple[int, ...] | None = None

    def column(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The column; where it only tests, in a way that no index is chosen for it."""
        return hidden(column) if self.sqlite and not self.drive else column

    def mine(self, table: Table) -> Condition:
        return self.column(table.c.workspace_id) == self.workspace

    def driving(self, *, drive: bool = True) -> "Form":
        return msgspec.structs.replace(self, drive=drive)


def form_of(reader: Reader) -> Form:
    return Form(reader.is_sqlite, reader.workspace)


def with_flows(reader: Reader, filters: Filters) -> Form:
    """The form for a reader, with the keys of the flows that are asked for: planners know how often each of them is."""
    form = form_of(reader)
    found = _found(form, "flow", "key", Filters(flows=filters.flows))
    if found is None:
        return form
    keys = tuple(row.key for row in reader.rows(found.limit(_FLOWS + 1)))
    return form if len(keys) > _FLOWS else msgspec.structs.replace(form, flow_keys=keys)


def conditions_for(reader: Reader, entity: str, filters: Filters) -> list[Condition]:
    """The conditions of a query on the table of `entity`."""
    table, form = TABLES[entity], form_of(reader)
    if form.sqlite and entity in ("flow", "deployment"):
        form = msgspec.structs.replace(form, few=_few_runs(reader, form.driving(), filters))
    found = [condition for _, condition in terms(form, entity, table, filters)]
    return [table.c.workspace_id == reader.workspace, *found]


def _few_runs(reader: Reader, form: Form, filters: Filters) -> bool:
    run = t.flow_run.alias()
    wanted = owned(form, "flow_run", run, Filters(flow_runs=filters.flow_runs, task_runs=filters.task_runs))
    if wanted is None:
        return False
    some = sa.select(sa.literal_column("1")).select_from(run).where(wanted).limit(_FEW + 1).subquery()
    return bool(reader.scalar(sa.select(sa.func.count()).select_from(some)) <= _FEW)


def terms(form: Form, entity: str, table: Table, filters: Filters) -> Iterator[tuple[str, Condition]]:
    """The conditions one by one, named by the field of the entity's own filter or by the other filter they come from."""
    own, fields, related = ENTITIES[entity]
    yield from rules_of(getattr(filters, own), fields(table, form), own)
    yield from related(form, table, filters)


def owned(form: Form, entity: str, table: Table, filters: Filters) -> Condition | None:
    """The conditions of all filters and of the workspace, in one; None where nothing is filtered."""
    if filters.only():
        return None
    found = dict(terms(form, entity, table, filters))
    if not found:
        return None
    led = form if found.keys() <= LED_BY_WORKSPACE or entity in _SMALL else form.driving(drive=False)
    return sa.and_(led.mine(table), *found.values())


def _found(form: Form, entity: str, column: str, filters: Filters) -> sa.Select[Any] | None:
    """The values of a column in the rows of a small table that the filters leave; None where nothing is filtered."""
    table = TABLES[entity].alias()
    condition = owned(form.driving(), entity, table, filters)
    return None if condition is None else sa.select(table.c[column]).where(condition)


def _among(form: Form, target: sa.ColumnElement[Any], found: sa.Select[Any] | None) -> Condition | None:
    return None if found is None else form.column(target).in_(found)


# -- fields -----------------------------------------------------------------------------------------------------------------


def _named(name: sa.ColumnElement[Any], value: Any) -> Condition | None:
    conditions = [name.in_(value.any_)] if value.any_ is not None else []
    return joined([*conditions, like(name, value.like_)])


def _flow_named(flow: Table, form: Form, value: Any) -> Condition | None:
    conditions: list[Condition] = []
    if value.any_ is not None:
        conditions.append(form.column(flow.c.name_key).in_([index_key(name) for name in listed(value.any_)]))
    return joined([*conditions, like(flow.c.name, value.like_)])


def _flow_run_named(run: Table, form: Form, value: Any) -> Condition | None:
    conditions: list[Condition] = []
    if value.any_ is not None:
        names = listed(value.any_)
        conditions.append(
            sa.or_(*(paging.named(run, name) for name in names)) if form.drive and names else run.c.name.in_(names)
        )
    if value.like_:
        conditions.append(_flow_run_named_like(run, form, value.like_))
    return joined(conditions)


def _flow_run_named_like(run: Table, form: Form, text: str) -> Condition:
    """Flow runs whose name contains the text: only names longer than what their index holds are read in full."""
    if not form.sqlite:
        return contains(run.c.name, text)
    # LIKE of SQLite does not look at the case; the comparison with nothing makes it choose the index
    beginning = paging.beginning(run)
    whole = sa.and_(sa.func.length(beginning) == t.NAME_PREFIX, run.c.name.contains(text, autoescape=True))
    found = sa.or_(beginning.contains(text, autoescape=True), whole)
    return sa.and_(beginning >= sa.literal_column("''"), found) if form.drive else found


def has_tag(tags: sa.ColumnElement[Any], form: Form, tag: str) -> Condition:
    """Whether a JSON text of tags has this one."""
    if form.sqlite:
        each = sa.func.json_each(tags).table_valued("value")
        return sa.exists(sa.select(sa.literal_column("1")).select_from(each).where(each.c.value == tag))
    return sa.func.jsonb_exists(sa.cast(tags, sa.dialects.postgresql.JSONB), tag)


def _json_text(document: sa.ColumnElement[Any], form: Form, name: str) -> sa.ColumnElement[Any]:
    if form.sqlite:
        return sa.func.json_extract(document, f"$.{name}")
    return sa.func.jsonb_extract_path_text(sa.cast(document, sa.dialects.postgresql.JSONB), name)


def _untagged(tags: sa.ColumnElement[Any], value: bool) -> Condition:
    none = sa.or_(tags.is_(None), tags == "[]")
    return none if value else sa.not_(none)


def tagged_in_row(flow: Table, form: Form, value: Any) -> Condition | None:
    """Things whose tags stand in their rows only."""
    conditions = [has_tag(flow.c.tags, form, tag) for tag in listed(value.all_ or ())]
    if value.is_null_ is not None:
        conditions.append(_untagged(flow.c.tags, value.is_null_))
    return joined(conditions, value.operator)


def _tagged(table: Table, tag_table: sa.Table, key: str, owner: str, form: Form, value: Any) -> Condition | None:
    """Things with tags in a table of their own: `owner` is the column there that holds the thing's `key`."""

    def having(tags: list[str]) -> Condition:
        tag = tag_table.alias()
        mine = (tag.c.workspace_id == form.workspace, tag.c.tag.in_([index_key(each) for each in tags]))
        if form.drive:
            return table.c[key].in_(sa.select(tag.c[owner]).where(*mine))
        return sa.exists().where(*mine, tag.c[owner] == table.c[key]).correlate(table)

    conditions = [having([tag]) for tag in listed(value.all_ or ())]
    if getattr(value, "any_", None) is not None:
        conditions.append(having(listed(value.any_)))
    if value.is_null_ is not None:
        conditions.append(_untagged(table.c.tags, value.is_null_))
    return joined(conditions, value.operator)


def in_state(run: Table, form: Form, value: Any) -> Condition | None:
    """Runs in states of some types and names."""
    conditions: list[Condition] = []
    if value.type is not None:
        code = form.column(run.c.state_type)
        for kinds, wanted in ((value.type.any_, True), (getattr(value.type, "not_any_", None), False)):
            if kinds is not None:
                codes = [TYPE_CODES[kind] for kind in kinds]
                conditions.append(code.in_(codes) if wanted else code.not_in(codes))
    if value.name is not None:
        for names, wanted in ((value.name.any_, True), (getattr(value.name, "not_any_", None), False)):
            if names is not None:
                conditions.append(state_named(run, form, listed(names), wanted=wanted))
    return joined(conditions, value.operator)


def state_named(run: Table, form: Form, names: list[str], *, wanted: bool = True) -> Condition:
    """Runs in a state of one of these names; a type's own name is not stored."""
    code, name = form.column(run.c.state_type), form.column(run.c.state_name)
    codes = [_CODES_BY_NAME[each] for each in names if each in _CODES_BY_NAME]
    if wanted:
        plain = sa.and_(code.in_(codes), name.is_(None))
        return sa.or_(plain, name.in_(names)) if codes else name.in_(names)
    return sa.or_(sa.and_(code.not_in(codes), name.is_(None)), name.not_in(names))


def started(run: Table) -> sa.ColumnElement[Any]:
    """When a run started, or is expected to."""
    return sa.func.coalesce(run.c.start_time, run.c.expected_start_time, type_=sa.BigInteger)


def _flow_run_started(run: Table, form: Form, value: Any) -> Condition | None:
    null, value = value.is_null_, msgspec.structs.replace(value, is_null_=None)
    return joined(
        [operators(form.column(started(run)), value), None if null is None else is_null(run.c.start_time, null)]
    )


def _queue_named(run: Table, form: Form, value: Any) -> Condition | None:
    column = form.column(run.c.work_queue_id)
    conditions: list[Condition] = []
    if value.any_ is not None:
        queues = sa.select(t.work_queue.c.id).where(
            t.work_queue.c.workspace_id == form.workspace, t.work_queue.c.name.in_(listed(value.any_))
        )
        conditions.append(column.in_(queues))
    if value.is_null_ is not None:
        conditions.append(is_null(column, value.is_null_))
    return joined(conditions, value.operator)


def _child_of(run: Table, form: Form, value: Any) -> Condition | None:
    if value.any_ is None:
        return None
    task, parent = t.task_run.alias(), t.flow_run.alias()
    stand_ins = (
        sa.select(task.c.id)
        .join(parent, parent.c.key == task.c.flow_run_key)
        .where(parent.c.id.in_(listed(value.any_)), parent.c.workspace_id == form.workspace)
    )
    return form.column(run.c.parent_task_run_id).in_(stand_ins)


def _created_by(run: Table, form: Form, value: Any) -> Condition | None:
    conditions: list[Condition] = []
    if value.id_ is not None:
        conditions.append(_json_text(run.c.created_by, form, "id").in_([str(each) for each in listed(value.id_)]))
    if value.type_ is not None:
        conditions.append(_json_text(run.c.created_by, form, "type").in_(listed(value.type_)))
    if value.is_null_ is not None:
        conditions.append(is_null(run.c.created_by, value.is_null_))
    return joined(conditions, value.operator)


def _task_of(run: Table, form: Form, value: Any) -> Condition | None:
    """Task runs of some flow runs, or of none. Not null is what an empty filter means."""
    column = form.column(run.c.flow_run_key)
    if value.is_null_:
        return column.is_(None)
    if value.any_ is None:
        return column.is_not(None) if value.is_null_ is False else None
    parent = t.flow_run.alias()
    keys = sa.select(parent.c.key).where(parent.c.id.in_(listed(value.any_)), parent.c.workspace_id == form.workspace)
    return column.in_(keys)


def _has_subflow(run: Table, _: Form, value: Any) -> Condition | None:
    if value.exists_ is None:
        return None
    child = t.flow_run.alias()
    found = sa.exists().where(child.c.parent_task_run_id == run.c.id).correlate(run)
    return found if value.exists_ else sa.not_(found)


def _is_deployed(flow: Table, form: Form, value: Any) -> Condition | None:
    if value.is_null_ is None:
        return None
    deployed = sa.select(t.deployment.c.flow_id).where(t.deployment.c.workspace_id == form.workspace)
    return flow.c.id.not_in(deployed) if value.is_null_ else flow.c.id.in_(deployed)


def _deployment_or_flow_named(deployment: Table, form: Form, value: Any) -> Condition | None:
    if not value.like_:
        return None
    flow = t.flow.alias()
    flows = sa.select(flow.c.id).where(flow.c.workspace_id == form.workspace, contains(flow.c.name, value.like_))
    return joined([contains(deployment.c.name, value.like_), deployment.c.flow_id.in_(flows)], "or_")


def _nothing(_: Any) -> Condition | None:
    return None


def _flow_fields(flow: Table, form: Form) -> Fields:
    return {
        "id": form.column(flow.c.id),
        "name": partial(_flow_named, flow, form),
        "tags": partial(tagged_in_row, flow, form),
        "deployment": partial(_is_deployed, flow, form),
    }


def _flow_run_fields(run: Table, form: Form) -> Fields:
    column = form.column
    return {
        "id": column(run.c.id),
        "name": partial(_flow_run_named, run, form),
        "tags": partial(_tagged, run, t.flow_run_tag, "key", "run_key", form),
        "deployment_id": column(run.c.deployment_id),
        "work_queue_name": partial(_queue_named, run, form),
        "state": partial(in_state, run, form),
        "flow_version": run.c.flow_version,
        "start_time": partial(_flow_run_started, run, form),
        "end_time": column(run.c.end_time),
        "expected_start_time": column(run.c.expected_start_time),
        "next_scheduled_start_time": column(run.c.next_scheduled_start_time),
        "parent_flow_run_id": partial(_child_of, run, form),
        "parent_task_run_id": column(run.c.parent_task_run_id),
        "idempotency_key": column(run.c.idempotency_key),
        "created_by": partial(_created_by, run, form),
    }


def _task_run_fields(run: Table, form: Form) -> Fields:
    column = form.column
    return {
        "id": column(run.c.id),
        "name": partial(_named, column(run.c.name)),
        "tags": partial(_tagged, run, t.task_run_tag, "key", "run_key", form),
        "state": partial(in_state, run, form),
        "start_time": column(run.c.start_time),
        "end_time": column(run.c.end_time),
        "expected_start_time": column(run.c.expected_start_time),
        "subflow_runs": partial(_has_subflow, run, form),
        "flow_run_id": partial(_task_of, run, form),
    }


def _deployment_fields(deployment: Table, form: Form) -> Fields:
    return {
        "id": deployment.c.id,
        "name": partial(_named, deployment.c.name),
        "flow_or_deployment_name": partial(_deployment_or_flow_named, deployment, form),
        "paused": deployment.c.paused,
        "tags": partial(_tagged, deployment, t.deployment_tag, "id", "deployment_id", form),
        "work_queue_name": deployment.c.work_queue_name,
        # the peer takes it and does not look at it
        "concurrency_limit": _nothing,
    }


def _work_pool_fields(pool: Table, _: Form) -> Fields:
    return {"id": pool.c.id, "name": pool.c.name, "type": pool.c.type}


def _work_queue_fields(queue: Table, _: Form) -> Fields:
    return {"id": queue.c.id, "name": queue.c.name}


# -- what hangs together ----------------------------------------------------------------------------------------------------

Related = Iterator[tuple[str, Condition]]


def of_flows(form: Form, run: Table, filters: Filters) -> Condition | None:
    """Runs of the flows that the filter on flows leaves."""
    if form.flow_keys is not None:
        return form.column(run.c.flow_key).in_(form.flow_keys)
    return _among(form, run.c.flow_key, _found(form, "flow", "key", Filters(flows=filters.flows)))


def _queues(form: Form, filters: Filters) -> sa.Select[Any] | None:
    """The ids of the queues that the filters on queues and pools leave."""
    pools = _found(form, "work_pool", "id", Filters(work_pools=filters.work_pools))
    queue = t.work_queue.alias()
    drive = form.driving()
    condition = joined(
        [
            owned(drive, "work_queue", queue, Filters(work_queues=filters.work_queues)),
            _among(drive, queue.c.work_pool_id, pools),
        ]
    )
    return None if condition is None else sa.select(queue.c.id).where(condition)


def _named_terms(**conditions: Condition | None) -> Related:
    for name, condition in conditions.items():
        if condition is not None:
            yield name, condition


def _with_tasks(form: Form, run: Table, filters: Filters) -> Condition | None:
    """Flow runs with a task run that the filter leaves."""
    if not _filters(filters.task_runs):
        return None
    task = t.task_run.alias()
    condition = owned(form, "task_run", task, Filters(task_runs=filters.task_runs))
    if condition is None:
        return None
    if form.drive:
        return run.c.key.in_(sa.select(task.c.flow_run_key).where(condition))
    return sa.exists().where(task.c.flow_run_key == run.c.key, condition).correlate(run)


def _of_flow_run(form: Form, run: Table, filters: Filters) -> Related:
    deployments = _found(form, "deployment", "id", Filters(deployments=filters.deployments))
    return _named_terms(
        flows=of_flows(form, run, filters),
        deployments=_among(form, run.c.deployment_id, deployments),
        work_queues=_among(form, run.c.work_queue_id, _queues(form, filters)),
        task_runs=_with_tasks(form, run, filters),
    )


def _of_task_run(form: Form, run: Table, filters: Filters) -> Related:
    parent = t.flow_run.alias()
    condition = owned(form, "flow_run", parent, msgspec.structs.replace(filters, task_runs=None))
    if condition is None:
        return
    if form.drive:
        yield "flow_runs", run.c.flow_run_key.in_(sa.select(parent.c.key).where(condition))
    else:
        yield "flow_runs", sa.exists().where(parent.c.key == run.c.flow_run_key, condition).correlate(run)


def _having_runs(form: Form, column: str, owner: Table, key: str, filters: Filters) -> Condition | None:
    """Flows or deployments with a run that the filters on flow runs and task runs leave."""
    run = t.flow_run.alias()
    mine = Filters(flow_runs=filters.flow_runs, task_runs=filters.task_runs)
    condition = owned(form.driving() if form.few else form, "flow_run", run, mine)
    if condition is None:
        return None
    if form.few:
        return owner.c[key].in_(sa.select(run.c[column]).where(condition))
    return sa.exists().where(run.c[column] == owner.c[key], condition).correlate(owner)


def _of_flow(form: Form, flow: Table, filters: Filters) -> Related:
    deployment = t.deployment.alias()
    drive = form.driving()
    condition = joined(
        [
            owned(drive, "deployment", deployment, Filters(deployments=filters.deployments)),
            _among(drive, deployment.c.work_queue_id, _queues(form, filters)),
        ]
    )
    deployed = None if condition is None else sa.select(deployment.c.flow_id).where(condition)
    return _named_terms(
        deployments=_among(form, flow.c.id, deployed),
        flow_runs=_having_runs(form, "flow_key", flow, "key", filters),
    )


def _of_deployment(form: Form, deployment: Table, filters: Filters) -> Related:
    return _named_terms(
        flows=_among(form, deployment.c.flow_id, _found(form, "flow", "id", Filters(flows=filters.flows))),
        work_queues=_among(form, deployment.c.work_queue_id, _queues(form, filters)),
        flow_runs=_having_runs(form, "deployment_id", deployment, "id", filters),
    )


def _alone(_: Form, __: Table, ___: Filters) -> Related:
    return iter(())


TABLES: dict[str, sa.Table] = {
    "flow": t.flow,
    "flow_run": t.flow_run,
    "task_run": t.task_run,
    "deployment": t.deployment,
    "work_pool": t.work_pool,
    "work_queue": t.work_queue,
}
#: by entity: the name of its own filter, what its fields mean, and what hangs together with it
ENTITIES: dict[str, tuple[str, Callable[[Table, Form], Fields], Callable[[Form, Table, Filters], Related]]] = {
    "flow": ("flows", _flow_fields, _of_flow),
    "flow_run": ("flow_runs", _flow_run_fields, _of_flow_run),
    "task_run": ("task_runs", _task_run_fields, _of_task_run),
    "deployment": ("deployments", _deployment_fields, _of_deployment),
    "work_pool": ("work_pools", _work_pool_fields, _alone),
    "work_queue": ("work_queues", _work_queue_fields, _alone),
}
