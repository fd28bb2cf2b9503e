"""Retries of tasks and flows: how many, how long between, on what, and the states in between."""

import asyncio
import time

import pytest

from .sdk import ON_PEER, Colour, flow, history, import_module, riverrun_only, task

runtime = import_module("runtime")
tasks = import_module("tasks")


class Flaky:
    """Fails the first `failures` calls."""

    def __init__(self, failures: int, error: type[Exception] = ValueError) -> None:
        self.left, self.calls, self.error = failures, 0, error
        self.times: list[float] = []

    def __call__(self, value=1):
        self.calls += 1
        self.times.append(time.monotonic())
        if self.calls <= self.left:
            raise self.error(f"failure {self.calls}")
        return value


@pytest.fixture(params=["task", "flow"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def make(colour: Colour, kind: str, body: Flaky, **options):
    async def work():
        return body("done")

    options[f"{kind}_run_name"] = "the run"
    return getattr(colour, kind)(work, **options)


def test_succeeds_within_its_retries(colour: Colour, kind: str) -> None:
    body = Flaky(2)
    with history() as seen:
        assert colour.run(make(colour, kind, body, retries=2)) == "done"
    assert body.calls == 3
    names = seen.names("the run")
    if kind == "task":
        assert names == ["Running", "Retrying", "Retrying", "Completed"]
    else:
        assert names[0] == "Running"
        assert names[-1] == "Completed"
        assert {"AwaitingRetry", "Retrying", "Running"} >= set(names[1:-1])
        assert len(names) >= 4


def test_fails_when_retries_are_used_up(colour: Colour, kind: str) -> None:
    body = Flaky(9)
    with history() as seen:
        state = colour.run(make(colour, kind, body, retries=1), return_state=True)
    assert body.calls == 2
    assert state.is_failed()
    assert "failure 2" in state.message
    assert seen.names("the run")[-1] == "Failed"
    with pytest.raises(ValueError, match="failure"):
        colour.run(make(colour, kind, Flaky(9), retries=1))


def test_no_retry_without_retries(colour: Colour, kind: str) -> None:
    body = Flaky(1)
    assert colour.run(make(colour, kind, body), return_state=True).is_failed()
    assert body.calls == 1


def test_run_count_counts_attempts(colour: Colour, kind: str) -> None:
    counts = []

    async def work():
        counts.append(runtime.task_run.run_count if kind == "task" else runtime.flow_run.run_count)
        if len(counts) < 3:
            raise ValueError

    colour.run(getattr(colour, kind)(work, retries=2))
    assert counts == [1, 2, 3]


def test_each_attempt_has_a_context_of_its_own(colour: Colour) -> None:
    context = import_module("context")
    seen = []

    @colour.task(retries=2)
    async def work():
        here = context.get_run_context()
        seen.append((here, here.task_run.state_name, here.task_run.run_count))
        raise ValueError

    colour.run(work, return_state=True)
    assert [(name, count) for _, name, count in seen] == [("Running", 1), ("Retrying", 2), ("Retrying", 3)]
    starts = [here.start_time for here, _, _ in seen]
    assert starts == sorted(starts)


def test_a_delay_is_waited_out(colour: Colour, kind: str) -> None:
    if ON_PEER and kind == "flow":
        pytest.skip("the peer's flows wait whole seconds, or not at all")
    body = Flaky(1)
    colour.run(make(colour, kind, body, retries=1, retry_delay_seconds=0.2))
    assert body.times[1] - body.times[0] >= 0.19


def test_states_while_waiting(colour: Colour) -> None:
    with history() as seen:
        colour.run(make(colour, "task", Flaky(1), retries=1, retry_delay_seconds=0.05))
    assert seen.names("the run") == ["Running", "AwaitingRetry", "Retrying", "Completed"]
    assert seen.types("the run") == ["RUNNING", "SCHEDULED", "RUNNING", "COMPLETED"]


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        ([0.0, 0.15], [0.0, 0.15]),
        ([0.1], [0.1, 0.1]),
        (lambda retries: [0.05] * retries, [0.05, 0.05]),
        (tasks.exponential_backoff(backoff_factor=0.05), [0.05, 0.1]),
    ],
    ids=["list", "short list", "callable", "exponential"],
)
def test_kinds_of_delay(delay, expected: list[float]) -> None:
    body = Flaky(2)
    task(lambda: body(), name="work", retries=2, retry_delay_seconds=delay)()
    waits = [later - earlier for earlier, later in zip(body.times, body.times[1:], strict=False)]
    assert all(wait >= least * 0.95 for wait, least in zip(waits, expected, strict=True)), waits


def test_exponential_backoff() -> None:
    assert tasks.exponential_backoff(backoff_factor=10)(4) == [10, 20, 40, 80]
    assert tasks.exponential_backoff(backoff_factor=1)(0) == []


def test_too_many_delays_are_refused() -> None:
    with pytest.raises(ValueError, match="50"):
        task(lambda: 1, name="x", retries=60, retry_delay_seconds=[1.0] * 60)


