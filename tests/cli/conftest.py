"""A store with known runs, written through a real journal by a real process, and the command line to read it with."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from riverrun.base import config
from riverrun.base.errors import RiverrunError
from riverrun.cli import main
from riverrun.client import journal

#: writes two flow runs of one flow and one of another, with task runs, states and logs, at fixed instants
WRITER = """
from riverrun.client import journal
from riverrun.wire.journal import FLOW_RUN, TASK_RUN, FlowRunRecord, LogRecord, StateRecord, TaskRunRecord
from riverrun.wire.states import TYPE_CODES, StateType
from uuid import UUID

START = 1_760_000_000_000_000  # 2025-10-09T08:53:20Z
ids = iter(range(1, 1000))

def new():
    return UUID(int=0x0199C7A1_0000_7000_8000_000000000000 + (next(ids) << 96)).bytes

def states(kind, run, *entries):
    for type_, offset, message in entries:
        journal.append(StateRecord(kind, run, new(), TYPE_CODES[StateType(type_)], START + int(offset * 1e6), message=message))

def flow_run(flow, name, offset, parameters=b"{}", tags=()):
    run = new()
    journal.append(FlowRunRecord(run, flow, name, START + int(offset * 1e6), parameters=parameters, tags=list(tags)))
    return run

def task_run(parent, name, offset):
    run = new()
    journal.append(TaskRunRecord(run, parent, "load-abc", name, name, START + int(offset * 1e6)))
    return run

def log(flow, task, offset, level, message):
    journal.append(LogRecord(flow, task, START + int(offset * 1e6), level, "riverrun.flow_runs", message))

good = flow_run("etl", "calm-otter", 0, b'{"day": "2026-01-31", "n": 3}', ["nightly", "eu"])
states(FLOW_RUN, good, ("PENDING", 0, None), ("RUNNING", 0.25, None), ("COMPLETED", 12.75, "All states completed."))
for number in range(3):
    task = task_run(good, f"load-{number}", 1 + number)
    states(TASK_RUN, task, ("PENDING", 1 + number, None), ("RUNNING", 1.001 + number, None))
    states(TASK_RUN, task, ("FAILED" if number == 2 else "COMPLETED", 1.5 + number, None))
    log(good, task, 1.2 + number, 30 if number == 2 else 20, f"row {number}")
log(good, None, 0.3, 10, "beginning")
log(good, None, 12, 40, "two\\nlines \\x1b[31mred")

bad = flow_run("etl", "angry-crow", 100, tags=["eu"])
states(FLOW_RUN, bad, ("PENDING", 100, None), ("RUNNING", 100.1, None), ("FAILED", 100.2, "ValueError: no"))
for number in range(30):
    log(bad, None, 100.1 + number / 1000, 20, f"line {number:02}")

going = flow_run("report", "slow-\\x1b[31msnail \u6f22\u5b57", 200)
states(FLOW_RUN, going, ("PENDING", 200, None), ("RUNNING", 200.1, None))
assert journal.flush(10)

from riverrun.client.local import open_store

with open_store(seconds=60) as store:
    assert store.notes == []
"""


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self):
        return msgspec.json.decode(self.out)

    @property
    def rows(self):
        return self.out.splitlines()


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RIVERRUN_", "NO_COLOR", "FORCE_COLOR"))
    }
    return {**kept, "RIVERRUN_HOME": str(home), **more}


@pytest.fixture(scope="session")
def filled(tmp_path_factory) -> Path:
    """A home whose store has the runs of `WRITER`. Not to be written to."""
    home = tmp_path_factory.mktemp("filled")
    subprocess.run([sys.executable, "-c", WRITER], env=environment(home), check=True, timeout=60)
    return home


@pytest.fixture
def own(filled, tmp_path) -> Path:
    """A copy of the filled home, to change at will."""
    return Path(shutil.copytree(filled, tmp_path / "own"))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working directory, and a home of its own that does not exist yet."""
    for name in [name for name in os.environ if name.startswith(("RIVERRUN_", "NO_COLOR", "FORCE_COLOR"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RIVERRUN_HOME", str(tmp_path / "home"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    path = list(sys.path)
    config.reload()
    yield tmp_path / "cwd"
    sys.path[:] = path
    monkeypatch.undo()
    config.reload()
    journal.follow_settings()


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run a command in this process."""

    def run(*args: object, home: Path | None = None) -> Result:
        if home is not None:
            monkeypatch.setenv("RIVERRUN_HOME", str(home))
        capsys.readouterr()
        with suppress(RiverrunError):  # the command is to say what is wrong with the settings
            config.reload()
            journal.follow_settings()
        code = main([str(arg) for arg in args])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def process(place):
    """Run a command in a process of its own."""

    def run(*args: object, home: Path | None = None, **variables: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "riverrun", *map(str, args)],
            env=environment(home or place.parent / "home", **variables),
            cwd=place,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@contextmanager
def started(args: list[str], env: dict[str, str], **options) -> Iterator[subprocess.Popen]:
    """A process that has ended when the block ends."""
    child = subprocess.Popen([sys.executable, "-m", "riverrun", *args], env=env, **options)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(10)
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
