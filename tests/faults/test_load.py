"""Many processes on one home at once, with ingesters between them: nothing lost, no error."""

import pytest

from tests.faults.home import Home, home

__all__ = ["home"]

MANY = """
import os, sys, traceback
from riverrun import flow, get_run_logger, task
from riverrun.base.config import settings

@task
def work(x):
    get_run_logger().info("line %s", x)
    return x

@flow
def main(number):
    return sum(work(x) for x in range(50)) + sum(work.map(range(50)).result())

def forked(call, *arguments):
    pid = os.fork()
    if pid:
        return pid
    try:
        call(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

def run(number):
    assert main(number) == 2 * sum(range(50))

def look():
    from riverrun.client.local import open_store
    for _ in range(5):
        with open_store() as store:
            store.counts()

pids = [forked(run, number) for number in range(20)] + [forked(look) for _ in range(2)]
codes = [os.waitpid(pid, 0)[1] for pid in pids]
assert not any(codes), codes
"""


@pytest.mark.timeout(100)
def test_twenty_processes_at_once(home: Home) -> None:  # noqa: F811
    done = home.run("-c", MANY, RIVERRUN_LOGGING_LEVEL="INFO", timeout=90)
    assert done.returncode == 0, done.stderr[-3000:]
    for word in ("ERROR", "Traceback", "locked", "cannot"):
        assert word not in done.stderr
    with home.store() as store:
        flow_runs = store.flow_runs(limit=100)
        assert [run.state_name for run in flow_runs] == ["Completed"] * 20
        for run in flow_runs:
            task_runs = store.task_runs(flow_run_id=run.id, limit=1000)
            assert [task_run.state_name for task_run in task_runs] == ["Completed"] * 100
            assert sum("line" in line.message for line in store.logs(flow_run_id=run.id, limit=1000)) == 100
