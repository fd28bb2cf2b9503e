"""The HTTP clients that carry calls: one for each process and one for each event loop, kept open in between.

A forked child makes its own. Settings decide about TLS; who asks is told by a header of each request.
"""

import atexit
import os
import weakref
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from riverrun import __version__
from riverrun.base.config import settings
from riverrun.base.errors import ConfigurationError
from riverrun.client.call import JSON

if TYPE_CHECKING:
    import asyncio
    import ssl

    import httpx

#: what clients differ in: TLS or not, unchecked or not, whose certificates
_Kind = tuple[bool, bool, str | None]

_clients: "dict[_Kind, httpx.Client]" = {}
#: loop -> {kind: client and the generator that closes it}
_async_clients: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Kind, tuple[httpx.AsyncClient, Any]]]"
_async_clients = weakref.WeakKeyDictionary()


def authorization(api_key: str | None, auth_string: str | None) -> dict[str, str]:
    """The header that tells who asks: the key, else user and password, else none."""
    if api_key:
        return {"Authorization": f"Bearer {api_key}"}
    if auth_string:
        from base64 import b64encode

        return {"Authorization": f"Basic {b64encode(auth_string.encode()).decode()}"}
    return {}


def standing_headers() -> dict[str, str]:
    """What settings say that each call carries: headers of the user's own, and who asks."""
    current = settings()
    return {**current.client_custom_headers, **authorization(current.api_key, current.api_auth_string)}


def options(base_url: str) -> dict[str, Any]:
    """How our HTTP clients are made."""
    import httpx

    return {
        "headers": {"User-Agent": f"riverrun/{__version__}", "Accept": JSON},
        "verify": verification(base_url),
        # below the 5 s after which servers close idle connections, so that none closes under a request
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=4.0),
    }


def verification(base_url: str) -> "ssl.SSLContext | bool":
    """How the server's certificate is checked. Without TLS not at all: loading the authorities takes 20 ms."""
    secure, unchecked, file = _kind(base_url)
    if not secure or unchecked:
        return False
    if file is None:
        return True
    import ssl

    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"RIVERRUN_API_SSL_CERT_FILE: no certificates in {file}: {error}") from error


def _kind(base_url: str) -> _Kind:
    current = settings()
    file = current.api_ssl_cert_file
    secure = base_url.startswith(("https", "wss"))
    return secure, current.api_tls_insecure_skip_verify, None if file is None else str(file)


def shared(base_url: str) -> "httpx.Client":
    """The client of this process."""
    kind = _kind(base_url)
    client = _clients.get(kind)
    if client is None:
        import httpx

        made = httpx.Client(**options(base_url))
        client = _clients.setdefault(kind, made)
        if client is not made:  # another thread was faster
            made.close()
    return client


async def ashared(base_url: str) -> "httpx.AsyncClient":
    """The client of the running loop."""
    import asyncio

    import httpx

    loop = asyncio.get_running_loop()
    clients = _async_clients.setdefault(loop, {})
    kind = _kind(base_url)
    if kind not in clients:
        client = httpx.AsyncClient(**options(base_url))
        keeper = _kept_by_its_loop(loop, client)
        clients[kind] = client, keeper
        await anext(keeper)
    return clients[kind][0]


async def _kept_by_its_loop(
    loop: "asyncio.AbstractEventLoop", client: "httpx.AsyncClient"
) -> AsyncGenerator[None, None]:
    """Closes the client with its loop: `asyncio.run` ends the async generators that were begun on it."""
    try:
        yield
    finally:
        _async_clients.pop(loop, None)
        await client.aclose()


@atexit.register
def close() -> None:
    """Close the connections of this process's sync calls; the next call opens new ones."""
    while _clients:
        _, client = _clients.popitem()
        client.close()


def _forget() -> None:
    # The child shares the parent's sockets: it must neither use nor properly close them.
    _clients.clear()
    _async_clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
