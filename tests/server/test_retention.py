"""What is old goes by itself, on both databases: runs with all that hangs on them, and every other table that grows."""

from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from riverrun.base.config import temporary_settings
from riverrun.base.ids import uuid7
from riverrun.server.db import tables
from riverrun.server.db.engine import Database
from riverrun.server.db.types import Id
from riverrun.server.ingest import ingest_records
from riverrun.server.runs import retention as runs_retention
from riverrun.server.services import retention
from riverrun.server.store import Store
from tests.store.conftest import backend, cluster, database, postgres_databases, sqlite_template, store_url
from tests.store.make import RUNNING, T0, items, make_log, make_state, make_story, make_task_run

__all__ = ["backend", "cluster", "database", "postgres_databases", "sqlite_template", "store_url"]

DAY = 86_400_000_000
#: what people or the installation made, and what other loops clean
STAYS = {
    "automation", "block_document", "block_schema", "block_type", "concurrency_limit", "configuration", "deployment",
    "deployment_schedule", "deployment_tag", "deployment_version", "flow", "loop", "outbox", "saved_search", "slot", "slot_waiter", "variable",
    "work_pool", "work_queue", "workspace",
    "artifact_collection",  # the newest of each key
    "run_rollup_delta", "task_delivery", "task_subscription",
}  # fmt: skip
OF_RUNS = {
    "attempt", "flow_run", "flow_run_input", "flow_run_state", "flow_run_tag", "task_run", "task_run_state", "task_run_tag",
}  # fmt: skip
_numbers = count(1)


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    opened = Store(database)
    yield opened
    opened.close()


def row(table: sa.Table, instant: int, **given: Any) -> dict[str, Any]:
    """A row whose instants are all `instant`, or what is given."""
    values: dict[str, Any] = {}
    for column in table.columns:
        if column.name in given:
            values[column.name] = given[column.name]
        elif column.name == "key" or (column.nullable and not isinstance(column.type, sa.BigInteger)):
            continue
        elif column.name == "minute":
            values[column.name] = instant // 60_000_000
        elif column.name == "workspace_id":
            values[column.name] = 1
        elif column.name == "n":
            values[column.name] = 0
        elif column.name in {"created", "updated", "occurred", "received", "noticed", "last_seen", "first_seen", "timestamp",
                             "last_heartbeat"}:  # fmt: skip
            values[column.name] = instant
        elif isinstance(column.type, Id):
            values[column.name] = uuid4()
        elif isinstance(column.type, sa.Text):
            values[column.name] = f"x{next(_numbers)}"
        elif isinstance(column.type, sa.LargeBinary):
            values[column.name] = b"x"
        elif column.nullable:
            continue
        else:
            values[column.name] = next(_numbers)
    return values


def test_every_table_that_grows_is_kept_short() -> None:
    ruled = {rule.table.name for rule in retention.RULES}
    assert not ruled & (STAYS | OF_RUNS)
    assert ruled | STAYS | OF_RUNS == set(tables.metadata.tables)


@pytest.mark.parametrize("table", [rule.table.name for rule in retention.RULES])
def test_old_rows_go_and_young_ones_stay(store: Store, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    kind = tables.metadata.tables[table]
    old, young = T0, T0 + 50 * DAY
    with store.database.engine.begin() as connection:
        for instant in [old] * 7 + [young] * 2:
            connection.execute(sa.insert(kind).values(row(kind, instant)))
    now = T0 + 91 * DAY
    assert retention.run_once(store, now) == 7
    with store.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(kind)).scalar() == 2
    assert retention.run_once(store, now) == 0


def test_runs_go_with_all_that_hangs_on_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_retention, "BATCH_RUNS", 4)
    monkeypatch.setattr(runs_retention, "BATCH_LOGS", 3)
    monkeypatch.setattr(retention, "BATCH", 5)
    monkeypatch.setattr(retention, "_FLOW_RUNS", 2)
    database = store.database
    for number in range(5):
        story = make_story(tasks=number * 3, tags=["a", f"b{number}"])
        ingest_records(database, uuid7().bytes, items([*story, make_log(story[0], "one line")]))
    lonely = [make_task_run(None, number) for number in range(7)]
    records = [record for run in lonely for record in (run, make_state(run, RUNNING), make_state(run, 4))]
    ingest_records(database, uuid7().bytes, items(records))
    unfinished = make_story(tasks=0)[:-1]
    ingest_records(database, uuid7().bytes, items(unfinished))
    with database.engine.begin() as connection:
        connection.execute(sa.update(tables.journal_writer).values(last_seen=T0))

    assert retention.run_once(store, T0 + 80 * DAY) == 0  # all younger than 90 days
    with temporary_settings({"server_retention_days": 0}):
        assert retention.run_once(store, T0 + 1000 * DAY) == 0
    assert retention.run_once(store, T0 + 100 * DAY) >= 12
    with database.read() as connection:
        left = {
            name: connection.execute(sa.select(sa.func.count()).select_from(tables.metadata.tables[name])).scalar()
            for name in (*OF_RUNS, "log")
        }
    assert left == dict.fromkeys([*OF_RUNS, "log"], 0) | {"flow_run": 1, "flow_run_state": 2}


def test_the_newest_artifact_of_a_key_stays(store: Store) -> None:
    latest = uuid4()
    with store.database.engine.begin() as connection:
        for number in range(3):
            values = row(tables.artifact, T0, artifact_key="report", id=latest if number == 2 else uuid4())
            connection.execute(sa.insert(tables.artifact).values(values))
        values = row(tables.artifact_collection, T0, artifact_key="report", latest_id=latest)
        connection.execute(sa.insert(tables.artifact_collection).values(values))
    assert retention.run_once(store, T0 + 100 * DAY) == 2
    with store.database.read() as connection:
        assert connection.execute(sa.select(tables.artifact.c.id)).scalars().all() == [latest]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_space_is_given_back(store: Store) -> None:
    path = store.database.path
    assert path is not None
    event = tables.event
    with store.database.engine.begin() as connection:
        rows = [row(event, T0, document="x" * 2000) for _ in range(2000)]
        connection.execute(sa.insert(event), rows)
    with store.database.engine.connect() as connection:
        full = connection.exec_driver_sql("PRAGMA page_count").scalar()
    assert retention.run_once(store, T0 + 100 * DAY) == 2000
    with store.database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA page_count").scalar() < full / 2
