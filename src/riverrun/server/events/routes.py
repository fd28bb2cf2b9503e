"""Events over HTTP and sockets."""

import asyncio

import msgspec

from riverrun.server.events.intake import incoming, intake_of
from riverrun.server.http import bodies
from riverrun.server.http.errors import InvalidRequest
from riverrun.server.http.sockets import PROTOCOL_ERROR, TRY_AGAIN, UNSUPPORTED, Ping, Socket, SocketClosed, accept
from riverrun.server.http.table import Call, Routes
from riverrun.wire.events import Event

routes = Routes("/events", "Events")
#: events of one socket that are not committed yet, at most
_AHEAD = 2000
_each = msgspec.json.Decoder(list[msgspec.Raw]).decode


@routes.post("", permission="events:write", status=204, body=list[Event])
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
    """Take events in as they come. A ping is answered when everything before it is committed."""
    try:
        socket = await accept(call)
        socket.defer_pings()
        await _take_all(call, socket)
    except SocketClosed:
        return


async def _take_all(call: Call, socket: Socket) -> None:
    intake = intake_of(call)
    last: asyncio.Future[None] | None = None
    ahead = 0
    while True:
        message = await socket.receive()
        if isinstance(message, Ping) or ahead >= _AHEAD:
            if last is not None and not await _committed(socket, last):
                return
            ahead, last = 0, None
        if isinstance(message, Ping):
            socket.pong(message)
            continue
        try:
            last = intake.add(call.caller, incoming(message.encode()))
        except msgspec.ValidationError as error:
            await socket.close(UNSUPPORTED, f"Not an event: {error}")
            return
        except (msgspec.DecodeError, ValueError) as error:
            await socket.close(PROTOCOL_ERROR, f"Not JSON: {error}")
            return
        ahead += 1


async def _committed(socket: Socket, last: "asyncio.Future[None]") -> bool:
    """Wait for the commit; when it failed the socket is closed, and the client sends again."""
    try:
        await asyncio.shield(last)
    except Exception:  # noqa: BLE001 - whatever kept the events out; the log of the store's own error is the loop's
        await socket.close(TRY_AGAIN, "The events could not be stored now; send them again.")
        return False
    return True
