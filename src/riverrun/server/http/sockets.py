"""Sockets of the peer's protocol: opening with or without the word "prefect", the auth dance, messages, and orderly refusals.

Close codes: 1002 a message that is not JSON or out of turn, 1003 a message that is no text or not what was expected, 1008 who may
not; never 1011. What the client sent before it went away counts.
"""

import asyncio
from typing import Any

import msgspec

from riverrun.server.http import auth
from riverrun.server.http.bodies import is_too_deep

PROTOCOL_ERROR, UNSUPPORTED, NOT_ALLOWED, TRY_AGAIN = 1002, 1003, 1008, 1013
SUBPROTOCOL = "prefect"
#: a client that says nothing for so long before it is signed in is refused
_AUTH_SECONDS = 30.0
_REASON_BYTES = 120

_json = msgspec.json.Decoder().decode


class SocketClosed(Exception):
    """The socket is closed, by either side; the handler has nothing left to do."""


class Ping(msgspec.Struct, frozen=True):
    """A ping among the messages; `Socket.pong` answers it."""

    payload: bytes


class Socket:
    """An accepted socket. `receive` and `send` raise SocketClosed."""

    def __init__(self, websocket: Any) -> None:
        self._receive = websocket._receive
        self._send = websocket._send
        self._scope = websocket.scope
        self._open = True
        self._pings = websocket.scope.get("extensions", {}).get("riverrun.pings")

    def defer_pings(self) -> None:
        """From now on `receive` gives pings too, and nobody else answers them."""
        if self._pings is not None:
            self._pings.defer()

    def pong(self, ping: Ping) -> None:
        if self._pings is not None:
            self._pings.answer(ping.payload)

    def part(self) -> None:
        """Answer the closing handshake of a client whose pings are deferred: everything it sent is where it belongs."""
        if self._pings is not None:
            self._pings.part()

    async def receive(self) -> str | Ping:
        """The next text (or ping); a binary message closes the socket."""
        while True:
            message = await self._receive()
            kind = message["type"]
            if kind == "websocket.receive":
                text: str | None = message.get("text")
                if text is not None:
                    return text
                await self.close(UNSUPPORTED, "Only text messages are understood.")
                raise SocketClosed
            if kind == "riverrun.ping":
                return Ping(message["bytes"])
            if kind == "websocket.disconnect":
                self._open = False
                raise SocketClosed

    async def receive_object(self) -> dict[str, Any]:
        """The next message, a JSON object; anything else closes the socket."""
        while True:
            text = await self.receive()
            if isinstance(text, str):
                break
            self.pong(text)
        try:
            value = None if is_too_deep(text.encode()) else _json(text)
        except (msgspec.DecodeError, RecursionError, ValueError):
            value = None
        if isinstance(value, dict):
            return value
        await self.close(PROTOCOL_ERROR, "Expected a JSON object.")
        raise SocketClosed

    async def send(self, text: bytes | str) -> None:
        """Send a text."""
        if not self._open:
            raise SocketClosed
        try:
            await self._send({"type": "websocket.send", "text": text if isinstance(text, str) else text.decode()})
        except (OSError, RuntimeError) as error:  # the peer has gone
            self._open = False
            raise SocketClosed from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket, if it is still open."""
        if self._open:
            self._open = False
            short = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": short})
            except (OSError, RuntimeError):
                return

    async def wait_closed(self) -> None:
        """Return when the client has gone. Whatever it says until then is of no interest."""
        try:
            while True:
                message = await self.receive()
                if isinstance(message, Ping):
                    self.pong(message)
        except SocketClosed:
            return


async def accept(call: Any) -> Socket:
    """Accept the socket of a Call and let the client sign in; raises SocketClosed when it was refused."""
    websocket = call.request
    socket = Socket(websocket)
    credentials: frozenset[str] = call.state.get("credentials", frozenset())
    await socket._receive()
    if SUBPROTOCOL not in websocket.scope.get("subprotocols", ()):
        if credentials:
            await socket.close(NOT_ALLOWED, "Offer the subprotocol 'prefect' and sign in.")
            raise SocketClosed
        await websocket._send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        return socket
    await websocket._send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": []})
    try:
        async with asyncio.timeout(_AUTH_SECONDS):
            message = await socket.receive_object()
    except TimeoutError:
        await socket.close(NOT_ALLOWED, "Expected 'auth' message")
        raise SocketClosed from None
    if message.get("type") != "auth":
        await socket.close(NOT_ALLOWED, "Expected 'auth' message")
        raise SocketClosed
    token = message.get("token")
    if not auth.accepts(credentials, token if isinstance(token, str) else None):
        await socket.close(NOT_ALLOWED, "Invalid token" if token else "Auth required but no token provided")
        raise SocketClosed
    await socket.send(b'{"type":"auth_success"}')
    return socket
