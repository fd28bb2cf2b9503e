"""Bad records: lost ones are counted, unknown ones kept aside, refused values cleaned; nothing keeps the others out."""

from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from riverrun.base.ids import uuid7
from riverrun.server.db import tables
from riverrun.server.db.engine import Database
from riverrun.server.db.scope import LOCAL
from riverrun.server.ingest import ingest_records
from riverrun.server.logs import queries as logs
from riverrun.server.runs import queries
from riverrun.server.runs.render import UNREADABLE
from riverrun.wire.journal import LostRecord, RunUpdateRecord, decode, encode
from tests.store.make import (
    COMPLETED,
    RUNNING,
    T0,
    items,
    make_flow_run,
    make_log,
    make_state,
    make_story,
    make_task_run,
)

WRITER = b"w" * 16


def _aside(database: Database) -> list[sa.Row]:
    with database.read() as connection:
        return connection.execute(sa.select(tables.journal_aside).order_by(tables.journal_aside.c.seq)).all()


def _lost(database: Database):
    with database.read() as connection:
        return logs.lost_stretches(connection, LOCAL)


def test_records_of_an_unknown_kind_are_kept_aside(database: Database) -> None:
    unknown = msgspec.msgpack.encode([77, b"x" * 16, "from the future"])
    counts = ingest_records(database, WRITER, items([*make_story(1), unknown, make_flow_run(name="after")]))
    (row,) = _aside(database)
    assert (counts.aside, counts.flow_runs) == (1, 2)
    assert bytes(row.payload) == unknown
    assert "77" in row.error


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x95\x01", b"\xff" * 50, b"text"],
    ids=["empty", "never-used", "cut", "noise", "text"],
)
def test_what_is_no_message_is_counted_as_lost(database: Database, payload: bytes) -> None:
    counts = ingest_records(database, WRITER, items([make_flow_run(), payload, make_flow_run()]))
    assert counts.flow_runs == 2
    assert counts.lost + counts.aside == 1


def test_a_truncated_record_is_lost_and_shown(database: Database) -> None:
    flow_run = make_flow_run()
    ingest_records(database, WRITER, items([flow_run, encode(make_flow_run())[:-3]]))
    with database.read() as connection:
        (stretch,) = logs.lost_stretches(connection, LOCAL, flow_run_id=UUID(bytes=flow_run.id))
    assert (stretch.first, stretch.last, stretch.writer.bytes) == (2, 2, WRITER)
    assert "not readable" in stretch.why


def test_lost_records_are_stored_with_their_reason(database: Database) -> None:
    flow_run = make_flow_run()
    numbered = (
        items([flow_run])
        + [(9, encode(LostRecord(2, 9, "bytes 40 to 300 are damaged")))]
        + items([make_flow_run()], 10)
    )
    counts = ingest_records(database, WRITER, numbered)
    (stretch,) = _lost(database)
    assert (stretch.first, stretch.last, stretch.why) == (2, 9, "bytes 40 to 300 are damaged")
    assert (counts.lost, counts.flow_runs) == (8, 2)


def test_a_gap_that_nobody_speaks_of_is_a_lost_stretch(database: Database) -> None:
    ingest_records(database, WRITER, items([make_flow_run()]) + items([make_flow_run()], first=5))
    (stretch,) = _lost(database)
    assert (stretch.first, stretch.last) == (2, 4)
    assert "spool" in stretch.why


def test_texts_that_a_database_refuses_are_stored_and_readable(database: Database) -> None:
    nul, long = "a\0b", "x" * 10_000
    flow_run = make_flow_run(flow=f"flow {nul}", name=nul, tags=[nul, long])
    task_run = make_task_run(flow_run, name=long, dynamic_key=nul)
    state = make_state(task_run, COMPLETED, message=nul, name=nul, details={"pause_key": nul}, data={"v": nul})
    counts = ingest_records(database, WRITER, items([flow_run, task_run, state, make_log(task_run, nul)]))
    shown = "a\0b" if database.path else "a\u2400b"
    with database.read() as connection:
        (flow,) = queries.flow_runs(connection, LOCAL, tags=[long])
        (task,) = queries.task_runs(connection, LOCAL, flow_run_id=flow.id)
        (line,) = logs.logs(connection, LOCAL, task_run_id=task.id)
    assert counts.aside == 0
    assert (flow.name, flow.tags) == (shown, [nul, long])
    assert (task.name, task.dynamic_key) == (long, shown)
    assert (task.state.name, task.state.message, line.message) == (shown, shown, shown)
    # JSON escapes NUL, so documents keep it on both databases
    assert (task.state.state_details.pause_key, task.state.data) == (nul, {"v": nul})


