"""Streams of events and log lines from a server, as iterators for sync and for async code.

What is said on the socket (authentication, filter, what counts twice, where to go on after a broken connection) is written
once, without I/O, in `_Feed`; two subscribers wait. Events go the other way by `riverrun.events`.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, cast
from uuid import UUID

import msgspec

from riverrun import __version__
from riverrun.base.clock import now
from riverrun.base.config import settings
from riverrun.base.errors import DeniedError, InputError, RiverrunError, UnavailableError
from riverrun.base.loops import in_thread
from riverrun.client.connections import verification
from riverrun.client.http import encode
from riverrun.client.location import ensure_api_url
from riverrun.wire.events import Event, ReceivedEvent
from riverrun.wire.filters import EventFilter, LogFilter
from riverrun.wire.logs import Log

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection as Connection

T = TypeVar("T", bound=ReceivedEvent | Log | Event)
E = TypeVar("E", bound=ReceivedEvent | Event)

MAX_MESSAGE_BYTES: Final = 16 * 1024**2
#: ids remembered to tell apart what comes twice after a broken connection
_REMEMBERED: Final = 10_000
#: after a broken connection the server is asked for this much of what came before: events may arrive late
_OVERLAP: Final = timedelta(seconds=60)
_AHEAD: Final = timedelta(days=365)


def socket_url(api_url: str, path: str) -> str:
    """The address of a socket below the API."""
    scheme, rest = api_url.rstrip("/").split("://", 1)
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}"


def options(url: str) -> dict[str, Any]:
    """How our sockets are opened."""
    return {
        **_tls(url),
        "subprotocols": ["prefect"],
        "user_agent_header": f"riverrun/{__version__}",
        "compression": None,
        "max_size": MAX_MESSAGE_BYTES,
        "open_timeout": settings().api_request_timeout or None,
        "close_timeout": 1.0,
    }


def _tls(url: str) -> dict[str, Any]:
    checked = verification(url)
    if checked is True or not url.startswith("wss"):
        return {}
    if checked is not False:
        return {"ssl": checked}
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return {"ssl": context}


def auth_message() -> str:
    """The first message on every socket."""
    current = settings()
    return encode({"type": "auth", "token": current.api_key or current.api_auth_string}).decode()


def check_auth(frame: str | bytes) -> None:
    """Raises DeniedError unless the frame says that the authentication did."""
    answer = _decoded(frame)
    if answer.get("type") != "auth_success":
        raise DeniedError(f"The server refused the connection: {answer.get('reason') or answer}. {_KEYS}")


def connection_problem(error: BaseException, url: str) -> RiverrunError | None:
    """The error that ends a connection for good, or None if trying again makes sense."""
    from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI

    if isinstance(error, InvalidURI):
        return InputError(f"{url} is not the address of a socket: {error}. Set RIVERRUN_API_URL to a server's API.")
    if isinstance(error, InvalidStatus) and error.response.status_code not in {408, 429, 500, 502, 503, 504}:
        code = error.response.status_code
        if code in {401, 403}:
            return DeniedError(f"The server refused {url} ({code}). {_KEYS}")
        return UnavailableError(f"There is no such socket on the server: {url} ({code})")
    if isinstance(error, ConnectionClosed) and error.rcvd is not None:
        said = error.rcvd.reason or "no reason given"
        if error.rcvd.code == 1008:
            return DeniedError(f"The server closed {url}: {said}. {_KEYS}")
        if error.rcvd.code in {1002, 1003, 1007}:
            return InputError(f"The server did not understand what was sent to {url}: {said}")
    return None


_KEYS = "Set RIVERRUN_API_KEY or RIVERRUN_API_AUTH_STRING to what it asks for."


def _decoded(frame: str | bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(frame)
    except msgspec.DecodeError:
        answer = None
    return answer if isinstance(answer, dict) else {}


# -- what is said -----------------------------------------------------------------------------------------------------------


class _Feed(Generic[T]):
    """One subscription, without I/O: the messages to send and what to make of those that come."""

    def __init__(self, path: str, kind: str, item: type[T], filter: Mapping[str, Any]) -> None:
        self.path = path
        self._kind = kind
        self._item = item
        self._filter = filter
        self._seen: OrderedDict[UUID, None] = OrderedDict()
        self._since: datetime | None = None
        self._latest: datetime | None = None

    def filter_message(self) -> str:
        """What is wanted; of events also those that came while there was no connection."""
        message: dict[str, Any] = {"type": "filter", "filter": dict(self._filter)}
        if self._kind == "event":
            message["backfill"] = True
            message["filter"]["occurred"] = self._occurred()
        return encode(message).decode()

    def begin(self) -> None:
        """What happens from now on is wanted, though the connection is made later."""
        if self._since is None:
            self._since = _instant((self._filter.get("occurred") or {}).get("since")) or now()

    def _occurred(self) -> dict[str, Any]:
        given = self._filter.get("occurred") or {}
        self.begin()
        assert self._since is not None
        since = self._since if self._latest is None else max(self._since, self._latest - _OVERLAP)
        return {"since": since, "until": given.get("until") or now() + _AHEAD}

    def take(self, frame: str | bytes) -> T | None:
        """What came, if it did not come before and is of our kind."""
        message = _decoded(frame)
        if message.get("type") != self._kind:
            return None
        item: T = msgspec.convert(message.get(self._kind), self._item, strict=False)
        if item.id in self._seen:
            return None
        self._seen[item.id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if not isinstance(item, Log) and (self._latest is None or item.occurred > self._latest):
            self._latest = item.occurred
        return item


def _instant(given: Any) -> datetime | None:
    return None if given is None else msgspec.convert(given, datetime, strict=False)


def _fields(filter: Any) -> dict[str, Any]:
    """A filter as the fields that are set of it."""
    return cast("dict[str, Any]", msgspec.json.decode(encode({} if filter is None else filter)))


# -- subscribers ------------------------------------------------------------------------------------------------------------


class _Subscriber(Generic[T]):
    """What both subscribers know: their feed, where it is, and how often a broken connection is made again."""

    def __init__(
        self,
        feed: _Feed[T],
        reconnection_attempts: int = 10,
        reconnect_on_clean_close: bool = False,
        api_url: str | None = None,
    ) -> None:
        self._feed = feed
        self._attempts = reconnection_attempts
        self._again_when_closed = reconnect_on_clean_close
        self._api_url = api_url
        self._failed = 0
        self._closed = False

    def _ended(self) -> bool:
        return self._closed

    def _delay(self, error: BaseException | None, url: str) -> float:
        """Seconds to wait before the next connection; raises when there shall be none."""
        problem = None if error is None else connection_problem(error, url)
        if problem is not None:
            raise problem from error
        self._failed += 1
        if self._failed > self._attempts:
            raise UnavailableError(
                f"The stream {url} broke {self._failed} times in a row: {error or 'closed by the server'}. "
                "Is the server running, and can it be reached from here?"
            ) from error
        return min(0.1 * 2.0 ** (self._failed - 1), 10.0)


class Subscriber(_Subscriber[T]):
    """Iterates over what comes; a broken connection is made again. Use it in a `with` block; `close` ends an iteration."""

    _connection: "Connection | None" = None

    def __enter__(self) -> Self:
        self._feed.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration; may be called from another thread."""
        self._closed = True
        connection = self._connection
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def __iter__(self) -> Iterator[T]:
        from websockets.exceptions import WebSocketException

        while not self._ended():
            url = socket_url(self._api_url or ensure_api_url(), self._feed.path)
            error: BaseException | None = None
            try:
                yield from self._items(url)
                if not self._again_when_closed:
                    return
            except (OSError, WebSocketException) as problem:
                if self._ended():
                    return
                error = problem
            time.sleep(self._delay(error, url))

    def _items(self, url: str) -> Iterator[T]:
        from websockets.exceptions import ConnectionClosedOK
        from websockets.sync.client import connect

        with connect(url, **options(url)) as connection:
            self._connection = connection
            connection.send(auth_message())
            check_auth(connection.recv(timeout=settings().api_request_timeout or None))
            connection.send(self._feed.filter_message())
            try:
                while not self._ended():
                    item = self._feed.take(connection.recv())
                    self._failed = 0
                    if item is not None:
                        yield item
            except ConnectionClosedOK as closed:
                _unless_left(closed)


