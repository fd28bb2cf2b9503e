"""Requests one by one: runs made and moved by eight clients at once, and a point read beside 200 waiting long polls."""

import asyncio
import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from bench import harness
from bench.harness import Figure, Options
from bench.servers import Server, server

CLIENTS, WAITING, READS = 8, 200, 500


def _client(api: str, runs: int) -> None:
    """Make runs and take each through Running to Completed: three requests a run."""
    where = urlsplit(api)
    connection = http.client.HTTPConnection(where.hostname or "", where.port)

    def post(path: str, body: dict) -> dict:
        connection.request("POST", f"{where.path}{path}", json.dumps(body), {"content-type": "application/json"})
        return json.loads(connection.getresponse().read())

    flow = post("/flows/", {"name": f"requests-{uuid.uuid4()}"})
    for _ in range(runs):
        run = post("/flow_runs/", {"flow_id": flow["id"]})
        for kind in ("RUNNING", "COMPLETED"):
            state = {"type": kind, "state_details": {"transition_id": str(uuid.uuid4())}}
            assert post(f"/flow_runs/{run['id']}/set_state", {"state": state})["status"] == "ACCEPT"


def _requests(one: Server, runs: int) -> tuple[float, float]:
    """Requests per second, and the server's CPU microseconds per request."""
    threads = [threading.Thread(target=_client, args=(one.api, runs)) for _ in range(CLIENTS)]
    before, started = one.cpu_seconds(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    number = CLIENTS * runs * 3
    return number / (time.perf_counter() - started), (one.cpu_seconds() - before) / number * 1e6


async def _read_beside_polls(api: str) -> float:
    """The 99th percentile of a point read, in milliseconds."""
    limits = httpx.Limits(max_connections=WAITING + 10)
    async with httpx.AsyncClient(base_url=api, timeout=60, limits=limits) as client:
        flow = (await client.post("/flows/", json={"name": "polls"})).json()
        run = (await client.post("/flow_runs/", json={"flow_id": flow["id"]})).json()
        body = [{"writer": str(uuid.uuid4()), "wait": 25} for _ in range(WAITING)]
        polls = [asyncio.create_task(client.post("/presence", json=one)) for one in body]
        await asyncio.sleep(3)
        spent = []
        for _ in range(READS):
            started = time.perf_counter()
            (await client.get(f"/flow_runs/{run['id']}")).raise_for_status()
            spent.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(0.005)
        if any(poll.done() for poll in polls):
            raise RuntimeError("a long poll has ended while the reads were timed")
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
    return sorted(spent)[READS * 99 // 100]


def figures(options: Options) -> Iterator[Figure]:
    """Both on one server over a new SQLite file."""
    with server("riverrun", options) as one:
        rate, cpu = _requests(one, 20 if options.quick else 100)
        yield Figure("flow runs made and set_state, 8 clients", rate, "/s", 800, at_least=True)
        yield Figure("  server's CPU per request", cpu, "us")
        yield Figure("point read beside 200 long polls, p99", asyncio.run(_read_beside_polls(one.api)), "ms", 50)


if __name__ == "__main__":
    harness.main(figures)
