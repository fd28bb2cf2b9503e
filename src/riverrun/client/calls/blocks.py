"""Calls about block types, schemas and documents."""

from riverrun.client.call import Call, Id, at, delete, get, patch, post
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
from riverrun.wire.requests import (
    BlockDocumentsFilterBody,
    BlockSchemasFilterBody,
    BlockTypesFilterBody,
)

# -- types ----------------------------------------------------------------------------------------------------------------


def create_block_type(block_type: BlockTypeCreate) -> Call[BlockType]:
    return post(at("block_types", ""), block_type, BlockType)


def read_block_type_by_slug(slug: str) -> Call[BlockType]:
    return get(at("block_types", "slug", slug), BlockType, noun=f"Block type {slug!r}:")


def read_block_types(body: BlockTypesFilterBody | None = None) -> Call[list[BlockType]]:
    return post(at("block_types", "filter"), body or BlockTypesFilterBody(), list[BlockType])


def update_block_type(block_type_id: Id, block_type: BlockTypeUpdate) -> Call[None]:
    return patch(at("block_types", block_type_id), block_type, noun=f"Block type {block_type_id}:")


def delete_block_type(block_type_id: Id) -> Call[None]:
    """Raises AccessDenied for types that belong to the server."""
    return delete(at("block_types", block_type_id), noun=f"Block type {block_type_id}:")


def install_system_block_types() -> Call[None]:
    return post(at("block_types", "install_system_block_types"))


# -- schemas --------------------------------------------------------------------------------------------------------------


def create_block_schema(block_schema: BlockSchemaCreate) -> Call[BlockSchema]:
    return post(at("block_schemas", ""), block_schema, BlockSchema)


def read_block_schema_by_checksum(checksum: str, version: str | None = None) -> Call[BlockSchema]:
    path = at("block_schemas", "checksum", checksum)
    return get(path, BlockSchema, query={"version": version}, noun=f"Block schema {checksum}:")


def read_block_schemas(body: BlockSchemasFilterBody | None = None) -> Call[list[BlockSchema]]:
    return post(at("block_schemas", "filter"), body or BlockSchemasFilterBody(), list[BlockSchema])


# -- documents ------------------------------------------------------------------------------------------------------------


def create_block_document(block_document: BlockDocumentCreate) -> Call[BlockDocument]:
    return post(at("block_documents", ""), block_document, BlockDocument)


def read_block_document(block_document_id: Id, include_secrets: bool = True) -> Call[BlockDocument]:
    path, query = at("block_documents", block_document_id), {"include_secrets": include_secrets}
    return get(path, BlockDocument, query=query, noun=f"Block document {block_document_id}:")


def read_block_document_by_name(name: str, block_type_slug: str, include_secrets: bool = True) -> Call[BlockDocument]:
    path = at("block_types", "slug", block_type_slug, "block_documents", "name", name)
    query = {"include_secrets": include_secrets}
    return get(path, BlockDocument, query=query, noun=f"Block document {block_type_slug}/{name}:")


def read_block_documents(body: BlockDocumentsFilterBody | None = None) -> Call[list[BlockDocument]]:
    return post(at("block_documents", "filter"), body or BlockDocumentsFilterBody(), list[BlockDocument])


def read_block_documents_by_type(block_type_slug: str, include_secrets: bool = True) -> Call[list[BlockDocument]]:
    path = at("block_types", "slug", block_type_slug, "block_documents")
    query = {"include_secrets": include_secrets}
    return get(path, list[BlockDocument], query=query, noun=f"Block type {block_type_slug!r}:")


def update_block_document(block_document_id: Id, block_document: BlockDocumentUpdate) -> Call[None]:
    path = at("block_documents", block_document_id)
    return patch(path, block_document, noun=f"Block document {block_document_id}:")


def delete_block_document(block_document_id: Id) -> Call[None]:
    return delete(at("block_documents", block_document_id), noun=f"Block document {block_document_id}:")
