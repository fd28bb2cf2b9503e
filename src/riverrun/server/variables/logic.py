"""What is done with variables. Their values are sealed (`server.vault`): people keep tokens in them, whatever they are told."""

import re
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import from_micros
from riverrun.base.errors import ConflictError, ObjectAlreadyExists, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server import notices
from riverrun.server.db.filter_fields import tagged_in_row
from riverrun.server.db.filters import form_of
from riverrun.server.db.json_text import from_text, to_text
from riverrun.server.db.tables import variable as table
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import Condition, Rule, patterned, where
from riverrun.server.http.errors import InvalidRequest
from riverrun.wire.filters import VariableFilter
from riverrun.wire.variables import Variable, VariableCreate, VariableUpdate

#: characters of a value as JSON
LONGEST = 5000
_NAME = re.compile(r"[a-z0-9_-]+")
_ORDERS = {
    "CREATED_DESC": table.c.created.desc(),
    "UPDATED_DESC": table.c.updated.desc(),
    "NAME_DESC": table.c.name.desc(),
    "NAME_ASC": table.c.name.asc(),
}


def find(reader: Reader, ref: UUID | str) -> Any:
    """The row of a variable by id or name; raises ObjectNotFound."""
    column = table.c.id if isinstance(ref, UUID) else table.c.name
    row = reader.row(sa.select(table).where(table.c.workspace_id == reader.workspace, column == ref))
    if row is None:
        raise ObjectNotFound(f"There is no variable {str(ref)!r}.")
    return row


def answer(reader: Reader, row: Any) -> Variable:
    return Variable(
        id=row.id,
        created=from_micros(row.created),
        updated=from_micros(row.updated),
        name=row.name,
        value=reader.vault.open_json(row.value, row.workspace_id, "variable", row.id, "value"),
        tags=from_text(row.tags, []),
    )


def values_of(reader: Reader, names: Collection[str]) -> dict[str, Any]:
    """The values of those of the names that are variables."""
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.name.in_(set(names)))
    return {row.name: answer(reader, row).value for row in reader.rows(query)} if names else {}


def page(reader: Reader, filter: VariableFilter | None, sort: str, limit: int, offset: int) -> list[Variable]:
    query = sa.select(table).where(*_conditions(reader, filter)).order_by(_ORDERS[sort], table.c.key)
    return [answer(reader, row) for row in reader.rows(query.limit(limit).offset(offset))]


def count(reader: Reader, filter: VariableFilter | None) -> int:
    return int(reader.scalar(sa.select(sa.func.count()).select_from(table).where(*_conditions(reader, filter))))


def _conditions(reader: Reader, filter: VariableFilter | None) -> Sequence[Condition]:
    fields: dict[str, sa.ColumnElement[Any] | Rule] = {
        "id": table.c.id,
        "name": patterned(table.c.name),
        "tags": partial(tagged_in_row, table, form_of(reader)),
    }
    found = where(filter, fields)
    mine = table.c.workspace_id == reader.workspace
    return [mine] if found is None else [mine, found]


def create(transaction: Transaction, body: VariableCreate) -> Variable:
    """Make a variable; raises ObjectAlreadyExists."""
    _check(body.name, body.value)
    _refuse_taken(transaction, body.name)
    variable_id = uuid7()
    values = {
        "id": variable_id,
        "workspace_id": transaction.workspace,
        "created": transaction.now,
        "updated": transaction.now,
        "name": body.name,
        "value": _sealed(transaction, variable_id, body.value),
        "tags": to_text(body.tags or None),
    }
    transaction.execute(sa.insert(table).values(**values))
    row = find(transaction, variable_id)
    _tell(transaction, "created", row)
    return answer(transaction, row)


def update(transaction: Transaction, ref: UUID | str, body: VariableUpdate) -> None:
    """Change what the body says; raises ObjectNotFound, ObjectAlreadyExists."""
    row = find(transaction, ref)
    values: dict[str, Any] = {"updated": transaction.now}
    if body.name is not UNSET:
        _check(body.name, None)
        if body.name != row.name:
            _refuse_taken(transaction, str(body.name))
        values["name"] = body.name
    if body.value is not UNSET:
        _check(row.name, body.value)
        values["value"] = _sealed(transaction, row.id, body.value)
    if body.tags is None:
        # the status that clients of the peer know for it
        raise ConflictError("The tags of a variable cannot be null; an empty list removes them.")
    if body.tags is not UNSET:
        values["tags"] = to_text(body.tags or None)
    transaction.execute(sa.update(table).where(table.c.key == row.key).values(**values))
    _tell(transaction, "updated", find(transaction, row.id))


def delete(transaction: Transaction, ref: UUID | str) -> None:
    row = find(transaction, ref)
    transaction.execute(sa.delete(table).where(table.c.key == row.key))
    _tell(transaction, "deleted", row)


def _sealed(transaction: Transaction, variable_id: UUID, value: Any) -> bytes:
    sealed: bytes = transaction.vault.seal_json(value, transaction.workspace, "variable", variable_id, "value")
    return sealed


def _refuse_taken(transaction: Transaction, name: str) -> None:
    taken = sa.select(table.c.key).where(table.c.workspace_id == transaction.workspace, table.c.name == name)
    if transaction.scalar(taken) is not None:
        raise ObjectAlreadyExists(f"There is a variable {name!r} already.")


def _check(name: object, value: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest(
            ("body", "name"), "A variable's name has only small letters, digits, dashes and underscores."
        )
    if len(msgspec.json.encode(value).decode()) > LONGEST:
        raise InvalidRequest(("body", "value"), f"The value is longer than {LONGEST:,} characters of JSON.")


def _tell(transaction: Transaction, action: notices.Action, row: Any) -> None:
    payload = {"name": row.name, "tags": from_text(row.tags, [])}
    notices.happened(transaction, "variable", action, row.id, row.name, payload)
