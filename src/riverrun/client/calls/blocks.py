"""Calls about the types, schemas and documents of blocks."""

from uuid import UUID

from riverrun.client.call import Call, at
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
from riverrun.wire.filters import BlockSchemaFilter, BlockSchemaFilterBlockTypeId
from riverrun.wire.requests import BlockDocumentsFilterBody, BlockSchemasFilterBody, BlockTypesFilterBody

# -- types


def create_block_type(block_type: BlockTypeCreate) -> Call[BlockType]:
    """Make a type; ObjectAlreadyExists if there is one of this slug."""
    return Call("POST", "/block_types/", BlockType, body=block_type)


def read_block_type_by_slug(slug: str) -> Call[BlockType | None]:
    """The type of this slug, or None."""
    return Call("GET", at("block_types", "slug", slug), BlockType, absent_is_none=True)


def read_block_types(limit: int | None = None, offset: int = 0) -> Call[list[BlockType]]:
    """Types by name."""
    return Call("POST", "/block_types/filter", list[BlockType], body=BlockTypesFilterBody(limit=limit, offset=offset))


def update_block_type(block_type_id: UUID, block_type: BlockTypeUpdate) -> Call[None]:
    """Change how a type looks to people; AccessDenied if it is protected."""
    return Call("PATCH", at("block_types", block_type_id), body=block_type, noun="Block type:")


def delete_block_type(block_type_id: UUID) -> Call[None]:
    """Delete a type with its schemas and documents; AccessDenied if it is protected."""
    return Call("DELETE", at("block_types", block_type_id), noun="Block type:")


# -- schemas


def create_block_schema(block_schema: BlockSchemaCreate) -> Call[BlockSchema]:
    """Make a schema, or get the one of the same checksum and version."""
    return Call("POST", "/block_schemas/", BlockSchema, body=block_schema)


def read_block_schema_by_checksum(checksum: str, version: str | None = None) -> Call[BlockSchema | None]:
    """The schema of this checksum (and version), or None."""
    query = {} if version is None else {"version": version}
    return Call("GET", at("block_schemas", "checksum", checksum), BlockSchema, query=query, absent_is_none=True)


def read_block_schemas(block_type_id: UUID | None = None, limit: int | None = None) -> Call[list[BlockSchema]]:
    """Schemas (of a type), the latest first."""
    wanted = None if block_type_id is None else BlockSchemaFilterBlockTypeId(any_=[block_type_id])
    body = BlockSchemasFilterBody(block_schemas=BlockSchemaFilter(block_type_id=wanted), limit=limit)
    return Call("POST", "/block_schemas/filter", list[BlockSchema], body=body)


# -- documents


def create_block_document(block_document: BlockDocumentCreate) -> Call[BlockDocument]:
    """Save a document; ObjectAlreadyExists if its type has one of this name."""
    return Call("POST", "/block_documents/", BlockDocument, body=block_document)


def read_block_document(block_document_id: UUID, *, include_secrets: bool = True) -> Call[BlockDocument]:
    """A document by its id."""
    query = {"include_secrets": include_secrets}
    return Call("GET", at("block_documents", block_document_id), BlockDocument, query=query, noun="Block document:")


def read_block_document_by_name(
    name: str, block_type_slug: str, *, include_secrets: bool = True
) -> Call[BlockDocument]:
    """The document of this name and type."""
    return Call(
        "GET",
        at("block_types", "slug", block_type_slug, "block_documents", "name", name),
        BlockDocument,
        query={"include_secrets": include_secrets},
        noun=f"Block '{block_type_slug}/{name}':",
    )


def read_block_documents(body: BlockDocumentsFilterBody | None = None) -> Call[list[BlockDocument]]:
    """Documents, those without a name left out unless the filter says otherwise."""
    return Call("POST", "/block_documents/filter", list[BlockDocument], body=body or BlockDocumentsFilterBody())


def update_block_document(block_document_id: UUID, block_document: BlockDocumentUpdate) -> Call[None]:
    """Change a document's data."""
    return Call("PATCH", at("block_documents", block_document_id), body=block_document, noun="Block document:")


def delete_block_document(block_document_id: UUID) -> Call[None]:
    """Delete a document."""
    return Call("DELETE", at("block_documents", block_document_id), noun="Block document:")
