"""Timeouts of tasks and flows, seen from outside: states, messages, logs, and what goes on afterwards."""

import asyncio
import threading

import pytest

from riverrun import flow, task
from riverrun.engine.timeouts import abandoned
from riverrun.task_runners import ThreadPoolTaskRunner
from riverrun.testing import riverrun_test_harness

WAIT = 10.0


@pytest.fixture
def harness():
    with riverrun_test_harness() as harness:
        yield harness


def spin():
    while True:
        pass


def test_a_task_that_is_too_slow_ends_in_timed_out(harness):
    @task(timeout_seconds=0.02)
    def slow():
        spin()

    @flow
    def parent():
        called = slow(return_state=True)
        submitted = slow.submit()
        submitted.wait()
        return [called.name, submitted.state.name]

    assert parent() == ["TimedOut", "TimedOut"]
    for run in harness.task_runs:
        harness.assert_state_history(run, ["Pending", "Running", "TimedOut"])
        assert "timeout of 0.02 second(s)" in run.state.message


def test_a_late_retry_begins_anew(harness):
    attempts = []

    @task(timeout_seconds=0.05, retries=1)
    def first_slow():
        attempts.append(1)
        if len(attempts) == 1:
            spin()
        return "second"

    @flow
    def parent():
        return first_slow.submit().result()

    assert parent() == "second"


def test_code_that_cannot_be_stopped_does_not_hold_the_flow(harness):
    lock = threading.Lock()
    lock.acquire()

    @task(timeout_seconds=0.02)
    def hangs():
        with lock:
            pass

    @task
    def after():
        return "went on"

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def parent():
        stuck = [hangs.submit(), hangs.submit()]
        follower = after.submit()
        return [future.state.name for future in stuck if future.wait() is None] + [follower.result()]

    assert parent() == ["TimedOut", "TimedOut", "went on"]
    assert len([call for call in abandoned() if "hangs" in call.name]) == 2
    harness.assert_logged("could not be interrupted and still runs at")
    harness.assert_logged("in hangs")
    lock.release()


def test_a_flow_that_is_too_slow(harness):
    @flow(timeout_seconds=0.03)
    def slow_flow():
        spin()

    state = slow_flow(return_state=True)
    assert state.name == "TimedOut"
    assert state.is_failed()
    with pytest.raises(TimeoutError):
        state.result()


def test_the_flows_deadline_unwinds_a_task(harness):
    @task
    def endless():
        spin()

    @flow(timeout_seconds=0.05)
    def slow_flow():
        endless()

    assert slow_flow(return_state=True).name == "TimedOut"
    assert harness.run("endless").state_name == "Crashed"


def test_async_tasks_and_flows(harness):
    @task(timeout_seconds=0.02)
    async def sleeper():
        await asyncio.sleep(WAIT)

    @flow(timeout_seconds=0.2)
    async def parent():
        first = await sleeper(return_state=True)
        second = sleeper.submit()
        await asyncio.to_thread(second.wait)
        assert [first.name, second.state.name] == ["TimedOut", "TimedOut"]
        await asyncio.sleep(WAIT)

    state = asyncio.run(parent(return_state=True))
    assert state.name == "TimedOut"


def test_the_users_own_timeout_error_is_a_failure(harness):
    @task(timeout_seconds=WAIT)
    def own():
        raise TimeoutError("the database's")

    @flow
    def parent():
        return own(return_state=True).name

    assert parent() == "Failed"


def test_what_ends_in_time_is_untouched(harness):
    @task(timeout_seconds=WAIT)
    def quick(x):
        return x

    @flow(timeout_seconds=WAIT)
    def parent():
        return quick(1) + quick.submit(2).result()

    assert parent() == 3
