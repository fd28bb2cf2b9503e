"""10,000 deployments that are each due every minute: whether every instant has its run once and in time, how soon after its instant
a worker that waits has a run in hand, and what that costs the server. Nobody takes the other runs, so they become late, too.

The last two figures are of a server that does everything else as well: it answers the workers, and tells the runs to be late.
"""

import importlib.util
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from bench import harness
from bench.bench_server_ingest import Client
from bench.harness import Figure, Options
from bench.servers import server
from riverrun.base.clock import now, to_micros
from riverrun.base.ids import uuid7

FLOWS = 100
MINUTE = 60_000_000
WORKERS = 20


def deploy(url: str, deployments: int) -> list[UUID]:
    """Make the deployments in a store that nobody serves yet; their ids."""
    import sqlalchemy as sa

    from riverrun.server.db import schema
    from riverrun.server.db import tables as t
    from riverrun.server.db.engine import open_database
    from riverrun.server.deployments import logic
    from riverrun.server.store import Store
    from riverrun.wire.deployments import DeploymentCreate, DeploymentScheduleCreate
    from riverrun.wire.schedules import Schedule

    schedule = msgspec.convert({"interval": 60.0, "anchor_date": "1970-01-01T00:00:00Z"}, Schedule)
    flows = [uuid7() for _ in range(FLOWS)]

    def make_flows(transaction: Any) -> None:
        names = [(flow_id, f"flow {flow_id}") for flow_id in flows]
        rows = [
            {"id": flow_id, "name": name, "name_key": name, "created": 0, "workspace_id": 1} for flow_id, name in names
        ]
        transaction.execute(sa.insert(t.flow), rows)

    def make_some(transaction: Any, first: int) -> list[UUID]:
        return [
            logic.upsert(
                transaction,
                DeploymentCreate(
                    name=f"deployment {number}",
                    flow_id=flows[number % FLOWS],
                    schedules=[DeploymentScheduleCreate(schedule=schedule)],
                    tags=["bench"],
                    parameters={"number": number},
                ),
                {"schedules", "tags", "parameters"},
            )[0].id
            for number in range(first, min(first + 200, deployments))
        ]

    with open_database(url) as database:
        schema.upgrade(database)
        store = Store(database)
        store.write_now(make_flows)
        made = [
            one
            for first in range(0, deployments, 200)
            for one in store.write_now(lambda tx, first=first: make_some(tx, first))
        ]
        store.close()
    return made


def wait_in_line(api: str, deployment: UUID, first: int, stop: threading.Event, delays: dict[str, float]) -> None:
    """Take the runs of one deployment as they fall due; how long after that each was in hand (seconds), from `first` on."""
    client, worker = Client(api), str(uuid7())
    body = {"worker": worker, "name": "bench", "deployment_ids": [str(deployment)], "limit": 1, "wait": 20}
    while not stop.is_set():
        for claim in client.post_json("/deployments/claim", body)["claims"]:
            run = claim["flow_run"]
            due = datetime.fromisoformat(run["expected_start_time"])
            if to_micros(due) >= first:
                # nobody starts it, so it comes again
                delays.setdefault(run["id"], (now() - due).total_seconds())


def read(url: str, first: int, last: int) -> tuple[list[int], int, int]:
    """How late runs of these instants were made (microseconds; made ahead is below 0), of how many instants, and how many runs
    there are for later ones."""
    import sqlalchemy as sa

    from riverrun.server.db import tables as t
    from riverrun.server.db.engine import open_database

    run = t.flow_run.c
    with open_database(url) as database, database.read() as connection:
        query = sa.select(run.created, run.expected_start_time, run.deployment_id).where(
            run.expected_start_time.between(first, last)
        )
        rows = connection.execute(query).all()
        ahead = connection.execute(sa.select(sa.func.count()).where(run.expected_start_time > last)).scalar() or 0
    return [row[0] - row[1] for row in rows], len({(row[1], row[2]) for row in rows}), ahead


def _sleep_until(micros: int) -> None:
    time.sleep(max(0.0, micros / 1e6 - time.time()))


def measure(name: str, options: Options, url: str) -> Iterator[Figure]:
    """The figures of one store."""
    deployments, minutes = (2_000, 1) if options.quick else (10_000, 2)
    made = deploy(url, deployments)
    with server("riverrun", options, url) as running:
        started = to_micros(now())
        # the first runs are made, and one minute has passed as all others do
        first = (started // MINUTE + 2) * MINUTE
        _sleep_until(first - 10_000_000)
        stop, delays = threading.Event(), dict[str, float]()
        waiting = [
            threading.Thread(target=wait_in_line, args=(running.api, deployment, first, stop, delays), daemon=True)
            for deployment in made[:: len(made) // WORKERS][:WORKERS]
        ]
        for thread in waiting:
            thread.start()
        before = running.cpu_seconds()
        last = first + (minutes - 1) * MINUTE
        _sleep_until(last + 50_000_000)
        used = (running.cpu_seconds() - before) / (minutes * 60)
        stop.set()
        late, instants, ahead = read(url, first, last)
        for thread in waiting:
            thread.join(30)
    expected = deployments * minutes
    late.sort()
    yield Figure(f"instants without a run, {name}", expected - instants, "", 0)
    yield Figure(f"runs too many, {name}", len(late) - instants, "", 0)
    p99 = late[int(len(late) * 0.99)] / 1e6
    yield Figure(f"instant -> claimable, p99, {name}", max(0.0, p99), "s", 1, note=f"made {-p99:.0f} s ahead")
    worst = sorted(delays.values())[int(len(delays) * 0.99)] if delays else 99.0
    yield Figure(f"instant -> in a waiting worker's hand, p99, {name}", worst, "s", 1, note=f"{len(delays)} runs")
    yield Figure(f"server's CPU, {name}", used * 100, "%", 25)
    yield Figure(f"runs ahead per deployment, {name}", ahead / deployments, "", 6)


def figures(options: Options) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as home:
        yield from measure("SQLite", options, f"sqlite:///{Path(home, 'bench.db')}")
    spec = importlib.util.spec_from_file_location("postgres", harness.ROOT / "scripts" / "postgres.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018 - one fact
    postgres = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(postgres)
    if postgres.find() is not None:
        with postgres.cluster(durable=True) as url:
            yield from measure("PostgreSQL", options, url)


if __name__ == "__main__":
    harness.main(figures)
