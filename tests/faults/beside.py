"""Flows in processes of their own beside a server, and what the server must know of them afterwards."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.processes import environment

PEER = os.environ.get("CONTRACT_PEER")
#: for tests that run with either client: `CONTRACT_PEER` is the executable of the unmodified one
SDKS = [
    "riverrun",
    pytest.param("prefect", marks=pytest.mark.skipif(PEER is None, reason="CONTRACT_PEER names no executable")),
]
STYLES = ("sequential", "threads", "mapped")
SCRIPT = Path(__file__).with_name("under_kills.py")
#: the unmodified client gives up soon, and drops log lines when a request fails
_PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "30", "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "INFO"}
#: what is reported by events may be read so long after the end of the process
_SECONDS = 2.0


class Flow:
    """A flow in a process, and what it said it did."""

    def __init__(self, path: Path, url: str, sdk: str, style: str, name: str = "") -> None:
        self.sdk = sdk
        self.truth = path / f"{name or style}.truth"
        self.truth.touch()
        self.log = path / f"{name or style}.log"
        python, variables = sys.executable, {"RIVERRUN_LOGGING_LEVEL": "INFO", "RIVERRUN_API_URL": f"{url}/api"}
        variables["RIVERRUN_JOURNAL_EXIT_SECONDS"] = "60"  # a long backlog is shipped by this process, not the next one
        if sdk == "prefect":
            python = str(Path(str(PEER)).with_name("python"))
            variables = {"PREFECT_API_URL": f"{url}/api", "PREFECT_HOME": str(path / "peer"), **_PATIENT}
        command = [python, str(SCRIPT), sdk, style, str(self.truth), str(path / "stop")]
        # a home of its own: to this process the server is a remote one
        variables = environment(path / f"home-{name or style}", **variables)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.truth.read_text().splitlines()]

    def wait_for(self, lines: int) -> None:
        """Wait until it has done something."""
        while len(self.lines()) < lines:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    @property
    def run_id(self) -> str:
        return next(words[1] for words in self.lines() if words[0] == "flow")


@contextmanager
def flows(path: Path, url: str, sdk: str, styles: Sequence[str] = STYLES) -> Iterator[list[Flow]]:
    """Flows that have begun; `end` lets them end. What is left is killed."""
    started: list[Flow] = []
    try:
        for number, style in enumerate(styles):
            started.append(Flow(path, url, sdk, style, f"{number}-{style}"))
        for flow in started:
            flow.wait_for(2)
        yield started
    finally:
        for flow in started:
            if flow.process.poll() is None:
                flow.process.kill()
                flow.process.wait(5)


def end(path: Path, started: Sequence[Flow], seconds: float = 60) -> None:
    """Let the flows come to their end, which is a good one."""
    (path / "stop").touch()
    for flow in started:
        assert flow.process.wait(seconds) == 0, flow.log.read_text()[-3000:]


def pages(api: httpx.Client, kind: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        answer = api.post(f"/{kind}/filter", json={**body, "limit": 200, "offset": len(found)})
        assert answer.status_code == 200, answer.text
        found += answer.json()
        if len(answer.json()) < 200:
            return found


def check(api: httpx.Client, flow: Flow) -> None:
    """What the server knows of a flow is what the flow has done, each thing once."""
    lines = flow.lines()
    assert [words[0] for words in lines if words[0] != "unit"] == ["flow", "end"]
    done = {words[1]: words[2] for words in lines if words[0] == "unit"}
    assert len(done) == int(lines[-1][1]) == sum(words[0] == "unit" for words in lines)
    of_run = {"flow_run_id": {"any_": [flow.run_id]}}
    deadline = time.monotonic() + _SECONDS
    while True:
        runs = pages(api, "task_runs", {"task_runs": of_run})
        complete = Counter(run["state_name"] for run in runs) == {"Completed": len(done)}
        if complete or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert {run["id"] for run in runs} == set(done), f"{len(done)} done, {len(runs)} recorded"
    assert complete, Counter(run["state_name"] for run in runs)
    states = api.get("/flow_run_states/", params={"flow_run_id": flow.run_id}).json()
    assert [state["name"] for state in states] == ["Pending", "Running", "Completed"]
    told = Counter(
        line["task_run_id"]
        for line in pages(api, "logs", {"logs": of_run})
        if re.fullmatch(r"unit \d+", line["message"])
    )
    if flow.sdk == "riverrun":  # the unmodified client neither keeps nor numbers its lines
        assert set(told) == set(done), f"of {len(done)} log lines {len(told)} are there"
        assert set(told.values()) <= {1}, "there are log lines twice"
