"""Events about work pools, queues and deployments."""

from collections.abc import Mapping
from typing import Any

from riverrun.server import outbox
from riverrun.server.db.units import Transaction


def pool_resource(row: Any) -> dict[str, str | None]:
    return {
        "prefect.resource.id": f"prefect.work-pool.{row.id}",
        "prefect.resource.name": row.name,
        "prefect.work-pool.type": row.type,
    }


def queue_resource(row: Any) -> dict[str, str | None]:
    return {"prefect.resource.id": f"prefect.work-queue.{row.id}", "prefect.resource.name": row.name}


def of_pool(transaction: Transaction, row: Any, what: str, payload: Mapping[str, Any] | None = None) -> None:
    """Tell that something ("paused", "ready", "created" ...) happened to a pool."""
    outbox.emit(transaction, f"prefect.work-pool.{what}", pool_resource(row), payload=payload)


def of_queue(
    transaction: Transaction, row: Any, what: str, pool: Any = None, payload: Mapping[str, Any] | None = None
) -> None:
    """The same for a queue; `pool` is its pool's row."""
    related = [] if pool is None else [{**pool_resource(pool), "prefect.resource.role": "work-pool"}]
    outbox.emit(transaction, f"prefect.work-queue.{what}", queue_resource(row), related, payload)


def changed(before: Any, values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The payload of an update: which of the named fields changed, from what to what. Empty: none did."""
    return {
        name: {"from": getattr(before, name), "to": values[name]}
        for name in names
        if name in values and getattr(before, name) != values[name]
    }
