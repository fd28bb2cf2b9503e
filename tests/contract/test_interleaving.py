"""Property tests: random programs of nested, concurrent and submitted runs keep every run's facts its own."""

import asyncio
import random
import threading

import pytest

from .sdk import ON_PEER, Colour, flow, history, import_module, riverrun_only, task

runtime = import_module("runtime")

SEEDS = range(2 if ON_PEER else 12)


def check_nested(where: dict[str, str | None]) -> None:
    assert {"flow": runtime.flow_run.id, "task": runtime.task_run.id} == where


@pytest.mark.parametrize("seed", SEEDS)
def test_random_trees_of_tasks_and_flows(colour: Colour, seed: int) -> None:
    """Every node sees itself before and after each of its children, and its flow is the nearest flow above."""
    choose = random.Random(seed)

    async def children(depth: int) -> int:
        mine = {"flow": runtime.flow_run.id, "task": runtime.task_run.id}
        count = 1
        for _ in range(choose.randint(0, 3) if depth < 3 else 0):
            kind = choose.choice(["task", "flow", "submit", "fail"])
            if kind == "task":
                count += await colour(task_node, depth + 1, mine["flow"])
            elif kind == "flow":
                count += await colour(flow_node, depth + 1)
            elif kind == "submit" and mine["flow"]:
                count += leaf.submit(mine["flow"]).result()
            elif kind == "fail":
                state = await colour(failing, return_state=True)
                assert state.is_failed()
            check_nested(mine)
        return count

    @colour.task
    async def task_node(depth, parent_flow):
        assert runtime.flow_run.id == parent_flow
        assert runtime.task_run.id is not None
        return await children(depth)

    @colour.flow
    async def flow_node(depth):
        return await children(depth)

    @colour.task
    async def leaf(parent_flow):
        assert runtime.flow_run.id == parent_flow
        return 1

    @colour.task
    async def failing():
        raise ValueError

    assert colour.run(flow_node, 0) >= 1
    assert runtime.flow_run.id is None
    assert runtime.task_run.id is None


@pytest.mark.parametrize("seed", SEEDS)
def test_random_awaits_of_concurrent_async_runs(seed: int) -> None:
    choose = random.Random(seed)

    @task
    async def work(n):
        mine = runtime.task_run.id
        for _ in range(choose.randint(0, 4)):
            await asyncio.sleep(choose.choice([0, 0.001]))
            assert runtime.task_run.id == mine
            assert runtime.task_run.parameters == {"n": n}
        if choose.random() < 0.2:
            raise ValueError(n)
        return mine

    @flow
    async def main():
        got = await asyncio.gather(*[work(n) for n in range(20)], return_exceptions=True)
        ids = [value for value in got if isinstance(value, str)]
        assert len(set(ids)) == len(ids)
        assert all(isinstance(value, str | ValueError) for value in got)
        return len(got)

    assert asyncio.run(main()) == 20


@pytest.mark.parametrize("seed", SEEDS)
def test_histories_are_whole(colour: Colour, seed: int) -> None:
    """Whatever happens, each run starts once, ends once, and nothing follows its end."""
    choose = random.Random(seed)
    plan = [(choose.choice(["ok", "fail", "flaky"]), choose.choice(["call", "submit"])) for _ in range(8)]
    attempts: dict[int, int] = {}

    @colour.task(task_run_name="run {i}", retries=1)
    async def work(i, how):
        attempts[i] = attempts.get(i, 0) + 1
        if how == "fail" or (how == "flaky" and attempts[i] == 1):
            raise ValueError(how)

    @colour.flow(flow_run_name="main")
    async def main():
        submitted = []
        for i, (how, way) in enumerate(plan):
            if way == "call":
                await colour(work, i, how, return_state=True)
            else:
                submitted.append(work.submit(i, how))
        for future in submitted:
            future.wait()

    with history() as seen:
        colour.run(main)
    expected = {
        "ok": ["Running", "Completed"],
        "flaky": ["Running", "Retrying", "Completed"],
        "fail": ["Running", "Retrying", "Failed"],
    }
    for i, (how, _) in enumerate(plan):
        assert seen.names(f"run {i}") == expected[how], f"seed {seed}"
    assert seen.names("main") == ["Running", "Completed"]


@riverrun_only("the journal is riverrun's")
@pytest.mark.parametrize("name", [None, "named {x}"])
def test_no_record_speaks_of_a_run_before_the_run_is_there(colour: Colour, name: str | None) -> None:
    @colour.task(task_run_name=name)
    async def work(x):
        return x

    @colour.flow(flow_run_name=name)
    async def main(x):
        work.submit(x).wait()
        return await colour(work, x)

    with history() as seen:
        colour.run(main, 1)
    known: set[bytes] = set()
    for record in seen.records:
        if hasattr(record, "id") and not hasattr(record, "run_id"):
            known.add(record.id)
        elif hasattr(record, "run_id"):
            assert record.run_id in known, record


@pytest.mark.parametrize("seed", SEEDS)
def test_flows_in_threads_do_not_mix(seed: int) -> None:
    choose = random.Random(seed)
    errors: list[BaseException] = []

    @task
    def inner(name):
        assert runtime.flow_run.parameters == {"name": name}
        return name

    @flow
    def main(name):
        for _ in range(5):
            assert inner(name) == name
            if choose.random() < 0.5:
                assert inner.submit(name).result() == name
            assert runtime.flow_run.parameters == {"name": name}

    def call(name: str) -> None:
        try:
            main(name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(str(i),)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
