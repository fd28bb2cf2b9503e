"""Ingestion: every record once, whatever is sent again, split or interleaved; states folded as the rules say."""

import random
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riverrun.base.ids import uuid7
from riverrun.rules.bookkeeping import Ledger, enter
from riverrun.server.db import tables
from riverrun.server.db.engine import Database, open_database
from riverrun.server.db.scope import LOCAL
from riverrun.server.ingest import ingest_records, units
from riverrun.server.runs import queries
from riverrun.server.runs.render import PLACEHOLDER
from riverrun.wire.journal import RunUpdateRecord
from riverrun.wire.states import TYPES_BY_CODE, StateType
from tests.store.make import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    RUNNING,
    SCHEDULED,
    T0,
    contents,
    items,
    make_flow_run,
    make_log,
    make_state,
    make_story,
    make_task_run,
)


def test_a_flow_run_with_task_runs_is_stored_once(database: Database) -> None:
    writer, records = uuid7().bytes, items(make_story(tasks=3))
    first = ingest_records(database, writer, records)
    assert (first.flow_runs, first.task_runs, first.states, first.logs) == (1, 3, 3 + 9, 3)
    before = contents(database)
    again = ingest_records(database, writer, records)
    assert (again.records, again.repeated) == (0, len(records))
    assert contents(database) == before


def test_the_cursor_moves_in_the_transaction_of_the_rows(database: Database) -> None:
    writer = uuid7().bytes
    ingest_records(database, writer, items(make_story(tasks=1)))
    with database.read() as connection:
        cursor = connection.execute(sa.select(tables.journal_writer.c.next_seq)).scalar_one()
    assert cursor == len(make_story(tasks=1)) + 1


def test_a_failing_commit_leaves_nothing_and_can_be_tried_again(database: Database) -> None:
    """Whatever breaks between the rows and the commit: neither rows nor cursor are there afterwards."""
    writer, records = uuid7().bytes, items(make_story(tasks=2))
    empty = contents(database)

    class Broken(Exception):
        pass

    with pytest.raises(Broken), database.cursor() as cursor:
        units.Unit(database.verbs, LOCAL, writer, records).apply(cursor)
        raise Broken
    assert contents(database) == empty
    assert ingest_records(database, writer, records).task_runs == 2


def _journals(seed: int) -> list[tuple[bytes, list[tuple[int, bytes]]]]:
    """Three journals that tell of the same flow run: a parent and two children that run some of its tasks."""
    chance = random.Random(seed)
    clock = T0
    flow_run = make_flow_run(created=T0)
    journals: list[list[object]] = [[flow_run], [], []]
    for kind in (PENDING, RUNNING):
        clock += chance.randint(-3, 5)
        journals[0].append(make_state(flow_run, kind, timestamp=clock))
    for number in range(chance.randint(1, 6)):
        run = make_task_run(flow_run, number, created=clock)
        journals[0].append(run)
        for kind in chance.choices((SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED), k=chance.randint(0, 5)):
            clock += chance.randint(-3, 5)
            teller = chance.choice((0, 1, 2))
            state = make_state(run, kind, timestamp=clock, details={"pause_key": "x"} if kind == SCHEDULED else None)
            journals[teller].append(state)
            if chance.random() < 0.3:
                journals[teller].append(make_log(run, f"entered {kind}", timestamp=clock))
    journals[0].append(make_state(flow_run, COMPLETED, timestamp=clock + chance.randint(-3, 5)))
    return [(uuid7().bytes, items(records)) for records in journals]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), data=st.data())
def test_any_split_repetition_and_interleaving_gives_the_same_tables(sqlite_template, tmp_path, seed, data) -> None:
    import shutil

    journals = _journals(seed)
    stores = []
    for name in ("straight", "shuffled"):
        path = tmp_path / f"{name}-{uuid7().hex}.db"
        shutil.copy(sqlite_template, path)
        stores.append(open_database(path))
    with stores[0] as straight, stores[1] as shuffled:
        for writer, records in journals:
            ingest_records(straight, writer, records)
        told = [0] * len(journals)
        while any(told[which] < len(records) for which, (_, records) in enumerate(journals)):
            which = data.draw(st.sampled_from([w for w, (_, r) in enumerate(journals) if told[w] < len(r)]))
            writer, records = journals[which]
            upto = data.draw(st.integers(told[which] + 1, len(records)))
            back = data.draw(st.integers(0, told[which]))
            ingest_records(shuffled, writer, records[back:upto])
            told[which] = upto
        assert contents(shuffled) == contents(straight)
    for store in stores:
        store.path.unlink()


