"""What may be decorated, and who may call whom."""

import asyncio
import inspect
import uuid

import cloudpickle
import pytest

from .sdk import Colour, flow, history, import_module, riverrun_only, task


def test_task_returns_the_value_of_its_function(colour: Colour) -> None:
    @colour.task
    async def add(a: int, b: int = 10) -> int:
        return a + b

    @colour.flow
    async def main() -> list[int]:
        return [await colour(add, 1), await colour(add, 1, 2), await colour(add, b=3, a=1)]

    assert colour.run(main) == [11, 3, 4]


def test_task_outside_a_flow_runs_as_a_run_of_its_own(colour: Colour) -> None:
    @colour.task(task_run_name="alone")
    async def add(a: int) -> int:
        return a + 1

    with history() as seen:
        assert colour.run(add, 1) == 2
    assert seen.names("alone") == ["Running", "Completed"]


def test_flow_in_flow(colour: Colour) -> None:
    @colour.flow(flow_run_name="inner")
    async def inner(x: int) -> int:
        return x * 2

    @colour.flow(flow_run_name="outer")
    async def outer(x: int) -> int:
        return await colour(inner, x) + 1

    with history() as seen:
        assert colour.run(outer, 5) == 11
    assert seen.names("inner") == seen.names("outer") == ["Running", "Completed"]


def test_task_in_task(colour: Colour) -> None:
    @colour.task(task_run_name="inner")
    async def inner(x: int) -> int:
        return x * 2

    @colour.task(task_run_name="outer")
    async def outer(x: int) -> int:
        return await colour(inner, x) + 1

    @colour.flow
    async def main() -> int:
        return await colour(outer, 5)

    with history() as seen:
        assert colour.run(main) == 11
    assert seen.names("inner") == seen.names("outer") == ["Running", "Completed"]


def test_flow_in_task(colour: Colour) -> None:
    @colour.flow
    async def inner(x: int) -> int:
        return x * 2

    @colour.task
    async def outer(x: int) -> int:
        return await colour(inner, x) + 1

    assert colour.run(outer, 5) == 11


def test_sync_task_and_sync_flow_in_async_flow() -> None:
    @task
    def one() -> int:
        return 1

    @flow
    def two() -> int:
        return one() + 1

    @flow
    async def main() -> list[int]:
        return [one(), two()]

    assert asyncio.run(main()) == [1, 2]


def test_async_task_called_in_sync_flow_is_a_coroutine() -> None:
    @task
    async def one() -> int:
        return 1

    @flow
    def main() -> int:
        call = one()
        assert inspect.isawaitable(call)
        return asyncio.run(call)

    assert main() == 1


def test_async_task_submitted_in_sync_flow() -> None:
    @task
    async def one() -> int:
        await asyncio.sleep(0)
        return 1

    @flow
    def main() -> int:
        return one.submit().result()

    assert main() == 1


def test_async_flow_called_from_sync_code_is_a_coroutine() -> None:
    @flow
    async def main() -> int:
        return 1

    call = main()
    assert inspect.isawaitable(call)
    assert asyncio.run(call) == 1


def test_gathered_tasks_run_concurrently_on_the_callers_loop() -> None:
    @task
    async def meet(mine: asyncio.Event, other: asyncio.Event) -> int:
        mine.set()
        await other.wait()
        return id(asyncio.get_running_loop())

    @flow
    async def main() -> bool:
        a, b = asyncio.Event(), asyncio.Event()
        loops = await asyncio.gather(meet(a, b), meet(b, a))
        return set(loops) == {id(asyncio.get_running_loop())}

    assert asyncio.run(main()) is True


