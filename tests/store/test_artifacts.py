"""Artifacts that a journal tells of: rows, their changes, the newest of a key."""

import sqlalchemy as sa

from riverrun.base.ids import uuid7
from riverrun.server.db import tables
from riverrun.server.db.engine import Database
from riverrun.server.ingest import ingest_records
from riverrun.wire.journal import ArtifactRecord
from tests.store.make import contents, items, make_flow_run, tick


def make_artifact(key: str | None = "report", data: bytes | None = b'"# hi"', **fields: object) -> ArtifactRecord:
    values = {"id": uuid7().bytes, "timestamp": tick(), "key": key, "type": "markdown", "data": data}
    return ArtifactRecord(**(values | fields))


def rows(database: Database, table: sa.Table) -> list[dict[str, object]]:
    with database.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(table).order_by(table.c.key)).mappings()]


def test_an_artifact_becomes_a_row_and_its_changes_follow(database: Database) -> None:
    run = make_flow_run()
    made = make_artifact(description="first", flow_run_id=run.id)
    moved = ArtifactRecord(made.id, tick(), data=b"40.0")
    writer, records = uuid7().bytes, items([run, made, moved])
    ingest_records(database, writer, records)
    (artifact,) = rows(database, tables.artifact)
    assert (artifact["artifact_key"], artifact["type"], artifact["description"]) == ("report", "markdown", "first")
    assert artifact["data"] == "40.0"
    assert artifact["created"] < artifact["updated"]
    assert artifact["flow_run_id"] is not None
    later = ArtifactRecord(made.id, tick(), description="second")
    ingest_records(database, writer, items([later], first=4))
    (artifact,) = rows(database, tables.artifact)
    assert (artifact["description"], artifact["data"], artifact["type"]) == ("second", "40.0", "markdown")
    before = contents(database)
    ingest_records(database, writer, records)
    assert contents(database) == before


def test_the_newest_of_a_key_is_known(database: Database) -> None:
    first, second, other, bare = make_artifact(), make_artifact(), make_artifact("other"), make_artifact(None)
    ingest_records(database, uuid7().bytes, items([second, other, bare]))
    ingest_records(database, uuid7().bytes, items([first]))  # older, told later
    found = {row["artifact_key"]: row["latest_id"] for row in rows(database, tables.artifact_collection)}
    ids = {row["created"]: row["id"] for row in rows(database, tables.artifact)}
    assert found == {"report": ids[second.timestamp], "other": ids[other.timestamp]}
    third = make_artifact()
    ingest_records(database, uuid7().bytes, items([third]))
    (report,) = [row for row in rows(database, tables.artifact_collection) if row["artifact_key"] == "report"]
    (newest,) = [row for row in rows(database, tables.artifact) if row["created"] == third.timestamp]
    assert report["latest_id"] == newest["id"]


def test_text_that_a_database_refuses_does_not_stop_the_journal(database: Database) -> None:
    poison = make_artifact(data=b'"a\\u0000b"', description="nul \x00 inside")
    counts = ingest_records(database, uuid7().bytes, items([poison, make_flow_run()]))
    assert counts.flow_runs == 1
    assert len(rows(database, tables.artifact)) + counts.aside >= 1
