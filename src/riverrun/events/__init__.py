"""Events: what happened to which resource. `emit_event` sends one; the schemas describe them. Names load on first use."""

from typing import TYPE_CHECKING, Any

_HOMES = {
    "Event": "riverrun.events.schemas",
    "ReceivedEvent": "riverrun.events.schemas",
    "RelatedResource": "riverrun.events.schemas",
    "Resource": "riverrun.events.schemas",
    "ResourceSpecification": "riverrun.events.schemas",
    "emit_event": "riverrun.events.emit",
}

__all__ = ["Event", "ReceivedEvent", "RelatedResource", "Resource", "ResourceSpecification", "emit_event"]

if TYPE_CHECKING:
    from riverrun.events.emit import emit_event
    from riverrun.events.schemas import Event, ReceivedEvent, RelatedResource, Resource, ResourceSpecification


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