class AsyncSubscriber(_Subscriber[T]):
    """As `Subscriber`, for `async with` and `async for`."""

    _items_iterator: AsyncGenerator[T, None] | None = None

    async def __aenter__(self) -> Self:
        self._feed.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._items_iterator is not None:
            await self._items_iterator.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._items_iterator is None:
            self._items_iterator = self._stream()
        return await anext(self._items_iterator)

    async def _stream(self) -> AsyncGenerator[T, None]:
        import asyncio

        from websockets.exceptions import WebSocketException

        while not self._ended():
            base = self._api_url
            if base is None:
                base = await in_thread(ensure_api_url)
            url = socket_url(base, self._feed.path)
            error: BaseException | None = None
            try:
                async with aclosing(self._items(url)) as items:
                    async for item in items:
                        yield item
                if not self._again_when_closed:
                    return
            except (OSError, WebSocketException) as problem:
                if self._ended():
                    return
                error = problem
            await asyncio.sleep(self._delay(error, url))

    async def _items(self, url: str) -> AsyncGenerator[T, None]:
        import asyncio

        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosedOK

        async with connect(url, **options(url)) as connection:
            await connection.send(auth_message())
            check_auth(await asyncio.wait_for(connection.recv(), settings().api_request_timeout or None))
            await connection.send(self._feed.filter_message())
            try:
                while not self._ended():
                    item = self._feed.take(await connection.recv())
                    self._failed = 0
                    if item is not None:
                        yield item
            except ConnectionClosedOK as closed:
                _unless_left(closed)


