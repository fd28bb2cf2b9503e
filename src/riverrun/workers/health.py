"""`GET /health` of a worker: 200 while the server answers its claims and signs of life, 503 when it has not for a while."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


class Health:
    """The page, in a thread of its own. Only this machine can ask for it unless told otherwise."""

    def __init__(self, health: Callable[[], tuple[bool, dict[str, Any]]], port: int, host: str = "127.0.0.1") -> None:
        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/health":
                    status, body = 404, b'{"detail": "Ask for /health."}'
                else:
                    well, facts = health()
                    status = 200 if well else 503
                    body = msgspec.json.encode({"status": "OK" if well else "UNAVAILABLE", **facts})
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Page)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="riverrun-health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
