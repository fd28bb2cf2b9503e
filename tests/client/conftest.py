"""Servers to send calls to: riverrun's own, and the peer's where `CONTRACT_PEER` names its executable.

`script` is a server that answers what a test has written down: for what a healthy server does not do.
"""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from riverrun.base.config import temporary_settings
from riverrun.client.orchestration import SyncRiverrunClient, get_client
from riverrun.server.serve import in_thread
from tests.store.conftest import sqlite_template

__all__ = ["sqlite_template"]

PEER = os.environ.get("CONTRACT_PEER")
SERVERS = [
    "riverrun",
    pytest.param(
        "peer",
        marks=[
            pytest.mark.skipif(PEER is None, reason="CONTRACT_PEER names no executable"),
            pytest.mark.timeout(90),  # it takes its time, and answers 503 while its database is busy
        ],
    ),
]


@pytest.fixture(scope="module", params=SERVERS)
def api_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's URL of a server that the tests of one module share."""
    home = tmp_path_factory.mktemp("server")
    if request.param == "peer":
        with _peer(home) as url:
            yield url
        return
    shutil.copy(request.getfixturevalue("sqlite_template"), home / "riverrun.db")
    with in_thread(f"sqlite:///{home / 'riverrun.db'}") as base:
        yield f"{base}/api"


@contextmanager
def _peer(home: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [str(PEER), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + 18
        while time.monotonic() < deadline and server.poll() is None:
            try:
                if httpx.get(f"{url}/health", timeout=2).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture
def at_server(api_url: str) -> Iterator[str]:
    """The settings name the server."""
    with temporary_settings({"api_url": api_url}):
        yield api_url


@pytest.fixture
def client(at_server: str) -> Iterator[SyncRiverrunClient]:
    with get_client(sync_client=True) as opened:
        yield opened


class Script:
    """What the scripted server answers, in order (the last one for ever), and what it was asked.

    An answer is (status, headers, body); None breaks the connection off.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes] | None] = [(200, {}, b"null")]
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""

    def next(self) -> tuple[int, dict[str, str], bytes] | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def script() -> Iterator[Script]:
    written = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            written.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            answer = written.next()
            if answer is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    written.url = f"http://127.0.0.1:{server.server_address[1]}/api"
    with temporary_settings({"api_url": written.url}):
        yield written
    server.shutdown()
    server.server_close()
    thread.join(5)
