"""Task runners: how many at once, nothing stuck, everything that belongs to a task comes along."""

import asyncio
import contextvars
import os
import threading

import pytest

from .sdk import SDK, Colour, flow, import_module, riverrun_only, tags, task, unmapped

task_runners = import_module("task_runners")
runtime = import_module("runtime")
context = import_module("context")
annotations = import_module("utilities.annotations")
ThreadPoolTaskRunner = task_runners.ThreadPoolTaskRunner
ProcessPoolTaskRunner = task_runners.ProcessPoolTaskRunner
quote = annotations.quote


class Gauge:
    """How many are inside at once."""

    def __init__(self) -> None:
        self.lock, self.inside, self.most = threading.Lock(), 0, 0
        self.gate = threading.Event()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_exc: object) -> None:
        with self.lock:
            self.inside -= 1


@pytest.mark.parametrize("bound", [1, 3])
def test_max_workers_bounds_running_tasks(bound: int) -> None:
    gauge = Gauge()

    @task
    def work():
        with gauge:
            gauge.gate.wait(0.02)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=bound))
    def main():
        for future in [work.submit() for _ in range(10)]:
            future.wait()

    main()
    assert gauge.most == bound


def test_max_workers_bounds_running_async_tasks() -> None:
    gauge = Gauge()

    @task
    async def work():
        with gauge:
            await asyncio.sleep(0.02)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def main():
        for future in [work.submit() for _ in range(8)]:
            future.wait()

    main()
    assert gauge.most == 2


@riverrun_only("a wait inside the SDK gives its place back, so nested submits never deadlock (SDK-NOTES 5)")
@pytest.mark.parametrize("bound", [1, 2])
def test_nested_submits_do_not_deadlock(bound: int) -> None:
    @task
    def leaf(x):
        return x

    @task
    def middle(x):
        return sum(leaf.map([x, x]).result())

    @task
    def top(x):
        return middle.submit(x).result() + leaf.submit(x).result()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=bound))
    def main():
        return top.map([1, 2, 3]).result()

    assert main() == [3, 6, 9]


@riverrun_only("a wait inside the SDK gives its place back, so nested submits never deadlock (SDK-NOTES 5)")
def test_nested_async_submits_do_not_deadlock() -> None:
    @task
    async def leaf(x):
        await asyncio.sleep(0)
        return x

    @task
    async def top(x):
        return leaf.submit(x).result() + 1

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    async def main():
        return [future.result() for future in top.map([1, 2, 3])]

    assert asyncio.run(main()) == [2, 3, 4]


def test_dependent_tasks_do_not_deadlock_on_one_worker() -> None:
    @task
    def add(x, y=1):
        return x + y

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def main():
        future = add.submit(0)
        for _ in range(5):
            future = add.submit(future)
        return future.result()

    assert main() == 6


def test_submitted_tasks_run_in_other_threads_direct_ones_do_not() -> None:
    @task
    def where():
        return threading.get_ident()

    @flow
    def main():
        return where() == threading.get_ident(), where.submit().result() != threading.get_ident()

    assert main() == (True, True)


def test_async_tasks_do_not_run_on_the_callers_loop_when_submitted() -> None:
    @task
    async def where():
        return id(asyncio.get_running_loop())

    @flow
    async def main():
        mine = id(asyncio.get_running_loop())
        return await where() == mine, where.submit().result() != mine

    assert asyncio.run(main()) == (True, True)


mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine", default="unset")


def test_the_users_context_variables_come_along(colour: Colour) -> None:
    @colour.task
    async def read():
        return mine.get()

    @colour.flow
    async def main():
        mine.set("set in the flow")
        return await colour(read), read.submit().result(), read.map.__name__

    assert colour.run(main)[:2] == ("set in the flow", "set in the flow")


def test_what_a_task_sets_stays_inside_a_submitted_task() -> None:
    @task
    def write():
        mine.set("inside")

    @flow
    def main():
        mine.set("outside")
        write.submit().wait()
        return mine.get()

    assert main() == "outside"


def test_run_context_and_tags_come_along(colour: Colour) -> None:
    @colour.task
    async def look():
        return str(runtime.flow_run.id), set(runtime.task_run.tags)

    @colour.flow
    async def main():
        with tags("along"):
            future = look.submit()
        return future.result(), str(runtime.flow_run.id)

    (seen, seen_tags), own = colour.run(main)
    assert seen == own
    assert seen_tags == {"along"}


