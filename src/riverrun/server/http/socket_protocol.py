"""The WebSocket protocol of uvicorn, with pongs that can wait.

A client of `/events/in` takes a pong as the word that everything it sent before the ping has arrived. The socket's handler may
therefore ask to be told of pings in their place among the messages (`{"type": "riverrun.ping", "bytes": ...}`) and answer them
itself, through the extension `riverrun.pings` of the ASGI scope.
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
        """From now on pings come as messages."""
        self._protocol.conn.deferring = True

    def answer(self, payload: bytes) -> None:
        """Send the pong of a ping."""
        self._protocol.pong(payload)


class Protocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with `_Connection`."""

    conn: _Connection

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
