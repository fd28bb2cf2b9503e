"""Tasks run by hand: `task_engine` gives a run an id, parameters and a context."""

import asyncio
import uuid

import pytest

from .sdk import Colour, flow, import_module, task

engine = import_module("task_engine")
context = import_module("context")


def run_by_hand(colour: Colour, *args, **options):
    if not colour.is_async:
        return engine.run_task_sync(*args, **options)

    async def main():
        return await engine.run_task_async(*args, **options)

    return asyncio.run(main())


def current_run():
    return context.TaskRunContext.get().task_run


def test_parameters_are_completed(colour: Colour) -> None:
    @colour.task
    async def work(x, *rest, y=2, **more):
        return x, rest, y, more

    assert run_by_hand(colour, work, parameters={"x": 1}) == (1, (), 2, {})
    given = {"x": 1, "rest": (5, 6), "y": 3, "more": {"z": 4}}
    assert run_by_hand(colour, work, parameters=given) == (1, (5, 6), 3, {"z": 4})


def test_outcomes(colour: Colour) -> None:
    @colour.task
    async def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_by_hand(colour, fails)
    state = run_by_hand(colour, fails, return_type="state")
    assert state.is_failed()
    assert isinstance(colour.failing(state), ValueError)


def test_a_given_id(colour: Colour) -> None:
    @colour.task(task_run_name="named {x}")
    async def work(x):
        return current_run().id, current_run().name

    run_id = uuid.uuid4()
    assert run_by_hand(colour, work, task_run_id=run_id, parameters={"x": 1}) == (run_id, "named 1")


def test_a_run_again(colour: Colour) -> None:
    @colour.task
    async def work():
        return current_run()

    first = run_by_hand(colour, work)
    again = run_by_hand(colour, work, task_run=first)
    assert (again.id, again.state_name) == (first.id, "Completed")


def test_in_a_flow_and_in_its_serialized_context(colour: Colour) -> None:
    @task
    def flow_run_of():
        return current_run().flow_run_id

    @flow
    def main():
        here = context.FlowRunContext.get()
        return here.flow_run.id, engine.run_task_sync(flow_run_of), {"flow_run_context": here.serialize()}

    flow_run_id, inside, carried = main()
    assert inside == flow_run_id

    @colour.task
    async def where():
        return context.FlowRunContext.get().flow_run.id

    assert run_by_hand(colour, where, context=carried) == flow_run_id


def test_generators() -> None:
    @task
    def items(n):
        yield from range(n)
        return "end"

    @task
    async def aitems(n):
        for i in range(n):
            yield i

    def to_the_end():
        return (yield from engine.run_task(items, parameters={"n": 2}))

    walk = to_the_end()
    assert list(walk) == [0, 1]

    async def main():
        return [item async for item in engine.run_task(aitems, parameters={"n": 2})]

    assert asyncio.run(main()) == [0, 1]
    with pytest.raises(ValueError, match="generator"):
        list(engine.run_task(items, parameters={"n": 2}, return_type="state"))


def test_time_outs_are_time_outs(colour: Colour) -> None:
    assert issubclass(engine.TaskRunTimeoutError, TimeoutError)

    @colour.task(timeout_seconds=0.02)
    async def slow():
        if colour.is_async:
            await asyncio.sleep(30)
        else:
            import time

            time.sleep(30)

    with pytest.raises(TimeoutError, match=r"timed out after 0\.02 second"):
        run_by_hand(colour, slow)
