"""Tasks that are put in the background, and the workers that serve them."""

import signal
from typing import Any

import httpx
import pytest

from tests.with_server.conftest import Place, Script, until

TASKS = """
    import os, time
    from riverrun import flow, tags, task
    from riverrun.runtime import flow_run, task_run

    @task
    def adds(x, y=1):
        return x + y

    @task
    async def multiplies(x, y):
        return x * y

    @task(retries=2)
    def retried():
        if task_run.run_count < 3:
            raise ValueError(f"attempt {task_run.run_count}")
        return task_run.run_count

    @task
    def fails(word):
        raise KeyError(word)

    @task
    def sleeps(seconds):
        time.sleep(seconds)
        return seconds

    @task
    def where():
        return [flow_run.id, sorted(task_run.tags)]
"""


@pytest.fixture
def worker(place: Place) -> Any:
    """Starts a worker that serves all tasks."""
    place.write(TASKS, "tasks.py")

    def start(limit: int = 10, port: int = 0) -> Script:
        source = """
            import sys
            import tasks
            from riverrun import Task
            from riverrun.task_worker import serve

            served = [value for value in vars(tasks).values() if isinstance(value, Task)]
            print("begins")
            serve(*served, limit=int(sys.argv[1]), status_server_port=int(sys.argv[2]) or None)
            print("ended")
        """
        path = place.write(source, f"worker{limit}.py")
        script = Script(path, place.variables, (str(limit), str(port)))
        place.keep(script)
        assert script.said() == "begins"
        return script

    return start


def call(place: Place, source: str) -> list[str]:
    """What a script says that calls the tasks."""
    head = "import asyncio, sys, time\nfrom tasks import *\nfrom riverrun.futures import as_completed, wait\n"
    script = place.start(head + source)
    assert script.ended() == 0, "\n".join(script.lines)
    return script.lines


def test_runs_are_taken_by_a_worker(place: Place, worker: Any) -> None:
    worker()
    said = call(
        place,
        """
futures = [adds.delay(3), adds.delay(x=1, y=2), multiplies.delay(3, 4), retried.delay()]
print(*[future.result(timeout=15) for future in futures])
print(*[future.state.name for future in futures])
print(sorted(future.result() for future in as_completed([adds.delay(i) for i in range(5)], timeout=15)))
future = fails.delay("word")
future.wait(15)
try:
    future.result()
except Exception as error:
    print(type(error).__name__, error)

async def awaited():
    return await adds.delay(10).aresult(timeout=15)

print(asyncio.run(awaited()))
""",
    )
    assert said[0] == "4 3 12 3"
    assert said[1] == "Completed Completed Completed Completed"
    assert said[2] == "[1, 2, 3, 4, 5]"
    assert "KeyError: 'word'" in said[3]
    assert said[4] == "11"


def test_the_states_of_a_background_run(place: Place, worker: Any) -> None:
    worker()
    said = call(
        place,
        """
future = retried.delay()
future.wait(15)
print(future.task_run_id)
""",
    )
    names = [state["name"] for state in place.api.get("/task_run_states/", params={"task_run_id": said[0]}).json()]
    assert names[0] == "Scheduled"
    assert names[1:] == ["Pending", "Running", "Retrying", "Retrying", "Completed"]


def test_a_background_run_belongs_to_the_flow_run_that_made_it(place: Place, worker: Any) -> None:
    worker()
    said = call(
        place,
        """
@flow
def parent():
    with tags("blue"):
        first = adds.delay(1)
        second = adds.apply_async((first, 10))
        return flow_run.id, where.delay().result(timeout=15), second.result(timeout=15), [
            future.result(timeout=15) for future in adds.map([1, 2], deferred=True)
        ]

run_id, place, total, mapped = parent()
print(place == [run_id, ["blue"]], total, mapped)
print(run_id)
""",
    )
    assert said[0] == "True 12 [2, 3]"
    names = {run["name"].partition("-")[0] for run in place.task_runs(said[1])}
    assert names == {"adds", "where"}


def test_a_worker_runs_no_more_at_once_than_it_may(place: Place, worker: Any) -> None:
    worker(limit=2)
    said = call(
        place,
        """
started = time.monotonic()
wait([sleeps.delay(0.5) for _ in range(4)], timeout=15)
print(time.monotonic() - started >= 1)
""",
    )
    assert said == ["True"]


def test_a_worker_that_is_told_to_end_finishes_what_it_runs(place: Place, worker: Any) -> None:
    serving = worker(limit=3)
    script = place.start(
        "from tasks import *\nfuture = sleeps.delay(1.0)\nprint(future.task_run_id)\nprint(future.result(timeout=15))"
    )
    run_id = script.said()
    until(lambda: place.api.get(f"/task_runs/{run_id}").json()["state_name"] == "Running")
    serving.process.send_signal(signal.SIGTERM)
    assert serving.ended() == 0
    assert serving.lines[-1] == "ended"
    assert script.said() == "1.0"


def test_the_status_page(place: Place, worker: Any) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    worker(limit=4, port=port)
    status = until(lambda: _status(port))
    assert status["limit"] == 4
    assert len(status["task_keys"]) == 6
    assert httpx.get(f"http://127.0.0.1:{port}/other").status_code == 404


def _status(port: int) -> Any:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/status").json()
    except httpx.TransportError:
        return None
