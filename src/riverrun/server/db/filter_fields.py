"""What every field of every filter means: declared mappings from the wire's filters to conditions on one table.

Every condition comes in two forms (SERVER-NOTES 12, SQLite knows nothing of the distribution of values): one that tests a row
that is there already, one that drives, so that an index finds the rows. `server.runs.listing` chooses.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.server.db import paging
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
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
    patterned,
)
from riverrun.wire.states import DEFAULT_NAMES, TYPE_CODES

Fields = Mapping[str, sa.ColumnElement[Any] | Rule]
Table = sa.FromClause
_CODES_BY_NAME = {name: TYPE_CODES[kind] for kind, name in DEFAULT_NAMES.items()}


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


def flow_fields(flow: Table, form: Form) -> Fields:
    return {
        "id": form.column(flow.c.id),
        "name": partial(_flow_named, flow, form),
        "tags": partial(tagged_in_row, flow, form),
        "deployment": partial(_is_deployed, flow, form),
    }


def flow_run_fields(run: Table, form: Form) -> Fields:
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


def task_run_fields(run: Table, form: Form) -> Fields:
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


def deployment_fields(deployment: Table, form: Form) -> Fields:
    return {
        "id": deployment.c.id,
        # no name of a deployment has a % in it
        "name": patterned(deployment.c.name),
        "flow_or_deployment_name": partial(_deployment_or_flow_named, deployment, form),
        "paused": deployment.c.paused,
        "tags": partial(_tagged, deployment, t.deployment_tag, "id", "deployment_id", form),
        "work_queue_name": deployment.c.work_queue_name,
        # the peer takes it and does not look at it
        "concurrency_limit": _nothing,
    }


def work_pool_fields(pool: Table, _: Form) -> Fields:
    return {"id": pool.c.id, "name": pool.c.name, "type": pool.c.type}


def work_queue_fields(queue: Table, _: Form) -> Fields:
    return {"id": queue.c.id, "name": queue.c.name}
