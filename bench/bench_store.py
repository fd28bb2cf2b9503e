"""The store alone: task runs ingested per second in process, into SQLite and PostgreSQL, bytes for each, pages read.

Records are made beforehand and lie in memory; a task run has three states. `bench_durable` has the way from a flow to here.
"""

import importlib.util
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from bench import harness
from bench.harness import Figure, Options
from riverrun.base.ids import uuid7
from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database
from riverrun.server.db.scope import LOCAL
from riverrun.server.db.tables import metadata
from riverrun.server.ingest import ingest_records
from riverrun.server.runs import queries
from riverrun.wire.journal import FlowRunRecord, StateRecord, TaskRunRecord, encode
from riverrun.wire.states import TYPE_CODES, StateType

_STATES = [TYPE_CODES[kind] for kind in (StateType.PENDING, StateType.RUNNING, StateType.COMPLETED)]


def journal(tasks: int) -> list[tuple[int, bytes]]:
    """The journal of a flow run with so many task runs of three states each."""
    flow_run, now = uuid7().bytes, time.time_ns() // 1000
    records: list[object] = [FlowRunRecord(flow_run, "bench", "brave-otter", now)]
    records += [StateRecord(0, flow_run, uuid7().bytes, code, now + code) for code in _STATES[:2]]
    for number in range(tasks):
        run, now = uuid7().bytes, now + 50
        records.append(TaskRunRecord(run, flow_run, "nothing-1a2b3c4d", str(number), f"nothing-{number}", now))
        records += [StateRecord(1, run, uuid7().bytes, code, now + code) for code in _STATES]
    records.append(StateRecord(0, flow_run, uuid7().bytes, _STATES[2], now + 50))
    return [(seq, encode(record)) for seq, record in enumerate(records, start=1)]


def rate(database: Database, tasks: int) -> float:
    """Task runs ingested per second."""
    items = journal(tasks)
    started = time.perf_counter()
    counts = ingest_records(database, uuid7().bytes, items)
    spent = time.perf_counter() - started
    if counts.task_runs != tasks:
        raise RuntimeError(f"{counts} of {tasks} task runs")
    return tasks / spent


def decay(filled: Database, home: Path, tasks: int) -> float:
    """The rate into a filled store over the rate into an empty one, measured by turns: the machine's load is in both."""
    full, empty = [], []
    for turn in range(3):
        with open_database(home / f"empty-{turn}.db") as fresh:
            schema.upgrade(fresh)
            empty.append(rate(fresh, tasks))
        full.append(rate(filled, tasks))
    return max(full) / max(empty)


def sync_mode(database: Database) -> int:
    """What SQLite says of `synchronous`; 2 is FULL."""
    with database.write() as connection:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())


def sqlite_bytes(path: Path) -> int:
    """Bytes of the file with everything in it."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def postgres_bytes(database: Database) -> int:
    """Bytes of all tables with their indexes."""
    with database.read() as connection:
        sizes = (
            connection.execute(sa.text("SELECT pg_total_relation_size(:name)"), {"name": name}).scalar_one()
            for name in metadata.tables
        )
        return sum(sizes)


def p95(read: Callable[[], object], times: int) -> float:
    """The 95th percentile of a read, in milliseconds."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        read()
        spent.append((time.perf_counter() - started) * 1000)
    return statistics.quantiles(spent, n=20)[-1]


def sqlite_figures(home: Path, options: Options) -> Iterator[Figure]:
    tasks, filled = (5_000, 20_000) if options.quick else (20_000, 300_000)
    with open_database(home / "riverrun.db") as database:
        schema.upgrade(database)
        if sync_mode(database) != 2:
            raise RuntimeError("this measures synchronous=FULL, and the store is not set to it")
        empty = max(rate(database, tasks) for _ in range(3))
        yield Figure("task runs ingested, SQLite, synchronous=FULL", empty, "/s", 25_000, at_least=True)
        size = sqlite_bytes(home / "riverrun.db") / (3 * tasks)
        yield Figure("bytes per task run with three states, SQLite", size, "B", 1_000)
        while filled > 0:
            rate(database, tasks)
            filled -= tasks
        yield Figure(
            "the same into a filled store : an empty one", decay(database, home, tasks), "", 0.8, at_least=True
        )
        with database.read() as connection:
            flow_run_id = queries.flow_runs(connection, LOCAL, limit=1)[0].id
            pages = {
                "page of 50 task runs of a flow run": lambda: queries.task_runs(
                    connection, LOCAL, flow_run_id=flow_run_id
                ),
                "page of 50 task runs, by two states": lambda: queries.task_runs(
                    connection, LOCAL, state_types=["COMPLETED", "RUNNING"]
                ),
            }
            for name, read in pages.items():
                yield Figure(f"{name}, p95", p95(read, 100), "ms", 50)


def postgres_figures(options: Options) -> Iterator[Figure]:
    spec = importlib.util.spec_from_file_location("postgres", harness.ROOT / "scripts" / "postgres.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018 - one fact
    postgres = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(postgres)
    if postgres.find() is None:
        return
    tasks = 5_000 if options.quick else 20_000
    with postgres.cluster(durable=True) as url, open_database(url) as database:
        schema.upgrade(database)
        best = max(rate(database, tasks) for _ in range(3))
        yield Figure("task runs ingested, PostgreSQL, fsync on", best, "/s", 6_000, at_least=True)
        size = postgres_bytes(database) / (3 * tasks)
        yield Figure("bytes per task run with three states, PostgreSQL", size, "B", 1_000)


def figures(options: Options) -> Iterator[Figure]:
    home = Path(tempfile.mkdtemp(prefix="bench-store-"))
    try:
        yield from sqlite_figures(home, options)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    yield from postgres_figures(options)


if __name__ == "__main__":
    harness.main(figures)
