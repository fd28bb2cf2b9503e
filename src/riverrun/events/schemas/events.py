"""Events and the resources they tell of, as users make and read them. Light: no pydantic, though they fit into its models."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import msgspec
from msgspec import field

from riverrun.base.clock import now
from riverrun.base.ids import uuid7
from riverrun.wire import events as wire

__all__ = ["Event", "ReceivedEvent", "RelatedResource", "Resource", "ResourceSpecification"]

RESOURCE_ID = "prefect.resource.id"
RESOURCE_NAME = "prefect.resource.name"
RESOURCE_ROLE = "prefect.resource.role"
MOST_LABELS = 500
MOST_RELATED = 100


class _Labels(dict[str, Any]):
    """A dictionary that behaves as pydantic's models of one value do."""

    def __init__(self, root: Mapping[str, Any] | None = None, **labels: Any) -> None:
        try:
            super().__init__(root or {}, **labels)
            self._check()
        except (TypeError, ValueError) as error:
            raise _invalid(type(self).__name__, error, root) from None

    def _check(self) -> None:
        """Raise ValueError if something is wrong with the labels."""

    @property
    def root(self) -> Self:
        """The labels themselves."""
        return self

    @classmethod
    def model_validate(cls, obj: Any, **_options: Any) -> Self:
        """Labels from labels or a dictionary; pydantic's ValidationError if something that must be there is missing."""
        return obj if isinstance(obj, cls) else cls(obj)

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        """A plain dictionary."""
        return dict(self)

    @classmethod
    def model_validate_json(cls, data: str | bytes) -> Self:
        """Labels from a JSON document."""
        return cls.model_validate(msgspec.json.decode(data))

    def model_dump_json(self, **_options: Any) -> str:
        """A JSON document."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(cls.model_validate)


def _invalid(title: str, error: Exception, given: Any) -> ValueError:
    """What pydantic would raise. It is loaded only for this."""
    from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

    problem = PydanticCustomError("value_error", "{reason}", {"reason": str(error)})
    return ValidationError.from_exception_data(title, [InitErrorDetails(type=problem, loc=(), input=given)])


class Resource(_Labels):
    """Something that events tell of: labels, of which `prefect.resource.id` says what it is."""

    def _check(self) -> None:
        if not self.get(RESOURCE_ID):
            raise ValueError(f"Resources must include the {RESOURCE_ID} label, and it must not be empty.")
        if len(self) > MOST_LABELS:
            raise ValueError(f"The maximum number of labels per resource is {MOST_LABELS}; this one has {len(self)}.")

    @property
    def id(self) -> str:
        """What it is, as in `prefect.flow-run.<id>`."""
        return str(self[RESOURCE_ID])

    @property
    def name(self) -> str | None:
        """Its name, if it has one."""
        return self.get(RESOURCE_NAME)

    def has_all_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether it has these labels, with these values."""
        return all(self.get(label) == value for label, value in labels.items())

    def prefect_object_id(self, kind: str) -> UUID:
        """The id behind the kind, as in `prefect_object_id("prefect.flow-run")`; ValueError if it is of another kind."""
        prefix = f"{kind.rstrip('.')}."
        if not self.id.startswith(prefix):
            raise ValueError(f"Resource ID {self.id} does not start with {prefix}")
        return UUID(self.id[len(prefix) :])


class RelatedResource(Resource):
    """A resource that has a part in an event; `prefect.resource.role` says which."""

    def _check(self) -> None:
        super()._check()
        if not self.get(RESOURCE_ROLE):
            raise ValueError(f"Related Resources must include the {RESOURCE_ROLE} label, and it must not be empty.")

    @property
    def role(self) -> str:
        """Its part in the event."""
        return str(self[RESOURCE_ROLE])


class Event(wire.Event, kw_only=True):
    """Something that happened to a resource."""

    occurred: datetime = field(default_factory=now)
    id: UUID = field(default_factory=uuid7)

    def __post_init__(self) -> None:
        self.resource = Resource.model_validate(self.resource)
        self.related = [RelatedResource.model_validate(each) for each in self.related]
        if len(self.related) > MOST_RELATED:
            problem = f"The maximum number of related resources is {MOST_RELATED}; here are {len(self.related)}."
            raise _invalid("Event", ValueError(problem), self.related)

    @property
    def size_bytes(self) -> int:
        """How long the event is as JSON."""
        return len(msgspec.json.encode(self))

    @property
    def involved_resources(self) -> list[Resource]:
        """The resource and the related ones."""
        return [self.resource, *self.related]  # type: ignore[list-item] # made such above

    @property
    def resource_in_role(self) -> dict[str, RelatedResource]:
        """The first related resource of each role."""
        return {role: resources[0] for role, resources in self.resources_in_role.items()}

    @property
    def resources_in_role(self) -> dict[str, list[RelatedResource]]:
        """The related resources by role; none for a role that nothing has."""
        found: defaultdict[str, list[RelatedResource]] = defaultdict(list)
        for each in self.related:
            assert isinstance(each, RelatedResource)
            found[each.role].append(each)
        return found

    def find_resource_label(self, label: str) -> str | None:
        """A label of the resource, or with `related:<role>:<label>` of the first related one of that role."""
        path, _, last = label.rpartition(":")
        kind, _, role = path.partition(":")
        if kind != "related":
            return self.resource.get(label)
        found = self.resource_in_role.get(role)
        return self.resource.get(label) if found is None else found.get(last)


class ReceivedEvent(Event, kw_only=True):
    """An event as the server has it."""

    received: datetime = field(default_factory=now)


class ResourceSpecification(_Labels):
    """Labels that resources must have: {label: value or values}. A value may end in `*`, or begin with `!` for not."""

    def matches_every_resource(self) -> bool:
        """Whether nothing is demanded."""
        return not self

    def matches_every_resource_of_kind(self, prefix: str) -> bool:
        """Whether any resource of a kind is meant."""
        wanted = self.get(RESOURCE_ID)
        values = [wanted] if isinstance(wanted, str) else wanted or []
        return not self or (len(self) == 1 and f"{prefix}.*" in values)

    def includes(self, candidates: Iterable[Mapping[str, Any]]) -> bool:
        """Whether one of these resources is meant."""
        return not self or any(self.matches(candidate) for candidate in candidates)

    def matches(self, resource: Mapping[str, Any]) -> bool:
        """Whether this resource has all the labels."""
        return all(
            any(_matches(value, resource.get(label)) for value in ([wanted] if isinstance(wanted, str) else wanted))
            for label, wanted in self.items()
        )


def _matches(wanted: str, value: str | None) -> bool:
    if value is None:
        return False
    denied, wanted = wanted.startswith("!"), wanted.removeprefix("!")
    return denied != (value.startswith(wanted[:-1]) if wanted.endswith("*") else value == wanted)
