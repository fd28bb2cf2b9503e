"""The route table: every operation of the server is a value here, with its permission, body, answer and statuses.

Dispatch, the OpenAPI document, the check that nothing is served without a permission, and the tests are all made from it.
A handler is a plain function; the type of its first parameter says how it runs: `Reader` in a reader's thread, `Transaction` in
the writer, `Call` on the event loop (async, for what waits). Other parameters are filled by name: those of the path, `body`
(decoded to its type), `raw_body` (bytes), and the rest from the query string.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal
from urllib.parse import unquote
from uuid import UUID

import msgspec
from msgspec import Struct

from riverrun.server.db.units import Caller, Reader, Transaction
from riverrun.server.http import bodies
from riverrun.server.http.errors import HTTPError, InvalidRequest
from riverrun.server.store import Store

Handler = Callable[..., Any]
Kind = Literal["read", "write", "async", "socket"]
#: the permission of what anybody may do, signed in or not; said on purpose, never by default
PUBLIC = "public"


class Call(Struct, kw_only=True):
    """What an async handler gets: the store, the caller, and the request (a Starlette Request or WebSocket)."""

    store: Store
    caller: Caller
    request: Any
    #: what the composition root shares: "services", "settings" ...
    state: dict[str, Any]


class Reply(Struct, kw_only=True):
    """An answer that differs from the route's usual one. `media_type` other than JSON: the value is bytes as they are, or an
    async iterator of their parts."""

    value: Any = None
    status: int | None = None
    headers: dict[str, str] = {}
    media_type: str = "application/json"


class Parameter(Struct, kw_only=True):
    """A parameter from the path or the query string."""

    name: str
    where: Literal["path", "query"]
    type: Any
    default: Any = msgspec.NODEFAULT
    #: its name on the wire, where that is no name of Python's
    alias: str | None = None

    def read(self, text: str | list[str] | None) -> Any:
        """The value of a text; raises InvalidRequest."""
        if text is None:
            if self.default is msgspec.NODEFAULT:
                raise InvalidRequest((self.where, self.name), "This parameter is required.", "missing")
            return self.default
        if self.type is str and isinstance(text, str):
            if "\0" in text:
                raise InvalidRequest((self.where, self.name), "NUL characters are not allowed.")
            return text
        try:
            return msgspec.convert(text, self.type, strict=False)
        except (msgspec.ValidationError, ValueError, OverflowError) as error:
            if self.where == "path" and self.type is UUID:
                # nothing has such an id; the peer answers so, and its clients read 404 as "not there"
                raise HTTPError(404, f"Not Found: {text!r} is not an id.") from None
            message, _ = bodies.located(str(error))
            raise InvalidRequest((self.where, self.name), message) from None


class Route(Struct, kw_only=True):
    """One operation."""

    method: str
    path: str
    handler: Handler
    permission: str
    tag: str
    kind: Kind
    parameters: list[Parameter]
    status: int = 200
    #: other successful statuses, and the errors beside 422
    also: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    returns: Any = None
    body: Any = None
    decode: Callable[[bytes], Any] | None = None
    takes_raw: bool = False
    #: of a raw body
    raw_media_type: str = "application/x-msgpack"
    #: bulk work stands behind interactive requests in the writer's queue
    bulk: bool = False
    max_bytes: int = bodies.MAX_BYTES

    def arguments(self, path: dict[str, str], query: Callable[[str, bool], Any], raw: bytes) -> dict[str, Any]:
        """The handler's keyword arguments; raises InvalidRequest."""
        values = {}
        for parameter in self.parameters:
            if parameter.where == "path":
                values[parameter.name] = parameter.read(path[parameter.name])
            else:
                many = getattr(parameter.type, "__origin__", None) is list
                values[parameter.name] = parameter.read(query(parameter.alias or parameter.name, many))
        if self.decode is not None:
            values["body"] = self.decode(raw)
        if self.takes_raw:
            values["raw_body"] = raw
        return values


#: tags of the operations that take what running code has made
_MENDED = frozenset({"Artifacts", "Events", "Flow Runs", "Logs", "Task Runs"})
_KINDS: dict[Any, Kind] = {Reader: "read", Transaction: "write", Call: "async"}


