"""Who made or changed something: a user, a schedule, an automation, a deployment."""

from uuid import UUID

from msgspec import Struct

from riverrun.wire.model import Model


class CreatedBy(Struct, Model, kw_only=True):
    id: UUID | None = None
    type: str | None = None
    display_value: str | None = None


class UpdatedBy(Struct, Model, kw_only=True):
    id: UUID | None = None
    type: str | None = None
    display_value: str | None = None
