"""Whether an event passes a filter. Pure; streams and automations use it, and lists where SQL can only narrow down."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from riverrun.base.clock import to_micros
from riverrun.server.db.searching import terms
from riverrun.wire.events import ReceivedEvent, ResourceSpecification
from riverrun.wire.filters import (
    EventAnyResourceFilter,
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventRelatedFilter,
    EventResourceFilter,
)

ID, ROLE = "prefect.resource.id", "prefect.resource.role"
T = TypeVar("T")
Labels = Mapping[str, str | None]


def matches(filter: EventFilter, event: ReceivedEvent) -> bool:
    """Whether the event passes the whole filter."""
    return (
        _occurred(filter.occurred, event)
        and (filter.event is None or _named(filter.event, event.event))
        and (filter.resource is None or _resource(filter.resource, event.resource))
        and all(_related(each, event.related) for each in as_list(filter.related))
        and all(_any_resource(each, [event.resource, *event.related]) for each in as_list(filter.any_resource))
        and (not filter.id.id or event.id in filter.id.id)
        and (filter.text is None or terms(filter.text.query).match(searchable(event)))
    )


def as_list(value: T | list[T] | None) -> list[T]:
    """What a filter takes alone or as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def specified(specification: ResourceSpecification, labels: Labels) -> bool:
    """Whether a resource has every label of a specification with one of its values."""
    for label, expected in specification.items():
        value = labels.get(label)
        if not any(fits(one, value) for one in ([expected] if isinstance(expected, str) else expected)):
            return False
    return True


def fits(pattern: str, value: str | None) -> bool:
    """Whether a label's value fits a pattern with `*` and `?`; "!" in front turns it round. No value fits nothing."""
    if value is None:
        return False
    if pattern.startswith("!"):
        return not fnmatchcase(value, pattern[1:])
    return fnmatchcase(value, pattern)


def searchable(event: ReceivedEvent) -> str:
    """What a text search looks through: the name, the values of labels, the payload."""
    resources: Iterable[Labels] = [event.resource, *event.related]
    labels = (value for labels in resources for value in labels.values() if value)
    return " ".join((event.event, *labels, str(event.payload)))


def _occurred(filter: EventOccurredFilter, event: ReceivedEvent) -> bool:
    at = to_micros(event.occurred)
    return (filter.since is None or at >= to_micros(filter.since)) and (
        filter.until is None or at <= to_micros(filter.until)
    )


def _named(filter: EventNameFilter, name: str) -> bool:
    return (
        (not filter.prefix or name.startswith(tuple(filter.prefix)))
        and not (filter.exclude_prefix and name.startswith(tuple(filter.exclude_prefix)))
        and (not filter.name or name in filter.name)
        and not (filter.exclude_name and name in filter.exclude_name)
    )


def _resource(filter: EventResourceFilter | EventAnyResourceFilter, labels: Labels) -> bool:
    resource_id = labels.get(ID) or ""
    return (
        (not filter.id or resource_id in filter.id)
        and (not filter.id_prefix or resource_id.startswith(tuple(filter.id_prefix)))
        and (not filter.labels or specified(filter.labels, labels))
    )


def _any_resource(filter: EventAnyResourceFilter, resources: Iterable[Labels]) -> bool:
    return any(_resource(filter, labels) for labels in resources)


def _related(filter: EventRelatedFilter, related: list[dict[str, str | None]]) -> bool:
    if not (filter.id or filter.role or filter.resources_in_roles or filter.labels):
        return True
    return any(_one_related(filter, labels) for labels in related)


def _one_related(filter: EventRelatedFilter, labels: Labels) -> bool:
    resource_id, role = labels.get(ID), labels.get(ROLE)
    return (
        (not filter.id or resource_id in filter.id)
        and (not filter.role or role in filter.role)
        and (not filter.resources_in_roles or [resource_id, role] in [list(pair) for pair in filter.resources_in_roles])
        and (not filter.labels or specified(filter.labels, labels))
    )
