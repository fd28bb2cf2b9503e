"""Types of blocks, and the filters on types and schemas that other lists use too."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import from_micros
from riverrun.base.errors import DeniedError, ObjectAlreadyExists, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server import notices
from riverrun.server.db import tables as t
from riverrun.server.db.filter_fields import Form, has_tag
from riverrun.server.db.filters import form_of
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import Condition, Rule, joined, listed, patterned, where
from riverrun.server.http.errors import InvalidRequest
from riverrun.server.http.pages import short
from riverrun.wire.blocks import BlockType, BlockTypeCreate, BlockTypeUpdate
from riverrun.wire.filters import BlockSchemaFilter, BlockTypeFilter

table, schemas, documents = t.block_type, t.block_schema, t.block_document
_SLUG = re.compile(r"[a-z0-9-]+")
#: names of types that begin so are the system's own
RESERVED = "prefect"
_LOOKS = ("logo_url", "documentation_url", "description", "code_example")

_TYPE_FIELDS: Mapping[str, sa.ColumnElement[Any] | Rule] = {"name": patterned(table.c.name), "slug": table.c.slug}


# -- finding ----------------------------------------------------------------------------------------------------------------


def find(reader: Reader, ref: UUID | str) -> Any:
    """The row of a type by id or slug; raises ObjectNotFound."""
    column = table.c.id if isinstance(ref, UUID) else table.c.slug
    row = reader.row(sa.select(table).where(table.c.workspace_id == reader.workspace, column == ref))
    if row is None:
        raise ObjectNotFound(f"There is no block type {str(ref)!r}.")
    return row


def by_id(reader: Reader, ids: Collection[UUID]) -> dict[UUID, BlockType]:
    """Some types, by id."""
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id.in_(set(ids)))
    return {row.id: answer(row) for row in reader.rows(query)} if ids else {}


def answer(row: Any) -> BlockType:
    return BlockType(
        id=row.id,
        created=from_micros(row.created),
        updated=from_micros(row.updated),
        name=row.name,
        slug=row.slug,
        logo_url=row.logo_url,
        documentation_url=row.documentation_url,
        description=row.description,
        code_example=row.code_example,
        is_protected=bool(row.is_protected),
    )


def page(
    reader: Reader, types: BlockTypeFilter | None, of_schemas: BlockSchemaFilter | None, limit: int, offset: int
) -> list[BlockType]:
    """Types by name."""
    conditions = [type_condition(types)]
    schema = schema_condition(reader, of_schemas)
    if schema is not None:
        conditions.append(table.c.id.in_(sa.select(schemas.c.block_type_id).where(schema)))
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, *_present(conditions))
    return [answer(row) for row in reader.rows(query.order_by(table.c.name, table.c.key).limit(limit).offset(offset))]


def type_condition(filter: BlockTypeFilter | None) -> Condition | None:
    return where(filter, _TYPE_FIELDS)


def schema_condition(reader: Reader, filter: BlockSchemaFilter | None) -> Condition | None:
    form = form_of(reader)
    fields: dict[str, sa.ColumnElement[Any] | Rule] = {
        "id": schemas.c.id,
        "block_type_id": schemas.c.block_type_id,
        "version": schemas.c.version,
        "block_capabilities": lambda value: _capable(form, value.all_),
    }
    return where(filter, fields)


def _capable(form: Form, all_: list[str] | None) -> Condition | None:
    return joined(has_tag(schemas.c.capabilities, form, name) for name in listed(all_ or ()))


def _present(conditions: list[Condition | None]) -> list[Condition]:
    return [condition for condition in conditions if condition is not None]


# -- changing ---------------------------------------------------------------------------------------------------------------


def create(transaction: Transaction, body: BlockTypeCreate, *, protected: bool = False) -> BlockType:
    """Make a type; raises ObjectAlreadyExists, DeniedError for a name that is reserved."""
    if body.name.lower().startswith(RESERVED):
        raise DeniedError(f"The name {body.name!r} begins with {RESERVED!r}, which is kept for the system's own types.")
    if not _SLUG.fullmatch(body.slug):
        raise InvalidRequest(("body", "slug"), "A slug has only small letters, digits and dashes.")
    short(body.name, "name")
    short(body.slug, "slug")
    mine = table.c.workspace_id == transaction.workspace
    if transaction.scalar(sa.select(table.c.key).where(mine, table.c.slug == body.slug)) is not None:
        raise ObjectAlreadyExists(f"There is a block type {body.slug!r} already.")
    values = {
        "id": uuid7(),
        "workspace_id": transaction.workspace,
        "created": transaction.now,
        "updated": transaction.now,
        "name": body.name,
        "slug": body.slug,
        "is_protected": int(protected),
        **{name: getattr(body, name) for name in _LOOKS},
    }
    transaction.execute(sa.insert(table).values(**values))
    made = find(transaction, body.slug)
    _tell(transaction, "created", made)
    return answer(made)


def update(transaction: Transaction, type_id: UUID, body: BlockTypeUpdate) -> None:
    """Change how a type looks; raises ObjectNotFound. Nothing is written where nothing changes."""
    row = find(transaction, type_id)
    said = {name: getattr(body, name) for name in _LOOKS if getattr(body, name) is not UNSET}
    if all(getattr(row, name) == value for name, value in said.items()):
        return
    transaction.execute(sa.update(table).where(table.c.key == row.key).values(updated=transaction.now, **said))
    _tell(transaction, "updated", find(transaction, type_id))


def delete(transaction: Transaction, type_id: UUID) -> list[UUID]:
    """Remove a type with its schemas and documents, whose ids are given; raises ObjectNotFound, DeniedError."""
    row = find(transaction, type_id)
    if row.is_protected:
        raise DeniedError(f"The block type {row.slug!r} belongs to the system and is protected: it cannot be deleted.")
    gone = [
        found.id for found in transaction.rows(sa.select(documents.c.id).where(documents.c.block_type_id == type_id))
    ]
    for dependent in (documents, schemas):
        transaction.execute(sa.delete(dependent).where(dependent.c.block_type_id == type_id))
    transaction.execute(sa.delete(table).where(table.c.key == row.key))
    _tell(transaction, "deleted", row)
    return gone


def _tell(transaction: Transaction, action: notices.Action, row: Any) -> None:
    payload = {"name": row.name, "slug": row.slug, "description": row.description}
    notices.happened(transaction, "block-type", action, row.id, row.name, payload)
