"""Cancelled runs are dead and say so; killed ones have crashed; nothing is run twice and nothing is lost."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.with_server.conftest import Place, until
from tests.workers.conftest import Yard, is_running, kill

FLOWS = """
    import os, subprocess, sys, time
    from riverrun import flow

    def here():
        print("pid", os.getpid(), flush=True)

    @flow
    def sleeping():
        here()
        time.sleep(1000)

    @flow
    def spinning():
        here()
        while True:
            pass

    @flow
    def swallowing():
        here()
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass

    @flow
    def family():
        child = subprocess.Popen([sys.executable, "-c", "import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"])
        print("child", child.pid, flush=True)
        here()
        child.wait()

    @flow
    def counted(path: str):
        with open(path, "a") as file:
            file.write(os.environ["RIVERRUN__FLOW_RUN_ID"] + "\\n")

    @flow
    def long(seconds: float, path: str):
        here()
        for number in range(int(seconds * 10)):
            print("still here", number, flush=True)
            time.sleep(0.1)
        open(path, "w").close()
"""


@pytest.fixture
def flows(yard: Yard) -> Yard:
    yard.write(FLOWS)
    return yard


@pytest.mark.parametrize("function", ["sleeping", "spinning", "swallowing", "family"])
def test_cancel(flows: Yard, function: str) -> None:
    flows.start()
    run_id = flows.run(function, job_variables={"grace_seconds": 1})
    pids = [int(flows.told(run_id, "pid "))]
    if function == "family":
        pids.append(int(flows.told(run_id, "child ")))
    flows.cancel(run_id)
    state = flows.end(run_id)
    assert state["name"] == "Cancelled"
    until(lambda: not any(is_running(pid) for pid in pids), 10)
    assert flows.place.states(run_id).count("Cancelled") == 1


def test_cancel_of_a_run_that_waits_for_its_code(flows: Yard) -> None:
    flows.write("import time\ntime.sleep(1000)\n", "slow.py")
    flows.start()
    run_id = flows.run("main", file="slow.py")
    flows.reaches(run_id, "Pending")
    flows.cancel(run_id)
    assert flows.end(run_id)["name"] == "Cancelled"


def test_a_killed_process_has_crashed_with_its_last_words(flows: Yard) -> None:
    flows.start()
    run_id = flows.run("sleeping")
    kill(int(flows.told(run_id, "pid ")))
    state = flows.end(run_id)
    assert state["name"] == "Crashed"
    assert "SIGKILL" in state["message"]
    assert "pid " in state["message"]


def test_runs_go_on_without_their_worker(flows: Yard) -> None:
    worker = flows.start()
    done = flows.place.path / "done"
    run_id = flows.run("long", parameters={"seconds": 2, "path": str(done)})
    flows.told(run_id, "pid ")
    worker.signal(signal.SIGKILL)
    worker.ended()
    assert flows.end(run_id)["name"] == "Completed"
    assert done.exists()


def test_a_stopped_process_is_no_dead_one(flows: Yard) -> None:
    flows.start()
    run_id = flows.run("long", parameters={"seconds": 1, "path": str(flows.place.path / "done")})
    pid = int(flows.told(run_id, "pid "))
    import os

    os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    assert flows.place.state(run_id) == "Running"
    os.kill(pid, signal.SIGCONT)
    assert flows.end(run_id)["name"] == "Completed"


def test_two_workers_run_nothing_twice(flows: Yard) -> None:
    flows.start("--limit", "5")
    flows.start("--limit", "5")
    record = flows.place.path / "record"
    deployment = flows.deploy("counted")
    runs = [flows.trigger(deployment, path=str(record)) for _ in range(30)]
    for run_id in runs:
        assert flows.end(run_id)["name"] == "Completed"
    assert Counter(record.read_text().split()) == Counter(runs)


def test_a_server_that_is_away_is_waited_for(own_yard: Yard) -> None:
    yard = own_yard
    yard.write(FLOWS)
    yard.start()
    done = yard.place.path / "done"
    run_id = yard.run("long", parameters={"seconds": 1, "path": str(done)})
    yard.told(run_id, "pid ")
    assert yard.place.server is not None
    yard.place.server.stop(signal.SIGKILL)
    until(done.exists)
    time.sleep(1)
    yard.place.server.close()
    yard.place.serve()
    assert yard.end(run_id)["name"] == "Completed"
    until(lambda: "still here 9" in yard.lines(run_id))
    assert max(Counter(yard.lines(run_id)).values()) == 1
    again = yard.run("counted", parameters={"path": str(Path(yard.place.path) / "record")})
    assert yard.end(again)["name"] == "Completed"


@pytest.fixture
def own_yard(tmp_path: Path) -> "object":
    place = Place(tmp_path)
    place.serve()
    made = Yard(place, "own")
    try:
        yield made
    finally:
        made.close()
        place.close()
