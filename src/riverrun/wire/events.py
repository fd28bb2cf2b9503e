"""Events: what happened to which resource."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from riverrun.wire.model import Model
from riverrun.wire.scalars import Int

#: labels of what an event tells of; `prefect.resource.id` names it, `prefect.resource.role` its part among the related
RelatedResource = dict[str, str | None]


Resource = dict[str, str | None]


class Event(Struct, Model, kw_only=True):
    occurred: datetime
    event: str
    resource: Resource
    related: list[RelatedResource] = []
    payload: dict[str, Any] = {}
    id: UUID
    follows: UUID | None = None


class EventCount(Struct, Model, kw_only=True):
    value: str
    label: str
    count: Int
    start_time: datetime
    end_time: datetime


class ReceivedEvent(Struct, Model, kw_only=True):
    occurred: datetime
    event: str
    resource: Resource
    related: list[RelatedResource] = []
    payload: dict[str, Any] = {}
    id: UUID
    follows: UUID | None = None
    received: datetime | None = None


class EventPage(Struct, Model, kw_only=True):
    events: list[ReceivedEvent]
    total: Int
    next_page: Annotated[str, Meta(min_length=1)] | None


#: {label: value or values that may end in *}
ResourceSpecification = dict[str, str | list[str]]
