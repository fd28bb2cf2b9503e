"""Schemas of blocks, found by their checksum. A schema stands as it was sent, with those of nested blocks inside."""

from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ConflictError, DeniedError, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.rules.block_schema import checksum, references_in
from riverrun.server.blocks import types
from riverrun.server.db import tables as t
from riverrun.server.db.json_text import from_text, to_text
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.http.errors import InvalidRequest
from riverrun.server.http.pages import short
from riverrun.wire.blocks import BlockSchema, BlockSchemaCreate
from riverrun.wire.filters import BlockSchemaFilter

table, documents = t.block_schema, t.block_document
_REFERENCES = "block_schema_references"
#: nested deeper a schema is refused
_DEEPEST = 20


# -- finding ----------------------------------------------------------------------------------------------------------------


def find(reader: Reader, schema_id: UUID) -> Any:
    """The row of a schema; raises ObjectNotFound."""
    row = reader.row(sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id == schema_id))
    if row is None:
        raise ObjectNotFound(f"There is no block schema {schema_id}.")
    return row


def by_checksum(reader: Reader, name: str, version: str | None) -> Any:
    """The newest schema with this checksum, of a version if one is given; None when there is none."""
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.checksum == name)
    if version is not None:
        query = query.where(table.c.version == version)
    return reader.row(query.order_by(table.c.created.desc(), table.c.key.desc()).limit(1))


def page(reader: Reader, filter: BlockSchemaFilter | None, limit: int, offset: int) -> list[BlockSchema]:
    """Schemas, newest first."""
    query = sa.select(table).where(table.c.workspace_id == reader.workspace)
    condition = types.schema_condition(reader, filter)
    if condition is not None:
        query = query.where(condition)
    query = query.order_by(table.c.created.desc(), table.c.key.desc())
    return answers(reader, reader.rows(query.limit(limit).offset(offset)))


def capabilities(reader: Reader) -> list[str]:
    """What blocks of this workspace can do."""
    query = sa.select(table.c.capabilities).where(table.c.workspace_id == reader.workspace).distinct()
    return sorted({name for row in reader.rows(query) for name in from_text(row.capabilities, [])})


def by_id(reader: Reader, ids: Collection[UUID]) -> dict[UUID, BlockSchema]:
    """Some schemas, by id."""
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id.in_(set(ids)))
    return {one.id: one for one in answers(reader, reader.rows(query))} if ids else {}


def answers(reader: Reader, rows: Collection[Any]) -> list[BlockSchema]:
    known = types.by_id(reader, {row.block_type_id for row in rows})
    return [
        BlockSchema(
            id=row.id,
            created=from_micros(row.created),
            updated=from_micros(row.updated),
            checksum=row.checksum,
            fields={_REFERENCES: {}, **from_text(row.fields, {})},
            block_type_id=row.block_type_id,
            block_type=known.get(row.block_type_id),
            capabilities=from_text(row.capabilities, []),
            version=row.version,
        )
        for row in rows
    ]


# -- changing ---------------------------------------------------------------------------------------------------------------


def create(transaction: Transaction, body: BlockSchemaCreate) -> tuple[BlockSchema, bool]:
    """The schema with these fields, and whether it was made by this call. Raises ObjectNotFound, ConflictError."""
    types.find(transaction, body.block_type_id)
    short(body.version, "version")
    row = by_checksum(transaction, checksum(body.fields), body.version)
    is_new = row is None
    if is_new:
        row = _insert(transaction, body, 0)
    return answers(transaction, [row])[0], is_new


def _insert(transaction: Transaction, body: BlockSchemaCreate, depth: int) -> Any:
    name = checksum(body.fields)
    values = {
        "id": uuid7(),
        "workspace_id": transaction.workspace,
        "created": transaction.now,
        "updated": transaction.now,
        "block_type_id": body.block_type_id,
        "checksum": name,
        "fields": to_text(body.fields),
        "capabilities": to_text(list(dict.fromkeys(body.capabilities))),
        "version": body.version,
    }
    transaction.execute(sa.insert(table).values(**values))
    for reference, property_of in _nested(body.fields):
        _register(transaction, reference, property_of, body.fields, depth + 1)
    return by_checksum(transaction, name, body.version)


def _nested(fields: dict[str, Any]) -> Iterator[tuple[dict[str, str], Any]]:
    """The blocks inside: type and checksum of each, and the property where it stands."""
    references, properties = fields.get(_REFERENCES) or {}, fields.get("properties") or {}
    where = ("body", "fields", _REFERENCES)
    if not isinstance(references, dict) or not isinstance(properties, dict):
        raise InvalidRequest(where, "References are an object by the name of the property.")
    for name, found in references.items():
        for reference in found if isinstance(found, list) else [found]:
            if not isinstance(reference, dict) or not all(
                isinstance(reference.get(key), str) for key in ("block_type_slug", "block_schema_checksum")
            ):
                raise InvalidRequest((*where, name), "A reference has a block_type_slug and a block_schema_checksum.")
            yield reference, properties.get(name)


def _register(
    transaction: Transaction, reference: dict[str, str], property_of: Any, fields: dict[str, Any], depth: int
) -> None:
    """Let the schema of a nested block be there; clients usually have sent it before."""
    slug = reference["block_type_slug"]
    try:
        block_type = types.find(transaction, slug)
    except ObjectNotFound:
        raise ConflictError(f"The schema has blocks of the type {slug!r} inside, which is not registered.") from None
    if by_checksum(transaction, reference["block_schema_checksum"], None) is not None or depth > _DEEPEST:
        return
    definitions = fields.get("definitions")
    if not isinstance(definitions, dict):
        return
    for name in references_in(property_of):
        definition = definitions.get(name.removeprefix("#/definitions/"))
        if isinstance(definition, dict) and definition.get("block_type_slug") == slug:
            whole = BlockSchemaCreate(fields={**definition, "definitions": definitions}, block_type_id=block_type.id)
            if by_checksum(transaction, checksum(whole.fields), whole.version) is None:
                _insert(transaction, whole, depth)


def delete(transaction: Transaction, schema_id: UUID) -> list[UUID]:
    """Remove a schema with its documents, whose ids are given; raises ObjectNotFound, DeniedError."""
    row = find(transaction, schema_id)
    if types.find(transaction, row.block_type_id).is_protected:
        raise DeniedError("The schema belongs to a type of the system, which is protected: it cannot be deleted.")
    mine = documents.c.block_schema_id == schema_id
    gone = [found.id for found in transaction.rows(sa.select(documents.c.id).where(mine))]
    transaction.execute(sa.delete(documents).where(mine))
    transaction.execute(sa.delete(table).where(table.c.key == row.key))
    return gone
