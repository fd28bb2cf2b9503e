"""Log lines and lost stretches of journals, as both sides see them."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct, field

from riverrun.base.ids import uuid7
from riverrun.wire.model import Model


class Log(Struct, Model, kw_only=True):
    """One line of a log. `level` is that of Python's logging; `name` the logger's."""

    id: UUID = field(default_factory=uuid7)
    name: str
    level: int
    message: str
    timestamp: datetime
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    created: datetime | None = None
    updated: datetime | None = None


class LostStretch(Struct, Model, kw_only=True):
    """Records `first` to `last` of one journal that are known to be lost, and why."""

    writer: UUID
    first: int
    last: int
    why: str
    noticed: datetime