class Routes:
    """The routes of one noun. Its methods are decorators: `@routes.post("/", permission="flows:write", status=201)`."""

    def __init__(self, prefix: str, tag: str) -> None:
        self.prefix = prefix
        self.tag = tag
        self.all: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self.all)

    def add(self, method: str, path: str, *, permission: str, **options: Any) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.all.append(_route(method, self.prefix + path, handler, permission, self.tag, options))
            return handler

        return register

    def get(self, path: str, *, permission: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("GET", path, permission=permission, **options)

    def post(self, path: str, *, permission: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("POST", path, permission=permission, **options)

    def put(self, path: str, *, permission: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("PUT", path, permission=permission, **options)

    def patch(self, path: str, *, permission: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("PATCH", path, permission=permission, **options)

    def delete(self, path: str, *, permission: str, **options: Any) -> Callable[[Handler], Handler]:
        return self.add("DELETE", path, permission=permission, **options)

    def socket(self, path: str, *, permission: str) -> Callable[[Handler], Handler]:
        """A WebSocket: an async handler of a Call whose `request` is the Starlette WebSocket, not yet accepted."""
        return self.add("WEBSOCKET", path, permission=permission)


def _route(method: str, path: str, handler: Handler, permission: str, tag: str, options: dict[str, Any]) -> Route:
    if not permission:
        raise ValueError(f"{method} {path} declares no permission")
    names = {part[1:-1] for part in path.split("/") if part.startswith("{")}
    aliases: dict[str, str] = options.pop("aliases", {})
    parameters: list[Parameter] = []
    first, *rest = inspect.signature(handler, eval_str=True).parameters.values()
    for parameter in rest:
        if parameter.name == "body":
            options.setdefault("body", parameter.annotation)
            options["decode"] = bodies.decoder(parameter.annotation, mend=tag in _MENDED)
        elif parameter.name == "raw_body":
            options["takes_raw"] = True
        else:
            default = msgspec.NODEFAULT if parameter.default is inspect.Parameter.empty else parameter.default
            where: Literal["path", "query"] = "path" if parameter.name in names else "query"
            alias = aliases.get(parameter.name)
            parameters.append(
                Parameter(name=parameter.name, where=where, type=parameter.annotation, default=default, alias=alias)
            )
    missing = names - {parameter.name for parameter in parameters}
    if missing:
        raise ValueError(f"{method} {path}: the handler takes no {missing}")
    kind: Kind = "socket" if method == "WEBSOCKET" else _KINDS[first.annotation]
    return Route(
        method=method,
        path=path,
        handler=handler,
        permission=permission,
        tag=tag,
        kind=kind,
        parameters=parameters,
        **options,
    )


class Node:
    """A segment of paths: the next segments by text, and one that stands for any text."""

    __slots__ = ("any", "names", "next", "routes")

    def __init__(self) -> None:
        self.next: dict[str, Node] = {}
        self.any: Node | None = None
        #: by method
        self.routes: dict[str, tuple[Route, list[str]]] = {}


class Tree:
    """Finds the route of a path. Trailing slashes do not matter; a segment may hold an escaped slash."""

    def __init__(self, routes: list[Route]) -> None:
        self._root = Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node, names = self._root, []
        for part in route.path.strip("/").split("/"):
            if part.startswith("{"):
                names.append(part[1:-1])
                node.any = node.any or Node()
                node = node.any
            else:
                node = node.next.setdefault(part, Node())
        if route.method in node.routes:
            raise ValueError(f"{route.method} {route.path} is declared twice")
        node.routes[route.method] = (route, names)

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]] | set[str]:
        """The route and the path's values; or the methods that the path has (none: there is no such path)."""
        parts = [unquote(part) for part in raw_path.strip("/").split("/")]
        methods: set[str] = set()
        found = self._walk(self._root, parts, 0, [], method, methods)
        return methods if found is None else found

    def _walk(
        self, node: Node, parts: list[str], at: int, values: list[str], method: str, methods: set[str]
    ) -> tuple[Route, dict[str, str]] | None:
        if at == len(parts):
            methods.update(node.routes)
            entry = node.routes.get(method)
            return None if entry is None else (entry[0], dict(zip(entry[1], values, strict=True)))
        part = parts[at]
        following = node.next.get(part)
        if following is not None:
            found = self._walk(following, parts, at + 1, values, method, methods)
            if found is not None:
                return found
        if node.any is not None and part:
            return self._walk(node.any, parts, at + 1, [*values, part], method, methods)
        return None
