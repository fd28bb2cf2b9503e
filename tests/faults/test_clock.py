"""A wall clock that jumps back and forth between any two looks at it: the order of states is right and nothing waits for it."""

import pytest

from tests.faults.home import Home, home

__all__ = ["home"]

JUMPING = """
import random, sys, time
from datetime import timedelta
from riverrun.base import clock

chance = random.Random(int(sys.argv[1]))
straight, straight_ns = clock.now, time.time_ns
def jump():
    return chance.choice([0, 0, 3600, -3600, 86_400 * 400, -86_400 * 400, 0.001, -0.001])
clock.now = lambda: straight() + timedelta(seconds=jump())
time.time_ns = lambda: straight_ns() + int(jump() * 1e9)  # before anything else takes it, ids too

from riverrun import flow, task

@task(retries=2, retry_delay_seconds=0.01)
def flaky(tries):
    tries.append(1)
    assert len(tries) > 1
    return len(tries)

@task
def work(x):
    return x

@flow
def inner():
    return work(1)

@flow(retries=1, retry_delay_seconds=0.01)
def main(tries=[]):
    tries.append(1)
    for x in range(10):
        work(x)
    flaky([])
    work.map(range(5)).result()
    assert len(tries) > 1
    inner()
    return sum(work.map(range(10)).result())

assert main() == 45
"""


@pytest.mark.timeout(60)
def test_a_clock_that_jumps(home: Home) -> None:  # noqa: F811
    done = home.run("-c", JUMPING, "1")
    assert done.returncode == 0, done.stderr
    with home.store() as store:
        runs = {run.parent_task_run_id is None: run for run in store.flow_runs()}
        states = store.flow_run_states(runs[True].id)
        assert [state.name for state in states] == ["Pending", "Running", "AwaitingRetry", "Running", "Completed"]
        assert runs[True].total_run_time is not None
        assert runs[True].total_run_time.total_seconds() >= 0
        task_runs = store.task_runs(limit=1000)
        assert len(task_runs) == len({run.id for run in task_runs}) == (10 + 1 + 5) * 2 + 2 + 10
        for run in task_runs:
            states = store.task_run_states(run.id)
            wanted = ["Pending", "Running", "Completed"]
            if run.name.startswith("flaky"):
                wanted[2:2] = ["AwaitingRetry", "Retrying"]
            assert [state.name for state in states] == wanted
            instants = [state.timestamp for state in states]
            assert instants == sorted(instants)
            assert run.total_run_time is not None and run.total_run_time.total_seconds() >= 0
            assert run.end_time is not None and run.start_time is not None and run.start_time <= run.end_time
