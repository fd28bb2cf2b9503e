"""The unmodified Prefect client from the package registry against our server, on both databases."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.server.conftest import api, cluster, postgres_databases, server_url, sqlite_template

__all__ = ["api", "cluster", "postgres_databases", "server_url", "sqlite_template"]

ROOT = Path(__file__).parents[2]
SCENARIOS = Path(__file__).parent / "scenarios"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def _peer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peer_for_tests", ROOT / "scripts" / "peer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def python() -> str:
    """The Python that has the peer."""
    found = _peer().python()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("the peer is not installed: `make test` does it by scripts/peer.py")
        pytest.skip("the peer is not installed: `python scripts/peer.py ensure` does it")
    return str(found)


@pytest.fixture
def play(python: str, server_url: str, tmp_path: Path):
    """Runs a scenario with the peer's client; gives what it printed last."""

    def run(name: str) -> dict[str, Any]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RIVERRUN_", "PREFECT_"))}
        environment = kept | {
            "PREFECT_API_URL": f"{server_url}/api",
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        done = subprocess.run(
            [python, str(SCENARIOS / f"{name}.py")],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "may be lost" not in done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


def _run(api: httpx.Client, run_id: str) -> dict[str, Any]:
    return api.get(f"/flow_runs/{run_id}").json()


def _states(api: httpx.Client, run_id: str) -> list[str]:
    return [state["name"] for state in api.get("/flow_run_states/", params={"flow_run_id": run_id}).json()]


def test_flows_of_every_kind(play, api: httpx.Client) -> None:
    told = play("flows")
    assert (told["result"], told["async_result"]) == (str(sum(range(1, 21)) + 21), "10")
    assert _run(api, told["whole"])["name"] == "whole-20"
    assert _states(api, told["whole"]) == ["Pending", "Running", "Completed"]
    assert _states(api, told["second_time"]) == ["Pending", "Running", "AwaitingRetry", "Running", "Completed"]
    assert _states(api, told["failing"]) == ["Pending", "Running", "Failed"]
    filters = {"flow_runs": {"id": {"any_": [told["whole"]]}}, "limit": 200}
    runs = api.post("/task_runs/filter", json=filters).json()
    names = sorted(run["state_name"] for run in runs)
    assert names == ["Cached"] + ["Completed"] * 23
    flaky = next(run for run in runs if run["name"].startswith("flaky"))
    history = api.get("/task_run_states/", params={"task_run_id": flaky["id"]}).json()
    assert [state["name"] for state in history] == ["Pending", "Running", "Retrying", "Retrying", "Completed"]
    parent = next(run for run in runs if run["state"]["state_details"]["child_flow_run_id"])
    assert parent["state"]["state_details"]["child_flow_run_id"] == told["child"]
    assert _run(api, told["child"])["parent_task_run_id"] == parent["id"]
    lines = api.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [told["whole"]]}}, "limit": 200}).json()
    assert sum(line["message"].startswith("adding") for line in lines) == 20


def test_variables_blocks_artifacts_limits_events(play, api: httpx.Client) -> None:
    told = play("things")
    assert told.pop("most") <= 2
    assert told == {
        "variable": "blue",
        "secret": "hush hush",
        "block": "/tmp",
        "used": 1,
        "left": 0,
    }
    keys = {one["key"] for one in api.post("/artifacts/latest/filter", json={}).json()}
    assert keys == {"report", "table"}
    wanted = {"filter": {"event": {"name": ["things.happened"]}}}
    assert [
        event["resource"]["prefect.resource.id"] for event in api.post("/events/filter", json=wanted).json()["events"]
    ] == ["things.1"]


def test_input_and_background_tasks(play, api: httpx.Client) -> None:
    told = play("waiting")
    assert (told["answer"], told["background"]) == ("ann", [2, 8])
    assert "Paused" in _states(api, told["run"])
