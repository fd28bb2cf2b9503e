"""Clients for the streams of events, under the names that users import."""

from types import TracebackType
from typing import Any, Self

from riverrun.base.errors import MissingContextError
from riverrun.client.calls.events import create_events
from riverrun.client.http import asend
from riverrun.client.sockets import AsyncSubscriber, asubscribe_events
from riverrun.events.schemas import Event, ReceivedEvent
from riverrun.wire.filters import EventFilter

__all__ = [
    "EventsClient",
    "PrefectEventSubscriber",
    "PrefectEventsClient",
    "get_events_client",
    "get_events_subscriber",
]

PrefectEventSubscriber = AsyncSubscriber


class EventsClient:
    """Sends events one by one: `async with get_events_client() as client: await client.emit(event)`.

    `emit` comes back when the server has the event. `emit_event` is for those who do not want to wait.
    """

    def __init__(self) -> None:
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False

    async def emit(self, event: Event) -> None:
        """Send an event."""
        if not self._open:
            raise MissingContextError("The client of events is not open: use it in an `async with` block")
        await asend(create_events([event]))


PrefectEventsClient = EventsClient


def get_events_client(**_ignored: Any) -> EventsClient:
    """A client that sends events."""
    return EventsClient()


def get_events_subscriber(
    filter: EventFilter | None = None, reconnection_attempts: int = 10, reconnect_on_clean_close: bool = False
) -> AsyncSubscriber[ReceivedEvent]:
    """The events that pass the filter, as they come: `async with ... as subscriber: async for event in subscriber`."""
    return asubscribe_events(
        filter,
        ReceivedEvent,
        reconnection_attempts=reconnection_attempts,
        reconnect_on_clean_close=reconnect_on_clean_close,
    )
