"""Deleting a flow run takes everything that hangs on it and nothing else."""

from uuid import UUID

import pytest
import sqlalchemy as sa

from riverrun.base.errors import ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.db import tables
from riverrun.server.db.engine import Database
from riverrun.server.db.scope import LOCAL, Scope
from riverrun.server.ingest import ingest_records
from riverrun.server.runs import retention
from tests.store.make import COMPLETED, contents, items, make_log, make_state, make_story, make_task_run

#: not of runs: they stay
_KEPT = {"flow", "workspace", "journal_writer"}


def _big_story(tasks: int) -> list:
    story = make_story(tasks=0, tags=["x", "y" * 500])
    for number in range(tasks):
        run = make_task_run(story[0], number, tags=["slow"] if number % 2 else [])
        story += [run, make_state(run, COMPLETED), make_log(run, "line")]
    return [*story, make_log(story[0], "of the flow run")]


def test_a_flow_run_goes_with_all_that_hangs_on_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_RUNS", 4)
    monkeypatch.setattr(retention, "BATCH_LOGS", 3)
    doomed, kept = _big_story(10), _big_story(3)
    ingest_records(database, b"w" * 16, items(kept))
    before = contents(database)
    ingest_records(database, b"v" * 16, items(doomed))
    assert retention.delete_flow_run(database, LOCAL, UUID(bytes=doomed[0].id)) == 10
    after = contents(database)
    for table in before.keys() - _KEPT:
        assert after[table] == before[table], table
    assert retention.delete_flow_run(database, LOCAL, UUID(bytes=kept[0].id)) == 3
    for table, rows in contents(database).items():
        assert table in _KEPT or rows == [], table


def test_what_is_not_there_or_not_mine_is_not_deleted(database: Database) -> None:
    story = make_story(tasks=1)
    ingest_records(database, b"w" * 16, items(story))
    before = contents(database)
    with pytest.raises(ObjectNotFound):
        retention.delete_flow_run(database, LOCAL, uuid7())
    with pytest.raises(ObjectNotFound):
        retention.delete_flow_run(database, Scope(workspace_id=2), UUID(bytes=story[0].id))
    assert contents(database) == before


def test_a_deleted_flow_run_is_not_ingested_again(database: Database) -> None:
    story = make_story(tasks=2)
    ingest_records(database, b"w" * 16, items(story))
    retention.delete_flow_run(database, LOCAL, UUID(bytes=story[0].id))
    assert ingest_records(database, b"w" * 16, items(story)).records == 0
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.flow_run)).scalar() == 0


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_freed_pages_go_back_to_the_file_system(database: Database) -> None:
    story = _big_story(2000)
    ingest_records(database, b"w" * 16, items(story))

    def pages() -> int:
        with database.read() as connection:
            return connection.exec_driver_sql("PRAGMA page_count").scalar()

    before = pages()
    retention.delete_flow_run(database, LOCAL, UUID(bytes=story[0].id))
    assert pages() < before / 2
