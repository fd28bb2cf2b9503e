"""Workers as processes beside a server that is one, and deployments for them."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.with_server.conftest import SECONDS, Place, place, shared_place, until

__all__ = ["place", "shared_place"]

ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Worker:
    """A `riverrun worker start`; ended with the test, and what it runs with it."""

    def __init__(self, place: Place, pool: str, *arguments: str, **variables: str) -> None:
        command = [sys.executable, "-m", "riverrun", "worker", "start", "--pool", pool, *arguments]
        self.process = subprocess.Popen(
            command,
            env=place.variables | {"RIVERRUN_LOGGING_LEVEL": "INFO"} | variables,
            cwd=place.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._started.wait(SECONDS), self.lines

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "started" in line:
                self._started.set()
        self._started.set()

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = SECONDS) -> int:
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def close(self) -> None:
        for number, seconds in ((signal.SIGTERM, 0.5), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            if self.process.poll() is None:
                self.signal(number)
                try:
                    self.process.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Yard:
    """A pool, its workers, and deployments of flows in files."""

    def __init__(self, place: Place, pool: str) -> None:
        self.place, self.pool = place, pool
        self._workers: list[Worker] = []

    def start(self, *arguments: str, **variables: str) -> Worker:
        self._workers.append(Worker(self.place, self.pool, *arguments, **variables))
        return self._workers[-1]

    def write(self, source: str, name: str = "flows.py") -> Path:
        file = self.place.path / name
        file.write_text(textwrap.dedent(source))
        return file

    def make_pool(self, **fields: Any) -> None:
        body = {"name": self.pool, "type": "process", **fields}
        assert self.place.api.post("/work_pools/", json=body).status_code == 201

    def deploy(self, function: str, file: str = "flows.py", **fields: Any) -> str:
        api = self.place.api
        flow_id = api.post("/flows/", json={"name": function}).json()["id"]
        body = {
            "name": f"{self.pool}-{function}",
            "flow_id": flow_id,
            "entrypoint": f"{file}:{function}",
            "path": str(self.place.path),
            "work_pool_name": self.pool,
            **fields,
        }
        answer = api.post("/deployments/", json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def trigger(self, deployment: str, **parameters: Any) -> str:
        answer = self.place.api.post(f"/deployments/{deployment}/create_flow_run", json={"parameters": parameters})
        return str(answer.json()["id"])

    def run(self, function: str, **fields: Any) -> str:
        return self.trigger(self.deploy(function, **fields))

    def end(self, run_id: str, seconds: float = 40) -> dict[str, Any]:
        """The state that a run ends in."""
        until(lambda: self.place.run(run_id)["state"]["type"] in ENDS, seconds)
        state: dict[str, Any] = self.place.run(run_id)["state"]
        return state

    def reaches(self, run_id: str, *names: str, seconds: float = 40) -> None:
        until(lambda: self.place.state(run_id) in names, seconds)

    def cancel(self, run_id: str) -> None:
        body = {"state": {"type": "CANCELLING"}}
        assert self.place.api.post(f"/flow_runs/{run_id}/set_state", json=body).json()["status"] == "ACCEPT"

    def lines(self, run_id: str) -> list[str]:
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"}
        return [line["message"] for line in self.place.api.post("/logs/filter", json=body).json()]

    def told(self, run_id: str, beginning: str) -> str:
        """The rest of the line of its log that begins so."""

        def find() -> str | None:
            return next((line for line in self.lines(run_id) if line.startswith(beginning)), None)

        return str(until(find)).removeprefix(beginning)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


@pytest.fixture
def yard(place: Place, request: pytest.FixtureRequest) -> Iterator[Yard]:
    """A pool of the test's own, without a worker."""
    made = Yard(place, f"{request.node.originalname}-{time.monotonic_ns()}")
    try:
        yield made
    finally:
        made.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole processes one after the other: more time than tests have otherwise, for machines that do other things too."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(120))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
