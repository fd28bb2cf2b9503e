"""Calls about events. Events that runs emit go by the socket (`client/sockets.py`), not by these."""

from collections.abc import Iterable

from riverrun.client.call import Call, at, get, post
from riverrun.wire.events import Event, EventPage
from riverrun.wire.requests import EventsFilterBody


def create_events(events: Iterable[Event]) -> Call[None]:
    return post(at("events"), list(events))


def read_events(body: EventsFilterBody | None = None) -> Call[EventPage]:
    return post(at("events", "filter"), body or EventsFilterBody(), EventPage)


def read_next_events(page_token: str) -> Call[EventPage]:
    return get(at("events", "filter", "next"), EventPage, query={"page-token": page_token})
