"""Sending events and following them, under the names that users import. For events of a run, `emit_event` is enough."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from riverrun.base.errors import MissingContextError
from riverrun.client.calls.events import create_events
from riverrun.client.http import asend
from riverrun.client.sockets import AsyncSubscriber, asubscribe_events
from riverrun.events.schemas.events import Event, ReceivedEvent
from riverrun.wire.filters import EventFilter

__all__ = ["EventsClient", "get_events_client", "get_events_subscriber"]


class EventsClient:
    """Sends events, each before `emit` comes back: `async with get_events_client() as client: await client.emit(event)`."""

    def __init__(self) -> None:
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False

    async def emit(self, event: Event) -> None:
        """Send an event."""
        if not self._is_open:
            raise MissingContextError(
                "An events client sends events inside of `async with get_events_client() as client:` only."
            )
        await asend(create_events([event]))


def get_events_client(**_options: Any) -> EventsClient:
    """A client that sends events. Options of the peer's client are taken and have no effect."""
    return EventsClient()


def get_events_subscriber(
    filter: EventFilter | Mapping[str, Any] | None = None, **_options: Any
) -> AsyncSubscriber[ReceivedEvent]:
    """The events that pass a filter, as they come: `async with get_events_subscriber() as events: async for each in events`."""
    return asubscribe_events(filter, ReceivedEvent)
