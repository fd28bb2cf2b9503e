"""What readers see: filters, order, pages, references, and how many statements it takes."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import InputError, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.db import paging, tables
from riverrun.server.db.engine import Database
from riverrun.server.db.scope import LOCAL, Scope
from riverrun.server.flows import queries as flows
from riverrun.server.ingest import ingest_records
from riverrun.server.logs import queries as logs
from riverrun.server.runs import queries
from riverrun.wire.states import StateType
from tests.store.make import (
    COMPLETED,
    FAILED,
    PENDING,
    RUNNING,
    SCHEDULED,
    items,
    make_flow_run,
    make_log,
    make_state,
    make_story,
    make_task_run,
)


def _ingest(database: Database, *stories: list) -> None:
    ingest_records(database, uuid7().bytes, items(itertools.chain(*stories)))


@contextmanager
def _statements(connection: sa.Connection) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(conn, cursor, statement, parameters, context, executemany):
        seen.append(statement)

    sa.event.listen(connection, "before_cursor_execute", note)
    yield seen
    sa.event.remove(connection, "before_cursor_execute", note)


def test_flow_runs_come_newest_first_in_stable_pages(database: Database) -> None:
    _ingest(database, *(make_story(tasks=0, name=f"run-{number}") for number in range(12)))
    with database.read() as connection:
        whole = [run.name for run in queries.flow_runs(connection, LOCAL)]
        pages = [
            run.name
            for offset in range(0, 12, 5)
            for run in queries.flow_runs(connection, LOCAL, limit=5, offset=offset)
        ]
        beyond = queries.flow_runs(connection, LOCAL, offset=50)
    assert whole == [f"run-{number}" for number in reversed(range(12))]
    assert pages == whole
    assert beyond == []


def test_runs_expected_at_the_same_instant_have_a_stable_order(database: Database) -> None:
    runs = [make_flow_run(name=f"run-{number}", created=5) for number in range(9)]
    _ingest(database, runs)
    with database.read() as connection:
        whole = [run.name for run in queries.flow_runs(connection, LOCAL)]
        pages = [
            run.name
            for offset in range(0, 9, 2)
            for run in queries.flow_runs(connection, LOCAL, limit=2, offset=offset)
        ]
    assert len(set(whole)) == 9
    assert pages == whole


def test_flow_runs_by_state(database: Database) -> None:
    done, failed = make_story(0, name="done"), make_story(0, end=FAILED, name="failed")
    late = make_flow_run(name="late")
    lately = make_state(late, SCHEDULED, name="Late", details={"scheduled_time": "2030-01-01T00:00:00Z"})
    running = make_flow_run(name="running")
    fresh = make_flow_run(name="fresh")
    _ingest(database, done, failed, [late, lately, running, make_state(running, RUNNING), fresh])

    def names(**filters) -> set[str]:
        with database.read() as connection:
            return {run.name for run in queries.flow_runs(connection, LOCAL, **filters)}

    assert names(state_types=["COMPLETED"]) == {"done"}
    assert names(state_types=[StateType.FAILED, "running"]) == {"failed", "running"}
    assert names(state_names=["Late"]) == {"late"}
    assert names(state_names=["Scheduled"]) == set()
    assert names(state_names=["Late", "completed"]) == {"late", "done"}
    assert names(state_names=["Completed"], state_types=["FAILED"]) == set()
    assert names(state_names=["Completed", "Failed"], state_types=["FAILED"]) == {"failed"}
    assert names() == {"done", "failed", "late", "running", "fresh"}
    with pytest.raises(InputError, match="COMPLETED"):
        names(state_types=["DONE"])


def test_several_state_types_are_one_ordered_page(database: Database) -> None:
    ends = [COMPLETED, FAILED, COMPLETED, FAILED, COMPLETED]
    _ingest(database, *(make_story(0, end=end, name=f"run-{number}") for number, end in enumerate(ends)))
    with database.read() as connection:
        page = queries.flow_runs(connection, LOCAL, state_types=["COMPLETED", "FAILED"], limit=2, offset=1)
    assert [run.name for run in page] == ["run-3", "run-2"]


def test_flow_runs_by_flow_name_tags_and_time(database: Database) -> None:
    runs = [
        make_flow_run(flow="a", name="one", tags=["x"]),
        make_flow_run(flow="b", name="two", tags=["x", "y"]),
        make_flow_run(flow="c", name="three"),
    ]
    _ingest(database, runs)

    def names(**filters) -> list[str]:
        with database.read() as connection:
            return [run.name for run in queries.flow_runs(connection, LOCAL, **filters)]

    assert names(flow_names=["a", "c"]) == ["three", "one"]
    assert names(name="two") == ["two"]
    assert names(tags=["x"]) == ["two", "one"]
    assert names(tags=["x", "y"]) == ["two"]
    assert names(tags=["z"]) == []
    assert names(since=from_micros(runs[1].created)) == ["three", "two"]
    assert names(since=from_micros(runs[1].created), tags=["y"], flow_names=["b"], name="two") == ["two"]


def test_task_runs_of_a_flow_run(database: Database) -> None:
    story, other = make_story(tasks=4), make_story(tasks=2)
    failing = make_task_run(story[0], 9, tags=["flaky"])
    story += [failing, make_state(failing, RUNNING), make_state(failing, FAILED, message="boom", name="Broken")]
    _ingest(database, story, other)
    flow_run_id = UUID(bytes=story[0].id)
    with database.read() as connection:
        mine = queries.task_runs(connection, LOCAL, flow_run_id=flow_run_id)
        assert [run.dynamic_key for run in mine] == ["9", "3", "2", "1", "0"]
        assert {run.flow_run_id for run in mine} == {flow_run_id}
        (found,) = queries.task_runs(connection, LOCAL, flow_run_id=flow_run_id, state_types=["FAILED"])
        assert (found.state.message, found.state_name) == ("boom", "Broken")
        assert found.state.state_details.flow_run_id == flow_run_id
        assert found.state.state_details.task_run_id == found.id
        assert [run.id for run in queries.task_runs(connection, LOCAL, tags=["flaky"])] == [found.id]
        assert [run.id for run in queries.task_runs(connection, LOCAL, name="load-9")] == [found.id]
        assert len(queries.task_runs(connection, LOCAL)) == 7
        assert queries.counts(connection, LOCAL, flow_run_id=flow_run_id) == {
            StateType.COMPLETED: 4,
            StateType.FAILED: 1,
        }
        assert queries.counts(connection, LOCAL) == {StateType.COMPLETED: 2}
        assert queries.task_runs(connection, LOCAL, flow_run_id=uuid7()) == []


def test_a_task_run_has_what_was_recorded(database: Database) -> None:
    upstream = uuid7()
    run = make_task_run(
        None, task_version="3", inputs={"a": [("task_run", upstream.bytes, None)], "b": [("constant", None, "int")]}
    )
    details = {"cache_key": "k", "scheduled_time": "2030-01-01T00:00:00Z"}
    _ingest(
        database, [run, make_state(run, SCHEDULED, name="AwaitingRetry", details=details), make_state(run, PENDING)]
    )
    with database.read() as connection:
        read = queries.find_task_run(connection, LOCAL, run.name)
        states = queries.task_run_states(connection, LOCAL, read.id)
    assert (read.task_inputs["a"][0].id, read.task_inputs["b"][0].type) == (upstream, "int")
    assert (read.task_version, read.flow_run_id, read.created) == ("3", None, from_micros(run.created))
    assert (read.state_id, read.state_type, read.state_name) == (states[1].id, StateType.PENDING, "Pending")
    assert (states[0].name, states[0].state_details.cache_key) == ("AwaitingRetry", "k")
    assert read.expected_start_time == states[0].state_details.scheduled_time
    assert read.total_run_time == timedelta(0)


def test_references(database: Database) -> None:
    first, second = make_flow_run(name="twin"), make_flow_run(name="twin")
    single = make_flow_run(name="single", id=UUID("abcdef12-3456-7890-abcd-ef1234567890").bytes)
    hexlike = make_flow_run(name="abcd")
    _ingest(database, [first, second, single, hexlike])
    with database.read() as connection:

        def find(ref):
            return queries.find_flow_run(connection, LOCAL, ref).id.bytes

        assert find("single") == single.id
        assert find(UUID(bytes=first.id)) == first.id
        assert find(str(UUID(bytes=first.id))) == first.id
        assert find("abcdef12-3456-7") == single.id
        assert find("ABCDEF1") == single.id
        assert find("abcd") == hexlike.id  # a name wins over the beginning of an id
        with pytest.raises(InputError) as caught:
            find("twin")
        assert str(UUID(bytes=first.id)) in str(caught.value)
        assert str(UUID(bytes=second.id)) in str(caught.value)
        with pytest.raises(InputError, match="several"):
            find(first.id.hex()[:3])
        for absent in ("nothing", "ffff", "", str(uuid7())):
            with pytest.raises(ObjectNotFound):
                find(absent)
        with pytest.raises(ObjectNotFound):
            queries.find_task_run(connection, LOCAL, "single")


def test_logs(database: Database) -> None:
    flow_run = make_flow_run()
    task_run = make_task_run(flow_run)
    lines = [
        make_log(flow_run, "starting", 20),
        make_log(task_run, "careful", 30),
        make_log(task_run, "boom", 40),
        make_log(flow_run, "over", 20),
    ]
    _ingest(database, [flow_run, task_run, *lines], make_story(tasks=2))

    def messages(**filters) -> list[str]:
        with database.read() as connection:
            return [line.message for line in logs.logs(connection, LOCAL, **filters)]

    flow_run_id, task_run_id = UUID(bytes=flow_run.id), UUID(bytes=task_run.id)
    assert messages(flow_run_id=flow_run_id) == ["starting", "careful", "boom", "over"]
    assert messages(task_run_id=task_run_id) == ["careful", "boom"]
    assert messages(flow_run_id=flow_run_id, min_level=30) == ["careful", "boom"]
    assert messages(flow_run_id=flow_run_id, limit=2, offset=1) == ["careful", "boom"]
    assert messages(flow_run_id=flow_run_id, newest_first=True, limit=1) == ["over"]
    assert len(messages()) == 6
    with database.read() as connection:
        read = logs.logs(connection, LOCAL, flow_run_id=flow_run_id)
        again = logs.logs(connection, LOCAL, flow_run_id=flow_run_id)
    assert [line.id for line in read] == [line.id for line in again]
    assert len({line.id for line in read}) == 4
    assert (read[1].flow_run_id, read[1].task_run_id, read[0].task_run_id) == (flow_run_id, task_run_id, None)


def test_flows(database: Database) -> None:
    long = "f" * 5000
    _ingest(database, *(make_story(0, flow=name) for name in ("a", "b", "a", long, long + "g")))
    with database.read() as connection:
        found = flows.flows(connection, LOCAL)
        assert [flow.name for flow in found] == [long + "g", long, "b", "a"]
        assert flows.flow_name(connection, LOCAL, found[2].id) == "b"
        assert flows.flow_names(connection, LOCAL, {found[2].id, uuid7()}) == {found[2].id: "b"}
        assert [flow.name for flow in flows.flows(connection, LOCAL, limit=1, offset=1)] == [long]
        assert len(queries.flow_runs(connection, LOCAL, flow_names=[long])) == 1
        with pytest.raises(ObjectNotFound):
            flows.flow_name(connection, LOCAL, uuid7())


def test_another_workspace_sees_nothing(database: Database) -> None:
    story = make_story(tasks=2)
    _ingest(database, story)
    other, flow_run_id = Scope(workspace_id=2), UUID(bytes=story[0].id)
    ingest_records(database, uuid7().bytes, items(make_story(tasks=1, name="theirs")), other)
    with database.read() as connection:
        assert [run.name for run in queries.flow_runs(connection, other)] == ["theirs"]
        assert len(queries.task_runs(connection, other)) == 1
        assert len(logs.logs(connection, other)) == 1
        assert [flow.name for flow in flows.flows(connection, other)] == ["etl"]
        assert queries.flow_run_states(connection, other, flow_run_id) == []
        with pytest.raises(ObjectNotFound):
            queries.find_flow_run(connection, other, "brave-otter")
        with pytest.raises(ObjectNotFound):
            queries.flow_run_by_id(connection, other, flow_run_id)


def test_every_list_is_one_statement(database: Database) -> None:
    _ingest(database, *(make_story(tasks=5, tags=["x"]) for _ in range(4)))
    with database.read() as connection:
        flow_run_id = queries.flow_runs(connection, LOCAL)[0].id
        for read in (
            lambda: queries.flow_runs(connection, LOCAL),
            lambda: queries.flow_runs(
                connection, LOCAL, state_types=["COMPLETED", "FAILED"], tags=["x"], flow_names=["etl"]
            ),
            lambda: queries.task_runs(connection, LOCAL, flow_run_id=flow_run_id),
            lambda: queries.flow_run_states(connection, LOCAL, flow_run_id),
            lambda: queries.flow_run_by_id(connection, LOCAL, flow_run_id),
            lambda: queries.counts(connection, LOCAL, flow_run_id=flow_run_id),
            lambda: logs.logs(connection, LOCAL, flow_run_id=flow_run_id),
            lambda: logs.lost_stretches(connection, LOCAL, flow_run_id=flow_run_id),
            lambda: flows.flows(connection, LOCAL),
        ):
            with _statements(connection) as seen:
                assert read() is not None
            assert len(seen) == 1, seen


def test_a_name_is_found_by_its_index(database: Database) -> None:
    _ingest(database, *(make_story(tasks=0, name=f"run-{number}") for number in range(50)))
    query = (
        sa.select(tables.flow_run.c.id)
        .where(tables.flow_run.c.workspace_id == 1, paging.named(tables.flow_run, "run-7"))
        .order_by(*paging.newest_first(tables.flow_run, few=True))
    )
    text = str(query.compile(database.engine, compile_kwargs={"literal_binds": True}))
    with database.read() as connection:
        if database.path is None:
            connection.exec_driver_sql("SET enable_seqscan = off")
        explain = "EXPLAIN" if database.path is None else "EXPLAIN QUERY PLAN"
        plan = " ".join(str(row) for row in connection.exec_driver_sql(f"{explain} {text}"))
        if database.path is None:
            connection.exec_driver_sql("RESET enable_seqscan")
    assert "ix_flow_run_name" in plan
    assert database.path is None or "<expr>" in plan
