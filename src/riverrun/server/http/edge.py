"""The edge: from an ASGI request to a handler and back. The only place that knows both HTTP and units of work."""

import functools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.websockets import WebSocket, WebSocketDisconnect

from riverrun.base.ids import uuid7
from riverrun.server.db.units import Caller
from riverrun.server.http import auth, guard
from riverrun.server.http.errors import HTTPError, InvalidRequest, answer_to
from riverrun.server.http.table import PUBLIC, Call, Reply, Route, Tree
from riverrun.server.hub import Stopping
from riverrun.server.store import Store

log = logging.getLogger("riverrun.server")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


#: a value as JSON
encode = msgspec.json.Encoder(enc_hook=_plain).encode


class Edge:
    """The ASGI application. `state` is what handlers find in their Call."""

    def __init__(self, routes: list[Route], store: Store, gate: "guard.Guard", state: dict[str, Any]) -> None:
        self.tree = Tree(routes)
        self.routes = routes
        self.store = store
        self.guard = gate
        self.state = state
        #: requests by (method, route, status): number and seconds; read by the metrics
        self.observe: Callable[[str, str, int, float], None] | None = None
        #: sockets that are open, and all that is under way
        self.sockets = 0
        self._active = 0
        self._last = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._active += 1
        try:
            if scope["type"] == "http":
                await self._http(scope, receive, send)
            elif scope["type"] == "websocket":
                await self._websocket(scope, receive, send)
        finally:
            self._active -= 1
            self._last = time.monotonic()

    def idle_seconds(self) -> float:
        """For how long nobody has asked anything; 0 while a request or a socket is open."""
        return 0.0 if self._active else time.monotonic() - self._last

    # -- HTTP ---------------------------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = uuid7()
        route: Route | None = None
        payload: bytes | AsyncIterator[bytes]
        try:
            headers = guard.headers_of(scope)
            self.guard.check_http(scope["method"], headers)
            found = self.tree.find("GET" if scope["method"] == "HEAD" else scope["method"], _path(scope))
            if isinstance(found, set):
                raise _not_found(scope, found)
            route, path = found
            caller = self._caller(route, headers, request_id)
            body = await _read_body(receive, headers, route) if route.method != "GET" else b""
            if body:
                guard.check_media_type(headers, is_json=route.decode is not None, raw=route.raw_media_type)
            result = await self._run(route, path, body, caller, Request(scope, receive))
            status, payload, extra, media = _encoded(route, result)
        except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
            status, payload, extra, media = _refusal(error, request_id, scope)
        extra["x-request-id"] = str(request_id)
        seconds = time.perf_counter() - started
        if self.observe is not None:
            self.observe(scope["method"], "?" if route is None else route.path, status, seconds)
        if log.isEnabledFor(logging.DEBUG):
            facts = {"request_id": request_id, "status": status, "milliseconds": round(seconds * 1000, 2)}
            log.debug("%s %s", scope["method"], scope["path"], extra={"facts": facts})
        await _respond(send, status, payload, extra, media, head=scope["method"] == "HEAD")

    def _caller(self, route: Route, headers: dict[str, str], request_id: Any) -> Caller:
        guard.check_version(headers)
        caller = auth.caller_of(headers, self.state, request_id, public=route.permission == PUBLIC)
        if route.permission != PUBLIC and not caller.may(route.permission):
            raise HTTPError(403, f"{caller.name} lacks the permission {route.permission}.")
        return caller

    async def _run(self, route: Route, path: dict[str, str], body: bytes, caller: Caller, request: Request) -> Any:
        query: Any = QueryParams(request.scope.get("query_string", b"")) if route.parameters else {}
        arguments = route.arguments(
            path, lambda name, many: (query.getlist(name) or None) if many else query.get(name), body
        )
        if route.kind == "async":
            call = Call(store=self.store, caller=caller, request=request, state=self.state)
            return await route.handler(call, **arguments)
        unit = functools.partial(_call, route.handler, arguments)
        if route.kind == "write":
            return await self.store.write(unit, caller, bulk=route.bulk)
        return await self.store.read(unit, caller)

    # -- WebSockets ---------------------------------------------------------------------------------------------------------

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self.tree.find("WEBSOCKET", _path(scope))
        headers = guard.headers_of(scope)
        if isinstance(found, set) or not self.guard.allows_socket(headers):
            await refuse_socket(scope, send)
            return
        route, path = found
        socket = WebSocket(scope, receive, send)
        try:
            values = {parameter.name: parameter.read(path.get(parameter.name)) for parameter in route.parameters}
        except InvalidRequest:
            await refuse_socket(scope, send)
            return
        call = Call(store=self.store, caller=Caller(), request=socket, state=self.state)
        self.sockets += 1
        try:
            await route.handler(call, **values)
        except WebSocketDisconnect:
            pass
        except Stopping:
            await _close(socket, 1012)
        except Exception:
            log.exception("A socket of %s failed.", route.path)
            await _close(socket, 1011)
        finally:
            self.sockets -= 1


