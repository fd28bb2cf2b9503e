"""Events over HTTP and sockets."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import msgspec

from riverrun.base.clock import now
from riverrun.base.errors import InputError
from riverrun.server.events import counting, queries
from riverrun.server.events.intake import incoming, intake_of
from riverrun.server.events.stream import serve_stream
from riverrun.server.http import bodies
from riverrun.server.http.errors import HTTPError, InvalidRequest
from riverrun.server.http.sockets import PROTOCOL_ERROR, TRY_AGAIN, UNSUPPORTED, Ping, Socket, SocketClosed, accept
from riverrun.server.http.table import Call, Routes
from riverrun.wire.choices import Countable
from riverrun.wire.events import Event, EventCount, EventPage
from riverrun.wire.filters import EventFilter, EventOccurredFilter
from riverrun.wire.requests import EventsCountByBody, EventsFilterBody

routes = Routes("/events", "Events")
#: events of one socket that are not committed yet, at most
_AHEAD = 2000
#: without a beginning a list goes back so far
_LOOK_BACK = timedelta(days=180)
_LONGEST = 50
_each = msgspec.json.Decoder(list[msgspec.Raw]).decode


@routes.post("", permission="events:write", status=204, body=list[Event], raw_media_type="application/json")
async def create_events(call: Call, raw_body: bytes) -> None:
    """Take events in."""
    bodies.check(raw_body)
    try:
        parts = _each(raw_body)
    except msgspec.ValidationError as error:
        raise bodies.invalid(error, raw_body) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(("body",), f"The body is not JSON: {error}", "json_invalid") from None
    events = []
    for index, part in enumerate(parts):
        try:
            events.append(incoming(bytes(part)))
        except msgspec.ValidationError as error:
            message, loc = bodies.located(str(error))
            raise InvalidRequest(("body", index, *loc), message) from None
    intake = intake_of(call)
    done = None
    for event in events:
        done = intake.add(call.caller, event)
    if done is not None:
        await done


@routes.socket("/in", permission="events:write")
async def stream_events_in(call: Call) -> None:
    """Take events in as they come. A ping, and the client's good-bye, are answered when everything before is committed."""
    try:
        socket = await accept(call)
        socket.defer_pings()
        await _take_all(call, socket)
    except SocketClosed:
        return


async def _take_all(call: Call, socket: Socket) -> None:
    intake = intake_of(call)
    # every transaction on the way: one that fails must not hide behind the next one that does not
    waiting: list[asyncio.Future[None]] = []
    ahead = 0
    while True:
        try:
            message = await socket.receive()
        except SocketClosed:
            if await _committed(socket, waiting):
                socket.part()
            raise
        if isinstance(message, Ping) or ahead >= _AHEAD:
            if not await _committed(socket, waiting):
                return
            ahead = 0
            waiting.clear()
        if isinstance(message, Ping):
            socket.pong(message)
            continue
        try:
            added = intake.add(call.caller, incoming(message.encode()), patient=True)
        except msgspec.ValidationError as error:
            await socket.close(UNSUPPORTED, f"Not an event: {error}")
            return
        except (msgspec.DecodeError, ValueError) as error:
            await socket.close(PROTOCOL_ERROR, f"Not JSON: {error}")
            return
        ahead += 1
        if not waiting or waiting[-1] is not added:
            waiting.append(added)


async def _committed(socket: Socket, waiting: Sequence["asyncio.Future[None]"]) -> bool:
    """Wait for the commits; when one failed the socket is closed, and the client sends again."""
    try:
        for each in waiting:
            await asyncio.shield(each)
    except Exception:  # noqa: BLE001 - whatever kept the events out; the log of the store's own error is the loop's
        await socket.close(TRY_AGAIN, "The events could not be stored now; send them again.")
        return False
    return True


# -- reading ------------------------------------------------------------------------------------------------------------------


class PageToken(msgspec.Struct):
    """Where the next page of a list begins."""

    filter: EventFilter
    limit: int
    after: queries.Position


_token = msgspec.msgpack.Decoder(PageToken).decode


@routes.post("/filter", permission="events:read", returns=EventPage)
async def read_events(call: Call, body: EventsFilterBody) -> EventPage:
    """Find events, newest first unless the filter says otherwise."""
    filter = body.filter or EventFilter()
    today = now()
    filter.occurred = EventOccurredFilter(
        since=filter.occurred.since or today.replace(hour=0, minute=0, second=0, microsecond=0) - _LOOK_BACK,
        until=filter.occurred.until or today,
    )
    return await _page(call, filter, body.limit)


@routes.get(
    "/filter/next", permission="events:read", returns=EventPage, errors=(403,), aliases={"page_token": "page-token"}
)
async def read_next_events(call: Call, page_token: str) -> EventPage:
    """The next page of a list."""
    try:
        token = _token(base64.urlsafe_b64decode(page_token.encode()))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise HTTPError(403, "The page token is not one of this server's.") from None
    return await _page(call, token.filter, min(max(token.limit, 0), _LONGEST), token.after)


async def _page(call: Call, filter: EventFilter, limit: int, after: queries.Position | None = None) -> EventPage:
    found = await call.store.read(partial(queries.page, filter=filter, limit=limit, after=after), call.caller)
    following = None
    if found.following is not None:
        token = msgspec.msgpack.encode(PageToken(filter, limit, found.following))
        url = f"{call.request.base_url}api/events/filter/next"
        following = f"{url}?page-token={base64.urlsafe_b64encode(token).decode()}"
    return EventPage(events=found.events, total=found.total, next_page=following)


@routes.post("/count-by/{countable}", permission="events:read", returns=list[EventCount])
async def count_events(call: Call, countable: Countable, body: EventsCountByBody) -> list[EventCount]:
    """Count events by time, name or resource."""
    try:
        return await call.store.read(partial(counting.count, body=body, countable=countable), call.caller)
    except InputError as error:
        raise InvalidRequest(("body", "time_interval"), str(error)) from None


@routes.socket("/out", permission="events:read")
async def stream_events_out(call: Call) -> None:
    """Stream events as they are committed, those that are there already first."""
    await serve_stream(call, "event")
