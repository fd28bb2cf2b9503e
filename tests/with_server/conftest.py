"""Flows as processes beside a server that is one: what a user has. Every test gets a home, and a server on a free port."""

import queue
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.processes import Server, environment

SECONDS = 40


class Script:
    """A script that runs beside the test. `said()` is its next line of output; ended by its id."""

    def __init__(self, path: Path, variables: dict[str, str], arguments: tuple[str, ...]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(path), *arguments],
            env=variables,
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._queue.put(line.rstrip("\n"))

    def said(self) -> str:
        try:
            return self._queue.get(timeout=SECONDS)
        except queue.Empty:
            raise AssertionError("nothing more was said after " + "\n".join(self.lines)) from None

    def ended(self) -> int:
        """The exit code, when it has ended by itself."""
        try:
            code = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("it goes on after " + "\n".join(self.lines)) from None
        self._reader.join(5)
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Place:
    """A home with a server, and scripts that run in it."""

    def __init__(self, path: Path, api_url: str | None = None, beside: "Place | None" = None) -> None:
        """`beside`: the home and the server of another place."""
        self.path = path
        self.home = path / "home" if beside is None else beside.home
        self._api_url = api_url
        self._scripts: list[Script] = []
        self.server: Server | None = None
        self._keeper = beside
        self.api: httpx.Client
        if beside is not None:
            self.server, self.api = beside.server, beside.api

    def serve(self) -> Server:
        """Start the server of this home; once more after it has ended, it has another address."""
        if self.server is not None:
            self.api.close()
        self.server = Server(self.home)
        self.api = self.server.client()
        return self.server

    @property
    def variables(self) -> dict[str, str]:
        more = {} if self._api_url is None else {"RIVERRUN_API_URL": self._api_url}
        return environment(self.home, RIVERRUN_LOGGING_LEVEL="CRITICAL", PYTHONUNBUFFERED="1", **more)

    def write(self, source: str, name: str = "script.py") -> Path:
        file = self.path / name
        file.write_text(textwrap.dedent(source))
        return file

    def start(self, source: str, *arguments: str, **variables: str) -> Script:
        return self.keep(Script(self.write(source), self.variables | variables, arguments))

    def keep(self, script: Script) -> Script:
        """End it with the test."""
        self._scripts.append(script)
        return script

    def command(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            env=self.variables | variables,
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )

    # -- what the server knows ------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> dict[str, Any]:
        answer = self.api.get(f"/flow_runs/{run_id}")
        return answer.json() if answer.status_code == 200 else {}

    def state(self, run_id: str) -> str | None:
        return (self.run(run_id).get("state") or {}).get("name")

    def states(self, run_id: str) -> list[str]:
        return [state["name"] for state in self.api.get("/flow_run_states/", params={"flow_run_id": run_id}).json()]

    def task_runs(self, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            body = {"task_runs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200, "offset": len(found)}
            page = self.api.post("/task_runs/filter", json=body).json()
            found += page
            if len(page) < 200:
                return found

    def close(self) -> None:
        for script in self._scripts:
            script.kill()
        if self.server is not None and self._keeper is None:
            self.server.close()
            self.api.close()


def until(true: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `true()` gives, as soon as it is true; the server is another process, so it has to be asked."""
    deadline = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s")
        time.sleep(0.01)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole processes one after the other: more time than tests have otherwise, for machines that do other things too."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("shared"))
    made.serve()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def place(shared_place: Place, tmp_path: Path) -> Iterator[Place]:
    """A directory for scripts, beside a running server that they find by themselves and that tests of a module share."""
    made = Place(tmp_path, beside=shared_place)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def own_place(tmp_path: Path) -> Iterator[Place]:
    """A home with a server of its own, to be killed."""
    made = Place(tmp_path)
    made.serve()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Place]:
    """A home without a server."""
    made = Place(tmp_path)
    try:
        yield made
    finally:
        made.close()