@pytest.mark.parametrize("seed", range(3))
def test_jitter_only_lengthens_or_keeps_the_delay_within_bounds(seed: int) -> None:
    body = Flaky(2)
    task(lambda: body(), name="work", retries=2, retry_delay_seconds=0.02, retry_jitter_factor=0.5)()
    waits = [later - earlier for earlier, later in zip(body.times, body.times[1:], strict=False)]
    assert all(wait >= 0.009 for wait in waits), waits


class TestCondition:
    def test_decides(self, colour: Colour) -> None:
        asked = []

        def only_value_errors(task, run, state):
            asked.append((task.name, run.name, state.is_failed()))
            return "ValueError" in state.message

        good, bad = Flaky(1), Flaky(1, KeyError)
        assert colour.run(make(colour, "task", good, retries=3, retry_condition_fn=only_value_errors)) == "done"
        with pytest.raises(KeyError):
            colour.run(make(colour, "task", bad, retries=3, retry_condition_fn=only_value_errors))
        assert (good.calls, bad.calls) == (2, 1)
        assert asked == [("work", "the run", True)] * 2

    def test_may_be_async_for_an_async_task(self) -> None:
        body = Flaky(1)

        async def never(task, run, state):
            await asyncio.sleep(0)
            return False

        @task(retries=3, retry_condition_fn=never)
        async def work():
            return body()

        with pytest.raises(ValueError, match="failure 1"):
            asyncio.run(work())
        assert body.calls == 1

    def test_that_raises_means_no_retry(self, colour: Colour) -> None:
        body = Flaky(1)

        def broken(task, run, state):
            raise RuntimeError("broken condition")

        state = colour.run(make(colour, "task", body, retries=3, retry_condition_fn=broken), return_state=True)
        assert state.is_failed()
        assert body.calls == 1

    def test_must_be_callable(self) -> None:
        with pytest.raises(TypeError, match="retry_condition_fn"):
            task(lambda: 1, name="x", retries=1, retry_condition_fn="yes")

    def test_is_not_asked_after_success_or_without_retries(self) -> None:
        asked = []
        task(lambda: 1, name="x", retries=2, retry_condition_fn=lambda *a: asked.append(a))()
        task(lambda: 1 / 0, name="x", retry_condition_fn=lambda *a: asked.append(a))(return_state=True)
        assert asked == []


def test_a_flow_retries_with_its_tasks(colour: Colour) -> None:
    ran = []

    @colour.task
    async def one(attempt):
        ran.append(attempt)
        return attempt

    @colour.flow(retries=1)
    async def main():
        attempt = runtime.flow_run.run_count
        await colour(one, attempt)
        if attempt == 1:
            raise ValueError
        return attempt

    assert colour.run(main) == 2
    assert ran == [1, 2]


def test_a_child_flow_retries_on_its_own(colour: Colour) -> None:
    body = Flaky(1)

    @colour.flow(retries=1)
    async def child():
        return body("child")

    @colour.flow
    async def main():
        return await colour(child)

    assert colour.run(main) == "child"
    assert body.calls == 2


def test_submitted_and_mapped_tasks_retry() -> None:
    bodies = [Flaky(1), Flaky(2), Flaky(0)]

    @task(retries=2)
    def work(i):
        return bodies[i](i)

    @flow
    def main():
        return work.map(range(3)).result()

    assert main() == [0, 1, 2]
    assert [body.calls for body in bodies] == [2, 3, 1]


def test_a_returned_failed_state_is_retried() -> None:
    states = import_module("states")
    calls = []

    @task(retries=2)
    def work():
        calls.append(1)
        return states.Failed(message="not yet") if len(calls) < 3 else "done"

    @flow
    def main():
        return work.submit(return_state=True).name

    main()
    assert len(calls) in {1, 3}


def test_settings_give_the_default_retries() -> None:
    settings = import_module("settings")
    prefix = settings.__name__.split(".")[0].upper()
    chosen = {
        getattr(
            settings, f"{prefix}_TASK_DEFAULT_RETRIES" if prefix == "PREFECT" else f"{prefix}_TASKS_DEFAULT_RETRIES"
        ): 1
    }
    body = Flaky(1)
    with settings.temporary_settings(chosen):
        assert task(lambda: body(), name="work")() == 1
    assert body.calls == 2


@riverrun_only("retries add the user's own frames to a traceback and no others (SDK-NOTES 10)")
def test_retries_do_not_pile_up_tracebacks() -> None:
    error = ValueError("always the same object")
    depths = []

    @task(retries=5)
    def work():
        depth, tb = 0, error.__traceback__
        while tb:
            depth, tb = depth + 1, tb.tb_next
        depths.append(depth)
        raise error

    with pytest.raises(ValueError, match="same object"):
        work()
    assert depths == sorted(depths)
    assert depths[-1] <= 5


@riverrun_only("KeyboardInterrupt and friends are no failures to retry")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_base_exceptions_are_not_retried(error: type[BaseException]) -> None:
    calls = []

    @task(retries=3, task_run_name="the run")
    def work():
        calls.append(1)
        raise error

    with history() as seen, pytest.raises(error):
        work()
    assert len(calls) == 1
    assert seen.types("the run")[-1] == "CRASHED"