def _unless_left(closed: Any) -> None:
    """A server that says good-bye because it goes (1001) comes back: that is no end of the stream."""
    if closed.rcvd is not None and closed.rcvd.code == 1001 and closed.rcvd_then_sent:
        raise ConnectionResetError("the server goes away") from closed


def _logs(filter: LogFilter | Mapping[str, Any] | None) -> _Feed[Log]:
    return _Feed("/logs/out", "log", Log, _fields(filter))


def _events(filter: EventFilter | Mapping[str, Any] | None, item: type[Any]) -> _Feed[Any]:
    return _Feed("/events/out", "event", item, _fields(filter))


def subscribe_events(
    filter: EventFilter | Mapping[str, Any] | None = None,
    item: type[E] = ReceivedEvent,  # type: ignore[assignment] # who says nothing gets those
    **settings: Any,
) -> Subscriber[E]:
    """The events that pass the filter, from `filter.occurred.since` (default: now) on, each once, as `item`s."""
    return Subscriber(_events(filter, item), **settings)


def asubscribe_events(
    filter: EventFilter | Mapping[str, Any] | None = None,
    item: type[E] = ReceivedEvent,  # type: ignore[assignment] # who says nothing gets those
    **settings: Any,
) -> AsyncSubscriber[E]:
    """As `subscribe_events`, for async code."""
    return AsyncSubscriber(_events(filter, item), **settings)


def subscribe_logs(filter: LogFilter | Mapping[str, Any] | None = None, **settings: Any) -> Subscriber[Log]:
    """The log lines that pass the filter, from now on. Lines that come while a connection is broken are not made up for."""
    return Subscriber(_logs(filter), **settings)


def asubscribe_logs(filter: LogFilter | Mapping[str, Any] | None = None, **settings: Any) -> AsyncSubscriber[Log]:
    """As `subscribe_logs`, for async code."""
    return AsyncSubscriber(_logs(filter), **settings)
