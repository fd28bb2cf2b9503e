"""Task workers in the test's process: a run is executed by hand, as if the server had handed it over."""

import asyncio
import threading

from riverrun import get_client, task
from riverrun.base.config import temporary_settings
from riverrun.filesystems import LocalFileSystem
from riverrun.task_worker import TaskWorker


def read(run_id):
    with get_client(sync_client=True) as client:
        return client.read_task_run(run_id)


def test_a_run_under_way_is_not_begun_twice(server):
    begun = []
    go_on = threading.Event()

    @task
    def waits():
        begun.append(1)
        assert go_on.wait(10)
        return "once"

    async def both():
        worker = TaskWorker(waits)
        run = read(waits.delay().task_run_id)
        first = asyncio.create_task(worker.execute_task_run(run))
        while not begun:
            await asyncio.sleep(0)
        second = await worker.execute_task_run(run)
        go_on.set()
        return await first, second

    first, second = asyncio.run(both())
    assert (first.result(), second, begun) == ("once", None, [1])


def test_a_run_by_hand_waits_for_a_place(server):
    begun = []
    go_on = threading.Event()

    @task
    def waits(name):
        begun.append(name)
        assert go_on.wait(10)

    async def two():
        worker = TaskWorker(waits, limit=1)
        runs = [read(waits.delay(name).task_run_id) for name in "ab"]
        first = asyncio.create_task(worker.execute_task_run(runs[0]))
        while not begun:
            await asyncio.sleep(0)
        second = asyncio.create_task(worker.execute_task_run(runs[1]))
        await asyncio.sleep(0)
        assert worker.available_tasks == -1
        second.cancel()
        await asyncio.wait([second])
        assert worker.available_tasks == 0
        go_on.set()
        await first
        assert worker.available_tasks == 1

    asyncio.run(two())
    assert begun == ["a"]


def test_parameters_go_to_the_storage_of_the_settings(server, tmp_path):
    @task
    def adds(x):
        return x + 1

    LocalFileSystem(basepath=str(tmp_path / "parameters")).save("for-parameters", overwrite=True)
    with temporary_settings({"tasks_scheduling_default_storage_block": "local-file-system/for-parameters"}):
        future = adds.delay(41)
        assert [path.parent.name for path in (tmp_path / "parameters").rglob("*") if path.is_file()] == ["parameters"]
        final = asyncio.run(TaskWorker(adds).execute_task_run(read(future.task_run_id)))
    assert final.result() == 42
    assert len([path for path in (tmp_path / "parameters").rglob("*") if path.is_file()]) == 1  # no result there
