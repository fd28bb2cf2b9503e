"""Saved searches."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from riverrun.base.ids import uuid7
from riverrun.wire.model import Model


class SavedSearchFilter(Struct, Model, kw_only=True):
    object: str
    property: str
    type: str
    operation: str
    value: Any


class SavedSearch(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    name: str
    filters: list[SavedSearchFilter] = []


class SavedSearchCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: str
    filters: list[SavedSearchFilter] = []
