"""Pages and numbers of runs under filters.

Two ways lead to a page in order: walk an index that has the order and test every row, or find the rows by a rare value and
sort them. PostgreSQL knows how often values are and chooses by itself. SQLite does not know, so it is asked first: each
condition that an index can find rows for is probed (at most `RARE` entries of the index); the rarest one drives if it is rare,
else the order is walked. States, flows and flow runs have indexes that end in the order by expected start: several of them are
read as the first rows of each, merged (`_branches`).
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from riverrun.server.db import paging
from riverrun.server.db import tables as t
from riverrun.server.db.filter_fields import Form, started, state_named
from riverrun.server.db.filters import (
    LED_BY_WORKSPACE,
    Filters,
    form_of,
    named_when_slow,
    says,
    terms,
    with_flows,
)
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Reader
from riverrun.server.db.where import Condition, hidden
from riverrun.server.runs import render
from riverrun.server.runs.queries import FLOW_RUN, TASK_RUN
from riverrun.wire.flow_runs import FlowRunResponse
from riverrun.wire.states import TYPE_CODES
from riverrun.wire.task_runs import TaskRunResponse

#: entries of an index up to which rows are found by it and sorted
RARE = 10_000
#: first rows of so many values are merged
_MERGED = 50
_SPANS = frozenset(("start_time", "end_time", "expected_start_time", "next_scheduled_start_time"))
#: runs found by a part of their name up to which they are sorted
_NAMED = 500


class Order(Struct, frozen=True):
    """An order of runs. `term` is the filter field on the same column, whose range the walk takes along.

    Rows without a value come last: of a `sparse` order they are almost all, and not in its index.
    """

    value: sa.ColumnElement[Any]
    term: str
    descending: bool = True
    nullable: bool = False
    sparse: bool = False
    #: the order's index begins with the workspace
    leads: bool = True

    def by(self, value: sa.ColumnElement[Any], key: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
        """ORDER BY for a column that holds the order's value."""
        last = [value.is_(None)] if self.nullable else []
        return [*last, value.desc(), key.desc()] if self.descending else [*last, value.asc(), key.asc()]


class Kind(Struct, frozen=True):
    """A kind of run: its table, its orders, and the terms that an index finds rows for, the likely rarest first."""

    entity: str
    table: sa.Table
    tags: sa.Table
    orders: Mapping[str, Order]
    drivers: tuple[str, ...]

    def driven(self, form: Form, name: str, condition: Condition) -> list[Condition]:
        """The conditions that let the term find rows; without the workspace where its index does not have it."""
        drive = form.driving()
        return [(drive if name in LED_BY_WORKSPACE else form).mine(self.table), condition]


def _orders(run: sa.Table, name: sa.ColumnElement[Any]) -> dict[str, Order]:
    expected, following = run.c.expected_start_time, run.c.next_scheduled_start_time
    return {
        "ID_DESC": Order(run.c.id, "id", leads=False),
        "EXPECTED_START_TIME_ASC": Order(expected, "expected_start_time", descending=False),
        "EXPECTED_START_TIME_DESC": Order(expected, "expected_start_time"),
        "START_TIME_ASC": Order(started(run), "start_time", descending=False),
        "START_TIME_DESC": Order(started(run), "start_time"),
        "NEXT_SCHEDULED_START_TIME_ASC": Order(
            following, "next_scheduled_start_time", descending=False, nullable=True, sparse=True
        ),
        "END_TIME_DESC": Order(run.c.end_time, "end_time", nullable=True),
        "NAME_ASC": Order(name, "", descending=False),
        "NAME_DESC": Order(name, ""),
    }


