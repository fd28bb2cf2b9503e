"""Where the API is: configured, found, or started."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from riverrun.base.config import temporary_settings
from riverrun.base.errors import UnavailableError
from riverrun.client import location
from riverrun.client.calls.admin import read_health
from riverrun.client.http import send


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with temporary_settings({"home": tmp_path}):
        yield tmp_path


@contextmanager
def held(home: Path, document: bytes) -> Iterator[None]:
    """As a running server holds its file."""
    with (home / "server.json").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(document)
        file.flush()
        yield


RUNNING = json.dumps({"url": "http://127.0.0.1:4321", "pid": 1, "started": "", "version": "0"}).encode()


def test_the_setting_wins(home: Path) -> None:
    with held(home, RUNNING), temporary_settings({"api_url": "http://there:1/api/"}):
        assert location.api_url() == "http://there:1/api"


def test_a_running_server_is_found(home: Path) -> None:
    with held(home, RUNNING):
        assert location.api_url() == "http://127.0.0.1:4321/api"
        assert location.ensure_api_url() == "http://127.0.0.1:4321/api"


def test_a_file_that_nobody_holds_is_of_a_dead_server(home: Path) -> None:
    with held(home, RUNNING):
        pass
    assert location.running_server() is None


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"url": 3}'])
def test_a_server_that_has_not_told_yet(home: Path, document: bytes) -> None:
    with held(home, document):
        assert location.api_url() is None


def test_nobody_runs(home: Path) -> None:
    assert location.api_url() is None


@pytest.mark.slow
def test_a_server_is_started_when_there_is_none(home: Path) -> None:
    """Several may ask at once; they get one server."""
    script = "from riverrun.client.location import ensure_api_url; print(ensure_api_url())"
    environment = {**os.environ, "RIVERRUN_HOME": str(home)}
    askers = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [asker.communicate(timeout=50)[0].strip() for asker in askers]
    server = location.running_server()
    assert server is not None
    try:
        assert set(answers) == {f"{server['url']}/api"}
        assert send(read_health()) is True
    finally:
        os.kill(server["pid"], signal.SIGTERM)
    with (home / "server.json").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # comes when the server has ended
    assert location.running_server() is None


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    (home / "riverrun.db").mkdir()
    with pytest.raises(UnavailableError, match=r"none could be started: [\s\S]*riverrun server start"):
        location.ensure_api_url()
