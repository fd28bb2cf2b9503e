"""Events and sockets as clients of the peer's kind make and use them."""

import asyncio
import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from websockets.asyncio.client import ClientConnection, connect

from riverrun.base.ids import uuid7


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **options: Any) -> None:
        asyncio.run(test(*arguments, **options))

    # pytest takes what stands behind a wrapper for the test; it only needs to know the names of its fixtures
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def report(run: UUID, state: str, second: float, /, *, flow_run: UUID | None = None, **fields: Any) -> dict[str, Any]:
    """An event of a task run as the peer's client sends it."""
    kind = fields.pop("type", state.upper())
    related = (
        []
        if flow_run is None
        else [{"prefect.resource.id": f"prefect.flow-run.{flow_run}", "prefect.resource.role": "flow-run"}]
    )
    task_run = {"name": "say-0", "task_key": "say-1234", "dynamic_key": "0", "run_count": 1, "tags": ["blue"],
                "empirical_policy": {"max_retries": 0, "retry_delay_seconds": 0.0, "retries": 2, "retry_delay": [1, 2]},
                "task_inputs": {"x": [{"input_type": "parameter", "name": "x"}]}, "labels": {"mine": "yes"}, **fields}  # fmt: skip
    return {
        "id": str(uuid7()),
        "occurred": (T0 + timedelta(seconds=second)).isoformat(),
        "event": f"prefect.task-run.{state}",
        "resource": {
            "prefect.resource.id": f"prefect.task-run.{run}",
            "prefect.resource.name": "say-0",
            "prefect.orchestration": "client",
        },
        "related": related,
        "payload": {
            "intended": {"from": None, "to": kind},
            "initial_state": None,
            "validated_state": {
                "type": kind,
                "name": state,
                "message": "hm",
                "state_details": {"retriable": None},
                "data": None,
            },
            "task_run": task_run,
        },
        "follows": None,
    }


def other(name: str = "user.did.something", **fields: Any) -> dict[str, Any]:
    resource = {"prefect.resource.id": f"thing.{uuid4()}"}
    return {"id": str(uuid4()), "occurred": T0.isoformat(), "event": name, "resource": resource, **fields}


@asynccontextmanager
async def opened(base: str, path: str) -> AsyncIterator[ClientConnection]:
    """A socket that has signed in."""
    url = base.replace("http", "ws", 1) + "/api" + path
    async with connect(url, subprotocols=["prefect"], ping_interval=None) as socket:
        await socket.send(json.dumps({"type": "auth", "token": None}))
        assert json.loads(await socket.recv()) == {"type": "auth_success"}
        yield socket


async def send(base: str, *events: dict[str, Any]) -> None:
    """Send events and wait until the server says by a pong that it has them."""
    async with opened(base, "/events/in") as socket:
        for event in events:
            await socket.send(json.dumps(event))
        await (await socket.ping())
