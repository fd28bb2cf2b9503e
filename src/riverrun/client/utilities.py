"""Handing clients through functions, under the names that users import."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from riverrun.client.orchestration import RiverrunClient, get_client

__all__ = ["client_injector", "get_or_create_client", "inject_client"]

P = ParamSpec("P")
R = TypeVar("R")


def get_or_create_client(client: RiverrunClient | None = None) -> tuple[RiverrunClient, bool]:
    """The given client, or a new one that is to be opened; and whether it was given."""
    return (get_client(), False) if client is None else (client, True)


def inject_client(fn: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Give an async function an open client as its keyword argument `client`: the caller's, or one for the call."""

    @wraps(fn)
    async def with_client(*args: P.args, **kwargs: P.kwargs) -> R:
        given = kwargs.pop("client", None)
        client, _ = get_or_create_client(given)  # type: ignore[arg-type] # what a caller passes by this name
        async with client:
            kwargs["client"] = client
            return await fn(*args, **kwargs)

    return with_client


def client_injector(fn: Callable[..., Coroutine[Any, Any, R]]) -> Callable[..., Coroutine[Any, Any, R]]:
    """As `inject_client`, with the client as the first positional argument that callers do not pass."""

    @wraps(fn)
    async def with_client(*args: Any, **kwargs: Any) -> R:
        async with get_client() as client:
            return await fn(client, *args, **kwargs)

    return with_client
