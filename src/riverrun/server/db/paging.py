"""Pages of runs, and the run that a person means by a reference. SQL only."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.errors import InputError, ObjectNotFound
from riverrun.server.db.names import index_key
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import NAME_PREFIX
from riverrun.wire.states import DEFAULT_NAMES, TYPE_CODES, StateType

#: candidates that an ambiguous reference lists
_CANDIDATES = 6
#: the longest page, and that of a request that names none
PAGE = 200
#: beyond this no list goes
FURTHEST = 2**53
_HEX = frozenset("0123456789abcdef")
_TYPES_BY_NAME = {name.lower(): kind for kind, name in DEFAULT_NAMES.items()}


def page_size(limit: int | None) -> int:
    """How many things a request for `limit` of them gets; raises InputError above the longest page."""
    if limit is None:
        return PAGE
    if not 0 <= limit <= PAGE:
        raise InputError(f"Invalid limit: {limit} is not between 0 and {PAGE}.")
    return limit


def offset_of(page: int, limit: int) -> int:
    """How many things stand before a page."""
    return min((page - 1) * limit, FURTHEST + 1)


def pages(count: int, limit: int) -> int:
    """How many pages `count` things fill."""
    return -(-count // limit) if limit else 0


def page_of(
    table: sa.Table,
    conditions: Sequence[sa.ColumnElement[bool]],
    types: Collection[StateType],
    limit: int,
    offset: int,
    *,
    few: bool = False,
) -> sa.Subquery:
    """The keys of one page of runs, newest first by expected start; `types` narrows to state types.

    Several types are read as the newest of each, merged: the index answers each of them in order, which SQLite would not do
    for an IN-list (it has no histogram and sorts all). With `few` the conditions leave so few runs that they are better
    sorted than looked for in the index that has the order.
    """
    order = newest_first(table, few=few)

    def newest(kind: StateType | None) -> sa.Select[Any]:
        query = sa.select(table.c.key, table.c.expected_start_time).where(*conditions).order_by(*order)
        return query if kind is None else query.where(table.c.state_type == TYPE_CODES[kind])

    codes = sorted(set(types))
    if len(codes) <= 1:
        return newest(codes[0] if codes else None).limit(limit).offset(offset).subquery("page")
    parts = [sa.select(newest(kind).limit(limit + offset).subquery()) for kind in codes]
    merged = sa.union_all(*parts).subquery("merged")
    return (
        sa.select(merged.c.key, merged.c.expected_start_time)
        .order_by(merged.c.expected_start_time.desc(), merged.c.key.desc())
        .limit(limit)
        .offset(offset)
        .subquery("page")
    )


def newest_first(table: sa.Table, *, few: bool = False) -> tuple[sa.ColumnElement[Any], ...]:
    """The order of every list of runs; `few` hides the column from the planner, which then sorts."""
    expected = table.c.expected_start_time
    return (expected + 0 if few else expected).desc(), table.c.key.desc()


def state_filter(
    table: sa.Table, types: Collection[StateType | str] | None, names: Collection[str] | None
) -> tuple[list[sa.ColumnElement[bool]], set[StateType]]:
    """Conditions for states by type and by name, and the types that remain possible (empty: all of them).

    Names that are a type's own are found by the type; a stored name is kept only where it differs. Case does not matter for
    those. Raises InputError for a type that does not exist.
    """
    wanted = {_state_type(kind) for kind in types or ()}
    if not names:
        return [], wanted
    plain = {_TYPES_BY_NAME[name.lower()] for name in names if name.lower() in _TYPES_BY_NAME}
    custom = [name for name in names if name.lower() not in _TYPES_BY_NAME]
    default_name = table.c.state_name.is_(None)
    if not custom:
        if wanted and not wanted & plain:
            return [sa.false()], wanted
        return [default_name], (wanted & plain) or plain
    by_type = sa.and_(table.c.state_type.in_([TYPE_CODES[kind] for kind in plain]), default_name)
    return [sa.or_(by_type, table.c.state_name.in_(custom))], wanted


def _state_type(kind: StateType | str) -> StateType:
    try:
        return StateType(kind.upper())
    except ValueError:
        raise InputError(f"{kind!r} is not a state type; there are {', '.join(StateType)}") from None


def has_tags(table: sa.Table, tag_table: sa.Table, tags: Collection[str], scope: Scope) -> list[sa.ColumnElement[bool]]:
    """Conditions for runs that have all of the tags."""
    conditions: list[sa.ColumnElement[bool]] = []
    for tag in tags:
        one = tag_table.alias()
        conditions.append(
            sa.exists()
            .where(one.c.workspace_id == scope.workspace_id, one.c.tag == index_key(tag), one.c.run_key == table.c.key)
            .correlate(table)
        )
    return conditions


def beginning(table: sa.FromClause) -> sa.ColumnElement[Any]:
    """The beginning of a run's name, as its index holds it."""
    # literals and not parameters: a planner knows an indexed expression by its text
    return sa.func.substr(table.c.name, sa.literal_column("1"), sa.literal_column(str(NAME_PREFIX)), type_=sa.Text)


def named(table: sa.FromClause, name: str) -> sa.ColumnElement[bool]:
    """Runs of exactly this name; the index holds its beginning."""
    # `name || ''`: SQLite would put the value of `name = ?` into the expression above and then not know it any more
    return sa.and_(beginning(table) == name[:NAME_PREFIX], table.c.name + sa.literal_column("''") == name)


def since(table: sa.Table, instant: datetime) -> sa.ColumnElement[bool]:
    """Runs expected to start at or after the instant."""
    return table.c.expected_start_time >= to_micros(instant)


def resolve(connection: sa.Connection, scope: Scope, table: sa.Table, noun: str, ref: UUID | str) -> UUID:
    """The id of the run that `ref` means: an id, a name, or the beginning of an id.

    Raises ObjectNotFound when there is none, InputError with the candidates when there are several. An id in full is taken
    as it is.
    """
    if isinstance(ref, UUID):
        return ref
    try:
        return UUID(ref)
    except ValueError:
        pass
    mine = table.c.workspace_id == scope.workspace_id
    found = _candidates(connection, table, [mine, named(table, ref)])
    digits = ref.replace("-", "").lower()
    if not found and digits and len(digits) < 32 and _HEX.issuperset(digits):
        low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        found = _candidates(connection, table, [mine, table.c.id.between(low, high)])
    if not found:
        raise ObjectNotFound(f"There is no {noun} with the name or id {ref!r} in this store.")
    if len(found) > 1:
        lines = [f"  {row.id}  {row.name}  {from_micros(row.expected_start_time):%Y-%m-%d %H:%M:%S}" for row in found]
        more = "\n  ..." if len(found) >= _CANDIDATES else ""
        raise InputError(f"{ref!r} may mean several {noun}s; name one by its id:\n" + "\n".join(lines) + more)
    run_id: UUID = found[0].id
    return run_id


def _candidates(
    connection: sa.Connection, table: sa.Table, conditions: Sequence[sa.ColumnElement[bool]]
) -> Sequence[Any]:
    query = sa.select(table.c.id, table.c.name, table.c.expected_start_time).where(*conditions)
    return connection.execute(query.order_by(*newest_first(table, few=True)).limit(_CANDIDATES)).all()
