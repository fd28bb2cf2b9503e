"""Hooks: which are called when, with what, in which order; and that a bad one harms nobody."""

import asyncio

import pytest

from .sdk import Colour, flow, history, import_module, riverrun_only, task

states = import_module("states")


@pytest.fixture(params=["task", "flow"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


class Calls(list):
    def hook(self, label: str):
        def called(thing, run, state):
            self.append((label, state.name))

        return called

    def ahook(self, label: str):
        async def called(thing, run, state):
            await asyncio.sleep(0)
            self.append((label, state.name))

        return called


def test_completion_and_failure(colour: Colour, kind: str) -> None:
    calls = Calls()

    async def good():
        calls.append("body")

    async def bad():
        raise ValueError

    hooks = {"on_completion": [calls.hook("completed")], "on_failure": [calls.hook("failed")]}
    colour.run(getattr(colour, kind)(good, **hooks))
    assert calls == ["body", ("completed", "Completed")]
    calls.clear()
    colour.run(getattr(colour, kind)(bad, **hooks), return_state=True)
    assert calls == [("failed", "Failed")]


def test_arguments(colour: Colour, kind: str) -> None:
    got = []

    def hook(*args):
        got.append(args)

    async def work():
        return 5

    thing = getattr(colour, kind)(work, on_completion=[hook], **{f"{kind}_run_name": "the run"})
    colour.run(thing)
    [(same, run, state)] = got
    assert same is thing
    assert (run.name, state.type.value, state.name) == ("the run", "COMPLETED", "Completed")
    assert run.id
    assert colour.value_of(state) == 5


def test_parameter_names_of_flow_hooks() -> None:
    got = []

    def hook(flow, flow_run, state):
        got.append((flow.name, flow_run.name, state.name))

    flow(lambda: 1, name="f", flow_run_name="r", on_completion=[hook])()
    assert got == [("f", "r", "Completed")]


def test_several_hooks_run_in_order(colour: Colour, kind: str) -> None:
    calls = Calls()

    async def work():
        pass

    colour.run(getattr(colour, kind)(work, on_completion=[calls.hook(str(i)) for i in range(3)]))
    assert [label for label, _ in calls] == ["0", "1", "2"]


def test_running(colour: Colour, kind: str) -> None:
    calls = Calls()

    async def work():
        calls.append("body")

    colour.run(getattr(colour, kind)(work, on_running=[calls.hook("running")]))
    assert calls == [("running", "Running"), "body"]


def test_decorator_forms(kind: str) -> None:
    calls = []
    thing = {"task": task, "flow": flow}[kind](lambda: calls.append("body"), name="x")
    events = ["on_completion", "on_failure", "on_running"]
    if kind == "flow":
        events += ["on_crashed", "on_cancellation"]
    for event in events:

        @getattr(thing, event)
        def hook(thing, run, state, event=event):
            calls.append(event)

        assert hook in getattr(thing, f"{event}_hooks")
        assert callable(hook)
    thing()
    assert calls == ["on_running", "body", "on_completion"]


def test_commit_and_rollback_decorators() -> None:
    calls = []

    @task
    def work():
        return 1

    @work.on_commit
    def committed(txn):
        calls.append("commit")

    @work.on_rollback
    def undone(txn):
        calls.append("rollback")

    assert work.on_commit_hooks == [committed]
    assert work.on_rollback_hooks == [undone]
    work()
    assert calls == ["commit"]


def test_async_hooks(colour: Colour, kind: str) -> None:
    calls = Calls()

    async def work():
        pass

    colour.run(
        getattr(colour, kind)(work, on_completion=[calls.ahook("a"), calls.hook("b")], on_running=[calls.ahook("r")])
    )
    assert [label for label, _ in calls] == ["r", "a", "b"]


def test_a_failing_hook_harms_nobody(colour: Colour, kind: str) -> None:
    calls = Calls()

    def broken(thing, run, state):
        calls.append("broken")
        raise RuntimeError("hook")

    async def abroken(thing, run, state):
        raise RuntimeError("hook")

    def wrong_signature():
        raise AssertionError

    async def work():
        return 5

    hooks = [broken, abroken, wrong_signature, calls.hook("after")]
    thing = getattr(colour, kind)(work, on_completion=hooks, on_running=[broken])
    assert colour.run(thing) == 5
    assert calls == ["broken", "broken", ("after", "Completed")]


def test_failure_hooks_wait_for_the_last_attempt(colour: Colour, kind: str) -> None:
    calls = Calls()

    async def work():
        calls.append("body")
        raise ValueError

    thing = getattr(colour, kind)(work, retries=1, on_failure=[calls.hook("failed")], on_completion=[calls.hook("no")])
    colour.run(thing, return_state=True)
    assert calls == ["body", "body", ("failed", "Failed")]


def test_running_hooks_of_each_attempt(colour: Colour) -> None:
    calls = Calls()
    runs = []

    @colour.task(retries=1, on_running=[calls.hook("running")])
    async def work():
        runs.append(1)
        if len(runs) == 1:
            raise ValueError

    colour.run(work)
    assert calls[0] == ("running", "Running")
    assert {label for label, _ in calls} == {"running"}


def test_hooks_see_returned_states(colour: Colour, kind: str) -> None:
    calls = Calls()

    async def fails():
        return states.Failed(name="Odd", message="m")

    async def completes():
        return states.Completed(name="Fine", message="m")

    hooks = {"on_failure": [calls.hook("failed")], "on_completion": [calls.hook("completed")]}
    colour.run(getattr(colour, kind)(fails, **hooks), return_state=True)
    colour.run(getattr(colour, kind)(completes, **hooks), return_state=True)
    assert calls == [("failed", "Odd"), ("completed", "Fine")]


def test_cancellation_hook_of_a_flow_that_returns_cancelled(colour: Colour) -> None:
    calls = Calls()

    @colour.flow(on_cancellation=[calls.hook("cancelled")], on_completion=[calls.hook("no")])
    async def main():
        return states.Cancelled()

    assert colour.run(main, return_state=True).is_cancelled()
    assert calls in ([("cancelled", "Cancelled")], [])


@riverrun_only("a flow that ends Cancelled runs its cancellation hooks in its own process")
def test_cancellation_hook_runs(colour: Colour) -> None:
    calls = Calls()

    @colour.flow(on_cancellation=[calls.hook("cancelled")])
    async def main():
        return states.Cancelled()

    colour.run(main, return_state=True)
    assert calls == [("cancelled", "Cancelled")]


def test_crash_hook(colour: Colour) -> None:
    calls = Calls()

    @colour.flow(on_crashed=[calls.hook("crashed")], on_failure=[calls.hook("no")], flow_run_name="the run")
    async def main():
        raise KeyboardInterrupt

    with history() as seen, pytest.raises(KeyboardInterrupt):
        main_in_thread(colour, main)
    assert seen.names("the run")[-1] == "Crashed"
    assert calls == [("crashed", "Crashed")]


def main_in_thread(colour: Colour, main) -> None:
    """Away from the main thread, where an event loop would turn KeyboardInterrupt into its own shutdown."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(colour.run, main).result()


def test_hooks_of_submitted_tasks() -> None:
    calls = Calls()

    @task(on_completion=[calls.hook("completed")], on_failure=[calls.ahook("failed")])
    def work(x):
        if x:
            raise ValueError

    @flow
    def main():
        work.map([0, 1]).wait()

    main()
    assert sorted(calls) == [("completed", "Completed"), ("failed", "Failed")]


def test_hooks_run_before_the_caller_goes_on(colour: Colour) -> None:
    calls = []

    @colour.task(on_completion=[lambda *a: calls.append("hook")])
    async def work():
        calls.append("body")

    @colour.flow
    async def main():
        await colour(work)
        calls.append("after")

    colour.run(main)
    assert calls == ["body", "hook", "after"]


def test_hooks_on_cached_tasks() -> None:
    calls = Calls()

    @task(
        cache_key_fn=lambda *a: "the key of the hooks test",
        persist_result=True,
        on_running=[calls.hook("runs")],
        on_completion=[calls.hook("done")],
    )
    def work():
        return 1

    work()
    work()
    assert calls == [("runs", "Running"), ("done", "Completed"), ("runs", "Running"), ("done", "Cached")]


@pytest.mark.parametrize("event", ["on_completion", "on_failure", "on_running"])
def test_hooks_must_be_a_list_of_callables(kind: str, event: str) -> None:
    decorate = {"task": task, "flow": flow}[kind]
    with pytest.raises(TypeError, match=r"(?i)list|iterable"):
        decorate(lambda: 1, name="x", **{event: lambda *a: None})
    with pytest.raises(TypeError, match=r"(?i)callable"):
        decorate(lambda: 1, name="x", **{event: ["text"]})


def test_hooks_may_be_methods_partials_and_objects(kind: str) -> None:
    import functools

    calls = []

    class Hook:
        def method(self, thing, run, state):
            calls.append("method")

        def __call__(self, thing, run, state):
            calls.append("object")

    def with_extra(thing, run, state, extra):
        calls.append(extra)

    {"task": task, "flow": flow}[kind](
        lambda: 1, name="x", on_completion=[Hook().method, Hook(), functools.partial(with_extra, extra="partial")]
    )()
    assert calls == ["method", "object", "partial"]


def test_validation_failure_runs_failure_hooks(colour: Colour) -> None:
    calls = Calls()

    @colour.flow(on_failure=[calls.hook("failed")], on_running=[calls.hook("running")])
    async def main(x: int):
        pass

    colour.run(main, "no", return_state=True)
    assert calls == [("failed", "Failed")]
