"""The WebSocket protocol of uvicorn, with pongs and farewells that can wait.

A client of `/events/in` takes a pong as the word that everything it sent before the ping has arrived, and ends when its closing
handshake is answered. The socket's handler may therefore ask to be told of pings in their place among the messages
(`{"type": "riverrun.ping", "bytes": ...}`), and answer them and the end itself, through the extension `riverrun.pings` of the
ASGI scope.
"""

from collections import deque
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

#: messages of more bytes are refused (close code 1009)
MAX_BYTES = 1024 * 1024


class _Connection(ServerProtocol):
    """Keeps pings for the handler once it has asked for them."""

    deferring = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pings: deque[bytes] = deque()

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING and self.deferring:
            self.pings.append(bytes(frame.data))
            self.events.append(frame)
        else:
            super().recv_frame(frame)


class Pings:
    """What the handler of a socket does with pings."""

    def __init__(self, protocol: "Protocol") -> None:
        self._protocol = protocol

    def defer(self) -> None:
        """From now on pings come as messages, and the closing handshake is answered by `part`."""
        self._protocol.conn.deferring = True

    def answer(self, payload: bytes) -> None:
        """Send the pong of a ping."""
        self._protocol.pong(payload)

    def part(self) -> None:
        """Answer the client's closing handshake, if it has begun one."""
        self._protocol.part()


class Protocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with `_Connection`."""

    conn: _Connection
    #: the answer to the client's closing handshake, while it waits
    farewell = b""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        made = self.conn
        self.conn = _Connection(
            extensions=made.available_extensions, max_size=self.config.ws_max_size, logger=made.logger
        )

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.handshake_complete:
            extensions: Any = self.scope["extensions"]
            extensions["riverrun.pings"] = Pings(self)

    def handle_ping(self) -> None:
        while self.conn.pings:
            message: Any = {"type": "riverrun.ping", "bytes": self.conn.pings.popleft()}
            self.queue.put_nowait(message)
        super().handle_ping()

    def pong(self, payload: bytes) -> None:
        if self.conn.state is OPEN and not self.transport.is_closing():
            self.conn.send_pong(payload)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def handle_close(self, event: Frame) -> None:
        if not self.conn.deferring or self.close_sent or self.transport.is_closing():
            super().handle_close(event)
            return
        self.farewell = b"".join(self.conn.data_to_send())
        said = self.conn.close_rcvd
        assert said is not None
        message: Any = {"type": "websocket.disconnect", "code": said.code, "reason": said.reason}
        self.queue.put_nowait(message)

    def part(self) -> None:
        if self.farewell and not self.transport.is_closing():
            self.transport.write(self.farewell)
            self.transport.close()
