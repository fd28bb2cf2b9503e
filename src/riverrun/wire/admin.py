"""The server itself: tokens, settings, validation of values against schemas."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from riverrun.base.ids import uuid7
from riverrun.wire.model import Model
from riverrun.wire.scalars import Int


class CsrfToken(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    token: str
    client: str
    expiration: datetime


class SchemaValuePropertyError(Struct, Model, kw_only=True):
    property: str
    errors: list[dict[str, Any]]


class SchemaValueIndexError(Struct, Model, kw_only=True):
    index: Int
    errors: list[dict[str, Any]]


class SchemaValuesValidationResponse(Struct, Model, kw_only=True):
    #: texts for the whole, else SchemaValuePropertyError and SchemaValueIndexError
    errors: list[Any]
    valid: bool


class ServerDefaultResultStorage(Struct, Model, kw_only=True):
    default_result_storage_block_id: UUID | None = None


class ServerDefaultResultStorageUpdate(Struct, Model, kw_only=True):
    default_result_storage_block_id: UUID