FLOW_RUNS = Kind(
    "flow_run",
    t.flow_run,
    t.flow_run_tag,
    _orders(t.flow_run, paging.beginning(t.flow_run)),
    (
        "id",
        "parent_task_run_id",
        "parent_flow_run_id",
        "name",
        "state",
        "tags",
        "deployment_id",
        "next_scheduled_start_time",
        "flows",
        "deployments",
        "start_time",
        "end_time",
        "expected_start_time",
        "task_runs",
    ),
)
TASK_RUNS = Kind(
    "task_run",
    t.task_run,
    t.task_run_tag,
    _orders(t.task_run, t.task_run.c.name),
    ("id", "state", "tags", "flow_run_id", "expected_start_time", "flow_runs"),
)


def flow_run_answers(
    reader: Reader, filters: Filters, sort: str, limit: int | None, offset: int = 0
) -> list[FlowRunResponse]:
    """A page of flow runs."""
    return render.flow_run_answers_of(rows(reader, FLOW_RUNS, FLOW_RUN, filters, sort, limit, offset), reader.now)


def task_run_answers(
    reader: Reader, filters: Filters, sort: str, limit: int | None, offset: int = 0
) -> list[TaskRunResponse]:
    """A page of task runs."""
    return render.task_run_answers_of(rows(reader, TASK_RUNS, TASK_RUN, filters, sort, limit, offset), reader.now)


def flow_run_ids(reader: Reader, filters: Filters, limit: int) -> list[UUID]:
    """The ids of the flow runs that the filters leave, the newest first."""
    return [row.id for row in rows(reader, FLOW_RUNS, sa.select(t.flow_run.c.id), filters, "ID_DESC", limit)]


def rows(
    reader: Reader,
    kind: Kind,
    query: sa.Select[Any],
    filters: Filters,
    sort: str,
    limit: int | None,
    offset: int = 0,
    longest: int = paging.PAGE,
) -> list[Any]:
    """The rows of `query` (from the kind's table) for one page of the runs that the filters leave."""
    size = paging.page_size(limit) if longest == paging.PAGE else min(longest if limit is None else limit, longest)
    if size <= 0 or offset > paging.FURTHEST:
        return []
    order = kind.orders[sort]
    with named_when_slow(filters):
        page = _page(reader, kind, filters, order, size, offset)
        if page is None:
            return []
        on_page = query.join(page, page.c.key == kind.table.c.key)
        return reader.rows(on_page.order_by(*order.by(page.c.value, page.c.key)))


def _page(reader: Reader, kind: Kind, filters: Filters, order: Order, size: int, offset: int) -> sa.Subquery | None:
    """The keys of a page with the values it is ordered by; None when it is certainly empty."""
    form = with_flows(reader, filters)
    tests = dict(terms(form, kind.entity, kind.table, filters))
    drives = dict(terms(form.driving(), kind.entity, kind.table, filters))
    along, branches = _branches(reader, form, kind, filters, order, tests)
    if branches == []:
        return None
    if (form.sqlite or _SPANS & tests.keys()) and tests.keys() - {along, order.term}:
        if _is_searched(kind, filters) and not _search(reader, kind, drives):
            return None
        name, number = _rarest(reader, kind, drives)
        if number == 0:
            return None
        if number <= RARE:
            rest = [condition for term, condition in tests.items() if term != name]
            part = [*kind.driven(form, name, drives[name]), *rest]
            return _merged(form, kind, order, [part], size, offset, walk=False)
    # an owner's index has no workspace in it; nothing may lead away from it
    leads = order.leads and along in ("", "state")
    mine = (form.driving() if leads else form).mine(kind.table)
    rest = [drives[term] if term == order.term else tests[term] for term in tests if term != along]
    parts = [[mine, *branch, *rest] for branch in branches or [[]]]
    if order.nullable:
        without = form.mine(kind.table) if order.sparse else mine
        parts = [[mine, *rest, order.value.is_not(None)], [without, *rest, order.value.is_(None)]]
    return _merged(form, kind, order, parts, size, offset, walk=True)


