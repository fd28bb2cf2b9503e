"""Events: what happened to which resource. `emit_event` sends one; the schemas describe them. Names load on first use."""

from typing import TYPE_CHECKING, Any

_HOMES = {
    "Event": "riverrun.events.schemas.events",
    "ReceivedEvent": "riverrun.events.schemas.events",
    "RelatedResource": "riverrun.events.schemas.events",
    "Resource": "riverrun.events.schemas.events",
    "ResourceSpecification": "riverrun.events.schemas.events",
    "emit_event": "riverrun.events.emit",
    "get_events_client": "riverrun.events.clients",
    "get_events_subscriber": "riverrun.events.clients",
}

__all__ = [
    "Event",
    "ReceivedEvent",
    "RelatedResource",
    "Resource",
    "ResourceSpecification",
    "emit_event",
    "get_events_client",
    "get_events_subscriber",
]

if TYPE_CHECKING:
    from riverrun.events.clients import get_events_client, get_events_subscriber
    from riverrun.events.emit import emit_event
    from riverrun.events.schemas.events import Event, ReceivedEvent, RelatedResource, Resource, ResourceSpecification


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
