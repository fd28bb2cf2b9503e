"""What a worker and its processes say to each other: short documents on a Unix socket, file descriptors beside them.

A frame is the length of a msgpack document and the document. Descriptors ride on its first byte.
"""

import array
import socket
import struct
from typing import Any, Final

import msgspec

_LENGTH: Final = struct.Struct(">I")
_MOST_DESCRIPTORS: Final = 16
_READ: Final = 65_536
_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Gone(Exception):
    """The other side has closed its end, or has ended."""


def frame(message: dict[str, Any]) -> bytes:
    document = _encode(message)
    return _LENGTH.pack(len(document)) + document


def send(sock: socket.socket, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
    """Send a message; blocks until the other side has room for it. Raises Gone."""
    data = memoryview(frame(message))
    try:
        if descriptors:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())]
            data = data[sock.sendmsg([data], rights) :]
        sock.sendall(data)
    except OSError as error:
        raise Gone(str(error)) from error


class Inbox:
    """Puts frames together from what a socket gives, with the descriptors that came along, both in order."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.descriptors: list[int] = []

    def read(self, sock: socket.socket) -> None:
        """Read once. Raises Gone at the end, BlockingIOError where nothing is there."""
        try:
            data, ancillary, _, _ = sock.recvmsg(_READ, socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4), _CLOSE_ON_EXEC)
        except BlockingIOError:
            raise
        except OSError as error:
            raise Gone(str(error)) from error
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(rights[: len(rights) - len(rights) % received.itemsize])
                self.descriptors += received
        if not data:
            raise Gone("the other side has closed")
        self._data += data

    def take(self) -> dict[str, Any] | None:
        """The next message that is complete."""
        if len(self._data) < _LENGTH.size:
            return None
        end = _LENGTH.size + int(_LENGTH.unpack_from(self._data)[0])
        if len(self._data) < end:
            return None
        message: dict[str, Any] = _decode(self._data[_LENGTH.size : end])
        del self._data[:end]
        return message

    def wait(self, sock: socket.socket) -> dict[str, Any]:
        """The next message, as soon as it is there. Raises Gone."""
        while (message := self.take()) is None:
            self.read(sock)
        return message
