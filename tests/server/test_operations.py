"""Servers as processes: started, found, looked at, stopped; refused where they must be; and nothing acknowledged is lost."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
import websockets

from riverrun.client.location import running_server
from riverrun.server.db import schema
from tests.server.processes import Server, command, server
from tests.store.conftest import cluster, postgres_databases

__all__ = ["cluster", "postgres_databases"]

pytestmark = pytest.mark.timeout(120)
BACKENDS = [pytest.param("sqlite"), pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of an empty store; None: the SQLite file of the home."""
    if request.param == "sqlite":
        yield None
        return
    databases = request.getfixturevalue("postgres_databases")
    made = databases.create()
    yield made
    databases.drop(made)


def wait_until(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- start, find, stop ------------------------------------------------------------------------------------------------------


def test_a_server_lives_and_ends(tmp_path: Path, url: str | None) -> None:
    home = tmp_path / "home"
    with server(home, url=url) as running:
        found = running_server(home)
        assert found is not None
        assert (found["url"], found["pid"]) == (running.url, running.process.pid)
        with running.client() as api:
            assert api.get("/health").json() is True
            assert api.get("/ready").json() == {"ready": True, "message": "OK", "reasons": []}
            assert api.get("/admin/version").json() == "3.8.8"
            assert api.post("/flows/", json={"name": "kept"}).status_code == 201
        status = command(home, "server", "status", "--json")
        assert json.loads(status.stdout)["ready"] is True
        assert running.stop() == 0
        assert "The server has stopped.\n" in running.lines
        assert "Traceback" not in "".join(running.lines)
    assert running_server(home) is None
    assert command(home, "server", "status").returncode == 1
    if url is None:
        assert stat.S_IMODE((home / "riverrun.db").stat().st_mode) == 0o600
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with server(home, url=url) as again, again.client() as api:
        assert api.get("/flows/name/kept").status_code == 200
        assert again.stop(signal.SIGINT) == 0


def test_a_second_server_on_a_sqlite_file_is_refused(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        second = command(tmp_path, "server", "start", "--port", "0")
        assert second.returncode == 1
        assert f"process {running.process.pid} (server at {running.url})" in second.stderr
        assert running_server(tmp_path)["pid"] == running.process.pid
        elsewhere = command(
            tmp_path / "other", "server", "start", "--port", "0", url=f"sqlite:///{tmp_path}/riverrun.db"
        )
        assert "is held by process" in elsewhere.stderr
        assert running.stop() == 0


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = command(tmp_path, "server", "start", "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: Port {port} on 127.0.0.1 is already in use. Choose another with --port (0 takes a free one).\n"
    )
    assert running_server(tmp_path) is None


def test_background_stop_and_log(tmp_path: Path) -> None:
    assert command(tmp_path, "server", "stop").stdout == ""
    started = command(tmp_path, "server", "start", "--background", "--port", "0")
    assert started.returncode == 0, started.stderr
    found = running_server(tmp_path)
    try:
        assert f"riverrun serves {found['url']} in the background (process {found['pid']}" in started.stdout
        assert httpx.get(f"{found['url']}/api/health").json() is True
        again = command(tmp_path, "server", "start", "--background", "--port", "0")
        assert (again.returncode, again.stderr.split(" (")[0]) == (
            1, f"Error: A server of this home runs already: {found['url']}",
        )  # fmt: skip
        assert command(tmp_path, "server", "status", "--wait", "--timeout", "10").returncode == 0
    finally:
        stopped = command(tmp_path, "server", "stop")
    assert stopped.returncode == 0
    assert running_server(tmp_path) is None
    with pytest.raises(ProcessLookupError):
        os.kill(found["pid"], 0)
    assert "The server has stopped." in (tmp_path / "server.log").read_text()


def test_a_failed_start_in_the_background_says_why(tmp_path: Path) -> None:
    failed = command(tmp_path, "server", "start", "-b", "--port", "0", url="postgresql://nobody@127.0.0.1:1/none")
    assert failed.returncode == 1
    assert "The server did not start. The store postgresql" in failed.stderr
    assert "cannot be used" in failed.stderr


def test_an_idle_server_ends_by_itself(tmp_path: Path) -> None:
    with server(tmp_path, "--idle-seconds", "1") as running:
        running.wait_for("Nobody has asked anything for 1 s")
        assert running.process.wait(10) == 0


def test_what_an_open_request_keeps_alive(tmp_path: Path) -> None:
    with server(tmp_path, "--idle-seconds", "1") as running, running.client() as api:
        with socket.create_connection(tuple_of(running.url)) as half:
            half.sendall(
                b"POST /api/flows/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
            )
            time.sleep(1.5)  # longer than the idle time: the request is under way
            half.sendall(b'{"name": "slow"')
            assert api.get("/health").status_code == 200


def tuple_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


# -- a graceful end ----------------------------------------------------------------------------------------------------------


def test_what_is_acknowledged_is_kept_and_waits_end_at_once(tmp_path: Path, url: str | None) -> None:
    """Clients write while the server is told to stop: every acknowledged flow is there afterwards."""
    acknowledged: list[str] = []
    with server(tmp_path, url=url) as running:
        stopping = threading.Event()

        def write(number: int) -> None:
            with running.client() as api:
                for index in range(10_000):
                    try:
                        answer = api.post("/flows/", json={"name": f"f{number}-{index}"})
                    except httpx.TransportError:
                        return
                    if answer.status_code != 201:
                        assert stopping.is_set(), answer.text
                        assert answer.status_code == 503, answer.text
                        return
                    acknowledged.append(f"f{number}-{index}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) > 50)
        stopping.set()
        before = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - before < 15
        for thread in threads:
            thread.join()
        assert "Traceback" not in "".join(running.lines)
    with server(tmp_path, url=url) as again, again.client() as api:
        for name in acknowledged:
            assert api.get(f"/flows/name/{name}").status_code == 200


def test_long_polls_end_at_once(tmp_path: Path) -> None:
    async def scenario(running: Server) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"{running.url}/api", timeout=30) as api:
            waiting = asyncio.create_task(api.post("/presence", json={"writer": str(uuid4()), "wait": 25}))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            assert await asyncio.to_thread(running.stop) == 0
            return await waiting

    with server(tmp_path) as running:
        before = time.monotonic()
        answer = asyncio.run(scenario(running))
        assert time.monotonic() - before < 15
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("path", ["events/out", "logs/out", "events/in"])
def test_sockets_end_at_once(tmp_path: Path, path: str) -> None:
    async def scenario(running: Server) -> int | None:
        address = f"{running.url.replace('http', 'ws')}/api/{path}"
        async with websockets.connect(address, subprotocols=["prefect"]) as socket:
            await socket.send('{"type": "auth", "token": null}')
            assert json.loads(await socket.recv()) == {"type": "auth_success"}
            if path.endswith("out"):
                await socket.send('{"type": "filter", "filter": {}}')
            assert await asyncio.to_thread(running.stop) == 0
            await asyncio.wait_for(socket.wait_closed(), 5)
            return socket.close_code

    with server(tmp_path) as running:
        before = time.monotonic()
        assert asyncio.run(scenario(running)) in {1001, 1012}
        assert time.monotonic() - before < 15
        assert "Traceback" not in "".join(running.lines)


# -- workers, services, database ---------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_workers_share_a_port_and_are_replaced(tmp_path: Path, postgres_databases) -> None:
    url = postgres_databases.create()
    try:
        with server(tmp_path, "--workers", "2", url=url) as running:
            with running.client() as api:
                assert api.get("/health").json() is True
            wait_until(lambda: len(children_of(running.process.pid)) == 2)
            children = children_of(running.process.pid)
            os.kill(children[0], signal.SIGKILL)
            running.wait_for(f"Worker {children[0]} ended with -9")
            wait_until(lambda: len(set(children_of(running.process.pid)) - {children[0]}) == 2)
            with running.client() as api:
                assert api.post("/flows/", json={"name": "x"}).status_code == 201
            last = children_of(running.process.pid)
            assert running.stop() == 0
            wait_until(lambda: not any(is_alive(pid) for pid in last))
    finally:
        postgres_databases.drop(url)


@pytest.mark.postgres
def test_workers_end_with_their_parent(tmp_path: Path, postgres_databases) -> None:
    url = postgres_databases.create()
    try:
        with server(tmp_path, "--workers", "2", url=url) as running:
            with running.client() as api:
                assert api.get("/health").json() is True
            wait_until(lambda: len(children_of(running.process.pid)) == 2)
            orphans = children_of(running.process.pid)
            running.stop(signal.SIGKILL)
            wait_until(lambda: not any(is_alive(pid) for pid in orphans), 20)
    finally:
        postgres_databases.drop(url)


@pytest.mark.postgres
def test_more_workers_than_connections_are_refused(tmp_path: Path, postgres_databases) -> None:
    refused = command(tmp_path, "server", "start", "--port", "0", "--workers", "64", url=postgres_databases.url)
    assert refused.returncode == 1
    assert "64 workers take up to" in refused.stderr
    assert "max_connections" in refused.stderr


def children_of(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=,stat=", "--ppid", str(pid)], capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [int(row[0]) for row in rows if not row[1].startswith("Z")]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_sqlite_takes_one_worker(tmp_path: Path) -> None:
    refused = command(tmp_path, "server", "start", "--port", "0", "--workers", "2")
    assert refused.returncode == 2
    assert "Several workers need a PostgreSQL store" in refused.stderr


def test_the_database_is_kept(tmp_path: Path, url: str | None) -> None:
    assert command(tmp_path, "server", "database", "upgrade", "-y", url=url).returncode == 0
    assert command(tmp_path, "server", "database", "check", url=url).stdout == "Nothing is wrong.\n"
    with server(tmp_path, url=url) as running:
        with running.client() as api:
            api.post("/flows/", json={"name": "gone"})
        if url is None:
            held = command(tmp_path, "server", "database", "reset", "-y", url=url)
            assert "is held by process" in held.stderr
        assert running.stop() == 0
    assert command(tmp_path, "server", "database", "reset", "-y", url=url).returncode == 0
    with server(tmp_path, url=url) as running, running.client() as api:
        assert api.get("/flows/name/gone").status_code == 404
    older = command(tmp_path, "server", "database", "downgrade", "-y", url=url)
    assert older.returncode == 0, older.stderr
    revision = older.stderr.removeprefix("The tables are at ").strip(".\n")
    assert revision < schema.HEAD
    behind = command(tmp_path, "server", "database", "check", "--json", url=url)
    assert (behind.returncode, json.loads(behind.stdout)["revision"]) == (1, revision)
    assert command(tmp_path, "server", "database", "upgrade", url=url).stderr == (
        f"Upgraded from {revision} to {schema.HEAD}.\n"
    )
    unknown = command(tmp_path, "server", "database", "downgrade", "-y", "-r", "nothing", url=url)
    assert unknown.returncode == 2
    assert "There is no revision 'nothing'" in unknown.stderr


@pytest.mark.postgres
def test_services_run_apart(tmp_path: Path, postgres_databases) -> None:
    url = postgres_databases.create()
    try:
        with server(tmp_path, "--no-services", url=url) as running, running.client() as api:
            assert api.get("/ready").status_code == 200
            assert "riverrun_loop_passes_total" not in api.get("/metrics").text
            listed = json.loads(command(tmp_path, "server", "services", "ls", "--json").stdout)
            assert {"name", "interval", "doc"} == set(listed[0])
            apart = subprocess.Popen(
                [sys.executable, "-m", "riverrun", "server", "services", "start"],
                env=running.environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            with apart:
                assert apart.stdout.readline() == "The services run. Ctrl-C stops them.\n"
                with psycopg.connect(url, autocommit=True) as connection:
                    led = "SELECT count(*) FROM loop WHERE holder LIKE %s"
                    wait_until(lambda: connection.execute(led, (f"%:{apart.pid}:%",)).fetchone()[0] > 0)
                    apart.terminate()
                    assert apart.wait(15) == 0
                    still = "SELECT count(*) FROM loop WHERE lease_until > 0"
                    assert connection.execute(still).fetchone()[0] == 0  # given away, for the next one to take at once
            assert running.stop() == 0
    finally:
        postgres_databases.drop(url)


# -- what it tells -----------------------------------------------------------------------------------------------------------


def test_metrics_requests_and_log_lines(tmp_path: Path) -> None:
    with server(tmp_path, "--log-json", "--log-level", "debug") as running, running.client() as api:
        answer = api.post("/flows/", json={"name": "measured"})
        api.get("/flows/name/nobody")
        line = json.loads(running.wait_for(answer.headers["x-request-id"]))
        assert (line["message"], line["status"], line["logger"]) == ("POST /api/flows/", 201, "riverrun.server")
        page = api.get("/metrics").text
        assert httpx.get(f"{running.url}/metrics").status_code == 200
        assert 'riverrun_requests_total{method="POST",route="/api/flows/",status="201"} 1.0' in page
        assert 'riverrun_requests_total{method="GET",route="/api/flows/name/{name}",status="404"} 1.0' in page
        assert 'riverrun_request_seconds_bucket{le="+Inf",method="POST",route="/api/flows/"} 1.0' in page
        assert 'riverrun_writer_queue{queue="bulk"}' in page
        assert 'riverrun_loop_passes_total{loop="retention"}' in page
        assert "process_resident_memory_bytes" in page
        assert running.stop() == 0


@pytest.mark.postgres
def test_a_server_without_its_database_is_alive_and_not_ready(tmp_path: Path, postgres_databases) -> None:
    url = postgres_databases.create()
    with server(tmp_path, url=url) as running, running.client() as api:
        assert api.get("/ready").status_code == 200
        postgres_databases.drop(url)
        answer = api.get("/ready")
        assert answer.status_code == 503
        assert "The database does not answer" in answer.json()["message"]
        assert api.get("/health").status_code == 200
        refused = api.post("/flows/filter", json={})
        assert (refused.status_code, refused.headers.get("retry-after")) == (503, "1")
        assert running.stop() == 0