@pytest.mark.parametrize("decorator", [task, flow], ids=["task", "flow"])
class TestMethods:
    def test_instance_method(self, decorator) -> None:
        class Counter:
            def __init__(self, start: int) -> None:
                self.start = start

            @decorator
            def count(self, by: int) -> int:
                return self.start + by

        assert Counter(5).count(2) == 7
        assert Counter(1).count(by=2) == 3

    def test_async_instance_method(self, decorator) -> None:
        class Counter:
            start = 5

            @decorator
            async def count(self, by: int) -> int:
                return self.start + by

        async def main() -> int:
            return await Counter().count(2)

        assert asyncio.run(main()) == 7

    @pytest.mark.parametrize("over", [True, False], ids=["classmethod over", "classmethod under"])
    def test_class_method(self, decorator, over: bool) -> None:
        if over:

            class Counter:
                start = 5

                @classmethod
                @decorator
                def count(cls, by: int) -> int:
                    return cls.start + by
        else:

            class Counter:  # type: ignore[no-redef]
                start = 5

                @decorator
                @classmethod
                def count(cls, by: int) -> int:
                    return cls.start + by

        assert Counter.count(2) == 7
        assert Counter().count(2) == 7

    @pytest.mark.parametrize(
        "over",
        [
            pytest.param(True, id="staticmethod over"),
            pytest.param(False, id="staticmethod under", marks=riverrun_only("the peer binds it to the instance")),
        ],
    )
    def test_static_method(self, decorator, over: bool) -> None:
        if over:

            class Counter:
                @staticmethod
                @decorator
                def count(by: int) -> int:
                    return 5 + by
        else:

            class Counter:  # type: ignore[no-redef]
                @decorator
                @staticmethod
                def count(by: int) -> int:
                    return 5 + by

        assert Counter.count(2) == 7
        assert Counter().count(2) == 7

    @riverrun_only("the peer binds all instances to the one looked up last")
    def test_two_instances_do_not_share_a_binding(self, decorator) -> None:
        class Named:
            def __init__(self, name: str) -> None:
                self.name = name

            @decorator
            def hello(self) -> str:
                return self.name

        a, b = Named("a"), Named("b")
        hello_a, hello_b = a.hello, b.hello
        assert (hello_a(), hello_b(), hello_a()) == ("a", "b", "a")


def test_submitted_and_mapped_methods() -> None:
    class Adder:
        def __init__(self, by: int) -> None:
            self.by = by

        @task
        def add(self, x: int) -> int:
            return x + self.by

    adder = Adder(10)

    @flow
    def main() -> list[int]:
        return [adder.add.submit(1).result(), *adder.add.map([1, 2]).result()]

    assert main() == [11, 11, 12]


def test_the_object_of_a_method_takes_part_in_names_inputs_and_cache_keys() -> None:
    context, policies = import_module("context"), import_module("cache_policies")

    class Adder:
        def __init__(self, by: int) -> None:
            self.by = by

        @task(task_run_name="{self.by} and {x}")
        def add(self, x: int):
            return context.TaskRunContext.get()

        @task(cache_policy=policies.INPUTS)
        def cached(self, x: str) -> int:
            return self.by

        @classmethod
        @task
        def of_class(cls, x: int):
            return context.TaskRunContext.get()

    seen = Adder(10).add(5)
    assert seen.task_run.name == "10 and 5"
    assert set(seen.parameters) == set(seen.task_run.task_inputs) == {"self", "x"}
    assert set(Adder.of_class(1).parameters) == {"cls", "x"}
    assert Adder(10).add.with_options(task_run_name="{self.by}")(5).task_run.name == "10"
    unique = uuid.uuid4().hex
    assert [Adder(by).cached(unique) for by in (1, 1, 2)] == [1, 1, 2]


def test_a_bound_method_pickles() -> None:
    class Adder:
        by = 10

        @task
        def add(self, x: int, y: int = 1) -> int:
            return self.by + x + y

    twin = cloudpickle.loads(cloudpickle.dumps(Adder().add))
    assert (twin(5), twin(x=5, y=2)) == (16, 17)


def test_fn_is_the_undecorated_function() -> None:
    @task
    def double(x: int) -> int:
        return x * 2

    @flow
    def main(x: int) -> int:
        return double.fn(x)

    assert double.fn(4) == main.fn(4) == 8
    assert double.fn.__name__ == "double"


def test_decorated_functions_keep_name_doc_and_signature() -> None:
    @task
    def documented(x: int = 3) -> int:
        """Says what it does."""
        return x

    @flow
    def also(x: int = 3) -> int:
        """Says it too."""
        return x

    for thing, name, doc in ((documented, "documented", "Says what it does."), (also, "also", "Says it too.")):
        assert thing.__name__ == name
        assert thing.__doc__ == doc
        assert list(inspect.signature(thing).parameters) == ["x"]


@pytest.mark.parametrize("decorator", [task, flow], ids=["task", "flow"])
def test_decorating_what_is_no_function_is_refused(decorator) -> None:
    with pytest.raises(TypeError):
        decorator(5)


def test_isinstance_and_isasync() -> None:
    @task
    def one() -> None: ...

    @task
    async def two() -> None: ...

    @flow
    def three() -> None: ...

    @flow
    async def four() -> None: ...

    assert isinstance(one, import_module("tasks").Task)
    assert isinstance(three, import_module("flows").Flow)
    assert (one.isasync, two.isasync, three.isasync, four.isasync) == (False, True, False, True)


def test_missing_argument_of_a_task_is_a_type_error(colour: Colour) -> None:
    @colour.task
    async def needs(x: int) -> int:
        return x

    @colour.flow
    async def main() -> None:
        await colour(needs)

    with pytest.raises(TypeError, match="x"):
        colour.run(main)


