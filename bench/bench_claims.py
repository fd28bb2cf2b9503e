"""Claims with 100,000 runs waiting: how long one takes, and how soon a slot that comes free is in the next worker's hands.

Both over HTTP, from a process of its own, on SQLite and, where it is installed, on PostgreSQL.
"""

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from bench import harness
from bench.harness import Figure, Options
from bench.servers import Server, server

WAITING = 100_000


def fill(url: str, pool: str, number: int) -> None:
    """Put `number` runs that have been due for a while into the pool's queue, as copies of the one that is there."""
    import sqlalchemy as sa

    from riverrun.base.clock import now, to_micros
    from riverrun.base.ids import uuid7
    from riverrun.server.db import tables as t
    from riverrun.server.db.engine import open_database

    with open_database(url) as database, database.engine.begin() as connection:
        run = connection.execute(sa.select(t.flow_run).where(t.flow_run.c.work_queue_id.is_not(None))).mappings().one()
        state = connection.execute(sa.select(t.flow_run_state).where(t.flow_run_state.c.run_key == run["key"]))
        first = state.mappings().one()
        begin = to_micros(now()) - number * 1000
        for start in range(0, number, 5000):
            runs, states = [], []
            for n in range(start, min(start + 5000, number)):
                key, due = run["key"] + 1 + n, begin + n // 10
                times = {"expected_start_time": due, "next_scheduled_start_time": due}
                # Late, as runs become that wait for long
                runs.append({**run, "key": key, "id": uuid7(), "name": f"run {n}", "state_name": "Late", **times})
                states.append({**first, "run_key": key, "id": uuid7(), "name": "Late"})
            connection.execute(sa.insert(t.flow_run), runs)
            connection.execute(sa.insert(t.flow_run_state), states)
        if database.path is None:
            top = run["key"] + number + 1
            connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('flow_run', 'key'), {top})"))
            connection.execute(sa.text("ANALYZE flow_run")) if number > 1000 else None


class Client:
    """A worker of one pool."""

    def __init__(self, base: str) -> None:
        import httpx

        from riverrun.base.ids import uuid7

        self.http = httpx.Client(base_url=f"{base}/api", timeout=30)
        self.worker = str(uuid7())

    def post(self, path: str, **body: Any) -> Any:
        answer = self.http.post(path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deploy(self, pool: str, **fields: Any) -> str:
        self.post("/work_pools/", name=pool, type="process")
        flow = self.post("/flows/", name=f"flow of {pool}")["id"]
        return str(self.post("/deployments/", name="d", flow_id=flow, work_pool_name=pool, **fields)["id"])

    def run(self, deployment: str) -> str:
        due = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
        return str(self.post(f"/deployments/{deployment}/create_flow_run", state=state)["id"])

    def claim(self, pool: str, *, limit: int = 1, wait: float = 0.0) -> list[str]:
        body = {"worker": self.worker, "name": "bench", "limit": limit, "wait": wait}
        return [one["flow_run"]["id"] for one in self.post(f"/work_pools/{pool}/claim", **body)["claims"]]


def measure(url: str, served: Server, claims: int) -> dict[str, list[float]]:
    """Seconds of single claims, with the server's own share of them (CPU), and from the end of a run to the answer of the claim
    that waits for its slot."""
    base = served.api.removesuffix("/api")
    client = Client(base)
    client.run(client.deploy("many"))
    fill(url, "many", WAITING)
    client.claim("many", limit=10)
    taken, cpu = [], served.cpu_seconds()
    for _ in range(claims):
        started = time.perf_counter()
        assert client.claim("many")
        taken.append(time.perf_counter() - started)
    own = (served.cpu_seconds() - cpu) / claims
    handed: dict[str, list[float]] = {"deployment": [], "queue": []}
    for what, times in handed.items():
        one = client.deploy(what, **({"concurrency_limit": 1} if what == "deployment" else {}))
        if what == "queue":
            client.http.patch(f"/work_pools/{what}/queues/default", json={"concurrency_limit": 1}).raise_for_status()
        for _ in range(21):
            client.run(one)
        (holder,) = client.claim(what, limit=5)
        other = Client(base)
        with ThreadPoolExecutor(1) as threads:
            for _ in range(20):
                waiting = threads.submit(
                    lambda what=what, other=other: (other.claim(what, wait=20), time.perf_counter())
                )
                time.sleep(0.1)  # until it waits
                client.post(f"/flow_runs/{holder}/set_state", state={"type": "COMPLETED"})
                ended = time.perf_counter()
                (holder,), got = waiting.result()
                times.append(got - ended)
    return {"claim": taken, "cpu": [own], **handed}


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _figures(name: str, url: str, options: Options) -> Iterator[Figure]:
    with server("riverrun", options, url) as served:
        found = measure(url, served, 100 if options.quick else 500)
    claims, slots = found["claim"], found["deployment"] + found["queue"]
    own = f"CPU of the server {found['cpu'][0] * 1e3:.1f} ms each"
    middle = f"p50 {statistics.median(claims) * 1e3:.1f} ms, worst {max(claims) * 1e3:.1f} ms, {own}"
    yield Figure(
        f"a claim, {WAITING:,} runs waiting, {name}, p95", _percentile(claims, 0.95) * 1e3, "ms", 10, note=middle
    )
    middle = f"p50 {statistics.median(slots) * 1e3:.1f} ms"
    yield Figure(f"a free slot to the next worker, {name}, p95", _percentile(slots, 0.95) * 1e3, "ms", 50, note=middle)


def figures(options: Options) -> Iterator[Figure]:
    """On both databases."""
    with tempfile.TemporaryDirectory(prefix="bench-claims-") as home:
        yield from _figures("SQLite", f"sqlite:///{home}/riverrun.db", options)
    spec = importlib.util.spec_from_file_location("postgres", harness.ROOT / "scripts" / "postgres.py")
    assert spec is not None
    assert spec.loader is not None
    postgres: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(postgres)
    if postgres.find() is not None:
        with postgres.cluster(durable=True) as url:
            yield from _figures("PostgreSQL", url, options)


if __name__ == "__main__":
    harness.main(figures)