async def _close(socket: WebSocket, code: int) -> None:
    try:
        await socket.close(code)
    except (RuntimeError, WebSocketDisconnect):
        pass  # it is closed already


async def refuse_socket(scope: Scope, send: Send, status: int = 404) -> None:
    """Refuse a socket with a status; 404 tells a worker that there is no such channel, 403 would be an error of its rights."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "websocket.close", "code": 1008})


def _call(handler: Callable[..., Any], arguments: dict[str, Any], unit: Any) -> Any:
    return handler(unit, **arguments)


def _path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return str(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")


def _not_found(scope: Scope, methods: set[str]) -> HTTPError:
    allowed = sorted(methods - {"WEBSOCKET"})
    if allowed:
        return HTTPError(405, f"{scope['method']} is not allowed here.", {"Allow": ", ".join(allowed)})
    return HTTPError(404, "Not Found")


async def _read_body(receive: Receive, headers: dict[str, str], route: Route) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > route.max_bytes:
        raise HTTPError(413, f"The body has {int(declared):,} bytes; at most {route.max_bytes:,} are taken here.")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HTTPError(400, "The client went away before the body was complete.")
        part = message.get("body", b"")
        size += len(part)
        if size > route.max_bytes:
            raise HTTPError(413, f"The body is larger than {route.max_bytes:,} bytes.")
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _encoded(route: Route, result: Any) -> tuple[int, bytes | AsyncIterator[bytes], dict[str, str], str]:
    status, headers, media = route.status, {}, "application/json"
    if isinstance(result, Reply):
        status, headers, media = result.status or status, dict(result.headers), result.media_type
        result = result.value
    if status == 204:
        return status, b"", headers, media
    return status, result if media != "application/json" else encode(result), headers, media


def _refusal(error: Exception, request_id: Any, scope: Scope) -> tuple[int, bytes, dict[str, str], str]:
    answer = answer_to(error)
    if answer is None:
        answer = guard.answer_to_database(error)
    if answer is None:
        log.error("Request %s, %s %s, failed.", request_id, scope["method"], scope["path"], exc_info=error)
        answer = 500, {"exception_message": "Internal Server Error", "request_id": str(request_id)}, {}
    status, body, headers = answer
    return status, encode(body), dict(headers), "application/json"


async def _respond(
    send: Send,
    status: int,
    body: bytes | AsyncIterator[bytes],
    headers: dict[str, str],
    media: str,
    *,
    head: bool = False,
) -> None:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    raw += guard.RESPONSE_HEADERS
    if status != 204:
        raw.append((b"content-type", media.encode("latin-1")))
        if isinstance(body, bytes):
            raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    if not isinstance(body, bytes):
        if not head:
            async for part in body:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": b"" if head else body})


__all__ = ["Edge", "InvalidRequest", "refuse_socket"]