def test_a_subflow_has_a_runner_of_its_own() -> None:
    gauge = Gauge()

    @task
    def work():
        with gauge:
            gauge.gate.wait(0.02)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def child():
        for future in [work.submit() for _ in range(4)]:
            future.wait()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=10))
    def main():
        child()

    main()
    assert gauge.most == 1


def test_one_runner_object_serves_many_runs() -> None:
    runner = ThreadPoolTaskRunner(max_workers=2)

    @task
    def one(x):
        return x

    @flow(task_runner=runner)
    def main():
        return one.map([1, 2]).result()

    assert [main(), main()] == [[1, 2], [1, 2]]


def test_concurrent_runs_of_one_flow() -> None:
    @task
    def one(x):
        return x

    @flow
    def main(x):
        return one.map([x] * 3).result()

    results: dict[int, object] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: main(i)})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == {i: [i] * 3 for i in range(6)}


def test_using_a_runner_by_hand() -> None:
    @task
    def one(x):
        return x + 1

    with ThreadPoolTaskRunner() as runner:
        assert runner.submit(one, parameters={"x": 1}).result() == 2
        assert runner.map(one, parameters={"x": [1, 2]}).result() == [2, 3]


def test_a_runner_that_was_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"(?i)not started|start"):
        ThreadPoolTaskRunner().submit(task(lambda: 1, name="x"), parameters={})


def test_equality_and_type_of_runners() -> None:
    assert ThreadPoolTaskRunner(max_workers=2) == ThreadPoolTaskRunner(max_workers=2)
    assert ThreadPoolTaskRunner(max_workers=2) != ThreadPoolTaskRunner(max_workers=3)
    assert isinstance(flow(lambda: 1, name="f").task_runner, ThreadPoolTaskRunner)
    assert issubclass(ThreadPoolTaskRunner, task_runners.TaskRunner)


def test_a_runner_class_is_accepted() -> None:
    assert isinstance(flow(lambda: 1, name="f", task_runner=ThreadPoolTaskRunner).task_runner, ThreadPoolTaskRunner)


def test_fifty_threads_call_one_task() -> None:
    @task
    def add(x):
        return x + 1

    results: dict[int, int] = {}
    errors: list[BaseException] = []

    def call(i: int) -> None:
        try:
            results[i] = add(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert results == {i: i + 1 for i in range(50)}


# --- processes: functions at module level, so that the children can find them


@task
def pid_and_run(x):
    return os.getpid(), str(runtime.flow_run.id), str(runtime.task_run.id), set(runtime.task_run.tags), x


@task
def fails_elsewhere():
    raise KeyError("elsewhere")


@task
async def async_elsewhere(x):
    await asyncio.sleep(0)
    return os.getpid(), x


@task
def calls_a_task(x):
    return pid_and_run(x)[4]


@task
def unpicklable_result():
    return threading.Lock()


@pytest.mark.timeout(120)
@pytest.mark.skipif(SDK == "prefect" and not os.environ.get("CONTRACT_SLOW"), reason="a minute on the peer")
def test_processes() -> None:
    """One flow for all, because starting processes is what costs."""

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def main():
        with tags("along"):
            first = pid_and_run.submit(1)
        second = pid_and_run.submit(first)
        failed = fails_elsewhere.submit()
        later = async_elsewhere.submit(unmapped("v").value)
        mapped = calls_a_task.map([1, 2])
        for future in (second, failed, later):
            future.wait()
        return (
            first.result(),
            second.result(),
            failed.state.name,
            failed.result(raise_on_failure=False),
            later.result(),
            mapped.result(),
            str(runtime.flow_run.id),
            str(first.task_run_id),
        )

    first, second, failed, error, later, mapped, own, first_id = main()
    assert first[0] != os.getpid()
    assert first[1] == own
    assert first[2] == first_id
    assert first[3] == {"along"}
    assert second[4] == first
    assert failed == "Failed"
    assert isinstance(error, KeyError)
    assert later[0] != os.getpid()
    assert later[1] == "v"
    assert mapped == [1, 2]


@pytest.mark.timeout(120)
@riverrun_only("a result that cannot come back from a process says so and names the task")
def test_process_results_that_cannot_travel() -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def main():
        future = unpicklable_result.submit()
        future.wait()
        return future.state.type.value, str(future.state.message)

    kind, message = main()
    assert kind in {"FAILED", "CRASHED"}
    assert "pickle" in message
