"""The runtime context inside real runs, in every kind of thread."""

import asyncio

import pytest

from riverrun import flow, tags, task
from riverrun.runtime import flow_run, task_run
from riverrun.testing import riverrun_test_harness


@pytest.fixture(autouse=True)
def harness():
    with riverrun_test_harness() as harness:
        yield harness


@task
def who(x):
    return task_run.id, task_run.name, task_run.task_name, task_run.parameters, task_run.run_count, flow_run.id


def test_in_a_flow_and_its_tasks(harness):
    @flow(version="v7")
    def etl(a=1):
        return (
            (
                flow_run.id,
                flow_run.name,
                flow_run.flow_name,
                flow_run.flow_version,
                flow_run.parameters,
                flow_run.run_count,
            ),
            who(1),
            who.submit(2).result(),
            task_run.id,
        )

    mine, called, submitted, none = etl()
    run = harness.run("etl")
    assert mine == (str(run.id), run.name, "etl", "v7", {"a": 1}, 1)
    for number, answer in enumerate((called, submitted)):
        assert answer == (str(harness.task_runs[number].id), f"who-{number}", "who", {"x": number + 1}, 1, str(run.id))
    assert none is None
    assert flow_run.id is None


def test_tags_and_attempts():
    attempts = []

    @task(retries=1, tags={"mine"})
    def tagged():
        attempts.append((sorted(task_run.tags), task_run.run_count))
        if len(attempts) == 1:
            raise ValueError

    @flow
    def etl():
        with tags("inner"):
            tagged()
        return sorted(flow_run.tags)

    with tags("outer"):
        assert etl() == ["outer"]
    assert attempts == [(["inner", "mine", "outer"], 1), (["inner", "mine", "outer"], 2)]


def test_subflows():
    @flow
    def inner():
        return flow_run.parent_flow_run_id, flow_run.root_flow_run_id, flow_run.flow_name, task_run.id

    @flow
    def outer():
        return flow_run.id, inner()

    root, answer = outer()
    assert answer == (root, root, "inner", None)


def test_async_runs_each_see_their_own():
    @task
    async def aname(x):
        await asyncio.sleep(0)
        return task_run.parameters["x"]

    @flow
    async def etl():
        direct = await asyncio.gather(*(aname(x) for x in range(5)))
        return direct, aname.submit(5).result(), flow_run.flow_name

    assert asyncio.run(etl()) == ([0, 1, 2, 3, 4], 5, "etl")


def test_a_task_outside_of_flows():
    answer = who(3)
    assert answer[1:] == ("who", "who", {"x": 3}, 1, None)
