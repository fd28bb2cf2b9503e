"""Spools on disk into the store: in order, in time, past damage, and side by side."""

import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from riverrun.client.journal import Journal, Options
from riverrun.server.db import tables
from riverrun.server.db.engine import Database
from riverrun.server.db.scope import LOCAL
from riverrun.server.ingest import ingest
from riverrun.server.logs import queries as logs
from riverrun.server.runs import queries
from riverrun.server.runs.render import PLACEHOLDER
from riverrun.wire.spool import SEGMENT, spools
from tests.store.make import COMPLETED, PENDING, RUNNING, contents, make_flow_run, make_state, make_story, make_task_run


def _journal(directory: Path, records: list, *, close: bool = True) -> Journal:
    journal = Journal(Options(directory))
    journal.append_all(records)
    if close:
        journal.close()
    return journal


def test_all_journals_are_taken_in_and_freed(database: Database, tmp_path: Path) -> None:
    for _ in range(3):
        _journal(tmp_path / "journal", make_story(tasks=2))
    report = ingest(database, tmp_path / "journal")
    assert (report.counts.flow_runs, report.counts.task_runs, report.spools) == (3, 6, 3)
    assert (report.finished, report.errors) == (True, [])
    assert "6 task runs" in str(report)
    assert spools(tmp_path / "journal") == []


def test_a_missing_journal_directory_is_an_empty_one(database: Database, tmp_path: Path) -> None:
    assert ingest(database, tmp_path / "none").counts.records == 0


def test_a_living_journal_is_read_on_from_where_it_was(database: Database, tmp_path: Path) -> None:
    journal = _journal(tmp_path, [make_flow_run()], close=False)
    assert ingest(database, tmp_path).counts.records == 1
    assert ingest(database, tmp_path).counts.records == 0
    journal.append(make_flow_run())
    assert ingest(database, tmp_path).counts.records == 1
    assert len(spools(tmp_path)) == 1
    journal.close()
    ingest(database, tmp_path)
    assert spools(tmp_path) == []


def test_damage_in_the_middle_is_a_lost_stretch_and_the_rest_is_kept(database: Database, tmp_path: Path) -> None:
    story = make_story(tasks=30)
    _journal(tmp_path, story)
    (spool,) = spools(tmp_path)
    (segment,) = spool.path.glob(f"*{SEGMENT}")
    content = bytearray(segment.read_bytes())
    middle = content.index(b"load-15")
    content[middle : middle + 3] = b"\0\0\0"
    segment.write_bytes(content)
    report = ingest(database, tmp_path)
    with database.read() as connection:
        (stretch,) = logs.lost_stretches(connection, LOCAL)
        (run,) = queries.flow_runs(connection, LOCAL)
        assert run.state.is_completed()
        assert logs.lost_stretches(connection, LOCAL, flow_run_id=run.id)[0].why == stretch.why
        tasks = queries.task_runs(connection, LOCAL, limit=100)
    assert report.counts.lost == stretch.last - stretch.first + 1 == 1
    assert len(tasks) == 30  # the one whose creation is lost is known by its states


def test_a_spool_that_cannot_be_read_does_not_keep_the_others_out(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        _journal(tmp_path, make_story(tasks=1))
    first = spools(tmp_path)[0]
    for segment in first.path.glob(f"*{SEGMENT}"):
        segment.unlink()
        segment.mkdir()  # reading it is an OSError
    report = ingest(database, tmp_path)
    assert report.counts.flow_runs == 1
    assert str(first.path) in report.errors[0]


def test_time_limits_stop_between_units(database: Database, tmp_path: Path) -> None:
    story = make_story(tasks=10)
    _journal(tmp_path, story)
    report = ingest(database, tmp_path, seconds=0.0)
    assert (report.finished, report.counts.records) == (False, 0)
    assert ingest(database, tmp_path, seconds=60.0).finished


def test_another_store_is_told_what_it_missed(database: Database, tmp_path: Path) -> None:
    """A spool whose beginning another store has taken: this one knows that something is missing."""
    journal = _journal(tmp_path, [make_flow_run()] * 3, close=False)
    spools(tmp_path)[0].release(2)
    ingest(database, tmp_path)
    with database.read() as connection:
        (stretch,) = logs.lost_stretches(connection, LOCAL)
    assert (stretch.first, stretch.last) == (1, 2)
    journal.close()


_AT_ONCE = """
import pathlib, sys
from riverrun.server.db.engine import open_database
from riverrun.server.ingest import ingest, spools, units
units.UNIT_RECORDS = spools.UNIT_RECORDS = int(sys.argv[3])
with open_database(sys.argv[1]) as database:
    with database.write():
        pass  # connected before the start
    print("ready", flush=True)
    sys.stdin.readline()
    print(ingest(database, pathlib.Path(sys.argv[2])).counts.records)
"""


def _at_once(database: Database, directories: list[Path], unit: int) -> int:
    """Processes that ingest a directory each at the same time; the number of records they took together."""
    url = database.url.render_as_string(hide_password=False)
    commands = [[sys.executable, "-c", _AT_ONCE, url, str(directory), str(unit)] for directory in directories]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for command in commands]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(int(process.communicate()[0]) for process in running)