def _merged(
    form: Form, kind: Kind, order: Order, parts: Sequence[list[Condition]], size: int, offset: int, *, walk: bool
) -> sa.Subquery:
    """The first rows of each part, in one order."""
    key = kind.table.c.key
    value = order.value if walk or not form.sqlite else hidden(order.value)
    if not walk and not form.sqlite:
        # PostgreSQL is told to find the rows first: it takes spans of time for spread over the order by id
        wanted = sa.select(key, order.value.label("value")).where(*parts[0]).cte("wanted")
        found = sa.select(wanted.prefix_with("MATERIALIZED", dialect="postgresql"))
        return (
            found.order_by(*order.by(found.selected_columns.value, found.selected_columns.key))
            .limit(size)
            .offset(offset)
            .subquery("page")
        )

    def first(number: int, part: list[Condition]) -> sa.Select[Any]:
        by = order.by(value, key)
        if order.nullable and walk:
            # the values of a part are all there, or all missing
            by = by[1 + number :]
        return sa.select(key, order.value.label("value")).where(*part).order_by(*by)

    if len(parts) == 1:
        return first(0, parts[0]).limit(size).offset(offset).subquery("page")
    some = (first(number, part).limit(size + offset).subquery() for number, part in enumerate(parts))
    merged = sa.union_all(*(sa.select(each) for each in some)).subquery("merged")
    return (
        sa.select(merged.c.key, merged.c.value)
        .order_by(*order.by(merged.c.value, merged.c.key))
        .limit(size)
        .offset(offset)
        .subquery("page")
    )


def _branches(
    reader: Reader, form: Form, kind: Kind, filters: Filters, order: Order, tests: Mapping[str, Condition]
) -> tuple[str, list[list[Condition]] | None]:
    """A term whose index has the order, and the conditions of its values; no list where there is no such term."""
    if order.term != "expected_start_time":
        return "", None
    run, own = kind.table, filters.flow_runs if kind is FLOW_RUNS else filters.task_runs
    owner = _owner(kind, filters)
    if owner is not None and owner in tests:
        column, keys = _owner_keys(reader, form, kind, filters, owner)
        if keys is not None and len(keys) <= _MERGED:
            return owner, [[run.c[column] == key] for key in keys]
    state = getattr(own, "state", None)
    if "state" not in tests or state is None:
        return "", None
    kinds, names = (None if part is None else part.any_ for part in (state.type, state.name))
    excluded = getattr(state.type, "not_any_", None) or getattr(state.name, "not_any_", None)
    if excluded or (kinds is None) == (names is None) or len(kinds or names or ()) > _MERGED:
        return "", None
    if kinds is not None:
        return "state", [[run.c.state_type == TYPE_CODES[each]] for each in sorted(set(kinds))]
    # a name is either a type's own or a special one: both have an index with the order
    return "state", [
        [part] for name in sorted(set(names or ())) for part in _parts(state_named(run, form.driving(), [name]))
    ]


def _parts(condition: Condition) -> list[Condition]:
    if isinstance(condition, sa.BooleanClauseList) and condition.operator is sa.sql.operators.or_:
        return list(condition.clauses)
    return [condition]


def _owner(kind: Kind, filters: Filters) -> str | None:
    """The term that names what runs belong to (flows, a flow run), if it says nothing else."""
    if kind is FLOW_RUNS:
        return "flows"
    runs = filters.flow_runs
    if getattr(filters.task_runs, "flow_run_id", None) is not None and filters.task_runs.flow_run_id.any_ is not None:
        return "flow_run_id"
    alone = filters.only("task_runs", "flow_runs") and runs is not None and runs.id is not None and runs.id.any_
    return "flow_runs" if alone and says(runs) == {"id"} else None


def _owner_keys(
    reader: Reader, form: Form, kind: Kind, filters: Filters, owner: str
) -> tuple[str, Sequence[int] | None]:
    if kind is FLOW_RUNS:
        return "flow_key", form.flow_keys
    run = t.flow_run
    ids = filters.task_runs.flow_run_id.any_ if owner == "flow_run_id" else filters.flow_runs.id.any_
    query = sa.select(run.c.key).where(form.mine(run), run.c.id.in_(ids)).limit(_MERGED + 1)
    return "flow_run_key", [row.key for row in reader.rows(query)]


