"""Odd exceptions, odd values, odd places."""

import asyncio
import contextvars
import functools
import sys

import pytest

from .sdk import ON_PEER, Colour, flow, history, import_module, riverrun_only, run_script, task

futures = import_module("futures")
states = import_module("states")


@pytest.fixture(params=["task", "flow"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


class Strict(Exception):
    """An exception that can't be made again from its args."""

    def __init__(self, *, must: str) -> None:
        super().__init__("strict")
        self.must = must


class Secretive(Exception):
    def __reduce__(self):
        raise TypeError("will not be pickled")


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Unhashable(Exception):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other):
        return True


ODD = {
    "strict": lambda: Strict(must="x"),
    "unpicklable": lambda: Secretive("s"),
    "unhashable": lambda: Unhashable("u"),
    "group": lambda: ExceptionGroup("many", [ValueError(1), KeyError(2)]),
    "unicode": lambda: ValueError("\x00 \U0001f41f"),
    "huge": lambda: ValueError("x" * 1_000_000),
    "stop async": lambda: StopAsyncIteration("s"),
    "timeout": lambda: TimeoutError("t"),
    "import": lambda: ImportError("i", name="n", path="p"),
    "recursion": lambda: RecursionError("r"),
    "memory": lambda: MemoryError("m"),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_exceptions_reach_the_caller_as_they_are(kind: str, case: str) -> None:
    raised = ODD[case]()

    @{"task": task, "flow": flow}[kind](**{f"{kind}_run_name": "the run"})
    def fails():
        raise raised

    with history() as seen, pytest.raises(type(raised)) as caught:
        fails()
    assert caught.value is raised
    assert seen.types("the run")[-1] == "FAILED"


@pytest.mark.parametrize("case", ODD)
def test_odd_exceptions_of_submitted_tasks(case: str) -> None:
    raised = ODD[case]()

    @task(persist_result=case in {"strict", "unpicklable"})
    def fails():
        raise raised

    @flow
    def main():
        future = fails.submit()
        future.wait()
        return future.state.is_failed(), future.result(raise_on_failure=False) is raised

    assert main() == (True, True)


@riverrun_only("the peer cannot send a lone surrogate")
def test_an_exception_with_a_lone_surrogate(tmp_path) -> None:
    """In a process of its own: pytest's own reports cannot carry it."""
    source = """
        from SDK import flow, task

        @task
        def fails():
            raise ValueError("\\ud800 \\x00")

        @flow
        def main():
            direct, submitted = fails(return_state=True), fails.submit()
            submitted.wait()
            return [direct.is_failed(), submitted.state.is_failed()]

        print(main())
    """
    done = run_script(tmp_path, source)
    assert (done.returncode, done.stdout.strip()) == (0, "[True, True]"), ascii(done.stderr)


@riverrun_only("an exception without words fails its run like any other")
def test_an_exception_without_words(kind: str) -> None:
    @{"task": task, "flow": flow}[kind]
    def fails():
        raise Speechless

    assert fails(return_state=True).is_failed()


@riverrun_only("user outcomes travel as values, so StopIteration stays what it is (SDK-NOTES 10)")
def test_stop_iteration(kind: str) -> None:
    @{"task": task, "flow": flow}[kind](**{f"{kind}_run_name": "the run"})
    def fails():
        raise StopIteration("mine")

    with history() as seen, pytest.raises(StopIteration, match="mine"):
        fails()
    assert seen.types("the run") == ["RUNNING", "FAILED"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit], ids=lambda e: e.__name__)
def test_base_exceptions_pass_through_and_crash_the_run(kind: str, error: type[BaseException]) -> None:
    @{"task": task, "flow": flow}[kind](**{f"{kind}_run_name": "the run"})
    def fails():
        raise error("mine")

    if ON_PEER and error is GeneratorExit:
        pytest.skip("the peer's context managers swallow it")
    with history() as seen, pytest.raises(error):
        fails()
    assert seen.types("the run")[-1] == "CRASHED"


@riverrun_only("a BaseException of the user's own ends the run as Crashed, too")
def test_a_base_exception_of_the_users_own(colour: Colour, kind: str) -> None:
    class Unusual(BaseException):
        pass

    @getattr(colour, kind)(**{f"{kind}_run_name": "the run"})
    async def fails():
        raise Unusual

    with history() as seen, pytest.raises(Unusual):
        colour.run(fails)
    assert seen.types("the run")[-1] == "CRASHED"


@riverrun_only("what kills a submitted task leaves the flow able to see it")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit], ids=lambda e: e.__name__)
def test_base_exceptions_in_submitted_tasks(error: type[BaseException]) -> None:
    @task
    def fails():
        raise error("mine")

    @flow
    def main():
        future = fails.submit()
        future.wait(10)
        return future.state.type.value

    assert main() == "CRASHED"


