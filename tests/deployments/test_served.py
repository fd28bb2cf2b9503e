"""Deployments that really run: served by a script, fetched by git, taken by a worker, started from another flow."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.test_sources import run_git
from tests.with_server.conftest import Place, shared_place, until

__all__ = ["shared_place"]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def here(shared_place: Place, tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, beside=shared_place)
    try:
        yield made
    finally:
        made.close()


SERVED = """
    import asyncio, sys
    from riverrun import aserve, flow, serve, task
    from riverrun.deployments import arun_deployment, run_deployment
    from riverrun.runtime import deployment
    from riverrun.schedules import Interval

    @flow
    def child(n: int):
        return {"id": deployment.id, "name": deployment.name, "version": deployment.version,
                "parameters": deployment.parameters, "run": deployment.flow_run_id}

    @task
    def start(n):
        run = run_deployment("child/served", parameters={"n": n}, poll_interval=0.1, timeout=60)
        assert run.state.is_completed(), run.state

    @flow
    def parent(n: int = 4):
        start(n)

    @flow
    async def aparent():
        run = await run_deployment("child/served", parameters={"n": 1}, poll_interval=0.1, timeout=60)
        assert run.state.is_completed(), run.state

    @flow
    def ticking(): ...

    if __name__ == "__main__":
        made = [each.to_deployment("served", version="9") for each in (child, parent, aparent)]
        made.append(ticking.to_deployment("served", schedule=Interval(1)))
        if sys.argv[1:] == ["async"]:
            asyncio.run(aserve(*made, limit=5))
        else:
            serve(*made, limit=5)
