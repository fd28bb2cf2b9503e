"""Variables: named JSON values."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from riverrun.base.ids import uuid7
from riverrun.wire.model import Model
from riverrun.wire.scalars import Int


class Variable(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: Annotated[str, Meta(max_length=255)]
    value: str | Int | bool | float | dict[str, Any] | list[Any] | None
    tags: list[str] = []


class VariableCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=255)]
    value: str | Int | bool | float | dict[str, Any] | list[Any] | None
    tags: list[str] = []


class VariableUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    value: str | Int | bool | float | dict[str, Any] | list[Any] | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
