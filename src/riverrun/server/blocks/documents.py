"""Documents of blocks: values under a name, sealed; other documents inside by reference; secrets covered unless asked for.

A reference stands at the top level of the data as {"$ref": {"block_document_id": ...}}; whoever reads gets the other
document's data in its place.
"""

import re
from collections.abc import Collection
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import from_micros
from riverrun.base.errors import ConflictError, DeniedError, ObjectAlreadyExists, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.rules.block_schema import masked, unmasked
from riverrun.server import notices
from riverrun.server.blocks import schemas, types
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import Condition, Rule, patterned, where
from riverrun.server.http.errors import HTTPError, InvalidRequest
from riverrun.server.http.pages import short
from riverrun.wire.blocks import BlockDocument, BlockDocumentCreate, BlockDocumentUpdate, BlockSchema, BlockType
from riverrun.wire.filters import BlockDocumentFilter, BlockSchemaFilter, BlockTypeFilter

table = t.block_document
_NAME = re.compile(r"[a-z0-9-]+")
#: documents inside documents, at most
_DEEPEST = 50
_ORDERS: dict[str, tuple[sa.ColumnElement[Any], ...]] = {
    "NAME_ASC": (table.c.name.asc(),),
    "NAME_DESC": (table.c.name.desc(),),
    "BLOCK_TYPE_AND_NAME_ASC": (t.block_type.c.name.asc(), table.c.name.asc()),
}


# -- finding ----------------------------------------------------------------------------------------------------------------


def find(reader: Reader, document_id: UUID) -> Any:
    """The row of a document; raises ObjectNotFound."""
    row = reader.row(sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id == document_id))
    if row is None:
        raise ObjectNotFound(f"There is no block document {document_id}.")
    return row


def find_named(reader: Reader, slug: str, name: str) -> Any:
    """The row of the document of a type with this name; raises ObjectNotFound."""
    query = sa.select(table).join(t.block_type, t.block_type.c.id == table.c.block_type_id)
    mine = (table.c.workspace_id == reader.workspace, t.block_type.c.slug == slug, table.c.name == name)
    row = reader.row(query.where(*mine))
    if row is None:
        raise ObjectNotFound(f"There is no block document {name!r} of the type {slug!r}.")
    return row


def select(
    reader: Reader,
    filter: BlockDocumentFilter | None,
    of_types: BlockTypeFilter | None = None,
    of_schemas: BlockSchemaFilter | None = None,
) -> sa.Select[Any]:
    """The query for documents that the filters leave; anonymous ones only when the filter asks for them."""
    fields: dict[str, sa.ColumnElement[Any] | Rule] = {
        "id": table.c.id,
        "block_type_id": table.c.block_type_id,
        "name": patterned(table.c.name),
        "is_anonymous": lambda value: None if value.eq_ is None else table.c.is_anonymous == int(value.eq_),
    }
    conditions: list[Condition | None] = [
        where(BlockDocumentFilter() if filter is None else filter, fields),
        types.type_condition(of_types),
    ]
    schema = types.schema_condition(reader, of_schemas)
    if schema is not None:
        conditions.append(table.c.block_schema_id.in_(sa.select(t.block_schema.c.id).where(schema)))
    query = sa.select(table).join(t.block_type, t.block_type.c.id == table.c.block_type_id)
    present = [condition for condition in conditions if condition is not None]
    return query.where(table.c.workspace_id == reader.workspace, *present)


def page(
    reader: Reader,
    query: sa.Select[Any],
    *,
    secrets: bool,
    sort: str = "NAME_ASC",
    limit: int | None = None,
    offset: int = 0,
) -> list[BlockDocument]:
    query = query.order_by(*_ORDERS[sort], table.c.key).limit(limit).offset(offset)
    return answers(reader, reader.rows(query), secrets=secrets)


def count(reader: Reader, query: sa.Select[Any]) -> int:
    return int(reader.scalar(sa.select(sa.func.count()).select_from(query.subquery())))


# -- telling ----------------------------------------------------------------------------------------------------------------


def answers(reader: Reader, rows: Collection[Any], *, secrets: bool) -> list[BlockDocument]:
    """Documents with those inside them. Raises DeniedError when secrets are asked for and may not be seen."""
    if secrets and not reader.caller.may("blocks:secrets"):
        raise DeniedError(f"{reader.caller.name} lacks the permission blocks:secrets.")
    shelf = _Shelf(reader, rows, secrets=secrets)
    return [shelf.document(row.id) for row in rows]


