"""Blocks over HTTP: types, schemas, documents, capabilities."""

from uuid import UUID

from riverrun.base.errors import ObjectNotFound
from riverrun.server.admin import storage
from riverrun.server.blocks import documents, schemas, system, types
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.http.pages import page
from riverrun.server.http.table import Reply, Routes
from riverrun.wire.blocks import (
    BlockDocument,
    BlockDocumentCreate,
    BlockDocumentUpdate,
    BlockSchema,
    BlockSchemaCreate,
    BlockType,
    BlockTypeCreate,
    BlockTypeUpdate,
)
from riverrun.wire.filters import BlockDocumentFilter, BlockTypeFilter, BlockTypeFilterSlug
from riverrun.wire.requests import (
    BlockDocumentsCountBody,
    BlockDocumentsFilterBody,
    BlockSchemasFilterBody,
    BlockTypesFilterBody,
)

READ, WRITE = "blocks:read", "blocks:write"

of_types = Routes("/block_types", "Block types")


@of_types.post("/", permission=WRITE, status=201, returns=BlockType, errors=(403, 409))
def create_block_type(transaction: Transaction, body: BlockTypeCreate) -> BlockType:
    return types.create(transaction, body)


@of_types.get("/{id}", permission=READ, returns=BlockType, errors=(404,))
def read_block_type_by_id(reader: Reader, id: UUID) -> BlockType:
    return types.answer(types.find(reader, id))


@of_types.get("/slug/{slug}", permission=READ, returns=BlockType, errors=(404,))
def read_block_type_by_slug(reader: Reader, slug: str) -> BlockType:
    return types.answer(types.find(reader, slug))


@of_types.post("/filter", permission=READ, returns=list[BlockType])
def read_block_types(reader: Reader, body: BlockTypesFilterBody | None) -> list[BlockType]:
    body = body or BlockTypesFilterBody()
    return types.page(reader, body.block_types, body.block_schemas, page(body.limit), body.offset)


@of_types.patch("/{id}", permission=WRITE, status=204, errors=(404,))
def update_block_type(transaction: Transaction, id: UUID, body: BlockTypeUpdate) -> None:
    types.update(transaction, id, body)


@of_types.delete("/{id}", permission=WRITE, status=204, errors=(403, 404))
def delete_block_type(transaction: Transaction, id: UUID) -> None:
    """Remove a type with its schemas and documents."""
    storage.forget(transaction, types.delete(transaction, id))


@of_types.get("/slug/{slug}/block_documents", permission=READ, returns=list[BlockDocument], errors=(403, 404))
def read_block_documents_for_block_type(
    reader: Reader, slug: str, include_secrets: bool = False
) -> list[BlockDocument]:
    types.find(reader, slug)
    query = documents.select(reader, None, BlockTypeFilter(slug=BlockTypeFilterSlug(any_=[slug])))
    return documents.page(reader, query, secrets=include_secrets)


@of_types.get(
    "/slug/{slug}/block_documents/name/{block_document_name}",
    permission=READ,
    returns=BlockDocument,
    errors=(403, 404),
)
def read_block_document_by_name_for_block_type(
    reader: Reader, slug: str, block_document_name: str, include_secrets: bool = False
) -> BlockDocument:
    row = documents.find_named(reader, slug, block_document_name)
    return documents.answers(reader, [row], secrets=include_secrets)[0]


@of_types.post("/install_system_block_types", permission=WRITE)
def install_system_block_types(transaction: Transaction) -> None:
    system.install(transaction)


of_schemas = Routes("/block_schemas", "Block schemas")


@of_schemas.post("/", permission=WRITE, status=201, also=(200,), returns=BlockSchema, errors=(404, 409))
def create_block_schema(transaction: Transaction, body: BlockSchemaCreate) -> Reply:
    """Keep a schema, or find the one with the same checksum and version."""
    schema, is_new = schemas.create(transaction, body)
    return Reply(value=schema, status=201 if is_new else 200)


@of_schemas.delete("/{id}", permission=WRITE, status=204, errors=(403, 404))
def delete_block_schema(transaction: Transaction, id: UUID) -> None:
    """Remove a schema with its documents."""
    storage.forget(transaction, schemas.delete(transaction, id))


@of_schemas.get("/{id}", permission=READ, returns=BlockSchema, errors=(404,))
def read_block_schema_by_id(reader: Reader, id: UUID) -> BlockSchema:
    return schemas.answers(reader, [schemas.find(reader, id)])[0]


@of_schemas.post("/filter", permission=READ, returns=list[BlockSchema])
def read_block_schemas(reader: Reader, body: BlockSchemasFilterBody | None) -> list[BlockSchema]:
    """Schemas, newest first."""
    body = body or BlockSchemasFilterBody()
    return schemas.page(reader, body.block_schemas, page(body.limit), body.offset)


@of_schemas.get("/checksum/{checksum}", permission=READ, returns=BlockSchema, errors=(404,))
def read_block_schema_by_checksum(reader: Reader, checksum: str, version: str | None = None) -> BlockSchema:
    row = schemas.by_checksum(reader, checksum, version)
    if row is None:
        raise ObjectNotFound(f"There is no block schema with the checksum {checksum}.")
    return schemas.answers(reader, [row])[0]


of_documents = Routes("/block_documents", "Block documents")


@of_documents.post("/", permission=WRITE, status=201, returns=BlockDocument, errors=(400, 404, 409))
def create_block_document(transaction: Transaction, body: BlockDocumentCreate) -> BlockDocument:
    return documents.create(transaction, body)


@of_documents.post("/filter", permission=READ, returns=list[BlockDocument], errors=(403,))
def read_block_documents(reader: Reader, body: BlockDocumentsFilterBody | None) -> list[BlockDocument]:
    """Documents; anonymous ones only when they are asked for."""
    body = body or BlockDocumentsFilterBody()
    query = documents.select(reader, body.block_documents, body.block_types, body.block_schemas)
    return documents.page(
        reader,
        query,
        secrets=body.include_secrets,
        sort=body.sort or "NAME_ASC",
        limit=page(body.limit),
        offset=body.offset,
    )


@of_documents.post("/count", permission=READ, returns=int)
def count_block_documents(reader: Reader, body: BlockDocumentsCountBody | None) -> int:
    body = body or BlockDocumentsCountBody(block_documents=BlockDocumentFilter())
    query = documents.select(reader, body.block_documents, body.block_types, body.block_schemas)
    return documents.count(reader, query)


@of_documents.get("/{id}", permission=READ, returns=BlockDocument, errors=(403, 404))
def read_block_document_by_id(reader: Reader, id: UUID, include_secrets: bool = False) -> BlockDocument:
    return documents.answers(reader, [documents.find(reader, id)], secrets=include_secrets)[0]


@of_documents.delete("/{id}", permission=WRITE, status=204, errors=(404,))
def delete_block_document(transaction: Transaction, id: UUID) -> None:
    documents.delete(transaction, id)
    storage.forget(transaction, [id])


@of_documents.patch("/{id}", permission=WRITE, status=204, errors=(400, 404, 409))
def update_block_document_data(transaction: Transaction, id: UUID, body: BlockDocumentUpdate) -> None:
    documents.update(transaction, id, body)


of_capabilities = Routes("/block_capabilities", "Block capabilities")


@of_capabilities.get("/", permission=READ, returns=list[str])
def read_available_block_capabilities(reader: Reader) -> list[str]:
    return schemas.capabilities(reader)


routes = [*of_types, *of_schemas, *of_documents, *of_capabilities]
