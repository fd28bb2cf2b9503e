"""Time-outs: they fire, end in a Failed state named TimedOut, and leave the rest of the process alone."""

import asyncio
import threading
import time

import pytest

from .sdk import Colour, flow, history, import_module, riverrun_only, task

exceptions = import_module("exceptions")


async def sleep_in(colour: Colour, seconds: float) -> None:
    if colour.is_async:
        await asyncio.sleep(seconds)
    else:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.005)


@pytest.fixture(params=["task", "flow"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_fires(colour: Colour, kind: str) -> None:
    finished = []

    @getattr(colour, kind)(timeout_seconds=0.1, **{f"{kind}_run_name": "the run"})
    async def slow():
        await sleep_in(colour, 10)
        finished.append(1)

    started = time.monotonic()
    with history() as seen:
        state = colour.run(slow, return_state=True)
    assert time.monotonic() - started < 8
    assert (state.type.value, state.name) == ("FAILED", "TimedOut")
    assert "0.1" in state.message
    assert seen.names("the run") == ["Running", "TimedOut"]
    assert finished == []
    with pytest.raises(TimeoutError):
        colour.value_of(state)


def test_raises_timeout_error_to_the_caller(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)(timeout_seconds=0.05)
    async def slow():
        await sleep_in(colour, 10)

    with pytest.raises(TimeoutError):
        colour.run(slow)


def test_does_not_fire_when_in_time(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)(timeout_seconds=30)
    async def quick():
        return 5

    assert colour.run(quick) == 5


def test_interrupts_a_blocking_call_in_the_main_thread() -> None:
    @task(timeout_seconds=0.1)
    def slow():
        time.sleep(10)

    started = time.monotonic()
    state = slow(return_state=True)
    assert time.monotonic() - started < 8
    assert state.name == "TimedOut"


def test_in_a_submitted_task() -> None:
    @task(timeout_seconds=0.1)
    def slow():
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            time.sleep(0.005)

    @flow
    def main():
        future = slow.submit()
        future.wait()
        return future.state.name

    assert main() == "TimedOut"


def test_in_a_submitted_async_task() -> None:
    @task(timeout_seconds=0.1)
    async def slow():
        await asyncio.sleep(20)

    @flow
    def main():
        future = slow.submit()
        future.wait(10)
        return future.state.name

    assert main() == "TimedOut"


def test_each_attempt_has_its_own_time(colour: Colour) -> None:
    calls = []

    @colour.task(timeout_seconds=0.15, retries=1)
    async def slow_once():
        calls.append(1)
        if len(calls) == 1:
            await sleep_in(colour, 10)
        return "done"

    assert colour.run(slow_once) == "done"
    assert len(calls) == 2


def test_a_timed_out_child_is_an_exception_of_its_parent(colour: Colour) -> None:
    @colour.task(timeout_seconds=0.05)
    async def slow():
        await sleep_in(colour, 10)

    @colour.flow
    async def main():
        try:
            await colour(slow)
        except TimeoutError:
            return "caught"

    assert colour.run(main) == "caught"


def test_an_outer_time_out_ends_an_inner_run(colour: Colour) -> None:
    @colour.task
    async def slow():
        await sleep_in(colour, 10)

    @colour.flow(timeout_seconds=0.1)
    async def main():
        await colour(slow)

    started = time.monotonic()
    state = colour.run(main, return_state=True)
    assert time.monotonic() - started < 8
    assert state.is_failed() or state.is_crashed()


def test_nested_time_outs_the_shorter_inner_one_fires_and_the_outer_goes_on(colour: Colour) -> None:
    @colour.task(timeout_seconds=0.05)
    async def slow():
        await sleep_in(colour, 10)

    @colour.flow(timeout_seconds=30)
    async def main():
        state = await colour(slow, return_state=True)
        return state.name

    assert colour.run(main) == "TimedOut"


@riverrun_only("a TimeoutError of the user's own is a failure like any other; the peer calls it a time-out")
@pytest.mark.parametrize("limit", [None, 30])
def test_a_timeout_error_of_the_users_own(colour: Colour, kind: str, limit: float | None) -> None:
    @getattr(colour, kind)(timeout_seconds=limit)
    async def fails():
        raise TimeoutError("mine")

    assert colour.run(fails, return_state=True).name == "Failed"


def test_failure_hooks_run_on_time_outs(colour: Colour, kind: str) -> None:
    calls = []

    @getattr(colour, kind)(timeout_seconds=0.05, on_failure=[lambda thing, run, state: calls.append(state.name)])
    async def slow():
        await sleep_in(colour, 10)

    colour.run(slow, return_state=True)
    assert calls == ["TimedOut"]


def test_clean_up_code_of_the_body_runs(colour: Colour) -> None:
    steps = []

    @colour.task(timeout_seconds=0.1)
    async def slow():
        try:
            await sleep_in(colour, 10)
        finally:
            steps.append("cleaned")

    colour.run(slow, return_state=True)
    assert steps == ["cleaned"]


def test_nothing_fires_later() -> None:
    """A time-out that was not needed must not strike the code after it."""

    @task(timeout_seconds=0.05)
    def quick():
        return 1

    for _ in range(5):
        quick()
    time.sleep(0.1)


@riverrun_only("the run's state is TimedOut and waiters wake although the thread cannot be stopped (SDK-NOTES 17)")
def test_a_thread_that_cannot_be_stopped_does_not_hold_up_its_waiters() -> None:
    never = threading.Event()
    settled = []

    @task(timeout_seconds=0.1)
    def stuck():
        never.wait(15)

    @flow
    def main():
        future = stuck.submit()
        future.wait(5)
        settled.append(future.state.name)
        never.set()

    main()
    assert settled == ["TimedOut"]


def test_flow_in_a_thread() -> None:
    got = []

    @flow(timeout_seconds=0.1)
    def slow():
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            time.sleep(0.005)

    thread = threading.Thread(target=lambda: got.append(slow(return_state=True).name))
    thread.start()
    thread.join(15)
    assert got == ["TimedOut"]


@riverrun_only("a time-out of zero is a mistake that is named")
def test_zero_and_negative_time_outs_are_refused() -> None:
    for value in (-1, float("nan")):
        with pytest.raises(ValueError, match="timeout_seconds"):
            task(lambda: 1, name="x", timeout_seconds=value)


@pytest.mark.parametrize("kind", ["task", "flow"])
def test_zero_is_no_limit(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)(timeout_seconds=0)
    async def work():
        return "done"

    assert work.timeout_seconds is None
    assert colour.run(work) == "done"