def test_numbers_beyond_the_columns_are_held_at_the_edge(database: Database) -> None:
    task_run = make_task_run(None, flow_run_run_count=2**40)
    wild = make_state(task_run, RUNNING, timestamp=2**64 - 1)
    log = make_log(make_flow_run(), "x", level=2**50)
    counts = ingest_records(database, WRITER, items([task_run, wild, log, *make_story(2)]))
    assert (counts.aside, counts.flow_runs) == (0, 1)
    with database.read() as connection:
        runs = queries.task_runs(connection, LOCAL)
        assert len(runs) == 3
        bad = queries.task_run_by_id(connection, LOCAL, UUID(bytes=task_run.id))
    assert UNREADABLE in bad.labels


def test_a_record_that_cannot_be_stored_is_kept_aside_and_all_others_pass(database: Database) -> None:
    story = make_story(tasks=20)
    flow_run = story[0]
    bad = [
        make_state(flow_run, 99),
        make_state(flow_run, RUNNING, id=b"short"),
        make_task_run(flow_run, id=b"not sixteen bytes"),
        make_flow_run(parameters=b"\xff\xfe"),
        RunUpdateRecord(0, flow_run.id, {"tags": 5}),
    ]
    mixed = list(story)
    for place, record in zip((60, 40, 30, 10, 5), bad, strict=True):
        mixed.insert(place, record)
    counts = ingest_records(database, WRITER, items(mixed))
    rows = _aside(database)
    assert (counts.task_runs, counts.aside) == (20, len(bad))
    assert sorted(type(decode(bytes(row.payload))).__name__ for row in rows) == sorted(type(r).__name__ for r in bad)
    assert all(row.error for row in rows)
    with database.read() as connection:
        (run,) = queries.flow_runs(connection, LOCAL, flow_names=["etl"])
        assert len(queries.task_runs(connection, LOCAL, flow_run_id=run.id, limit=50)) == 20
        assert run.state.is_completed()
    assert ingest_records(database, WRITER, items(mixed)).repeated == len(mixed)


def test_deep_and_large_values_pass(database: Database) -> None:
    nested: object = "end"
    for _ in range(200):
        nested = [nested]
    run = make_flow_run(parameters=msgspec.json.encode({"deep": nested, "big": "y" * 5_000_000}))
    ingest_records(database, WRITER, items([run, make_state(run, RUNNING, data={"nested": nested})]))
    with database.read() as connection:
        read = queries.flow_run_by_id(connection, LOCAL, UUID(bytes=run.id))
    assert len(read.parameters["big"]) == 5_000_000
    assert read.state.data == {"nested": nested}


def test_a_damaged_row_never_fails_its_page(database: Database) -> None:
    for _ in range(3):
        ingest_records(database, uuid7().bytes, items(make_story(tasks=2)))
    with database.read() as connection:
        victim = queries.flow_runs(connection, LOCAL)[1]
        task = queries.task_runs(connection, LOCAL, flow_run_id=victim.id)[0]
    with database.write() as connection:
        run, state, job = tables.flow_run, tables.flow_run_state, tables.task_run
        connection.execute(sa.update(run).where(run.c.id == victim.id).values(parameters="{broken"))
        connection.execute(sa.update(job).where(job.c.id == task.id).values(inputs=b"\xc1", created=2**62))
        connection.execute(sa.update(state).where(state.c.id == victim.state_id).values(details="[]"))
        connection.execute(sa.update(tables.log).values(timestamp=2**62))
    with database.read() as connection:
        page = queries.flow_runs(connection, LOCAL)
        jobs = queries.task_runs(connection, LOCAL, limit=10)
        states = queries.flow_run_states(connection, LOCAL, victim.id)
        assert len(logs.logs(connection, LOCAL)) == 6
    assert [UNREADABLE in run.labels for run in page] == [False, True, False]
    assert page[1].id == victim.id
    assert sum(UNREADABLE in run.labels for run in jobs) == 1
    assert "cannot be read" in states[-1].message
    assert states[0].is_pending()
    assert T0 > 0


def test_a_record_too_large_to_be_kept_whole_is_kept_in_part(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riverrun.server.ingest.unit.ASIDE_BYTES", 100)
    huge = msgspec.msgpack.encode([77, "x" * 1000])
    ingest_records(database, WRITER, items([huge, make_flow_run()]))
    (row,) = _aside(database)
    assert bytes(row.payload) == huge[:100]
    assert "first 100 bytes" in row.error


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_text_with_damaged_bytes_is_shown_as_far_as_it_goes(database: Database) -> None:
    ingest_records(database, WRITER, items(make_story(tasks=1)))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE flow_run SET name = CAST(x'6162ff' AS TEXT)")
    with database.read() as connection:
        assert queries.flow_runs(connection, LOCAL)[0].name == "ab\ufffd"
