"""Executing runs by id: one process gets each, and what cannot be run has crashed."""

from typing import Any

import pytest

from tests.with_server.conftest import Place

FLOWS = """
    import sys
    from riverrun import flow, task
    from riverrun.runtime import flow_run, task_run

    @task
    def tagged():
        return sorted(task_run.tags)

    @flow(retries=1)
    def main(x: int, fails: bool = False):
        print("code", x, flow_run.run_count, tagged(), flush=True)
        if fails and flow_run.run_count == 1:
            raise ValueError("once")

    @flow
    async def coroutine():
        print("async", flush=True)
"""


@pytest.fixture
def made(place: Place) -> Any:
    """Makes a run of a deployment."""
    place.write(FLOWS, "flows.py")

    def make(entrypoint: str = "flows.py:main", state: str = "PENDING", **parameters: Any) -> str:
        flow_id = place.api.post("/flows/", json={"name": "main"}).json()["id"]
        body = {
            "name": f"d-{entrypoint}",
            "flow_id": flow_id,
            "entrypoint": entrypoint,
            "pull_steps": [{"riverrun.deployments.steps.set_working_directory": {"directory": str(place.path)}}],
        }
        deployment = place.api.post("/deployments/", json=body).json()["id"]
        run = {"parameters": parameters, "state": {"type": state}, "tags": ["t"]}
        return str(place.api.post(f"/deployments/{deployment}/create_flow_run", json=run).json()["id"])

    return make


@pytest.mark.parametrize("state", ["PENDING", "SCHEDULED"])
def test_one_of_two_processes_gets_the_run(place: Place, made: Any, state: str) -> None:
    run_id = made(state=state, x="5")
    execute = "import sys; from riverrun.cli import main; sys.exit(main(['flow-run', 'execute', *sys.argv[1:]]))"
    both = [place.start(execute, run_id) for _ in range(2)]
    assert [each.ended() for each in both] == [0, 0]
    said = [line for each in both for line in each.lines if line.startswith("code")]
    assert said == ["code 5 1 ['t']"]
    assert place.states(run_id)[-2:] == ["Running", "Completed"]
    late = place.command("riverrun", "flow-run", "execute", run_id)
    assert (late.returncode, late.stdout) == (0, "")
    assert "already ended" in late.stderr


def test_its_own_retries(place: Place, made: Any) -> None:
    run_id = made(x=1, fails=True)
    done = place.command("riverrun.engine", run_id)
    assert (done.returncode, done.stdout) == (0, "code 1 1 ['t']\ncode 1 2 ['t']\n")
    assert place.states(run_id) == ["Pending", "Running", "AwaitingRetry", "Running", "Completed"]
    assert place.run(run_id)["run_count"] == 2
    assert place.run(run_id)["empirical_policy"]["retries"] == 1


def test_the_id_may_come_from_the_environment(place: Place, made: Any) -> None:
    run_id = made("flows.py:coroutine")
    done = place.command("riverrun.engine", RIVERRUN__FLOW_RUN_ID=run_id)
    assert (done.returncode, done.stdout) == (0, "async\n")


@pytest.mark.parametrize(
    ("entrypoint", "parameters", "final", "message"),
    [
        ("nowhere.py:main", {"x": 1}, "Crashed", "nowhere.py"),
        ("flows.py:nothing", {"x": 1}, "Crashed", "nothing"),
        ("flows.py:main", {"x": "many"}, "Failed", "x"),
        ("flows.py:main", {"y": 1}, "Failed", "y"),
    ],
)
def test_what_cannot_be_run(
    place: Place, made: Any, entrypoint: str, parameters: dict[str, Any], final: str, message: str
) -> None:
    run_id = made(entrypoint, **parameters)
    done = place.command("riverrun.engine", run_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert place.state(run_id) == final
    assert message in place.run(run_id)["state"]["message"]


def test_a_step_that_fetches_code_is_left_to_workers(place: Place) -> None:
    flow_id = place.api.post("/flows/", json={"name": "main"}).json()["id"]
    steps = [{"riverrun.deployments.steps.git_clone": {"repository": "https://example.invalid/r.git"}}]
    body = {"name": "d", "flow_id": flow_id, "entrypoint": "flows.py:main", "pull_steps": steps}
    deployment = place.api.post("/deployments/", json=body).json()["id"]
    run_id = place.api.post(f"/deployments/{deployment}/create_flow_run", json={}).json()["id"]
    done = place.command("riverrun.engine", run_id)
    assert done.returncode == 1
    assert "git_clone" in done.stderr
    assert place.state(run_id) == "Crashed"


def test_unknown_runs(place: Place) -> None:
    unknown = place.command("riverrun.engine", "00000000-0000-0000-0000-000000000001")
    assert unknown.returncode == 1
    assert "no flow run" in unknown.stderr
    assert place.command("riverrun.engine", "no-id").returncode == 1
    assert place.command("riverrun.engine").returncode == 2
