"""Artifacts: what a run leaves for people to look at."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, field

from riverrun.base.ids import uuid7
from riverrun.wire.model import Model


class Artifact(Struct, Model, kw_only=True):
    id: UUID | None = None
    created: datetime | None = None
    updated: datetime | None = None
    key: str | None = None
    type: str | None = None
    description: str | None = None
    data: Any = None
    metadata_: dict[str, str] | None = None
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None


class ArtifactCollection(Struct, Model, kw_only=True):
    id: UUID = field(default_factory=uuid7)
    created: datetime | None = None
    updated: datetime | None = None
    key: str
    latest_id: UUID
    type: str | None = None
    description: str | None = None
    data: Any = None
    metadata_: dict[str, str] | None = None
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None


class ArtifactCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    key: str | None = None
    type: str | None = None
    description: str | None = None
    data: Any = None
    metadata_: dict[str, str] | None = None
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None


class ArtifactUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    data: Any | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    metadata_: dict[str, str] | UnsetType | None = UNSET
