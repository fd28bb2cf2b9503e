"""Calls about the server itself, and saved searches."""

from typing import Any
from uuid import UUID

from riverrun.client.call import NO_BODY, Call, at, delete, get
from riverrun.wire.admin import (
    ServerDefaultResultStorage,
    ServerDefaultResultStorageUpdate,
)


def request(method: str, path: str, body: Any = NO_BODY, query: dict[str, Any] | None = None) -> Call[Any]:
    """Any operation: the answer's JSON as it is; None where there is none."""
    return Call(method.upper(), path, Any, body, query=query)


def read_health() -> Call[bool]:
    return get(at("health"), bool)


def hello() -> Call[str]:
    return get(at("hello"), str)


def read_version() -> Call[str]:
    """The version of the protocol that the server speaks."""
    return get(at("admin", "version"), str)


def read_server_default_result_storage() -> Call[ServerDefaultResultStorage]:
    return get(at("admin", "storage"), ServerDefaultResultStorage)


def update_server_default_result_storage(default_result_storage_block_id: UUID) -> Call[ServerDefaultResultStorage]:
    body = ServerDefaultResultStorageUpdate(default_result_storage_block_id=default_result_storage_block_id)
    return Call("PUT", at("admin", "storage"), ServerDefaultResultStorage, body)


def clear_server_default_result_storage() -> Call[None]:
    return delete(at("admin", "storage"))
