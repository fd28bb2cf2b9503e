"""Filters of the wire into SQL conditions.

A noun says, by field of its filter Struct, which column (or which function) answers it; the operators are the same everywhere:
any_, not_any_, all_, like_, eq_, ne_, is_null_, exists_, before_, after_, notbefore_, ge_, le_, gt_, lt_, startswith_, endswith_.
Within a filter the fields are and-ed, or or-ed where its `operator` says "or_".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from riverrun.base.clock import to_micros
from riverrun.base.errors import InputError

Condition = sa.ColumnElement[bool]
#: given the value of the filter's field, the condition (None: nothing is filtered)
Rule = Callable[[Any], Condition | None]
#: more ids than this in one list are refused
MAX_VALUES = 10_000
_PLUS: custom_op[Any] = custom_op("+")


def where(filter: Any, fields: Mapping[str, sa.ColumnElement[Any] | Rule]) -> Condition | None:
    """The condition of a filter Struct; None where it filters nothing. A field that `fields` lacks is an InputError."""
    return joined(condition for _, condition in rules_of(filter, fields))


def rules_of(
    filter: Any, fields: Mapping[str, sa.ColumnElement[Any] | Rule], name: str = ""
) -> Iterator[tuple[str, Condition]]:
    """The conditions of a filter Struct by field; one under `name` where its fields are or-ed."""
    if filter is None:
        return
    found = []
    for info in msgspec.structs.fields(filter):
        value = getattr(filter, info.name)
        if info.name == "operator" or value is None:
            continue
        target = fields.get(info.name)
        if target is None:
            raise InputError(f"{type(filter).__name__}.{info.name} cannot be used as a filter here.")
        condition = operators(target, value) if isinstance(target, sa.ColumnElement) else target(value)
        if condition is not None:
            found.append((info.name, condition))
    if getattr(filter, "operator", "and_") == "or_" and len(found) > 1:
        yield name, sa.or_(*(condition for _, condition in found))
    else:
        yield from found


def joined(conditions: Iterable[Condition | None], operator: str = "and_") -> Condition | None:
    """The conditions and-ed or or-ed; None when there are none."""
    present = [condition for condition in conditions if condition is not None]
    if not present:
        return None
    if len(present) == 1:
        return present[0]
    return sa.or_(*present) if operator == "or_" else sa.and_(*present)


def operators(column: sa.ColumnElement[Any], filter: Any) -> Condition | None:
    """The condition of a field's filter Struct on one column."""
    conditions = []
    for info in msgspec.structs.fields(filter):
        value = getattr(filter, info.name)
        if info.name == "operator" or value is None:
            continue
        conditions.append(_OPERATORS[info.name](column, value))
    return joined(conditions, getattr(filter, "operator", "and_"))


def value_of(value: Any) -> Any:
    """A value as columns hold it: instants as microseconds, flags as numbers."""
    if isinstance(value, bool):
        return int(value)
    return to_micros(value) if isinstance(value, datetime) else value


def listed(values: Iterable[Any]) -> list[Any]:
    """The values of an any_; raises InputError when there are too many."""
    result = [value_of(value) for value in values]
    if len(result) > MAX_VALUES:
        raise InputError(f"A filter lists {len(result):,} values; at most {MAX_VALUES:,} are taken.")
    return result


def like(column: sa.ColumnElement[Any], text: str | None) -> Condition | None:
    """Whether the column contains the text; None where there is no text."""
    return contains(column, text) if text else None


def contains(column: sa.ColumnElement[Any], text: str) -> Condition:
    """Whether the column contains the text, whatever the case; % and _ mean themselves."""
    return column.icontains(text, autoescape=True)


def patterned(column: sa.ColumnElement[Any]) -> Rule:
    """A rule for filters whose `like_` may hold the wildcards % and _, with a backslash before those that mean themselves."""

    def rule(filter: Any) -> Condition | None:
        pattern = filter.like_
        others = operators(column, msgspec.structs.replace(filter, like_=None))
        return joined([others, column.ilike(f"%{pattern}%", escape="\\") if pattern else None])

    return rule


def hidden(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The column in a form that SQLite uses no index for."""
    return UnaryExpression(column, operator=_PLUS, type_=column.type)


def is_null(column: sa.ColumnElement[Any], value: bool) -> Condition:
    return column.is_(None) if value else column.is_not(None)


_OPERATORS: dict[str, Callable[[sa.ColumnElement[Any], Any], Condition | None]] = {
    "any_": lambda column, value: column.in_(listed(value)),
    "not_any_": lambda column, value: column.not_in(listed(value)),
    "like_": like,
    "eq_": lambda column, value: column == value_of(value),
    "ne_": lambda column, value: column != value_of(value),
    "is_null_": is_null,
    "exists_": lambda column, value: is_null(column, not value),
    "before_": lambda column, value: column <= value_of(value),
    "after_": lambda column, value: column >= value_of(value),
    "notbefore_": lambda column, value: column >= value_of(value),
    "ge_": lambda column, value: column >= value_of(value),
    "le_": lambda column, value: column <= value_of(value),
    "gt_": lambda column, value: column > value_of(value),
    "lt_": lambda column, value: column < value_of(value),
    "startswith_": lambda column, value: sa.or_(*(column.startswith(text, autoescape=True) for text in value)),
    "endswith_": lambda column, value: sa.or_(*(column.endswith(text, autoescape=True) for text in value)),
}