def _is_searched(kind: Kind, filters: Filters) -> bool:
    """Whether flow runs are looked for by a part of their name."""
    own = filters.flow_runs
    return kind is FLOW_RUNS and own is not None and own.name is not None and bool(own.name.like_)


def _search(reader: Reader, kind: Kind, drives: dict[str, Condition]) -> bool:
    """Look for names in their index, once: few runs of such a name then drive by their keys. False when there are none.

    Where there are many, the order is walked instead.
    """
    wanted = drives.pop("name", None)
    if wanted is None:
        return True
    mine = form_of(reader).driving().mine(kind.table)
    keys = [row.key for row in reader.rows(sa.select(kind.table.c.key).where(mine, wanted).limit(_NAMED + 1))]
    if 0 < len(keys) <= _NAMED:
        drives["key"] = kind.table.c.key.in_(keys)
    return bool(keys)


def _rarest(reader: Reader, kind: Kind, drives: Mapping[str, Condition]) -> tuple[str, int]:
    """The term that the fewest rows have, of those that an index answers, and their number (at most RARE + 1)."""
    if "key" in drives:
        return "key", 1
    names = [name for name in kind.drivers if name in drives]
    if not names:
        return "", RARE + 1
    one: sa.ColumnElement[int] = sa.literal_column("1")
    probes = [
        sa.select(sa.func.count())
        .select_from(
            sa.select(one)
            .select_from(kind.table)
            .where(*kind.driven(form_of(reader), name, drives[name]))
            .limit(RARE + 1)
            .subquery()
        )
        .scalar_subquery()
        .label(f"n{index}")
        for index, name in enumerate(names)
    ]
    number, index = min((number, index) for index, number in enumerate(reader.row(sa.select(*probes))))
    return names[index], number


def count(reader: Reader, kind: Kind, filters: Filters) -> int:
    """How many runs the filters leave."""
    with named_when_slow(filters):
        return int(reader.scalar(_counting(reader, kind, filters, sa.func.count())) or 0)


def _counting(reader: Reader, kind: Kind, filters: Filters, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    tag = _only_tag(kind, filters)
    if tag is not None:
        mine = (kind.tags.c.workspace_id == reader.workspace, kind.tags.c.tag == index_key(tag))
        return sa.select(*columns).select_from(kind.tags).where(*mine)
    return sa.select(*columns).select_from(kind.table).where(*conditions(reader, kind, filters))


def conditions(reader: Reader, kind: Kind, filters: Filters) -> list[Condition]:
    """The conditions of a statement that reads every run that the filters leave."""
    form = with_flows(reader, filters)
    drives = dict(terms(form.driving(), kind.entity, kind.table, filters))
    if not form.sqlite or not drives:
        tests = dict(terms(form, kind.entity, kind.table, filters))
        return [form.driving().mine(kind.table), *tests.values()]
    name = next((name for name in kind.drivers if name in drives), "")
    if len(drives) > 1:
        name, _ = _rarest(reader, kind, drives)
    tests = dict(terms(form, kind.entity, kind.table, filters))
    rest = [condition for term, condition in tests.items() if term != name]
    if not name:
        return [form.driving().mine(kind.table), *rest]
    return [*kind.driven(form, name, drives[name]), *rest]


def _only_tag(kind: Kind, filters: Filters) -> str | None:
    """The one tag that is all the filters ask for."""
    own = filters.flow_runs if kind is FLOW_RUNS else filters.task_runs
    if own is None or not filters.only("flow_runs" if kind is FLOW_RUNS else "task_runs"):
        return None
    if says(own) != {"tags"} or own.tags.is_null_ is not None:
        return None
    tags = [*(own.tags.all_ or ()), *(getattr(own.tags, "any_", None) or ())]
    return tags[0] if len(tags) == 1 else None