"""


def _deployment(place: Place, name: str) -> dict:
    return place.api.get(f"/deployments/name/{name}").json()


def _run(place: Place, name: str, **body: object) -> str:
    made = place.api.post(f"/deployments/{_deployment(place, name)['id']}/create_flow_run", json=body)
    return str(made.raise_for_status().json()["id"])


def _ended(place: Place, run_id: str) -> bool:
    return place.state(run_id) in ("Completed", "Failed", "Crashed", "Cancelled")


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_flows_are_served_and_run_each_other(here: Place, colour: str) -> None:
    script = here.start(SERVED, colour, RIVERRUN_LOGGING_LEVEL="INFO")
    while "Ctrl-C" not in script.said():
        pass
    runs = {name: _run(here, f"{name}/served") for name in ("parent", "aparent")}
    for name, run_id in runs.items():
        until(lambda run_id=run_id: _ended(here, run_id), 60)
        assert here.state(run_id) == "Completed", (name, here.run(run_id)["state"]["message"], script.lines)
        by_name = {
            each["name"].rstrip("0123456789").rpartition("-")[0] or each["name"]: each
            for each in here.task_runs(run_id)
        }
        stand_in = by_name["child/served"]
        if name == "parent":
            starter = next(each for each in by_name.values() if each is not stand_in)
            assert stand_in["task_inputs"]["__parents__"] == [{"input_type": "task_run", "id": starter["id"]}]
        found = here.api.post(
            "/flow_runs/filter", json={"flow_runs": {"parent_task_run_id": {"any_": [stand_in["id"]]}}}
        )
        child = found.json()[0]
        assert (child["state_name"], child["parameters"]) == ("Completed", {"n": 4 if name == "parent" else 1})
        until(lambda run_id=run_id: {each["state_name"] for each in here.task_runs(run_id)} == {"Completed"})
    ticks = {"flows": {"name": {"any_": ["ticking"]}}, "flow_runs": {"state": {"name": {"any_": ["Completed"]}}}}
    until(lambda: len(here.api.post("/flow_runs/filter", json=ticks).json()) >= 2, 30)
    script.process.send_signal(signal.SIGTERM)
    assert script.ended() == 0, script.lines
    assert [_deployment(here, f"{name}/served")["paused"] for name in ("child", "ticking")] == [True, True]


def test_a_worker_fetches_the_code(here: Place, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    run_git(origin, "init", "--quiet", "-b", "main")
    (origin / "helper.py").write_text("WORD = 'fetched'\n")
    (origin / "far.py").write_text(
        "import os\nfrom helper import WORD\nfrom riverrun import flow\nfrom riverrun.runtime import deployment\n"
        "@flow(log_prints=True)\ndef far(n: int = 1):\n    print(WORD, deployment.name, deployment.parameters, os.getcwd())\n"
    )
    run_git(origin, "add", ".")
    run_git(origin, "commit", "--quiet", "-m", "first")
    here.write(
        """
        from riverrun import flow
        from riverrun.runner.storage import GitRepository
        from riverrun.flows import Flow
        flow_ = Flow.from_source(GitRepository("file://ORIGIN"), "far.py:far")
        print(flow_.deploy("git", work_pool_name="fetching", print_next_steps=False))
        """.replace("ORIGIN", str(origin)),
        "make.py",
    )
    assert here.command("riverrun", "work-pool", "create", "fetching").returncode == 0
    made = here.start((here.path / "make.py").read_text())
    assert made.ended() == 0, made.lines
    run_id = _run(here, "far/git", parameters={"n": 7})
    done = here.command("riverrun", "worker", "start", "--pool", "fetching", "--once", RIVERRUN_LOGGING_LEVEL="INFO")
    assert here.state(run_id) == "Completed", (here.run(run_id)["state"]["message"], done.stderr)
    body = {"logs": {"flow_run_id": {"any_": [run_id]}}}
    messages = [each["message"] for each in here.api.post("/logs/filter", json=body).json()]
    line = next((each for each in messages if "fetched" in each), str(messages))
    assert "fetched git {'n': 7}" in line
    assert str(here.path) not in line


def test_a_step_that_fails_crashes_the_run_with_the_reason(here: Place) -> None:
    flow_id = here.api.post("/flows/", json={"name": "lost"}).json()["id"]
    steps = [{"prefect.deployments.steps.git_clone": {"repository": "file:///no/such/repository.git"}}]
    body = {"name": "lost", "flow_id": flow_id, "entrypoint": "x.py:x", "pull_steps": steps}
    here.api.post("/deployments/", json=body).raise_for_status()
    run_id = _run(here, "lost/lost", state={"type": "PENDING"})
    done = here.command("riverrun", "flow-run", "execute", run_id)
    assert done.returncode == 1
    message = here.run(run_id)["state"]["message"]
    assert here.state(run_id) == "Crashed"
    assert "git_clone' failed" in message
    assert "/no/such/repository" in message


def test_the_command_line_deploys_and_runs_to_the_end(here: Place) -> None:
    here.write("from riverrun import flow\n@flow\ndef hello(name: str = 'x'):\n    return name\n", "flows.py")
    assert here.command("riverrun", "work-pool", "create", "lined").returncode == 0
    made = here.command("riverrun", "deploy", "flows.py:hello", "-n", "cli", "-p", "lined", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)[0]["name"] == "hello/cli"
    worker = here.start(
        "import sys\nfrom riverrun.cli import main\nsys.exit(main(sys.argv[1:]))", "worker", "start", "--pool", "lined"
    )
    run = here.command(
        "riverrun", "deployment", "run", "hello/cli", "--param", "name=Ann", "--watch", "--watch-timeout", "60"
    )
    assert run.returncode == 0, run.stdout + run.stderr + "\n".join(worker.lines)
    assert "Completed" in run.stdout
    quiet = here.command("riverrun", "deployment", "run", "hello/cli", "--watch", "--watch-timeout", "60", "--json")
    assert json.loads(quiet.stdout)["state_name"] == "Completed", quiet.stderr
    wrong = here.command(
        "riverrun", "deployment", "run", "hello/cli", "--start-in", "1h", "--watch", "--watch-timeout", "0.2"
    )
    assert wrong.returncode == 1
    assert "not ended within" in wrong.stderr
