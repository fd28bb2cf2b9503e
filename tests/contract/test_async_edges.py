"""Event loops: cancellation, time limits of asyncio's own, threads beside a loop, sync code under a running loop."""

import asyncio
import contextlib
import threading

import pytest

from .sdk import Colour, allow_failure, flow, history, import_module, riverrun_only, task

runtime = import_module("runtime")
exceptions = import_module("exceptions")
context = import_module("context")


@task(task_run_name="slow")
async def slow(seconds=30):
    await asyncio.sleep(seconds)
    return "slept"


@task
def one(x=1):
    return x


@task
def fail():
    raise ValueError("upstream")


def test_a_sync_flow_under_a_running_loop() -> None:
    @flow
    def main():
        return one(), one.submit(2).result(), one.map([3]).result()

    async def notebook():
        return main()

    assert asyncio.run(notebook()) == (1, 2, [3])


def test_async_tasks_submitted_from_a_sync_flow_under_a_running_loop() -> None:
    @task
    async def awaits():
        await asyncio.sleep(0.01)
        return 5

    @flow
    def main():
        return awaits.submit().result()

    async def notebook():
        return main()

    assert asyncio.run(notebook()) == 5


def test_wait_for_of_asyncio_ends_the_task_run_and_the_flow_goes_on() -> None:
    @flow(flow_run_name="main")
    async def main():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(slow(), 0.1)
        return "went on", str(runtime.task_run.id)

    with history() as seen:
        assert asyncio.run(main()) == ("went on", "None")
    assert seen.types("slow")[-1] in {"CRASHED", "CANCELLED"}
    assert seen.names("main") == ["Running", "Completed"]


def test_a_failing_sibling_in_a_task_group_ends_the_others() -> None:
    @task
    async def fails():
        await asyncio.sleep(0.05)
        raise ValueError("sibling")

    @flow
    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(slow())
            group.create_task(fails())

    with history() as seen, pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert seen.types("slow")[-1] in {"CRASHED", "CANCELLED"}


def test_gather_that_collects_exceptions() -> None:
    @task
    async def fails(x):
        if x % 2:
            raise ValueError(x)
        return x

    @flow
    async def main():
        return await asyncio.gather(*[fails(x) for x in range(6)], return_exceptions=True)

    got = asyncio.run(main())
    assert [value if isinstance(value, int) else type(value) for value in got] == [
        0,
        ValueError,
        2,
        ValueError,
        4,
        ValueError,
    ]


def test_as_completed_of_asyncio() -> None:
    @flow
    async def main():
        return sorted([await ended for ended in asyncio.as_completed([slow(0.01), slow(0)])])

    assert asyncio.run(main()) == ["slept", "slept"]


def test_a_task_called_through_to_thread_belongs_to_the_flow() -> None:
    @task
    def look():
        return str(runtime.flow_run.id)

    @flow
    async def main():
        return await asyncio.to_thread(look), str(runtime.flow_run.id)

    seen, own = asyncio.run(main())
    assert seen == own


def test_a_task_called_in_a_thread_of_the_users_own() -> None:
    got = []

    @flow
    def main():
        thread = threading.Thread(target=lambda: got.append((one(7), runtime.flow_run.id)))
        thread.start()
        thread.join()

    main()
    assert got == [(7, None)]


def test_a_coroutine_that_is_never_awaited_makes_no_run() -> None:
    with history() as seen:

        async def main():
            slow().close()

        asyncio.run(main())
    assert seen.names("slow") == []


def test_async_flows_on_several_loops_at_once() -> None:
    results: list[int] = []

    @task
    async def work(x):
        await asyncio.sleep(0.005)
        return x

    @flow
    async def main(x):
        values = await asyncio.gather(*[work(x) for _ in range(5)])
        return sum(values) + work.submit(x).result()

    threads = [threading.Thread(target=lambda i=i: results.append(asyncio.run(main(i)))) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == [0, 6, 12, 18, 24]


def test_a_flow_with_a_failed_upstream_does_not_run(colour: Colour) -> None:
    ran = []

    @colour.flow
    async def child(x=None):
        ran.append(x)

    @colour.flow
    async def main():
        by_parameter = await colour(child, fail.submit(), return_state=True)
        by_wait_for = await colour(child, wait_for=[fail.submit()], return_state=True)
        allowed = await colour(child, allow_failure(fail.submit()), return_state=True)
        return by_parameter.name, by_wait_for.name, allowed.name

    names = colour.run(main)
    assert names == ("NotReady", "NotReady", "Completed")
    assert [type(value) for value in ran] == [ValueError]


@riverrun_only("thousands of awaited calls do not pile up callbacks on the loop")
def test_many_awaited_tasks() -> None:
    @task
    async def nothing():
        return 1

    @flow
    async def main():
        return sum([await nothing() for _ in range(3000)])

    assert asyncio.run(main()) == 3000


def test_submitted_async_tasks_overlap() -> None:
    inside = 0
    most = 0

    @task
    async def work():
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.2)
        inside -= 1

    @flow
    async def main():
        for future in [work.submit() for _ in range(5)]:
            future.wait()

    asyncio.run(main())
    assert most > 1


def test_loops_are_closed_cleanly() -> None:
    """No task of the SDK's own is left pending on the user's loop."""

    @flow
    async def main():
        await one_async()
        one_async.submit().result()
        return len(asyncio.all_tasks())

    @task
    async def one_async():
        return 1

    assert asyncio.run(main()) == 1


def test_async_context_managers_around_awaits() -> None:
    steps = []

    @contextlib.asynccontextmanager
    async def resource():
        steps.append("open")
        yield runtime.flow_run.id
        steps.append("close")

    @flow
    async def main():
        async with resource() as run_id:
            await slow(0)
            return run_id == runtime.flow_run.id

    assert asyncio.run(main()) is True
    assert steps == ["open", "close"]