def test_variadic_parameters_arrive_as_given(colour: Colour) -> None:
    @colour.task
    async def gather(a, *rest, key=0, **options):
        return a, rest, key, options

    @colour.flow
    async def main(a, *rest, key=0, **options):
        return await colour(gather, a, *rest, key=key, **options)

    assert colour.run(main, 1, 2, 3, key=4, z=5) == (1, (2, 3), 4, {"z": 5})


def test_positional_only_parameters(colour: Colour) -> None:
    @colour.task
    async def divide(a, b, /):
        return a / b

    @colour.flow
    async def main():
        return await colour(divide, 6, 3)

    assert colour.run(main) == 2


def test_defaults_of_the_function_are_used(colour: Colour) -> None:
    @colour.flow
    async def main(x: int = 1, y: list[int] | None = None) -> tuple[int, list[int] | None]:
        return x, y

    assert colour.run(main) == (1, None)
    assert colour.run(main, y=[2]) == (1, [2])


def test_an_exception_reaches_the_caller_unchanged(colour: Colour) -> None:
    class Strange(Exception):
        def __init__(self, a: int, *, b: int) -> None:
            super().__init__(f"{a} {b}")
            self.b = b

    raised = Strange(1, b=2)

    @colour.task
    async def fail() -> None:
        raise raised

    @colour.flow
    async def main() -> None:
        await colour(fail)

    with pytest.raises(Strange) as caught:
        colour.run(main)
    assert caught.value is raised


def test_a_flow_may_catch_the_exception_of_its_task(colour: Colour) -> None:
    @colour.task
    async def fail() -> None:
        raise ValueError("expected")

    @colour.flow
    async def main() -> str:
        try:
            await colour(fail)
        except ValueError as error:
            return f"caught {error}"
        return "not raised"

    assert colour.run(main) == "caught expected"


@pytest.mark.parametrize("kind", ["task", "flow"])
def test_recursion(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)
    async def factorial(n: int) -> int:
        return 1 if n < 2 else n * await colour(factorial, n - 1)

    assert colour.run(factorial, 3) == 6


@riverrun_only("nested calls to a depth of 150 (SDK-NOTES 10)")
def test_deep_nesting() -> None:
    """Written out for both colours: the frames of `Colour` would count."""

    @task
    def down(n: int) -> int:
        return 0 if n == 0 else 1 + down(n - 1)

    @task
    async def adown(n: int) -> int:
        return 0 if n == 0 else 1 + await adown(n - 1)

    @flow
    def main() -> int:
        return down(150)

    @flow
    async def amain() -> int:
        return await adown(150)

    assert main() == 150
    assert asyncio.run(amain()) == 150


@riverrun_only("nested calls to a depth of 150 (SDK-NOTES 10)")
def test_deep_nesting_of_flows() -> None:
    @flow
    def down(n: int) -> int:
        return 0 if n == 0 else 1 + down(n - 1)

    assert down(50) == 50


def test_endless_recursion_is_an_exception_of_the_run(colour: Colour) -> None:
    @colour.task
    async def plain() -> int:
        def down(n: int) -> int:
            return down(n + 1)

        return down(0)

    with pytest.raises(RecursionError):
        colour.run(plain)


def test_return_state_gives_the_state_instead_of_the_value(colour: Colour) -> None:
    @colour.task
    async def one() -> int:
        return 1

    @colour.task
    async def fail() -> None:
        raise ValueError("no")

    @colour.flow
    async def main() -> tuple[str, int, str]:
        good = await colour(one, return_state=True)
        bad = await colour(fail, return_state=True)
        return good.type.value, bad.type.value

    assert colour.run(main) == ("COMPLETED", "FAILED")
    state = colour.run(main, return_state=True)
    assert state.is_completed()
    assert colour.value_of(state) == ("COMPLETED", "FAILED")
    bad = colour.run(fail, return_state=True)
    assert bad.is_failed()
    with pytest.raises(ValueError, match="no"):
        colour.value_of(bad)
    assert isinstance(colour.failing(bad), ValueError)


def test_a_partial_and_a_callable_object() -> None:
    class Doubler:
        def __call__(self, x: int) -> int:
            return 2 * x

    doubled = task(Doubler(), name="doubler")
    assert doubled(4) == 8


@riverrun_only("the peer's task asks the function for its __name__")
def test_partial() -> None:
    import functools

    def add(a: int, b: int) -> int:
        return a + b

    assert task(functools.partial(add, 1), name="add-one")(2) == 3


def test_lambda() -> None:
    assert task(lambda x: x + 1, name="inc")(1) == 2