class _Shelf:
    """The documents of an answer and all that are inside them, each opened once."""

    def __init__(self, reader: Reader, rows: Collection[Any], *, secrets: bool) -> None:
        self.rows: dict[UUID, Any] = {}
        self.data: dict[UUID, dict[str, Any]] = {}
        self.references: dict[UUID, dict[str, UUID]] = {}
        found = list(rows)
        for _ in range(_DEEPEST):
            for row in found:
                self.rows[row.id] = row
                self.data[row.id] = opened(reader, row)
                self.references[row.id] = references(self.data[row.id])
            inside = {one for row in found for one in self.references[row.id].values()} - set(self.rows)
            if not inside:
                break
            found = reader.rows(
                sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id.in_(inside))
            )
        self.schemas: dict[UUID, BlockSchema] = schemas.by_id(
            reader, {row.block_schema_id for row in self.rows.values()}
        )
        self.types: dict[UUID, BlockType] = types.by_id(reader, {row.block_type_id for row in self.rows.values()})
        if not secrets:
            self.data = {key: masked(data, self._secret_fields(key)) for key, data in self.data.items()}

    def document(self, document_id: UUID) -> BlockDocument:
        row = self.rows[document_id]
        block_type = self.types.get(row.block_type_id)
        data, inside = self._whole(document_id, (document_id,))
        return BlockDocument(
            id=row.id,
            created=from_micros(row.created),
            updated=from_micros(row.updated),
            name=row.name,
            data=data,
            block_schema_id=row.block_schema_id,
            block_schema=self.schemas.get(row.block_schema_id),
            block_type_id=row.block_type_id,
            block_type_name=None if block_type is None else block_type.name,
            block_type=block_type,
            block_document_references=inside,
            is_anonymous=bool(row.is_anonymous),
        )

    def _secret_fields(self, document_id: UUID) -> list[str]:
        schema = self.schemas.get(self.rows[document_id].block_schema_id)
        return secret_fields_of(schema)

    def _whole(self, document_id: UUID, above: tuple[UUID, ...]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """The data with that of other documents in it, and what is said of these."""
        data, inside = dict(self.data[document_id]), {}
        for name, other_id in self.references[document_id].items():
            if other_id not in self.rows or other_id in above:
                data.pop(name)  # it was deleted
                continue
            data[name], deeper = self._whole(other_id, (*above, other_id))
            other = self.rows[other_id]
            told = {
                "id": other_id,
                "name": other.name,
                "block_type": self.types.get(other.block_type_id),
                "is_anonymous": bool(other.is_anonymous),
                "block_document_references": deeper,
            }
            inside[name] = {"block_document": told}
        return data, inside


def opened(reader: Reader, row: Any) -> dict[str, Any]:
    """The data of a document as it stands."""
    data: dict[str, Any] = reader.vault.open_json(row.data, row.workspace_id, "block_document", row.id, "data")
    return data


def secret_fields_of(schema: BlockSchema | None) -> list[str]:
    found = [] if schema is None else schema.fields.get("secret_fields")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def references(data: dict[str, Any]) -> dict[str, UUID]:
    """Which other document stands under which name. Raises HTTPError for a reference that names none."""
    found = {}
    for name, value in data.items():
        if isinstance(value, dict) and "$ref" in value:
            target = value["$ref"]
            try:
                found[name] = UUID(target["block_document_id"])
            except (KeyError, TypeError, ValueError, AttributeError):
                raise HTTPError(400, f"data.{name}: the reference names no block_document_id.") from None
    return found


# -- changing ---------------------------------------------------------------------------------------------------------------


def create(transaction: Transaction, body: BlockDocumentCreate) -> BlockDocument:
    """Keep a document; raises ObjectAlreadyExists, ObjectNotFound, ConflictError."""
    name = body.name
    if name is None:
        if not body.is_anonymous:
            raise InvalidRequest(("body", "name"), "A block document that is not anonymous needs a name.", "missing")
        name = f"anonymous-{uuid4()}"
    if not _NAME.fullmatch(name):
        raise InvalidRequest(("body", "name"), "A block document's name has only small letters, digits and dashes.")
    short(name, "name")
    types.find(transaction, body.block_type_id)
    try:
        schema = schemas.find(transaction, body.block_schema_id)
    except ObjectNotFound as error:
        raise ConflictError(str(error)) from None
    if schema.block_type_id != body.block_type_id:
        raise HTTPError(400, f"The block schema {schema.id} belongs to another block type than the document.")
    taken = sa.select(table.c.key).where(table.c.block_type_id == body.block_type_id, table.c.name == name)
    if transaction.scalar(taken) is not None:
        raise ObjectAlreadyExists(f"There is a block document {name!r} of this type already.")
    document_id = uuid7()
    _check_references(transaction, document_id, body.data)
    transaction.execute(
        sa.insert(table).values(
            id=document_id,
            workspace_id=transaction.workspace,
            created=transaction.now,
            updated=transaction.now,
            name=name,
            block_type_id=body.block_type_id,
            block_schema_id=body.block_schema_id,
            is_anonymous=int(body.is_anonymous),
            data=_sealed(transaction, document_id, body.data),
        )
    )
    made = answers(transaction, [find(transaction, document_id)], secrets=False)[0]
    _tell(transaction, "created", made)
    return made


def update(transaction: Transaction, document_id: UUID, body: BlockDocumentUpdate) -> None:
    """Change data or schema; raises ObjectNotFound, ConflictError. Covered secrets that come back stay as they are."""
    row = find(transaction, document_id)
    values: dict[str, Any] = {"updated": transaction.now}
    if body.block_schema_id is not UNSET and body.block_schema_id is not None:
        schema = schemas.find(transaction, body.block_schema_id)
        if schema.block_type_id != row.block_type_id:
            raise HTTPError(400, "A block document cannot move to a schema of another block type.")
        values["block_schema_id"] = schema.id
    if body.data is not UNSET or body.merge_existing_data is False:
        known = opened(transaction, row)
        schema_answer = schemas.by_id(transaction, [row.block_schema_id]).get(row.block_schema_id)
        said = {} if body.data is UNSET else body.data
        data = unmasked(said, secret_fields_of(schema_answer), known)
        if body.merge_existing_data is not False:
            data = {**known, **data}
        _check_references(transaction, document_id, data)
        values["data"] = _sealed(transaction, document_id, data)
    transaction.execute(sa.update(table).where(table.c.key == row.key).values(**values))
    _tell(transaction, "updated", answers(transaction, [find(transaction, document_id)], secrets=False)[0])


def delete(transaction: Transaction, document_id: UUID) -> None:
    """Remove a document; those that it is inside lose the value. Raises ObjectNotFound."""
    row = find(transaction, document_id)
    told = answers(transaction, [row], secrets=False)[0]
    transaction.execute(sa.delete(table).where(table.c.key == row.key))
    _tell(transaction, "deleted", told)


def _sealed(transaction: Transaction, document_id: UUID, data: dict[str, Any]) -> bytes:
    sealed: bytes = transaction.vault.seal_json(data, transaction.workspace, "block_document", document_id, "data")
    return sealed


def _check_references(transaction: Transaction, document_id: UUID, data: dict[str, Any]) -> None:
    """Refuse references to what is not there, and those that lead back to the document."""
    wanted, seen = set(references(data).values()), set[UUID]()
    while wanted:
        if document_id in wanted:
            raise HTTPError(400, "The block document would be inside itself.")
        mine = (table.c.workspace_id == transaction.workspace, table.c.id.in_(wanted))
        found = transaction.rows(sa.select(table).where(*mine))
        missing = wanted - {row.id for row in found}
        if missing and not seen:
            raise ConflictError(f"There is no block document {min(missing)} to refer to.")
        seen |= wanted
        wanted = {one for row in found for one in references(opened(transaction, row)).values()} - seen


def _tell(transaction: Transaction, action: notices.Action, document: BlockDocument) -> None:
    if document.is_anonymous:
        return
    schema = document.block_schema
    covered = {path.split(".")[0] for path in secret_fields_of(schema)}
    payload = {
        "name": document.name,
        "data": {
            name: value for name, value in document.data.items() if isinstance(value, str) and name not in covered
        },
        "block_schema": {
            "capabilities": [] if schema is None else schema.capabilities,
            "block_type": {"id": str(document.block_type_id), "name": document.block_type_name},
        },
    }
    related = [
        notices.related("block-type", document.block_type_id, "block-type", document.block_type_name),
        notices.related("block-schema", document.block_schema_id, "block-schema"),
    ]
    notices.happened(transaction, "block-document", action, document.id, document.name, payload, related)
