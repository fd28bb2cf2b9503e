"""A TCP proxy that loses answers: the server has done what it was asked, and nobody hears of it."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Lossy:
    """Between clients and the server at `port`. Each answer is lost with the chance `loses`, and its connection with it.

    `spares_sockets`: what goes over a WebSocket gets through.
    """

    def __init__(self, port: int, seed: int) -> None:
        self._target = port
        self._random = random.Random(seed)  # noqa: S311 - moments, not secrets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._closing = False
        self.loses = 0.0
        self.spares_sockets = False
        #: answers that were lost
        self.lost = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                if self._closing:
                    client.close()
                    return
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                if self._closing:
                    return
                client.close()
                continue
            server.settimeout(None)
            self._open |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        spared = not answers
        with suppress(OSError):
            while data := source.recv(65536):
                spared = spared or (self.spares_sockets and data.startswith(b"HTTP/1.1 101"))
                if not spared and self._random.random() < self.loses:
                    self.lost += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._open.discard(end)

    def close(self) -> None:
        self._closing = True
        with suppress(OSError):  # wakes the thread that accepts
            socket.create_connection(self._listener.getsockname(), 1).close()
        self._listener.close()
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def lossy(port: int, seed: int) -> Iterator[Lossy]:
    made = Lossy(port, seed)
    try:
        yield made
    finally:
        made.close()