def test_a_cancelled_async_run() -> None:
    @flow(flow_run_name="the run")
    async def main():
        await asyncio.sleep(30)

    async def cancel() -> None:
        running = asyncio.ensure_future(main())
        await asyncio.sleep(0.3 if ON_PEER else 0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with history() as seen:
        asyncio.run(cancel())
    assert seen.types("the run")[-1] in {"CRASHED", "CANCELLED"}


def test_an_exception_as_a_value(colour: Colour) -> None:
    @colour.task
    async def gives():
        return ValueError("only a value")

    @colour.flow
    async def main():
        direct = await colour(gives)
        submitted = gives.submit().result()
        return isinstance(direct, ValueError), isinstance(submitted, ValueError)

    assert colour.run(main) == (True, True)


def test_a_task_that_returns_a_future() -> None:
    @task
    def inner():
        return 5

    @task
    def outer():
        return inner.submit()

    @flow
    def main():
        got = outer()
        got = got.result() if hasattr(got, "result") else got
        return got

    assert main() == 5


def test_exceptions_keep_cause_and_context(colour: Colour) -> None:
    @colour.task
    async def fails():
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("outer") from error

    @colour.flow
    async def main():
        await colour(fails)

    with pytest.raises(ValueError, match="outer") as caught:
        colour.run(main)
    assert isinstance(caught.value.__cause__, KeyError)


@riverrun_only("the user's traceback starts at the user's code: engine frames are trimmed")
def test_tracebacks_show_the_users_frames(colour: Colour) -> None:
    @colour.task
    async def fails():
        raise ValueError("here")

    @colour.flow
    async def main():
        await colour(fails)

    with pytest.raises(ValueError, match="here") as caught:
        colour.run(main)
    frames, tb = [], caught.value.__traceback__
    while tb:
        frames.append(tb.tb_frame.f_code.co_filename)
        tb = tb.tb_next
    assert sum("riverrun/engine" in name for name in frames) == 0, frames


asked: contextvars.ContextVar[str] = contextvars.ContextVar("asked", default="unset")


def test_context_variables_set_in_a_direct_call_are_kept(colour: Colour) -> None:
    @colour.task
    async def sets():
        asked.set("by the task")

    @colour.flow
    async def main():
        asked.set("by the flow")
        await colour(sets)
        return asked.get()

    assert colour.run(main) in {"by the task", "by the flow"}


def test_long_collections_of_inputs(colour: Colour) -> None:
    @colour.task
    async def count(x):
        return len(x)

    @colour.flow
    async def main():
        return await colour(count, list(range(20_000))), await colour(count, {i: [i] for i in range(2_000)})

    assert colour.run(main) == (20_000, 2_000)


def test_deep_collections_as_inputs() -> None:
    deep: list = []
    for _ in range(150):
        deep = [deep]

    @task
    def same(x):
        return x is not None

    @flow(validate_parameters=False)
    def main():
        return same(deep)

    assert main() is True


@riverrun_only("the peer uses iterators up while it looks for futures")
def test_iterators_are_not_used_up() -> None:
    @task
    def use(x):
        return list(x)

    @flow
    def main():
        return use(iter([1, 2])), use(x for x in (3, 4)), use.submit(map(str, [5])).result()

    assert main() == ([1, 2], [3, 4], ["5"])


def test_arguments_are_handed_over_not_copied(colour: Colour) -> None:
    shared: list[int] = []

    @colour.task
    async def appends(x):
        x.append(1)
        return x

    @colour.flow
    async def main():
        got = await colour(appends, shared)
        return got is shared, appends.submit(shared).result() is shared

    assert colour.run(main) == (True, True)
    assert shared == [1, 1]


def test_a_decorated_function_stays_wrapped() -> None:
    def loud(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            return fn(*args, **kwargs).upper()

        return wrapper

    @task
    @loud
    def hello(name: str) -> str:
        return f"hello {name}"

    @flow
    @loud
    def main(name: str) -> str:
        return hello(name)

    assert main("you") == "HELLO YOU"


@task
def at_module_level(x):
    return x + 1


@flow
def flow_at_module_level(x):
    return at_module_level(x)


def test_tasks_and_flows_pickle() -> None:
    import cloudpickle

    assert cloudpickle.loads(cloudpickle.dumps(at_module_level)).fn(1) == 2
    assert cloudpickle.loads(cloudpickle.dumps(flow_at_module_level)).fn is not None


def test_copying_tasks_and_flows() -> None:
    import copy

    assert copy.copy(at_module_level)(1) == 2
    assert copy.copy(flow_at_module_level)(1) == 2


def test_recursion_limit_is_left_alone() -> None:
    before = sys.getrecursionlimit()
    flow_at_module_level(1)
    assert sys.getrecursionlimit() == before


def test_states_as_results_of_submitted_tasks_in_lists() -> None:
    @task
    def one(x):
        return states.Completed(data=x) if x else states.Failed(message="zero")

    @flow
    def main():
        mapped = one.map([1, 0, 2])
        mapped.wait()
        return [future.state.name for future in mapped]

    assert main() == ["Completed", "Failed", "Completed"]


def test_nan_and_friends_survive(colour: Colour) -> None:
    @colour.task(persist_result=True)
    async def same(x):
        return x

    @colour.flow(persist_result=True)
    async def main(x):
        return await colour(same, x)

    got = colour.run(main, float("nan"))
    assert got != got  # noqa: PLR0124
    assert colour.run(main, "a\x00b") == "a\x00b"


def test_a_flow_made_inside_a_flow(colour: Colour) -> None:
    @colour.flow
    async def main(depth):
        @colour.task
        async def inner(x):
            return x * 2

        return await colour(inner, depth)

    assert [colour.run(main, 1), colour.run(main, 2)] == [2, 4]


def test_asyncio_run_inside_a_sync_task() -> None:
    async def work():
        await asyncio.sleep(0)
        return 5

    @task
    def uses_a_loop():
        return asyncio.run(work())

    @flow
    def main():
        return uses_a_loop(), uses_a_loop.submit().result()

    assert main() == (5, 5)
