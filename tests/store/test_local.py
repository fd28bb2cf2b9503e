"""The local store: journals in, reads out, whatever state the home is in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from riverrun.base.config import temporary_settings
from riverrun.base.errors import InputError, ObjectNotFound, UnavailableError
from riverrun.client import local
from riverrun.client.journal import Journal, Options
from riverrun.server.db.lock import DatabaseLock
from tests.store.make import COMPLETED, make_flow_run, make_state, make_story


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that does not exist yet, in the settings of the test."""
    path = tmp_path / "fresh"
    with temporary_settings({"home": path, "journal_dir": path / "journal"}):
        yield path


def _leave_journal(home: Path, *stories: list) -> None:
    """The journal of a process that has ended."""
    journal = Journal(Options(home / "journal"))
    for story in stories:
        journal.append_all(story)
    journal.close()


def test_an_empty_home_gives_an_empty_store(home: Path) -> None:
    with local.open_store() as store:
        assert store.flow_runs() == []
        assert store.task_runs() == []
        assert store.flows() == []
        assert store.logs() == []
        assert store.counts() == {}
        assert store.notes == []
    assert (home.stat().st_mode & 0o777, (home / "riverrun.db").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_journal_is_taken_in_before_reading_and_its_spool_is_freed(home: Path) -> None:
    story = make_story(tasks=4)
    _leave_journal(home, story)
    with local.open_store() as store:
        (run,) = store.flow_runs()
        assert run.id == UUID(bytes=story[0].id)
        assert store.flow_name(run.flow_id) == "etl"
        assert store.flow_names([run.flow_id, None]) == {run.flow_id: "etl"}
        assert len(store.task_runs(flow_run_id=run.id)) == 4
        assert len(store.logs(flow_run_id=run.id)) == 4
        assert [state.name for state in store.flow_run_states(run.id)] == ["Pending", "Running", "Completed"]
        assert store.flow_run("brave-otter").id == run.id
        task = store.task_run("load-2")
        assert [state.name for state in store.task_run_states(task.id)] == ["Pending", "Running", "Completed"]
        assert store.lost() == []
    assert [path for path in (home / "journal").iterdir() if not path.name.endswith(".done")] == []


def test_without_ingestion_nothing_is_taken_in(home: Path) -> None:
    _leave_journal(home, make_story())
    with local.open_store(ingest=False) as store:
        assert store.flow_runs() == []
    with local.open_store() as store:
        assert len(store.flow_runs()) == 1


def test_a_living_journal_is_readable_at_once(home: Path) -> None:
    journal = Journal(Options(home / "journal"))
    flow_run = make_flow_run()
    journal.append(flow_run)
    with local.open_store() as store:
        assert store.flow_runs()[0].state is None
    journal.append(make_state(flow_run, COMPLETED))
    with local.open_store() as store:
        assert store.flow_runs()[0].state.is_completed()
    journal.close()


def test_while_another_process_writes_the_store_is_read_as_it_is(home: Path) -> None:
    _leave_journal(home, make_story())
    with local.open_store() as store:
        assert len(store.flow_runs()) == 1
    _leave_journal(home, make_story())
    with DatabaseLock(home / "riverrun.db") as lock:
        assert lock.acquire(0, "testing")
        with local.open_store() as store:
            assert len(store.flow_runs()) == 1
            assert f"process {os.getpid()} (testing)" in store.notes[0]
        assert local.ingest_in_background() is None
    with local.open_store() as store:
        assert (len(store.flow_runs()), store.notes) == (2, [])


def test_ingestion_stops_when_time_is_up_and_goes_on_in_the_background(home: Path) -> None:
    _leave_journal(home, make_story(tasks=3000))
    with local.open_store(seconds=0.0) as store:
        assert "background" in store.notes[0]
    local._background.wait()
    with local.open_store() as store:
        assert store.counts(flow_run_id=store.flow_runs()[0].id) == {"COMPLETED": 3000}
        assert store.notes == []


def test_background_ingestion_takes_the_journals_in(home: Path) -> None:
    _leave_journal(home, make_story(tasks=3))
    process = local.ingest_in_background()
    assert process.wait() == 0, (home / "ingest.log").read_text()
    assert "3 task runs" in (home / "ingest.log").read_text()
    with local.open_store(ingest=False) as store:
        assert len(store.task_runs()) == 3


def test_background_ingestion_is_not_led_astray_by_files_around_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sqlalchemy.py").write_text("raise SystemExit('a file of the user was imported')")
    monkeypatch.chdir(tmp_path)
    assert local.ingest_in_background().wait() == 0, (home / "ingest.log").read_text()


def test_background_ingestion_never_raises(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    with temporary_settings({"home": file / "home", "journal_dir": file / "home" / "journal"}):
        assert local.ingest_in_background() is None


@pytest.mark.parametrize(
    ("url", "says"), [("sqlite:///{home}/riverrun.db", "not a database"), ("mysql://host/name", "mysql")]
)
def test_an_ingestion_that_fails_says_why(home: Path, url: str, says: str) -> None:
    home.mkdir()
    (home / "riverrun.db").write_bytes(b"this is no database, it is a note\n" * 50)
    command = [sys.executable, "-m", "riverrun.server.ingest", "--database-url", url.format(home=home)]
    done = subprocess.run([*command, "--journal-dir", str(home / "journal")], capture_output=True, text=True)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_deleting(home: Path) -> None:
    _leave_journal(home, make_story(tasks=2), make_story(tasks=1, name="kept"))
    with local.open_store() as store:
        run = store.flow_run("brave-otter")
        assert store.delete_flow_run(run.id) == 2
        assert [run.name for run in store.flow_runs()] == ["kept"]
        assert len(store.task_runs()) == 1
        with pytest.raises(ObjectNotFound):
            store.delete_flow_run(run.id)
        with pytest.raises(ObjectNotFound, match="brave-otter"):
            store.flow_run("brave-otter")


def test_ambiguous_references_name_the_candidates(home: Path) -> None:
    twins = make_story(0), make_story(0)
    _leave_journal(home, *twins)
    with local.open_store() as store, pytest.raises(InputError) as caught:
        store.flow_run("brave-otter")
    for story in twins:
        assert str(UUID(bytes=story[0].id)) in str(caught.value)


def test_a_file_that_is_no_store_is_named(home: Path) -> None:
    home.mkdir()
    (home / "riverrun.db").write_bytes(b"this is no database, it is a note\n" * 50)
    with pytest.raises(UnavailableError, match="riverrun.db"), local.open_store():
        pass


def test_a_server_that_cannot_be_reached_is_named_without_its_password(home: Path) -> None:
    url = f"postgresql://me:secret@/none?host={home}"
    with temporary_settings({"api_database_connection_url": url}):
        with pytest.raises(UnavailableError) as caught, local.open_store():
            pass
    assert "secret" not in str(caught.value)
    assert "postgresql" in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://", "nonsense"])
def test_other_databases_are_refused(home: Path, url: str) -> None:
    with temporary_settings({"api_database_connection_url": url}), pytest.raises(InputError), local.open_store():
        pass


@pytest.mark.postgres
def test_the_store_may_be_on_postgresql(home: Path, postgres_databases) -> None:
    url = postgres_databases.create()
    with temporary_settings({"api_database_connection_url": url}):
        _leave_journal(home, make_story(tasks=3))
        with local.open_store() as store:
            assert len(store.task_runs()) == 3
        _leave_journal(home, make_story(tasks=2))
        assert local.ingest_in_background().wait() == 0
        with local.open_store(ingest=False) as store:
            assert len(store.task_runs()) == 5
    assert not (home / "riverrun.db").exists()
    postgres_databases.drop(url)


def test_importing_it_costs_nothing_of_the_server() -> None:
    script = (
        "import sys\nimport riverrun.client.local\n"
        "heavy = {'sqlalchemy', 'alembic', 'sqlite3', 'subprocess', 'asyncio', 'pydantic'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


_READ = """
import ctypes, os
if os.geteuid() == 0:
    # without its capabilities root is held to the modes of files like everybody
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0
from riverrun.client.local import open_store
try:
    with open_store() as store:
        print(len(store.flow_runs()), store.notes)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def read_only():
    """Runs a script that may read a home but not write it."""

    def run(home: Path) -> str:
        for path in (home, *home.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _READ],
                capture_output=True,
                text=True,
                env={**os.environ, "RIVERRUN_HOME": str(home)},
            )
        finally:
            for path in (home, *home.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
        return done.stdout + done.stderr

    return run


def test_a_read_only_home_is_read_as_it_is(home: Path, read_only) -> None:
    _leave_journal(home, make_story())
    with local.open_store():
        pass
    _leave_journal(home, make_story())
    told = read_only(home)
    assert told.startswith("1 ["), told
    assert "cannot be written" in told


def test_a_read_only_home_without_a_store_says_what_to_do(home: Path, read_only) -> None:
    home.mkdir()
    told = read_only(home)
    assert told.startswith("UnavailableError"), told
    assert "RIVERRUN_HOME" in told
