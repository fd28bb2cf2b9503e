"""The clients of a server that users get from `get_client`: `SyncRiverrunClient` blocks, `RiverrunClient` is awaited.

Both have the same methods, those that users know from the peer; each is defined once (`operation.py`).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from riverrun import __version__
from riverrun.base.errors import MissingContextError
from riverrun.base.loops import in_thread
from riverrun.client import connections, http
from riverrun.client.call import Call
from riverrun.client.location import ensure_api_url
from riverrun.client.orchestration.operation import Awaited, Blocking
from riverrun.client.orchestration.runs import RunOperations
from riverrun.client.orchestration.stored import StoredOperations
from riverrun.client.orchestration.work import WorkOperations

if TYPE_CHECKING:
    import httpx

__all__ = ["PrefectClient", "RiverrunClient", "ServerType", "SyncPrefectClient", "SyncRiverrunClient", "get_client"]


class ServerType(StrEnum):
    """What a client talks to: a server that was configured, or one started for the purpose."""

    EPHEMERAL = "ephemeral"
    SERVER = "server"
    CLOUD = "cloud"
    UNCONFIGURED = "unconfigured"


class _Client(RunOperations, WorkOperations, StoredOperations):
    """What both clients have: their address and the settings of their HTTP client."""

    def __init__(
        self, api: "str | httpx.URL | None" = None, *, httpx_settings: Mapping[str, Any] | None = None
    ) -> None:
        self._given_url = None if api is None else str(api).rstrip("/")
        self._httpx_settings = dict(httpx_settings or {})
        self._url = self._given_url
        self._depth = 0
        self._is_closed = False

    @property
    def api_url(self) -> "httpx.URL":
        """The URL of the API, with a slash at its end."""
        import httpx

        return httpx.URL(f"{self._known_url().rstrip('/')}/")

    @property
    def server_type(self) -> ServerType:
        from riverrun.base.config import settings

        return ServerType.SERVER if self._given_url or settings().api_url else ServerType.EPHEMERAL

    def client_version(self) -> str:
        """The version of riverrun."""
        return __version__

    def _known_url(self) -> str:
        if self._is_closed:
            raise RuntimeError(
                "The client has been closed: its `with` (or `async with`) block is over; open another one"
            )
        if self._url is None:
            raise MissingContextError("The client is not open: use it in a `with` (or `async with`) block")
        return self._url

    def _options(self) -> dict[str, Any]:
        """Of an HTTP client of our own."""
        from riverrun.base.config import settings

        current = settings()
        base = self._known_url()
        options = connections.options(base)
        options["base_url"] = base
        options["timeout"] = current.api_request_timeout or None
        headers = {**options["headers"], **connections.standing_headers()}
        given = self._httpx_settings
        return {**options, **given, "headers": {**headers, **dict(given.get("headers") or {})}}


class SyncRiverrunClient(_Client, Blocking):
    """Talks to a server and blocks until it answers. Use it in a `with` block; `_client` is an `httpx.Client`."""

    _opened: "httpx.Client | None" = None

    def __enter__(self) -> Self:
        self._url = self._url or ensure_api_url()
        self._depth += 1
        self._is_closed = False
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        self._is_closed = self._depth == 0
        if self._depth == 0 and self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _client(self) -> "httpx.Client":
        if self._opened is None:
            import httpx

            self._opened = httpx.Client(**self._options())
        return self._opened

    def _send(self, call: Call[Any]) -> Any:
        # With settings of its own a client needs connections of its own; else those of the process serve.
        return http.send(call, base_url=self._known_url(), client=self._client if self._httpx_settings else None)


class RiverrunClient(_Client, Awaited):
    """Talks to a server from async code. Use it in an `async with` block; `_client` is an `httpx.AsyncClient`."""

    _opened: "httpx.AsyncClient | None" = None

    async def __aenter__(self) -> Self:
        self._url = self._url or await in_thread(ensure_api_url)
        self._depth += 1
        self._is_closed = False
        return self

    async def __aexit__(self, *_: object) -> None:
        self._depth -= 1
        self._is_closed = self._depth == 0
        if self._depth == 0 and self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.aclose()

    def __enter__(self) -> Self:
        raise RuntimeError(
            "This client must be entered with an async context (`async with`); in sync code use get_client(sync_client=True)"
        )

    def __exit__(self, *_: object) -> None:
        raise AssertionError("never entered")

    @property
    def _client(self) -> "httpx.AsyncClient":
        if self._opened is None:
            import httpx

            self._opened = httpx.AsyncClient(**self._options())
        return self._opened

    async def _send(self, call: Call[Any]) -> Any:
        client = self._client if self._httpx_settings else None
        return await http.asend(call, base_url=self._known_url(), client=client)


PrefectClient = RiverrunClient
SyncPrefectClient = SyncRiverrunClient


@overload
def get_client(
    *, httpx_settings: Mapping[str, Any] | None = None, sync_client: Literal[False] = False
) -> RiverrunClient: ...
@overload
def get_client(
    *, httpx_settings: Mapping[str, Any] | None = None, sync_client: Literal[True]
) -> SyncRiverrunClient: ...
def get_client(
    httpx_settings: Mapping[str, Any] | None = None, sync_client: bool = False
) -> RiverrunClient | SyncRiverrunClient:
    """A client of the configured server, or of one for this machine's store, which is started if none runs.

    `async with get_client() as client: await client.hello()`, or with `sync_client=True` the same without `async` and
    `await`. `httpx_settings` are arguments of the `httpx` client.
    """
    return (SyncRiverrunClient if sync_client else RiverrunClient)(httpx_settings=httpx_settings)
