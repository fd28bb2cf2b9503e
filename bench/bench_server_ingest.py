"""Journals and events over HTTP into a real server: task runs per second, the server's CPU time for each, and how long small
requests take meanwhile. SQLite and, where it is installed, PostgreSQL.

Bodies are made beforehand. Four clients send journals of 500 task runs with three states each; a fifth moves a flow run from
state to state.
"""

import asyncio
import http.client
import importlib.util
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import websockets

from bench import harness
from bench.bench_store import journal
from bench.harness import Figure, Options
from bench.servers import Server, server
from riverrun.base.ids import uuid7

CLIENTS = 4
TASKS = 500
_NAMES = ("Pending", "Running", "Completed")


@dataclass
class Client:
    """One keep-alive connection to a server."""

    api: str
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = urlsplit(self.api)
        self.path = parts.path
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def post(self, path: str, body: bytes, kind: str = "application/json") -> Any:
        started = time.perf_counter()
        self.connection.request("POST", self.path + path, body, {"content-type": kind})
        answer = self.connection.getresponse()
        document = answer.read()
        self.waits.append(time.perf_counter() - started)
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {document[:500]!r}")
        return json.loads(document) if document else None

    def post_json(self, path: str, body: Any) -> Any:
        return self.post(path, json.dumps(body).encode())


def bodies(number: int) -> list[bytes]:
    """Journals of writers of their own, as they are sent."""
    return [
        msgspec.msgpack.encode({"writer": uuid7().bytes, "records": journal(TASKS), "closed": True})
        for _ in range(number)
    ]


def _set_states(api: str, stop: threading.Event, waits: list[float]) -> None:
    """Move flow runs through their states, some hundred transitions a second at most, until told to stop."""
    client = Client(api)
    flow = client.post_json("/flows/", {"name": "bench"})["id"]
    while not stop.is_set():
        run = client.post_json("/flow_runs/", {"flow_id": flow})["id"]
        client.waits.clear()
        for kind in ("RUNNING", "COMPLETED"):
            client.post_json(f"/flow_runs/{run}/set_state", {"state": {"type": kind}})
            stop.wait(0.01)
        waits += client.waits


def measure(server_: Server, batches: int) -> tuple[float, float, list[float]]:
    """Task runs per second, the server's CPU time per task run (microseconds), and the waits of small requests."""
    prepared = [bodies(batches) for _ in range(CLIENTS)]
    for client_bodies in prepared:
        Client(server_.api).post("/journal", client_bodies.pop(), "application/x-msgpack")
    stop, waits = threading.Event(), []
    small = threading.Thread(target=_set_states, args=(server_.api, stop, waits))

    def send(client_bodies: list[bytes]) -> None:
        client = Client(server_.api)
        for body in client_bodies:
            client.post("/journal", body, "application/x-msgpack")

    senders = [threading.Thread(target=send, args=(client_bodies,)) for client_bodies in prepared]
    small.start()
    cpu, started = server_.cpu_seconds(), time.perf_counter()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    spent, used = time.perf_counter() - started, server_.cpu_seconds() - cpu
    stop.set()
    small.join()
    tasks = CLIENTS * (batches - 1) * TASKS
    return tasks / spent, used / tasks * 1e6, waits


def _report(run: UUID, flow_run: UUID, number: int, name: str, at: datetime) -> str:
    task_run = {
        "name": f"nothing-{number}",
        "task_key": "nothing-1a2b3c4d",
        "dynamic_key": str(number),
        "empirical_policy": {"max_retries": 0, "retry_delay_seconds": 0.0, "retries": 0, "retry_delay": 0},
        "tags": [],
        "labels": {"prefect.flow-run.id": str(flow_run)},
        "task_inputs": {},
        "run_count": 1,
        "flow_run_run_count": 1,
        "expected_start_time": at.isoformat(),
        "total_run_time": 0.0,
    }
    state = {"type": name.upper(), "name": name, "message": None, "state_details": {}}
    resource = {"prefect.resource.id": f"prefect.task-run.{run}", "prefect.orchestration": "client"}
    related = [{"prefect.resource.id": f"prefect.flow-run.{flow_run}", "prefect.resource.role": "flow-run"}]
    event = {
        "id": str(uuid7()),
        "occurred": at.isoformat(),
        "event": f"prefect.task-run.{name}",
        "resource": resource,
        "related": related,
        "payload": {"intended": {"from": None, "to": name.upper()}, "validated_state": state, "task_run": task_run},
    }
    return json.dumps(event)


async def _events(api: str, tasks: int) -> float:
    """Events per second over one socket, until the pong that says they are committed."""
    flow_run, now = uuid7(), datetime.now(UTC)
    frames = [
        _report(run, flow_run, number, name, now + timedelta(microseconds=number * 10 + step))
        for number, run in enumerate(uuid7() for _ in range(tasks))
        for step, name in enumerate(_NAMES)
    ]
    url = api.replace("http", "ws", 1) + "/events/in"
    async with websockets.connect(url, subprotocols=[websockets.Subprotocol("prefect")], ping_interval=None) as socket:
        await socket.send('{"type": "auth", "token": null}')
        await socket.recv()
        started = time.perf_counter()
        for number, frame in enumerate(frames, start=1):
            await socket.send(frame)
            if number % 700 == 0:
                await (await socket.ping())
        await (await socket.ping())
        return len(frames) / (time.perf_counter() - started)


def _of_store(name: str, options: Options, url: str | None, least: float) -> Iterator[Figure]:
    with server("riverrun", options, url) as running:
        best, cpu, waits = 0.0, 1e9, []
        for _ in range(2 if options.quick else 3):
            rate, used, some = measure(running, 6 if options.quick else 16)
            best, cpu = max(best, rate), min(cpu, used)
            waits += some
        yield Figure(f"task runs over HTTP, {name}", best, "/s", least, at_least=True)
        yield Figure(f"server's CPU per task run, {name}", cpu, "us", 1e6 / least)
        waits.sort()
        yield Figure(f"set_state meanwhile, p99, {name}", waits[int(len(waits) * 0.99)] * 1000, "ms", 25)
        tasks = 1_000 if options.quick else 5_000
        before, fastest = running.cpu_seconds(), 0.0
        for _ in range(3):
            fastest = max(fastest, asyncio.run(_events(running.api, tasks)))
        used = (running.cpu_seconds() - before) / (3 * 3 * tasks) * 1e6
        yield Figure(f"events over a socket, {name}", fastest, "/s", note=f"{used:.0f} us of the server's CPU each")
        yield Figure(f"server's CPU per event, {name}", used, "us", 100)


def figures(options: Options) -> Iterator[Figure]:
    yield from _of_store("SQLite", options, None, 10_000)
    spec = importlib.util.spec_from_file_location("postgres", harness.ROOT / "scripts" / "postgres.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018 - one fact
    postgres = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(postgres)
    if postgres.find() is not None:
        with postgres.cluster(durable=True) as url:
            yield from _of_store("PostgreSQL", options, url, 6_000)


if __name__ == "__main__":
    harness.main(figures)
