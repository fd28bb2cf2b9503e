"""Runs that outlive the main thread of their process: nobody waits for them for ever."""

import pytest

from tests.faults.home import Home, home

__all__ = ["home"]

LEFT = """
import asyncio, threading
from riverrun import flow, task

@task
def work(x):
    return x

@task
def fail():
    raise ValueError

@flow(name="in a daemon thread")
def waits(begun):
    work(1)
    begun.set()
    threading.Event().wait()

@flow(name="unfinished")
async def unfinished(begun):
    begun.set()
    await asyncio.sleep(1000)

@flow(name="not ready")
def not_ready():
    work.submit(fail.submit()).wait()
    return 1

begun = threading.Event()
threading.Thread(target=waits, args=(begun,), daemon=True).start()
begun.wait()
not_ready()
loop = asyncio.new_event_loop()
begun.clear()
kept = loop.create_task(unfinished(begun))
while not begun.is_set():
    loop.run_until_complete(asyncio.sleep(0))
"""


@pytest.mark.timeout(60)
def test_runs_that_outlive_their_process(home: Home) -> None:  # noqa: F811
    done = home.run("-c", LEFT)
    assert done.returncode == 0, done.stderr
    with home.store() as store:
        runs = {store.flow_name(run.flow_id): run for run in store.flow_runs()}
        assert {name: run.state_name for name, run in runs.items()} == {
            "in a daemon thread": "Crashed",
            "unfinished": "Crashed",
            "not ready": "Completed",
        }
        assert "ended before the run" in runs["in a daemon thread"].state.message
        assert sorted(run.state_name for run in store.task_runs(flow_run_id=runs["not ready"].id)) == [
            "Failed",
            "NotReady",
        ]