def test_interleaved_journals_give_the_same_tables_on_both_databases(database: Database) -> None:
    journals = _journals(7)
    for writer, records in reversed(journals):
        for item in records:
            ingest_records(database, writer, [item])
    split = contents(database)
    with database.write() as connection:
        for table in tables.metadata.sorted_tables:
            if table is not tables.workspace:
                connection.execute(sa.delete(table))
    for writer, records in journals:
        ingest_records(database, writer, records)
    assert contents(database) == split


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(1, 9), st.integers(-50, 50), st.booleans()), min_size=1, max_size=12))
def test_the_fold_equals_the_rules(sqlite_template, tmp_path, steps) -> None:
    import shutil

    path = tmp_path / f"{uuid7().hex}.db"
    shutil.copy(sqlite_template, path)
    run = make_task_run(None, created=T0)
    ledger, timestamps, records, clock = Ledger(), [], [run], T0
    for code, step, _ in steps:
        clock += step
        details = {"scheduled_time": "2030-01-01T00:00:00Z"} if code == SCHEDULED else None
        scheduled = 1_893_456_000_000_000 if code == SCHEDULED else None
        records.append(make_state(run, code, timestamp=clock, details=details))
        timestamps.append(enter(ledger, TYPES_BY_CODE[code], clock, scheduled))
    with open_database(path) as store:
        numbered, start = items(records), 0
        for index, (_, _, cut) in enumerate(steps, start=1):
            if cut:
                ingest_records(store, b"w" * 16, numbered[start : index + 1])
                start = index + 1
        ingest_records(store, b"w" * 16, numbered[start:])
        with store.read() as connection:
            row = connection.execute(sa.select(tables.task_run)).one()
            states = connection.execute(
                sa.select(tables.task_run_state.c.timestamp).order_by(tables.task_run_state.c.seq)
            ).scalars()
            assert list(states) == timestamps
    for name in (
        "state_timestamp",
        "run_count",
        "start_time",
        "end_time",
        "total_run_time",
        "next_scheduled_start_time",
    ):
        assert getattr(row, name) == getattr(ledger, name), name
    assert row.expected_start_time == ledger.expected_start_time
    assert TYPES_BY_CODE[row.state_type] is ledger.state_type
    path.unlink()


def test_states_of_a_run_whose_creation_was_lost_make_a_placeholder_that_a_late_creation_fills(
    database: Database,
) -> None:
    flow_run = make_flow_run(tags=["nightly"], parameters=b'{"n": 1}')
    task_run = make_task_run(flow_run, tags=["slow"], inputs={"x": [("parameter", None, "n")]})
    states = [make_state(task_run, RUNNING), make_state(task_run, COMPLETED), make_log(flow_run, "hello")]
    update = RunUpdateRecord(1, task_run.id, {"name": "renamed"})
    ingest_records(database, b"c" * 16, items([*states, update]))
    with database.read() as connection:
        run = queries.task_run_by_id(connection, LOCAL, UUID(bytes=task_run.id))
        assert run.state.is_completed()
        assert PLACEHOLDER in run.labels
        assert run.name == "renamed"
        assert queries.flow_runs(connection, LOCAL)[0].name.startswith("unknown-")
    ingest_records(database, b"p" * 16, items([flow_run, task_run, make_state(flow_run, RUNNING)]))
    with database.read() as connection:
        run = queries.task_run_by_id(connection, LOCAL, UUID(bytes=task_run.id))
        parent = queries.flow_run_by_id(connection, LOCAL, UUID(bytes=flow_run.id))
        assert queries.task_runs(connection, LOCAL, tags=["slow"])[0].id == run.id
        assert queries.flow_runs(connection, LOCAL, tags=["nightly"])[0].id == parent.id
    assert (run.name, run.task_key, run.tags) == ("renamed", "load-1a2b3c4d", ["slow"])
    assert run.labels == {"prefect.flow.id": str(parent.flow_id), "prefect.flow-run.id": str(parent.id)}
    assert run.flow_run_id == parent.id
    assert run.task_inputs["x"][0].name == "n"
    assert (parent.name, parent.parameters, parent.state.type) == ("brave-otter", {"n": 1}, StateType.RUNNING)


