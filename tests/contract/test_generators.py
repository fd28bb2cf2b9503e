"""Generator functions as tasks and flows."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from .sdk import flow, history, import_module, riverrun_only, task

runtime = import_module("runtime")


@task(task_run_name="counting")
def count(n: int) -> Iterator[int]:
    yield from range(n)


@task(task_run_name="acounting")
async def acount(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@task
def whoami(n: int) -> Iterator[str]:
    for _ in range(n):
        yield str(runtime.task_run.id)


@task
async def awhoami(n: int) -> AsyncIterator[str]:
    for _ in range(n):
        yield str(runtime.task_run.id)


def test_generator_task_yields_as_it_goes() -> None:
    steps: list[str] = []

    @task
    def produce() -> Iterator[int]:
        for i in range(2):
            steps.append(f"made {i}")
            yield i

    @flow
    def main() -> None:
        for value in produce():
            steps.append(f"got {value}")

    main()
    assert steps == ["made 0", "got 0", "made 1", "got 1"]


def test_generator_run_completes_when_exhausted() -> None:
    with history() as seen:
        assert list(count(3)) == [0, 1, 2]
    assert seen.names("counting") == ["Running", "Completed"]


def test_async_generator_task() -> None:
    @flow
    async def main() -> list[int]:
        return [value async for value in acount(3)]

    with history() as seen:
        assert asyncio.run(main()) == [0, 1, 2]
    assert seen.names("acounting") == ["Running", "Completed"]


def test_generator_flow_and_async_generator_flow() -> None:
    @flow
    def numbers() -> Iterator[int]:
        yield from count(2)
        yield 9

    @flow
    async def anumbers() -> AsyncIterator[int]:
        async for value in acount(2):
            yield value
        yield 9

    async def collect() -> list[int]:
        return [value async for value in anumbers()]

    assert list(numbers()) == [0, 1, 9]
    assert asyncio.run(collect()) == [0, 1, 9]


def test_exception_in_a_generator_reaches_the_consumer_and_fails_the_run() -> None:
    @task(task_run_name="breaks")
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("in the middle")

    got = []
    with history() as seen, pytest.raises(ValueError, match="in the middle"):
        for value in broken():
            got.append(value)
    assert got == [1]
    assert seen.names("breaks")[-1] == "Failed"


def test_exception_in_an_async_generator() -> None:
    @task(task_run_name="breaks")
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("in the middle")

    async def consume() -> None:
        async for _ in broken():
            pass

    with history() as seen, pytest.raises(ValueError, match="in the middle"):
        asyncio.run(consume())
    assert seen.names("breaks")[-1] == "Failed"


def test_generator_with_retries_starts_over() -> None:
    starts = []

    @task(retries=1)
    def flaky() -> Iterator[int]:
        starts.append(1)
        yield 1
        if len(starts) == 1:
            raise ValueError("once")
        yield 2

    assert list(flaky()) == [1, 1, 2]


def test_submitted_generator_gives_the_list() -> None:
    @flow
    def main() -> list[int]:
        return count.submit(3).result()

    assert main() == [0, 1, 2]


@riverrun_only("the peer awaits the generator")
def test_submitted_async_generator_gives_the_list() -> None:
    @flow
    async def main() -> list[int]:
        return acount.submit(3).result()

    assert asyncio.run(main()) == [0, 1, 2]


def test_nested_generators() -> None:
    @task
    def doubled(n: int) -> Iterator[int]:
        for value in count(n):
            yield value * 2

    assert list(doubled(3)) == [0, 2, 4]


def test_yielded_values_may_be_anything() -> None:
    @task
    def odd() -> Iterator[object]:
        yield None
        yield ValueError("as a value")
        yield StopIteration

    a, b, c = list(odd())
    assert a is None
    assert isinstance(b, ValueError)
    assert c is StopIteration


@riverrun_only("each step runs in the generator's own context (SDK-NOTES 20)")
def test_zipped_generators_see_their_own_run() -> None:
    seen = list(zip(whoami(4), whoami(4), strict=True))
    first, second = ({pair[side] for pair in seen} for side in (0, 1))
    assert len(first) == len(second) == 1
    assert first != second
    assert "None" not in first | second


@riverrun_only("each step runs in the generator's own context (SDK-NOTES 20)")
def test_zipped_async_generators_see_their_own_run() -> None:
    async def main() -> list[tuple[str, str]]:
        left, right = awhoami(4), awhoami(4)
        return [(await anext(left), await anext(right)) for _ in range(4)]

    seen = asyncio.run(main())
    first, second = ({pair[side] for pair in seen} for side in (0, 1))
    assert len(first) == len(second) == 1
    assert first != second


@riverrun_only("each step runs in the generator's own context (SDK-NOTES 20)")
@pytest.mark.parametrize("seed", range(5))
def test_any_interleaving_of_generators_keeps_runs_apart(seed: int) -> None:
    """Generators opened, stepped, abandoned and closed in random order, in and between flows."""
    choose = random.Random(seed)

    @flow
    def main() -> None:
        mine = str(runtime.flow_run.id)
        open_ones: list[tuple[Iterator[str], set[str]]] = []
        done: list[set[str]] = []
        for _ in range(60):
            step = choose.random()
            if step < 0.3 or not open_ones:
                open_ones.append((iter(whoami(choose.randint(1, 6))), set()))
            elif step < 0.85:
                generator, ids = choose.choice(open_ones)
                value = next(generator, None)
                if value is None:
                    open_ones.remove((generator, ids))
                    done.append(ids)
                else:
                    ids.add(value)
            elif step < 0.95:
                generator, ids = open_ones.pop(choose.randrange(len(open_ones)))
                generator.close()
                done.append(ids)
            else:
                done.append(open_ones.pop(choose.randrange(len(open_ones)))[1])
                gc.collect()
            assert str(runtime.flow_run.id) == mine, f"seed {seed}"
            assert runtime.task_run.id is None, f"seed {seed}"
        done += [ids for _, ids in open_ones]
        known = [ids for ids in done if ids]
        assert all(len(ids) == 1 for ids in known), f"seed {seed}"
        assert len(set.union(*known)) == len(known), f"seed {seed}"

    main()


def test_consumer_stays_in_its_own_run_between_steps() -> None:
    @flow
    def main() -> tuple[set[str], str]:
        seen = {str(runtime.flow_run.id) for _ in count(3)}
        return seen, str(runtime.flow_run.id)

    seen, mine = main()
    assert seen == {mine}


@riverrun_only("an abandoned generator ends in a state (SDK-NOTES 10: GC of a life writes its end)")
@pytest.mark.parametrize("how", ["closed", "collected"])
def test_abandoned_generator_run_ends(how: str) -> None:
    with history() as seen:
        generator = iter(count(5))
        assert next(generator) == 0
        if how == "closed":
            generator.close()
        del generator
        gc.collect()
    assert seen.types("counting")[0] == "RUNNING"
    assert seen.types("counting")[-1] in {"COMPLETED", "CRASHED", "CANCELLED"}


@riverrun_only("values sent into a generator task arrive; the peer drops them")
def test_send_and_throw() -> None:
    @task
    def echo() -> Iterator[object]:
        got = None
        while got != "stop":
            try:
                got = yield got
            except KeyError:
                got = "caught"

    generator = echo()
    assert next(generator) is None
    assert generator.send(5) == 5
    assert generator.throw(KeyError("x")) == "caught"
    with pytest.raises(StopIteration):
        generator.send("stop")


def test_the_value_a_generator_returns() -> None:
    @task
    def numbers():
        yield 1
        return 2

    generator = numbers()
    assert next(generator) == 1
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == 2


def test_return_state_of_a_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="generator"):
        for _ in count(2, return_state=True):
            pass

    async def consume() -> None:
        async for _ in acount(2, return_state=True):
            pass

    with pytest.raises(ValueError, match="generator"):
        asyncio.run(consume())


def test_time_out_of_a_generator() -> None:
    import time

    @task(timeout_seconds=0.1)
    def slow():
        yield 1
        time.sleep(3)
        yield 2

    got = []
    with pytest.raises(TimeoutError):
        for value in slow():
            got.append(value)
    assert got == [1]


def test_time_out_of_an_async_generator() -> None:
    @task(timeout_seconds=0.1)
    async def slow():
        yield 1
        await asyncio.sleep(10)
        yield 2

    got = []

    async def consume() -> None:
        async for value in slow():
            got.append(value)

    with pytest.raises(TimeoutError):
        asyncio.run(consume())
    assert got == [1]


def test_async_generator_with_retries_starts_over() -> None:
    @task(retries=2)
    async def flaky():
        yield 1
        yield 2
        raise ValueError

    got = []

    async def consume() -> None:
        async for value in flaky():
            got.append(value)

    with pytest.raises(ValueError):  # noqa: PT011
        asyncio.run(consume())
    assert got == [1, 2] * 3


def test_values_of_a_generator_are_tracked_as_inputs() -> None:
    context = import_module("context")
    made: list[str] = []

    class Item:
        pass

    @task
    def make():
        made.append(str(runtime.task_run.id))
        yield Item()

    @task
    def use(item):
        return [str(source.id) for source in context.TaskRunContext.get().task_run.task_inputs["item"]]

    @flow
    def main():
        return [use(item) for item in make()]

    assert main() == [made]


@riverrun_only("the peer uses the generator up while it looks for states in it")
def test_a_task_may_return_a_generator_object() -> None:
    @task
    def lazily():
        return (i for i in range(3))

    @flow
    def main():
        return list(lazily())

    assert main() == [0, 1, 2]
