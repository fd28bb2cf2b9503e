"""`submit`, `map` and `wait_for`: what may be passed, in what order things run, which failures travel."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import pytest

from .sdk import Colour, allow_failure, flow, history, import_module, riverrun_only, task, unmapped

futures = import_module("futures")
exceptions = import_module("exceptions")
annotations = import_module("utilities.annotations")


@task
def identity(x):
    return x


@task
def add(x, y):
    return x + y


@task
def fail():
    raise ValueError("upstream")


def test_submit_gives_a_future(colour: Colour) -> None:
    @colour.task
    async def double(x):
        return 2 * x

    @colour.flow
    async def main():
        future = double.submit(4)
        assert isinstance(future, futures.PrefectFuture)
        return future.result()

    assert colour.run(main) == 8


def test_a_future_as_input_is_replaced_by_its_result(colour: Colour) -> None:
    @colour.task
    async def double(x):
        return 2 * x

    @colour.flow
    async def main():
        first = double.submit(1)
        second = double.submit(first)
        third = double.submit(x=second)
        return third.result()

    assert colour.run(main) == 8


def test_a_future_as_input_of_a_direct_call(colour: Colour) -> None:
    @colour.task
    async def double(x):
        return 2 * x

    @colour.flow
    async def inner(x):
        return x + 1

    @colour.flow
    async def main():
        future = double.submit(1)
        return await colour(double, future), await colour(inner, future)

    assert colour.run(main) == (4, 3)


@dataclass
class Pair:
    left: object
    right: object


@pytest.mark.parametrize(
    "wrap",
    [
        lambda f: [1, f],
        lambda f: (f, f),
        lambda f: {"a": f, "b": {"c": [f]}},
        lambda f: OrderedDict(a=f),
        lambda f: Pair(f, [f]),
        lambda f: [[[[f]]]],
    ],
    ids=["list", "tuple", "dict", "ordered", "dataclass", "deep"],
)
def test_futures_inside_collections_are_found(wrap) -> None:
    @flow
    def main():
        future = identity.submit("v")
        return identity.submit(wrap(future)).result(), identity(wrap(future))

    assert main() == (wrap("v"), wrap("v"))


def test_a_state_as_input_is_replaced_by_its_result() -> None:
    @flow
    def main():
        state = identity(5, return_state=True)
        return identity(state), identity([state]), identity.submit({"k": state}).result()

    assert main() == (5, [5], {"k": 5})


def test_quoted_futures_are_left_alone() -> None:
    @flow
    def main():
        future = identity.submit(1)
        return isinstance(identity(annotations.quote(future)), futures.PrefectFuture)

    assert main() is True


def test_quote_and_opaque_hand_over_the_bare_value() -> None:
    big = [object() for _ in range(3)]

    @flow
    def main():
        return identity(annotations.quote(big)) is big, identity(annotations.opaque(big)) is big

    assert main() == (True, True)


def test_a_failed_input_keeps_the_downstream_task_from_running() -> None:
    ran = []

    @task(task_run_name="down")
    def down(x):
        ran.append(x)

    @flow
    def main():
        state = down.submit(fail.submit(), return_state=True)
        return state.type.value, state.name

    with history() as seen:
        assert main() == ("PENDING", "NotReady")
    assert ran == []
    assert "Running" not in seen.names("down")


def test_a_failed_wait_for_keeps_the_task_from_running() -> None:
    @flow
    def main():
        future = identity.submit(1, wait_for=[fail.submit()])
        future.wait()
        return future.state.name

    assert main() == "NotReady"


def test_the_result_of_a_task_that_could_not_start_raises() -> None:
    @flow
    def main():
        identity.submit(fail.submit()).result()

    with pytest.raises(exceptions.UnfinishedRun):
        main()


def test_allow_failure_lets_the_exception_in() -> None:
    @flow
    def main():
        direct = identity.submit(allow_failure(fail.submit())).result()
        waited = identity.submit("ran", wait_for=[allow_failure(fail.submit())]).result()
        nested = identity.submit(allow_failure([fail.submit(), 1])).result()
        return direct, waited, nested

    direct, waited, nested = main()
    assert isinstance(direct, ValueError)
    assert waited == "ran"
    assert isinstance(nested[0], ValueError)
    assert nested[1] == 1


def test_wait_for_orders_runs(colour: Colour) -> None:
    order = []

    @colour.task
    async def note(x):
        order.append(x)

    @colour.flow
    async def main():
        first = note.submit(1)
        second = note.submit(2, wait_for=[first])
        third = note.submit(3, wait_for=[second, first])
        third.wait()

    colour.run(main)
    assert order == [1, 2, 3]


def test_wait_for_in_a_direct_call(colour: Colour) -> None:
    order = []

    @colour.task
    async def note(x):
        order.append(x)

    @colour.flow
    async def inner(x):
        order.append(x)

    @colour.flow
    async def main():
        first = note.submit(1)
        await colour(note, 2, wait_for=[first])
        await colour(inner, 3, wait_for=[first])

    colour.run(main)
    assert order == [1, 2, 3]


def test_wait_for_accepts_values_states_and_collections() -> None:
    @flow
    def main():
        state = identity(1, return_state=True)
        return identity(2, wait_for=[state, identity.submit(1), [identity.submit(3)], 5, None])

    assert main() == 2


def test_submit_return_state() -> None:
    @flow
    def main():
        good = identity.submit(1, return_state=True)
        bad = fail.submit(return_state=True)
        return good.is_completed(), bad.is_failed()

    assert main() == (True, True)


class TestMap:
    def test_maps_over_a_list(self, colour: Colour) -> None:
        @colour.task
        async def double(x):
            return 2 * x

        @colour.flow
        async def main():
            mapped = double.map([1, 2, 3])
            assert isinstance(mapped, futures.PrefectFutureList)
            assert len(mapped) == 3
            return [future.result() for future in mapped], mapped.result()

        assert colour.run(main) == ([2, 4, 6], [2, 4, 6])

    def test_several_iterables_go_in_step_and_scalars_repeat(self) -> None:
        @flow
        def main():
            return add.map([1, 2], [10, 20]).result(), add.map([1, 2], 5).result(), add.map(x=[1, 2], y=1).result()

        assert main() == ([11, 22], [6, 7], [2, 3])

    def test_unmapped_keeps_a_list_whole(self) -> None:
        @flow
        def main():
            return identity.map(unmapped([1])) if False else add.map([[1], [2]], unmapped([9])).result()

        assert main() == [[1, 9], [2, 9]]

    def test_strings_repeat_and_dicts_give_their_keys(self) -> None:
        @flow
        def main():
            return add.map(["a", "b"], "xy").result(), identity.map({"k": 1, "l": 2}).result()

        assert main() == (["axy", "bxy"], ["k", "l"])

    def test_other_iterables(self) -> None:
        @flow
        def main():
            return (
                identity.map(range(3)).result(),
                identity.map(x * x for x in (1, 2)).result(),
                identity.map((1, 2)).result(),
            )

        assert main() == ([0, 1, 2], [1, 4], [1, 2])

    def test_default_arguments_repeat(self) -> None:
        @task
        def shift(x, by=(100, 200)):
            return x, by

        @flow
        def main():
            return shift.map([1, 2, 3]).result()

        assert main() == [(1, (100, 200)), (2, (100, 200)), (3, (100, 200))]

    def test_lengths_must_agree(self) -> None:
        @flow
        def main():
            add.map([1, 2], [1, 2, 3])

        with pytest.raises(exceptions.MappingLengthMismatch):
            main()

    def test_something_must_be_mapped(self) -> None:
        @flow
        def main():
            add.map(1, 2)

        with pytest.raises(exceptions.MappingMissingIterable):
            main()

    def test_an_empty_list_makes_no_run(self) -> None:
        @flow
        def main():
            return identity.map([]).result()

        assert main() == []

    def test_over_futures_and_a_future_of_a_list(self) -> None:
        @flow
        def main():
            singles = [identity.submit(i) for i in range(3)]
            whole = identity.submit([10, 20])
            return identity.map(singles).result(), identity.map(whole).result(), add.map(whole, 1).result()

        assert main() == ([0, 1, 2], [10, 20], [11, 21])

    def test_over_the_list_that_map_gave(self) -> None:
        @flow
        def main():
            return identity.map(identity.map([1, 2, 3])).result()

        assert main() == [1, 2, 3]

    def test_one_failure_leaves_the_others_alone(self) -> None:
        @task
        def odd(x):
            if x == 2:
                raise ValueError("two")
            return x

        @flow
        def main():
            states = odd.map([1, 2, 3], return_state=True)
            below = identity.map(odd.map([1, 2, 3]))
            below.wait()
            return [state.name for state in states], [future.state.name for future in below]

        assert main() == (["Completed", "Failed", "Completed"], ["Completed", "NotReady", "Completed"])

    def test_result_of_a_list_raises_the_failure_or_holds_it(self) -> None:
        @task
        def odd(x):
            if x == 2:
                raise ValueError("two")
            return x

        @flow
        def main():
            mapped = odd.map([1, 2, 3])
            with pytest.raises(ValueError, match="two"):
                mapped.result()
            return mapped.result(raise_on_failure=False)

        first, second, third = main()
        assert (first, third) == (1, 3)
        assert isinstance(second, ValueError)

    def test_allow_failure_of_a_mapped_input(self) -> None:
        @flow
        def main():
            return identity.map(allow_failure([fail.submit(), identity.submit(2)])).result()

        first, second = main()
        assert isinstance(first, ValueError)
        assert second == 2

    def test_wait_for(self) -> None:
        order = []

        @task
        def note(x):
            order.append(x)

        @flow
        def main():
            note.map([2, 3], wait_for=[note.submit(1)]).wait()

        main()
        assert order[0] == 1
        assert sorted(order) == [1, 2, 3]

    def test_async_tasks_mapped_in_an_async_flow(self) -> None:
        @task
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x

        @flow
        async def main():
            return [future.result() for future in double.map(range(20))]

        assert asyncio.run(main()) == [2 * x for x in range(20)]

    def test_a_task_without_parameters_cannot_be_mapped(self) -> None:
        @flow
        def main():
            fail.map()

        with pytest.raises(exceptions.MappingMissingIterable):
            main()

    def test_variadic_keywords_map(self) -> None:
        @task
        def take(**options):
            return options

        @flow
        def main():
            return take.map(a=[1, 2], b=3).result()

        assert main() == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]

    @riverrun_only("flatten, which the peer documented in version 1")
    def test_flatten(self) -> None:
        @flow
        def main():
            lists = identity.map([[1, 2], [3]])
            return (
                identity.map(annotations.flatten([[1, 2], [3], []])).result(),
                identity.map(annotations.flatten(lists)).result(),
            )

        assert main() == ([1, 2, 3], [1, 2, 3])


def test_submit_and_map_need_a_flow() -> None:
    with pytest.raises(RuntimeError, match="flow"):
        identity.submit(1)
    with pytest.raises(RuntimeError, match="flow"):
        identity.map([1, 2])


def test_submit_from_inside_a_task() -> None:
    @task
    def parent(n):
        return sum(identity.map(range(n)).result())

    @flow
    def main():
        return parent.submit(4).result(), parent(4)

    assert main() == (6, 6)


def test_unmapped_and_allow_failure_nest() -> None:
    @task
    def pair(x, y):
        return x, y

    @flow
    def main():
        return pair.map([1, 2], unmapped(allow_failure(fail.submit()))).result()

    result = main()
    assert [x for x, _ in result] == [1, 2]
    assert all(isinstance(y, ValueError) for _, y in result)


def test_many_submits() -> None:
    @flow
    def main():
        return sum(future.result() for future in [identity.submit(i) for i in range(100)])

    assert main() == 4950
