"""Disks and homes that refuse: the flow's own work goes on with the right result and exit code, the message is clear, the rest is kept."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.home import Home, home

__all__ = ["home"]

pytestmark = pytest.mark.timeout(60)

FLOW = """
import os, shutil, sys
from pathlib import Path
from riverrun import flow, get_run_logger, task

home = Path(os.environ.get("RIVERRUN_HOME", ""))

@task
def work(x):
    if x == 100 and "BREAK" in os.environ:
        shutil.rmtree(home / os.environ["BREAK"])
    if x % 10 == 0:
        get_run_logger().info("line %s %s", x, "x" * int(os.environ.get("PADDING", "0")))
    return x

@flow
def main():
    return sum(work(x) for x in range(300))

print(main())
sys.exit(7)
"""
RESULT = f"{sum(range(300))}\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root mounts a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def check_goes_on(home: Home, reason: str, **variables: str) -> None:  # noqa: F811
    done = home.script(FLOW, RIVERRUN_LOGGING_LEVEL="ERROR", **variables)
    assert (done.returncode, done.stdout) == (7, RESULT), done.stderr
    told, lost = done.stderr.splitlines()
    assert reason in told and str(home.path) in told
    assert "Flows go on" in told and "RIVERRUN_HOME" in told
    assert "could not be written" in lost and "are lost" in lost


def test_a_home_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_goes_on(Home(tmp_path / "file" / "home"), "Not a directory")


def test_a_home_that_cannot_be_made() -> None:
    check_goes_on(Home(Path("/proc/riverrun/home")), "No such file or directory")


def test_a_full_disk(small_disk: Path) -> None:
    check_goes_on(Home(small_disk / "home"), "No space left on device")


def test_a_disk_that_becomes_full(small_disk: Path) -> None:
    """What was written before is there; what was not is in memory until there is room again."""
    here = Home(small_disk / "home")
    source = FLOW.replace("print(main())", "FILL = home.parent / 'filler'\nprint(main())").replace(
        "    if x % 10 == 0:",
        "    if x == 50:\n"
        "        try:\n"
        "            FILL.write_bytes(b'x' * 2_000_000)\n"
        "        except OSError:\n"
        "            pass\n"
        "    if x == 250:\n"
        "        FILL.unlink()\n"
        "    if x % 10 == 0:",
    )
    done = here.script(source, RIVERRUN_JOURNAL_SEGMENT_BYTES="65536", PADDING="10000")
    assert (done.returncode, done.stdout) == (7, RESULT), done.stderr
    assert "No space left on device" in done.stderr and "lost" not in done.stderr
    journal = next((here.path / "journal").iterdir())
    from riverrun.wire.journal import LogRecord, TaskRunRecord, decode
    from riverrun.wire.spool import Spool

    records = [decode(payload) for _, payload in Spool(journal).records()]
    assert sum(isinstance(record, TaskRunRecord) for record in records) == 300
    assert sum(isinstance(record, LogRecord) for record in records) > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_a_read_only_home(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    home = Home(small_disk / "home")  # noqa: F811
    script = home.path.parent.parent / "script.py"
    script.write_text(FLOW)
    done = home.run(str(script), RIVERRUN_LOGGING_LEVEL="ERROR")
    assert (done.returncode, done.stdout) == (7, RESULT), done.stderr
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("removed", ["journal", "."])
def test_a_journal_removed_under_a_running_flow(home: Home, removed: str) -> None:  # noqa: F811
    done = home.script(FLOW, BREAK=removed, RIVERRUN_LOGGING_LEVEL="ERROR")
    assert (done.returncode, done.stdout, done.stderr) == (7, RESULT, "")
    with home.store() as store:
        assert [run.state_name for run in store.flow_runs()] == ["Completed"]
        assert len(store.task_runs(limit=1000)) == 300


def test_a_journal_corrupted_in_the_middle(home: Home) -> None:  # noqa: F811
    source = FLOW.replace("print(main())", "main()\nos.kill(os.getpid(), 9)")
    assert home.script(source).returncode == -signal.SIGKILL
    (segment,) = (home.path / "journal").glob("*/*.seg")
    with segment.open("r+b") as file:
        file.seek(60_000)
        file.write(b"\xc1RJ\xc1" + os.urandom(2000))
    with home.store(notes=True) as store:
        assert "lost" in store.notes[0]
        (run,) = store.flow_runs()
        assert run.state_name == "Completed"
        assert 280 <= len(store.task_runs(limit=1000)) <= 300
        assert {task_run.state_name for task_run in store.task_runs(limit=1000)} <= {"Completed", "Crashed", "Running"}
        lost = store.lost()
        assert lost and "damaged" in lost[0].why


def test_no_home_at_all(home: Home) -> None:  # noqa: F811
    """No HOME, and a user without an entry: the flow runs, and says what to set."""
    source = "import os, pwd\nos.environ.pop('HOME', None)\nos.environ.pop('RIVERRUN_HOME', None)\n"
    source += "def nobody(*_): raise KeyError('uid not found')\npwd.getpwuid = nobody\n"
    home.path.mkdir()
    source = f"import os\nos.chdir({str(home.path)!r})\n{source}"
    done = home.script(source + FLOW, RIVERRUN_LOGGING_LEVEL="ERROR", TMPDIR=str(home.path))
    assert (done.returncode, done.stdout, done.stderr) == (7, RESULT, "")
    assert [path.name for path in home.path.iterdir()] == [f"riverrun-{os.getuid()}"]  # and no directory called ~
