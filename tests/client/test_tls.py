"""A server behind TLS whose certificate no authority knows."""

import asyncio
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.sync.server import ServerConnection, serve

from riverrun.base import errors
from riverrun.base.config import temporary_settings
from riverrun.client.calls.admin import read_health
from riverrun.client.http import asend, send
from riverrun.client.orchestration import get_client
from riverrun.client.sockets import subscribe_logs


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """The certificate's file, and what a server needs to show it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "riverrun test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


@pytest.fixture
def secured(certificate: tuple[Path, ssl.SSLContext]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that do not trust it hang up."""

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = certificate[1].wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}/api"
    with temporary_settings({"api_url": url, "client_max_retries": 0}):
        yield url
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_certificate_that_nobody_vouches_for(secured: str) -> None:
    with pytest.raises(errors.UnavailableError, match="not trusted: .*RIVERRUN_API_SSL_CERT_FILE"):
        send(read_health())


@pytest.mark.parametrize("way", ["file", "unchecked"])
def test_who_is_trusted_is_a_setting(secured: str, certificate: tuple[Path, ssl.SSLContext], way: str) -> None:
    trust: dict[str, Any] = {
        "file": {"api_ssl_cert_file": certificate[0]},
        "unchecked": {"api_tls_insecure_skip_verify": True},
    }
    with temporary_settings(trust[way]):
        assert send(read_health()) is True
        assert asyncio.run(asend(read_health())) is True
        with get_client(sync_client=True, httpx_settings={"timeout": 5}) as client:
            assert client.api_healthcheck() is None
    with pytest.raises(errors.UnavailableError):
        send(read_health())


def test_a_file_without_certificates(secured: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with (
        temporary_settings({"api_ssl_cert_file": tmp_path / "empty.pem"}),
        pytest.raises(errors.ConfigurationError, match="RIVERRUN_API_SSL_CERT_FILE"),
    ):
        send(read_health())


@pytest.mark.parametrize("way", ["file", "unchecked"])
def test_sockets(certificate: tuple[Path, ssl.SSLContext], way: str) -> None:
    line = {"id": f"{0:032x}", "name": "n", "level": 20, "message": "hi", "timestamp": "2026-01-01T00:00:00Z"}

    def talk(connection: ServerConnection) -> None:
        connection.recv()
        connection.send('{"type": "auth_success"}')
        connection.recv()
        connection.send(json.dumps({"type": "log", "log": line}))
        connection.close()

    trust: dict[str, Any] = {
        "file": {"api_ssl_cert_file": certificate[0]},
        "unchecked": {"api_tls_insecure_skip_verify": True},
    }
    with serve(talk, "127.0.0.1", 0, subprotocols=["prefect"], ssl=certificate[1]) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{server.socket.getsockname()[1]}/api"
        with temporary_settings({"api_url": url, **trust[way]}):
            assert [each.message for each in subscribe_logs()] == ["hi"]
        server.shutdown()
        thread.join(5)
