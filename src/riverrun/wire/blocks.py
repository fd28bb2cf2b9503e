"""Blocks: types, schemas and documents."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from riverrun.base.ids import uuid7
from riverrun.wire.model import Model


class BlockType(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    slug: str
    logo_url: str | None = None
    documentation_url: str | None = None
    description: str | None = None
    code_example: str | None = None
    is_protected: bool = False


class BlockSchema(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    checksum: str
    fields: dict[str, Any] = {}
    block_type_id: UUID | None
    block_type: BlockType | None = None
    capabilities: list[str] = []
    version: str = "non-versioned"


class BlockDocument(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")] | None = None
    data: dict[str, Any] = {}
    block_schema_id: UUID
    block_schema: BlockSchema | None = None
    block_type_id: UUID
    block_type_name: str | None = None
    block_type: BlockType | None = None
    block_document_references: dict[str, dict[str, Any]] = {}
    is_anonymous: bool = False


class BlockDocumentCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")] | None = None
    data: dict[str, Any] = {}
    block_schema_id: UUID
    block_type_id: UUID
    is_anonymous: bool = False


class BlockDocumentUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    block_schema_id: UUID | UnsetType | None = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    merge_existing_data: bool | UnsetType = UNSET


class BlockSchemaCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    fields: dict[str, Any] = {}
    block_type_id: UUID
    capabilities: list[str] = []
    version: str = "non-versioned"


class BlockTypeCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern="^[^/%&><]+$")]
    slug: str
    logo_url: str | None = None
    documentation_url: str | None = None
    description: str | None = None
    code_example: str | None = None


class BlockTypeUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    logo_url: str | UnsetType | None = UNSET
    documentation_url: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    code_example: str | UnsetType | None = UNSET
