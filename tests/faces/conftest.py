"""A real server over a real store in a thread of the test's process, and settings that point to it.

Flows of these tests keep their journal in memory: what is looked at is what the faces tell the server.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from riverrun.base import config
from riverrun.client import journal
from riverrun.concurrency import tags
from riverrun.events.emit import flush_events
from riverrun.server.serve import in_thread
from tests.store.conftest import sqlite_template

__all__ = ["sqlite_template"]


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of the module's server."""
    path = tmp_path_factory.mktemp("server") / "riverrun.db"
    with in_thread(f"sqlite:///{path}") as base:
        yield f"{base}/api"


@pytest.fixture
def server(server_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[httpx.Client]:
    """The settings name the server; a plain client of it to look with."""
    monkeypatch.setenv("RIVERRUN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RIVERRUN_API_URL", server_url)
    config.reload()
    tags._unlimited.clear()
    with journal.use(journal.MemoryJournal()), httpx.Client(base_url=server_url, timeout=10) as client:
        yield client
        assert flush_events(10)
    monkeypatch.undo()
    config.reload()
    journal.follow_settings()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[journal.MemoryJournal]:
    """No server anywhere, and none may be started; what goes into the journal."""
    monkeypatch.setenv("RIVERRUN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RIVERRUN_API_URL", raising=False)
    monkeypatch.setattr("riverrun.client.location._start_server", _refuse)
    config.reload()
    tags._unlimited.clear()
    with journal.use(journal.MemoryJournal()) as memory:
        yield memory
    monkeypatch.undo()
    config.reload()
    journal.follow_settings()


def _refuse() -> None:
    raise AssertionError("this must do without a server")


@pytest.fixture
def cli(server: httpx.Client, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: its exit code, what it printed, what it said."""
    from riverrun.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run
