"""The command line beside a server: it reads the server's store, and steers runs through it."""

import json

from tests.with_server.conftest import Place, until

FLOW = """
    import time
    from riverrun import flow, get_run_logger, task
    from riverrun.runtime import flow_run

    @task
    def unit(i):
        get_run_logger().info("unit %s", i)
        time.sleep(0.05)

    @flow
    def watched(word="w"):
        print(flow_run.id, flush=True)
        for i in range(5):
            unit(i)
        get_run_logger().warning("the end")

    watched()
"""


def test_reading(place: Place) -> None:
    script = place.start(FLOW, RIVERRUN_LOGGING_LEVEL="INFO")
    run_id = next(line for line in iter(script.said, None) if len(line) == 36)  # between lines of the log
    assert script.ended() == 0
    listed = json.loads(place.command("riverrun", "flow-run", "ls", "--flow-name", "watched", "--json").stdout)
    assert run_id in [run["id"] for run in listed]
    assert {run["flow_name"] for run in listed} == {"watched"}
    shown = json.loads(place.command("riverrun", "flow-run", "inspect", run_id[:23], "--json").stdout)
    assert shown["task_run_counts"] == {"COMPLETED": 5}
    assert [state["name"] for state in shown["states"]] == ["Pending", "Running", "Completed"]
    assert shown["parameters"] == {"word": "w"}
    tasks = json.loads(place.command("riverrun", "task-run", "ls", "--flow-run", run_id, "--json").stdout)
    assert sorted(run["name"] for run in tasks) == [f"unit-{number}" for number in range(5)]
    lines = place.command("riverrun", "flow-run", "logs", run_id, "--level", "WARNING").stdout.splitlines()
    assert [line.partition(" - ")[2] for line in lines] == ["the end"]
    assert "unit 4" in place.command("riverrun", "task-run", "logs", tasks[0]["id"]).stdout
    assert "watched" in place.command("riverrun", "flow", "ls").stdout
    unknown = place.command("riverrun", "flow-run", "inspect", "nothing-of-this-name")
    assert (unknown.returncode, "nothing-of-this-name" in unknown.stderr) == (1, True)


def test_watching(place: Place) -> None:
    script = place.start(FLOW, RIVERRUN_LOGGING_LEVEL="INFO")
    run_id = next(line for line in iter(script.said, None) if len(line) == 36)  # between lines of the log
    until(lambda: place.state(run_id))
    done = place.command("riverrun", "flow-run", "watch", run_id)
    assert done.returncode == 0, done.stderr
    said = [line.split(" | ")[1].split(":")[0].strip() for line in done.stdout.splitlines() if "unit" not in line]
    assert [word for word in said if word in {"Pending", "Running", "Completed"}] == ["Pending", "Running", "Completed"]
    assert "the end" in done.stdout
    assert [f"unit {number}" in done.stdout for number in range(5)] == [True] * 5


def test_cancelling_and_deleting(place: Place) -> None:
    script = place.start(
        """
        import time
        from riverrun import flow
        from riverrun.runtime import flow_run

        @flow
        def sleeps():
            print(flow_run.id, flush=True)
            time.sleep(60)

        print(sleeps(return_state=True).name)
        """
    )
    run_id = script.said()
    until(lambda: place.state(run_id) == "Running")
    done = place.command("riverrun", "flow-run", "cancel", run_id)
    assert (done.returncode, script.said()) == (0, "Cancelled")
    assert script.ended() == 0
    again = place.command("riverrun", "flow-run", "cancel", run_id)
    assert (again.returncode, "already ended" in again.stderr) == (1, True)
    watched = place.command("riverrun", "flow-run", "watch", run_id)
    assert watched.returncode == 1
    assert place.command("riverrun", "flow-run", "delete", run_id).returncode == 0
    assert place.run(run_id) == {}


def test_resuming(place: Place) -> None:
    script = place.start(
        """
        from riverrun import flow, pause_flow_run
        from riverrun.runtime import flow_run

        @flow
        def pauses():
            print(flow_run.id, flush=True)
            print(pause_flow_run(wait_for_input=int, timeout=20))

        pauses()
        """
    )
    run_id = script.said()
    until(lambda: place.api.get(f"/flow_runs/{run_id}/input/paused-1-schema").status_code == 200)
    wrong = place.command("riverrun", "flow-run", "resume", run_id, "--input", '{"value": "x"}')
    assert (wrong.returncode, "'x' is not of type" in wrong.stderr) == (1, True)
    assert place.command("riverrun", "flow-run", "resume", run_id, "--input", "[]").returncode == 2
    assert place.command("riverrun", "flow-run", "resume", run_id, "--input", '{"value": 4}').returncode == 0
    assert script.said() == "4"
    assert script.ended() == 0
    late = place.command("riverrun", "flow-run", "resume", run_id)
    assert (late.returncode, "paused" in late.stderr) == (1, True)


def test_runs_of_deployments(place: Place) -> None:
    flow_id = place.api.post("/flows/", json={"name": "deployed"}).json()["id"]
    deployment = place.api.post("/deployments/", json={"name": "d", "flow_id": flow_id}).json()["id"]
    run_id = place.api.post(f"/deployments/{deployment}/create_flow_run", json={}).json()["id"]
    assert "Nobody serves the deployment 'd'" in place.command("riverrun", "flow-run", "why", run_id).stdout
    said = json.loads(place.command("riverrun", "flow-run", "why", run_id, "--json").stdout)
    assert [reason["kind"] for reason in said["reasons"]] == ["nobody_serves"]
    for state in ("PENDING", "RUNNING"):
        place.api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": state}}).raise_for_status()
    assert place.command("riverrun", "flow-run", "pause", run_id).returncode == 0
    assert place.state(run_id) == "Suspended"
    assert place.command("riverrun", "flow-run", "resume", run_id).returncode == 0
    assert place.state(run_id) == "Resuming"
    place.api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": "FAILED"}, "force": True})
    assert place.command("riverrun", "flow-run", "retry", run_id).returncode == 0
    assert place.state(run_id) == "AwaitingRetry"
    assert place.command("riverrun", "flow-run", "cancel", run_id).returncode == 0
    assert place.state(run_id) == "Cancelled"
