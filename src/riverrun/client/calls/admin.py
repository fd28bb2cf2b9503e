"""Calls about the server itself, and saved searches."""

from typing import Any
from uuid import UUID

from riverrun.client.call import NO_BODY, Call, Id, at, delete, get, post
from riverrun.wire.admin import (
    ServerDefaultResultStorage,
    ServerDefaultResultStorageUpdate,
)
from riverrun.wire.requests import SavedSearchesFilterBody
from riverrun.wire.searches import SavedSearch


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


def read_saved_searches(limit: int | None = None, offset: int = 0) -> Call[list[SavedSearch]]:
    body = SavedSearchesFilterBody(limit=limit, offset=offset)
    return post(at("saved_searches", "filter"), body, list[SavedSearch])


def delete_saved_search(search_id: Id) -> Call[None]:
    return delete(at("saved_searches", search_id), noun=f"Saved search {search_id}:")