def test_two_processes_that_ingest_at_once_store_everything_once(database: Database, tmp_path: Path) -> None:
    """SQLite by its write lock, PostgreSQL by the row lock on the journal's cursor; `ingest` itself without the file lock."""
    stories = [make_story(tasks=60, name=f"run-{number}") for number in range(4)]
    for story in stories:
        _journal(tmp_path / "journal", story)
    told = _at_once(database, [tmp_path / "journal"] * 2, 100)
    ingest(database, tmp_path / "journal")
    assert told == sum(len(story) for story in stories)
    found = contents(database)
    assert len(found["task_run"]) == 240
    assert len(found["task_run_state"]) == 720
    assert found["journal_lost"] == found["journal_aside"] == []


def test_two_processes_that_ingest_journals_about_the_same_runs(database: Database, tmp_path: Path) -> None:
    flow_run = make_flow_run()
    tasks = [make_task_run(flow_run, number) for number in range(200)]
    starts = [make_state(task, PENDING) for task in tasks]
    ends = [make_state(task, kind) for task in tasks for kind in (RUNNING, COMPLETED)]
    _journal(tmp_path / "parent", [flow_run, *tasks, *starts])
    _journal(tmp_path / "child", ends)
    assert _at_once(database, [tmp_path / "parent", tmp_path / "child"], 10) == 801
    found = contents(database)
    assert found["journal_aside"] == []
    assert (len(found["task_run"]), len(found["task_run_state"])) == (200, 600)
    with database.read() as connection:
        runs = queries.task_runs(connection, LOCAL, limit=300)
        states = queries.task_run_states(connection, LOCAL, runs[0].id)
    assert {(run.state_name, run.run_count, PLACEHOLDER in run.labels) for run in runs} == {("Completed", 1, False)}
    assert [state.name for state in states] == ["Pending", "Running", "Completed"]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, database: Database) -> None:
    _journal(tmp_path / "journal", make_story(tasks=500))
    with database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 5}")
    with pytest.raises(database.errors, match="full"):
        ingest(database, tmp_path / "journal")
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1073741823")
    assert ingest(database, tmp_path / "journal").counts.task_runs == 500
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.task_run_state)).scalar() == 1500
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_the_journal_is_named_by_its_writer(database: Database, tmp_path: Path) -> None:
    journal = _journal(tmp_path, [make_flow_run()])
    ingest(database, tmp_path)
    with database.read() as connection:
        assert connection.execute(sa.select(tables.journal_writer.c.id)).scalar() == UUID(bytes=journal.writer)


_DYING = """
import os, pathlib, signal, sys
from riverrun.client.journal import Journal, Options
from tests.store.make import *
flow_run = make_flow_run()
done, working, waiting = (make_task_run(flow_run, number) for number in range(3))
journal = Journal(Options(pathlib.Path(sys.argv[1])))
journal.append_all([flow_run, make_state(flow_run, RUNNING), done, working, waiting])
journal.append_all([make_state(done, COMPLETED), make_state(working, RUNNING)])
journal.append_all([make_state(waiting, SCHEDULED, details={"scheduled_time": "2030-01-01T00:00:00Z"})])
journal.append(make_log(working, "still at it"))
print(working.id.hex(), flush=True)
if sys.argv[2] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.readline()
journal.close()
"""


def _process(directory: Path, end: str) -> subprocess.Popen:
    command = [sys.executable, "-c", _DYING, str(directory), end]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


def test_the_unfinished_runs_of_a_killed_process_have_crashed(database: Database, tmp_path: Path) -> None:
    process = _process(tmp_path, "die")
    working, _ = process.communicate()
    ingest(database, tmp_path)
    with database.read() as connection:
        (flow_run,) = queries.flow_runs(connection, LOCAL)
        tasks = {run.name: run for run in queries.task_runs(connection, LOCAL)}
        (line,) = logs.logs(connection, LOCAL)
    assert {name: run.state_name for name, run in tasks.items()} == {
        "load-0": "Completed",
        "load-1": "Crashed",
        "load-2": "Scheduled",  # what waits for its time needs no process
    }
    assert (flow_run.state_name, flow_run.end_time > line.timestamp) == ("Crashed", True)
    assert "killed" in flow_run.state.message
    before = contents(database)
    assert ingest(database, tmp_path).counts.records == 0
    assert contents(database) == before
    # another process had taken the task over and says so only now: its word counts
    late = make_task_run(None, id=bytes.fromhex(working.strip()))
    _journal(tmp_path, [make_state(late, COMPLETED, timestamp=late.created + 10**9)])
    ingest(database, tmp_path)
    with database.read() as connection:
        assert queries.find_task_run(connection, LOCAL, "load-1").state_name == "Completed"


def test_the_runs_of_a_living_process_go_on(database: Database, tmp_path: Path) -> None:
    process = _process(tmp_path, "live")
    assert process.stdout.readline()
    ingest(database, tmp_path)
    with database.read() as connection:
        assert queries.flow_runs(connection, LOCAL)[0].state_name == "Running"
    process.communicate("go\n")
