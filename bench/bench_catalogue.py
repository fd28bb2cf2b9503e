"""The catalogue of queries over 100,000 flow runs and a million task runs: p95 of each through the store's readers and the encoder.

The slowest ones are told one by one, and how many there are. Building the stores takes minutes; `--quick` asks a tenth of that.
"""

import importlib.util
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from bench import harness
from bench.bench_store import decay, postgres_bytes, sqlite_bytes
from bench.catalogue import Catalogue, Query
from bench.harness import Figure, Options
from riverrun.server.app import all_routes
from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database
from riverrun.server.http.edge import encode
from riverrun.server.http.table import Tree
from riverrun.server.runs import rollups
from riverrun.server.store import Store

BUDGET_MS = 50
TASKS = 10
#: how often each query is asked, and how many of the slowest are told
TIMES, TOLD = 20, 10


def ask(store: Store, tree: Tree, query: Query) -> float:
    """The 95th percentile of a query, in milliseconds."""
    found = tree.find("POST", f"/api{query[1]}")
    if isinstance(found, set):
        raise RuntimeError(f"nobody serves {query[1]}")
    route, raw = found[0], msgspec.json.encode(query[2])

    def once() -> None:
        arguments = route.arguments({}, lambda _name, _many: None, raw)
        encode(store.read_now(lambda reader: route.handler(reader, **arguments)))

    once()
    spent = []
    for _ in range(TIMES):
        started = time.perf_counter()
        once()
        spent.append((time.perf_counter() - started) * 1000)
    return statistics.quantiles(spent, n=20)[-1]


def slowest(database: Database, catalogue: Catalogue, where: str) -> Iterator[Figure]:
    store, tree = Store(database), Tree(all_routes())
    try:
        times = sorted(((ask(store, tree, query), query[0]) for query in catalogue.queries()), reverse=True)
    finally:
        store.close()
    over = sum(spent > BUDGET_MS for spent, _ in times)
    yield Figure(f"queries of {len(times)} above the budget, {where}", over, "", 0)
    for spent, name in times[:TOLD]:
        yield Figure(f"{name}, {where}, p95", spent, "ms", BUDGET_MS)


def figures(options: Options) -> Iterator[Figure]:
    flow_runs = 10_000 if options.quick else 100_000
    home = Path(tempfile.mkdtemp(prefix="bench-catalogue-"))
    try:
        with open_database(home / "riverrun.db") as database:
            schema.upgrade(database)
            catalogue = Catalogue(flow_runs, TASKS)
            catalogue.fill(database)
            yield from slowest(database, catalogue, "SQLite")
            size = sqlite_bytes(home / "riverrun.db") / (flow_runs * TASKS)
            yield Figure("bytes per task run, flow runs included, SQLite", size, "B", 1_000)
            share = decay(database, home, 2_000 if options.quick else 10_000)
            yield Figure("ingested into the filled store : an empty one", share, "", 0.8, at_least=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    yield from postgres_figures(flow_runs)


def postgres_figures(flow_runs: int) -> Iterator[Figure]:
    spec = importlib.util.spec_from_file_location("postgres", harness.ROOT / "scripts" / "postgres.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018 - one fact
    postgres: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(postgres)
    if postgres.find() is None:
        return
    with postgres.cluster() as url, open_database(url) as database:
        schema.upgrade(database)
        catalogue = Catalogue(flow_runs, TASKS)
        catalogue.fill(database)
        store = Store(database)
        store.write_now(rollups.fold)
        store.close()
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
        yield from slowest(database, catalogue, "PostgreSQL")
        size = postgres_bytes(database) / (flow_runs * TASKS)
        yield Figure("bytes per task run, flow runs included, PostgreSQL", size, "B", 1_000)


if __name__ == "__main__":
    harness.main(figures)