def test_states_in_a_later_unit_move_the_stored_run_on(database: Database) -> None:
    flow_run = make_flow_run()
    task_run = make_task_run(flow_run)
    records = items([flow_run, task_run, *(make_state(task_run, kind) for kind in (PENDING, RUNNING, COMPLETED))])
    for item in records:
        ingest_records(database, b"w" * 16, [item])
    with database.read() as connection:
        run = queries.task_run_by_id(connection, LOCAL, UUID(bytes=task_run.id))
        states = queries.task_run_states(connection, LOCAL, run.id)
    assert [state.name for state in states] == ["Pending", "Running", "Completed"]
    assert run.run_count == 1
    assert run.total_run_time == states[2].timestamp - states[1].timestamp


def test_updates_change_runs(database: Database) -> None:
    flow_run, task_run = make_flow_run(), make_task_run(None)
    ingest_records(
        database,
        b"w" * 16,
        items(
            [
                flow_run,
                task_run,
                RunUpdateRecord(0, flow_run.id, {"name": "calm-heron", "parameters": b'{"a": 2}', "tags": ["x", "y"]}),
                RunUpdateRecord(1, task_run.id, {"cache_key": "k", "cache_expiration": T0, "inputs": {"a": []}}),
                RunUpdateRecord(1, task_run.id, {"colour": "blue", "name": "other"}),
            ]
        ),
    )
    with database.read() as connection:
        flow = queries.flow_run_by_id(connection, LOCAL, UUID(bytes=flow_run.id))
        task = queries.task_run_by_id(connection, LOCAL, UUID(bytes=task_run.id))
        aside = connection.execute(sa.select(tables.journal_aside)).one()
        assert queries.flow_runs(connection, LOCAL, tags=["x", "y"])[0].id == flow.id
    assert (flow.name, flow.parameters, flow.tags) == ("calm-heron", {"a": 2}, ["x", "y"])
    assert (task.name, task.cache_key, task.task_inputs) == ("other", "k", {"a": []})
    assert task.cache_expiration is not None
    assert aside.seq == 5
    assert "colour" in aside.error


def test_a_second_creation_record_changes_nothing(database: Database) -> None:
    flow_run = make_flow_run()
    twin = make_flow_run(id=flow_run.id, name="other")
    counts = ingest_records(database, b"w" * 16, items([flow_run, twin]))
    ingest_records(database, b"v" * 16, items([twin]))
    with database.read() as connection:
        assert [run.name for run in queries.flow_runs(connection, LOCAL)] == ["brave-otter"]
    assert (counts.flow_runs, counts.repeated) == (1, 1)


def test_the_same_states_told_by_another_journal_are_stored_once(database: Database) -> None:
    story = make_story(tasks=3)
    ingest_records(database, b"w" * 16, items(story))
    before = contents(database)
    counts = ingest_records(database, b"v" * 16, items([r for r in story if type(r).__name__ != "LogRecord"]))
    after = contents(database)
    assert counts.repeated == len(story) - 3
    for table in ("flow_run", "task_run", "flow_run_state", "task_run_state"):
        assert after[table] == before[table], table


def test_policies_are_kept(database: Database) -> None:
    run = make_task_run(None, retries=3, retry_delay=[1.0, 5.0], retry_jitter_factor=0.5)
    flow_run = make_flow_run(retries=1, retry_delay=2.0)
    ingest_records(database, b"w" * 16, items([run, flow_run, make_state(run, CANCELLED)]))
    with database.read() as connection:
        policy = queries.task_run_by_id(connection, LOCAL, UUID(bytes=run.id)).empirical_policy
        flow_policy = queries.flow_run_by_id(connection, LOCAL, UUID(bytes=flow_run.id)).empirical_policy
    assert (policy.retries, policy.retry_delay, policy.retry_jitter_factor) == (3, [1.0, 5.0], 0.5)
    assert (flow_policy.retries, flow_policy.retry_delay) == (1, 2.0)
