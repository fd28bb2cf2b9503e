"""How processes that run flows talk with the server: journals, signs of life, claims. riverrun's own; none of it is the peer's."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from riverrun.wire.model import Model
from riverrun.wire.scalars import Int, Positive

#: a presence waits at most so long, in seconds
MAX_WAIT = 25.0


class Process(Struct, Model, kw_only=True):
    """Which process it is, for people."""

    pid: Int | None = None
    host: str | None = None


class JournalBody(Struct, kw_only=True):
    """Records of one journal, in msgpack. `closed`: the process writes no more."""

    writer: Annotated[bytes, Meta(min_length=16, max_length=16)]
    records: list[tuple[Positive, bytes]] = []
    closed: bool = False
    process: Process | None = None


class PresenceBody(Struct, Model, kw_only=True):
    """A sign of life that waits for news."""

    writer: UUID
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 0.0


class Presence(Struct, Model, kw_only=True):
    """What a process has to know: which of its flow runs are to be cancelled, were suspended, or others have claimed."""

    lease_seconds: float
    cancelling: list[UUID]
    fenced: list[UUID]
    suspended: list[UUID] = []


class JournalAnswer(Presence, kw_only=True):
    """The same, and the record to go on with."""

    next_seq: int
