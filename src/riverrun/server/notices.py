"""Events about things that people keep: flows, variables, blocks, artifacts, limits."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from riverrun.server import outbox
from riverrun.server.db.units import Transaction

Kind = Literal["artifact-collection", "block-document", "block-type", "concurrency-limit", "flow", "variable"]
Action = Literal["created", "updated", "deleted"]


def happened(
    transaction: Transaction,
    kind: Kind,
    action: Action,
    thing_id: UUID,
    name: str | None,
    payload: Mapping[str, Any],
    related: Sequence[Mapping[str, str | None]] = (),
) -> None:
    """Tell that a thing was made, changed or removed."""
    resource = {"prefect.resource.id": f"prefect.{kind}.{thing_id}", "prefect.resource.name": name or ""}
    outbox.emit(transaction, f"prefect.{kind}.{action}", resource, related, payload)


def related(kind: str, thing_id: UUID, role: str, name: str | None = None) -> dict[str, str | None]:
    """Something that an event's thing hangs together with."""
    found: dict[str, str | None] = {"prefect.resource.id": f"prefect.{kind}.{thing_id}", "prefect.resource.role": role}
    return found if name is None else {**found, "prefect.resource.name": name}
