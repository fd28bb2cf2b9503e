"""The connection of a background thread to the API: one request after the other, kept open in between.

Without TLS and proxies it is `http.client`: loading httpx would cost every short script 0.2 s. Else httpx sends.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from http.client import HTTPConnection


class Target(NamedTuple):
    """Which API, and as whom. `found` tells that it is this machine's server and not a configured one."""

    url: str
    api_key: str | None = None
    auth_string: str | None = None
    found: bool = False
    headers: Mapping[str, str] = MappingProxyType({})


class LineError(Exception):
    """No answer came: the server is away, or the way to it is broken."""


class Line:
    """Requests of one thread. `cut` may be called by others."""

    def __init__(self, importing: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        #: held while modules are imported, so that no child is forked meanwhile
        self._importing = importing
        self._connection: HTTPConnection | None = None
        self._to = ""
        self._was_cut = False

    def post(self, target: Target, path: str, body: bytes, content_type: str, timeout: float) -> tuple[int, bytes]:
        """(status, body of the answer). Raises LineError."""
        headers = {
            **target.headers,
            "Content-Type": content_type,
            "Accept": "application/json",
            **_authorization(target),
        }
        if target.url.startswith("https") or _is_behind_proxy():
            return self._post_by_httpx(target.url + path, body, headers, timeout)
        return self._post(target.url, path, body, headers, timeout)

    def _post(self, url: str, path: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, bytes]:
        with self._importing():
            from http.client import HTTPException
        fresh = self._connection is None or self._to != url
        self._was_cut = False
        try:
            connection = self._connected(url, timeout)
            try:
                connection.request("POST", self._prefix + path, body, headers)
                answer = connection.getresponse()
            except (OSError, HTTPException):
                if fresh or self._was_cut:
                    raise
                # the server may have closed the idle connection; what is sent here may be sent twice
                self.close()
                connection = self._connected(url, timeout)
                connection.request("POST", self._prefix + path, body, headers)
                answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            self.close()
            raise LineError(f"{type(error).__name__}: {error}") from error

    def _connected(self, url: str, timeout: float) -> "HTTPConnection":
        import socket
        from http.client import HTTPConnection
        from urllib.parse import urlsplit

        if self._connection is not None and self._to == url:
            if self._connection.sock is not None:
                self._connection.sock.settimeout(timeout)
            return self._connection
        self.close()
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            connection.close()
            raise
        self._connection, self._to, self._prefix = connection, url, parts.path.rstrip("/")
        return connection

    def _post_by_httpx(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, bytes]:
        with self._importing():
            import httpx

            from riverrun.client import connections
        try:
            # a client of its own each time would load the certificates anew
            client = self._client = getattr(self, "_client", None) or httpx.Client(**connections.options(url))
            answer = client.post(url, content=body, headers=headers, timeout=timeout)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise LineError(f"{type(error).__name__}: {error}") from error
        return answer.status_code, answer.content

    def cut(self) -> None:
        """End a request that waits for its answer, from another thread."""
        self._was_cut = True
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(2)  # SHUT_RDWR

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _authorization(target: Target) -> dict[str, str]:
    if target.api_key:
        return {"Authorization": f"Bearer {target.api_key}"}
    if target.auth_string:
        from base64 import b64encode

        return {"Authorization": f"Basic {b64encode(target.auth_string.encode()).decode()}"}
    return {}


def _is_behind_proxy() -> bool:
    return any(os.environ.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"))
