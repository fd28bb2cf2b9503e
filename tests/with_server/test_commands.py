"""What the server asks of runs that go on: they end as cancelled, or stop because somebody else has them."""

import os
import signal
from typing import Any

import pytest

from tests.with_server.conftest import Place, until

CANCELLED = """
    import asyncio, sys, threading, time
    from riverrun import flow, task
    from riverrun.exceptions import CancelledRun
    from riverrun.runtime import flow_run

    def hook(flow, run, state):
        print("hook", flow.name, state.name)

    def loop(seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.02)

    @task
    def sleeps():
        time.sleep(60)

    @task
    def loops():
        loop(60)

    @flow(on_cancellation=[hook])
    def plain():
        print(flow_run.id)
        time.sleep(60)

    @flow(on_cancellation=[hook])
    def in_task():
        print(flow_run.id)
        sleeps()

    @flow(on_cancellation=[hook])
    def submitted():
        print(flow_run.id)
        futures = [loops.submit() for _ in range(3)]
        [future.result() for future in futures]

    @flow
    async def coroutine():
        print(flow_run.id)
        await asyncio.sleep(60)

    @flow(on_cancellation=[hook])
    def inner():
        sleeps()

    @flow(on_cancellation=[hook])
    def outer():
        print(flow_run.id)
        inner()

    @flow
    def swallows():
        print(flow_run.id)
        for _ in range(2):
            try:
                time.sleep(60)
            except BaseException as error:
                print(type(error).__name__)
        time.sleep(60)

    @flow
    def elsewhere():
        print(flow_run.id)
        loop(60)

    def call(name):
        try:
            if name == "coroutine":
                asyncio.run(coroutine())
            else:
                globals()[name]()
        except CancelledRun as error:
            print("raised", error)

    if sys.argv[1] == "elsewhere":
        thread = threading.Thread(target=call, args=sys.argv[1:])
        thread.start()
        thread.join()
    else:
        call(sys.argv[1])
    print("the process goes on")
"""
RAISED = ["raised The run was cancelled on request.", "the process goes on"]


def cancel(place: Place, run_id: str) -> None:
    until(lambda: place.state(run_id) == "Running")
    answer = place.api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": "CANCELLING"}})
    assert answer.json()["status"] == "ACCEPT", answer.text


@pytest.mark.parametrize(
    ("name", "hooks", "tasks"),
    [
        ("plain", ["hook plain Cancelled"], 0),
        ("in_task", ["hook in-task Cancelled"], 1),
        ("submitted", ["hook submitted Cancelled"], 3),
        ("coroutine", [], 0),
        ("outer", ["hook inner Cancelled", "hook outer Cancelled"], 1),
        ("swallows", ["CancellationSignal", "CancellationSignal"], 0),
        ("elsewhere", [], 0),
    ],
)
def test_a_run_is_cancelled(place: Place, name: str, hooks: list[str], tasks: int) -> None:
    script = place.start(CANCELLED, name)
    run_id = script.said()
    cancel(place, run_id)
    assert script.ended() == 0
    assert script.lines[1:] == [*hooks, *RAISED]
    assert place.states(run_id) == ["Pending", "Running", "Cancelling", "Cancelled"]
    runs = place.task_runs(run_id)
    assert [run["state_type"] for run in runs] == ["CANCELLED"] * tasks


def test_cancelling_a_subflow_leaves_its_parent_to_decide(place: Place) -> None:
    script = place.start(
        """
        import time
        from riverrun import flow
        from riverrun.runtime import flow_run

        @flow
        def inner():
            print(flow_run.id)
            time.sleep(60)

        @flow
        def outer():
            state = inner(return_state=True)
            print(state.name)
            return 1

        print(outer())
        """
    )
    cancel(place, script.said())
    assert (script.said(), script.said()) == ("Cancelled", "1")
    assert script.ended() == 0


EXECUTED = """
    import time
    from riverrun import flow
    from riverrun.runtime import flow_run

    @flow
    def main():
        print("begins", flush=True)
        while True:
            time.sleep(0.05)
"""


def test_a_run_that_somebody_else_has_claimed_stops_without_a_word(place: Place) -> None:
    place.write(EXECUTED, "flows.py")
    flow_id = place.api.post("/flows/", json={"name": "main"}).json()["id"]
    run_id = place.api.post("/flow_runs/", json={"flow_id": flow_id}).json()["id"]
    execute = "import sys; from riverrun.execution import main; sys.exit(main())"
    variables: dict[str, Any] = {"RIVERRUN__FLOW_ENTRYPOINT": "flows.py:main", "RIVERRUN__FLOW_RUN_ID": run_id}
    first = place.start(execute, **variables)
    assert first.said() == "begins"
    os.kill(first.process.pid, signal.SIGSTOP)
    for state in ("CRASHED", "PENDING"):
        body = {"state": {"type": state}, "force": True}
        place.api.post(f"/flow_runs/{run_id}/set_state", json=body).raise_for_status()
    second = place.start(execute, **variables)
    assert second.said() == "begins"
    os.kill(first.process.pid, signal.SIGCONT)
    assert first.ended() == 1
    assert "claimed" in "\n".join(first.lines)
    assert place.state(run_id) == "Running"
    cancel(place, run_id)
    assert second.ended() == 1
    assert place.states(run_id) == ["Pending", "Running", "Crashed", "Pending", "Running", "Cancelling", "Cancelled"]
