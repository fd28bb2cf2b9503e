"""Names, run names, descriptions, versions, tags, and `with_options`."""

import datetime as dt
import inspect
import re
import warnings

import pytest

from .sdk import Colour, flow, import_module, riverrun_only, tags, task

runtime = import_module("runtime")
context = import_module("context")
cache_policies = import_module("cache_policies")
task_runners = import_module("task_runners")


def run_name_of(kind: str):
    return runtime.task_run.name if kind == "task" else runtime.flow_run.name


@pytest.fixture(params=["task", "flow"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_default_names(kind: str) -> None:
    def my_work():
        pass

    assert {"task": task, "flow": flow}[kind](my_work).name in {"my_work", "my-work"}
    assert task(my_work).name == "my_work"
    assert flow(my_work).name == "my-work"


def test_given_names() -> None:
    assert task(lambda: 1, name="A task").name == "A task"
    assert flow(lambda: 1, name="A flow").name == "A flow"


@pytest.mark.parametrize("bad", ["my/flow", "my%flow", "a<b", "a>b", "a&b"])
def test_forbidden_characters_of_a_flow_name(bad: str) -> None:
    exceptions = import_module("exceptions")
    with pytest.raises(exceptions.InvalidNameError):
        flow(lambda: 1, name=bad)


def test_default_run_names(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)(name="work")
    async def work():
        return run_name_of(kind)

    @colour.flow
    async def main():
        return await colour(work), await colour(work)

    first, second = colour.run(main)
    assert first
    assert first != second
    if kind == "task":
        assert first.startswith("work-")


def test_run_name_template(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)(**{f"{kind}_run_name": "{x}-{y[0]}-{name:>5}-{when:%Y}"})
    async def work(x, y, name="n", when=dt.date(2020, 1, 1)):  # noqa: B008
        return run_name_of(kind)

    assert colour.run(work, 1, [2]) == "1-2-    n-2020"


def test_run_name_template_with_an_unknown_field_fails(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)(**{f"{kind}_run_name": "{nothing}"})
    async def work(x):
        return x

    with pytest.raises(KeyError, match="nothing"):
        colour.run(work, 1)


def test_run_name_from_a_callable(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)(**{f"{kind}_run_name": lambda: "made"})
    async def work():
        return run_name_of(kind)

    assert colour.run(work) == "made"


def test_run_name_callable_of_a_task_may_take_the_parameters(colour: Colour) -> None:
    @colour.task(task_run_name=lambda parameters: f"x={parameters['x']}")
    async def work(x):
        return runtime.task_run.name

    assert colour.run(work, 3) == "x=3"


def test_run_name_callable_reads_the_runtime(colour: Colour) -> None:
    @colour.task(task_run_name=lambda: f"{runtime.flow_run.name}/{runtime.task_run.task_name}")
    async def work():
        return runtime.task_run.name

    @colour.flow(flow_run_name="parent")
    async def main():
        return await colour(work)

    assert colour.run(main) == "parent/work"


def test_a_run_is_named_once_however_often_it_is_tried(colour: Colour, kind: str) -> None:
    named, tried = [], []

    def name():
        named.append(1)
        return "the run"

    @getattr(colour, kind)(retries=2, **{f"{kind}_run_name": name})
    async def work():
        tried.append(run_name_of(kind))
        raise ValueError

    colour.run(work, return_state=True)
    assert tried == ["the run"] * 3
    assert len(named) == 1


def test_run_name_callable_must_return_text(colour: Colour, kind: str) -> None:
    @getattr(colour, kind)(**{f"{kind}_run_name": lambda: 5})
    async def work():
        return run_name_of(kind)

    with pytest.raises(TypeError):
        colour.run(work)


def test_run_name_of_another_type_is_refused(kind: str) -> None:
    with pytest.raises(TypeError, match=f"{kind}_run_name"):
        {"task": task, "flow": flow}[kind](lambda: 1, name="x", **{f"{kind}_run_name": 5})


def test_run_names_of_mapped_tasks() -> None:
    @task(task_run_name="item-{x}")
    def work(x):
        return runtime.task_run.name

    @flow
    def main():
        return work.map([1, 2]).result()

    assert main() == ["item-1", "item-2"]


def test_description_defaults_to_the_docstring(kind: str) -> None:
    def work():
        """Does the work."""

    decorate = {"task": task, "flow": flow}[kind]
    assert decorate(work).description == "Does the work."
    assert decorate(work, description="Mine.").description == "Mine."


def test_versions() -> None:
    def work():
        pass

    assert task(work).version is None
    assert task(work, version="2").version == "2"
    assert flow(work, version="3").version == "3"
    assert flow(work).version  # a hash of the source file
    assert flow(work).version == flow(work).version


class TestTags:
    def test_of_a_task(self, colour: Colour) -> None:
        @colour.task(tags={"a", "b"})
        async def work():
            return set(runtime.task_run.tags)

        assert work.tags == {"a", "b"}
        assert colour.run(work) == {"a", "b"}

    def test_context(self, colour: Colour) -> None:
        @colour.task(tags=["own"])
        async def work():
            return set(runtime.task_run.tags)

        @colour.flow
        async def main():
            with tags("one", "two"):
                with tags("three"):
                    inner = await colour(work)
                outer = await colour(work)
            return inner, outer, await colour(work)

        assert colour.run(main) == ({"own", "one", "two", "three"}, {"own", "one", "two"}, {"own"})

    def test_context_yields_the_tags(self) -> None:
        with tags("a") as outer, tags("b") as inner:
            assert (outer, inner) == ({"a"}, {"a", "b"})

    def test_around_a_flow_reach_it_and_its_children(self, colour: Colour) -> None:
        @colour.task
        async def work():
            return set(runtime.task_run.tags)

        @colour.flow
        async def child():
            return set(runtime.flow_run.tags)

        @colour.flow
        async def main():
            return set(runtime.flow_run.tags), await colour(work), await colour(child)

        with tags("outside"):
            mine, task_tags, child_tags = colour.run(main)
        assert mine == {"outside"}
        assert "outside" in task_tags
        assert "outside" in child_tags

    def test_inside_a_flow_reach_subflows_and_submitted_tasks(self, colour: Colour) -> None:
        @colour.flow
        async def child():
            return set(runtime.flow_run.tags)

        @colour.task
        async def work():
            return set(runtime.task_run.tags)

        @task
        def mapped(x):
            return set(runtime.task_run.tags)

        @colour.flow
        async def main():
            with tags("t"):
                return await colour(child), work.submit().result(), mapped.map([1]).result()[0]

        assert colour.run(main) == ({"t"}, {"t"}, {"t"})

    def test_do_not_leak(self) -> None:
        with pytest.raises(ValueError), tags("x"):  # noqa: PT011
            raise ValueError

        @flow
        def main():
            return list(runtime.flow_run.tags)

        assert main() == []


class TestWithOptions:
    OPTIONS_OF_TASKS = {
        "name": "other",
        "description": "other",
        "tags": {"x"},
        "cache_policy": cache_policies.NO_CACHE,
        "retries": 3,
        "retry_delay_seconds": 7,
        "retry_jitter_factor": 0.5,
        "persist_result": True,
        "result_storage_key": "k",
        "cache_result_in_memory": False,
        "timeout_seconds": 9.0,
        "refresh_cache": True,
        "log_prints": True,
        "task_run_name": "run",
        "version": None,
    }
    OPTIONS_OF_FLOWS = {
        "name": "other",
        "description": "other",
        "version": "9",
        "retries": 3,
        "retry_delay_seconds": 7,
        "flow_run_name": "run",
        "timeout_seconds": 9.0,
        "persist_result": True,
        "cache_result_in_memory": False,
        "log_prints": True,
    }

    @pytest.mark.parametrize("option", [option for option in OPTIONS_OF_TASKS if option != "version"])
    def test_of_a_task(self, option: str) -> None:
        def work():
            pass

        original = task(work, name="orig", tags={"o"}, description="orig")
        before = getattr(original, option)
        changed = original.with_options(**{option: self.OPTIONS_OF_TASKS[option]})
        assert getattr(changed, option) == self.OPTIONS_OF_TASKS[option]
        assert getattr(original, option) == before
        assert changed.fn is original.fn
        untouched = {"name", "tags", "description"} - {option}
        assert all(getattr(changed, other) == getattr(original, other) for other in untouched)

    @pytest.mark.parametrize("option", OPTIONS_OF_FLOWS)
    def test_of_a_flow(self, option: str) -> None:
        def work():
            pass

        original = flow(work, name="orig", description="orig")
        before = getattr(original, option)
        changed = original.with_options(**{option: self.OPTIONS_OF_FLOWS[option]})
        assert getattr(changed, option) == self.OPTIONS_OF_FLOWS[option]
        assert getattr(original, option) == before
        assert changed.fn is original.fn

    def test_hooks(self) -> None:
        def first(thing, run, state):
            pass

        def second(thing, run, state):
            pass

        t = task(lambda: 1, name="t", on_completion=[first], on_failure=[first])
        u = t.with_options(on_completion=[second])
        assert (u.on_completion_hooks, u.on_failure_hooks) == ([second], [first])
        f = flow(lambda: 1, name="f", on_completion=[first], on_failure=[first], on_running=[first])
        g = f.with_options(on_completion=[second], on_cancellation=[second])
        assert (g.on_completion_hooks, g.on_failure_hooks, g.on_cancellation_hooks) == ([second], [first], [second])

    def test_none_leaves_it_to_the_settings_or_turns_it_off(self) -> None:
        given = {
            "retries": 3,
            "retry_delay_seconds": [1, 2],
            "retry_jitter_factor": 0.5,
            "task_run_name": "n",
            "log_prints": True,
        }
        kept = {"name": "orig", "description": "d", "tags": {"a"}, "timeout_seconds": 4.0, "viz_return_value": 3}
        t = task(lambda: 1, **given, **kept).with_options(**dict.fromkeys([*given, *kept]))
        assert [getattr(t, option) for option in given] == [0, 0, None, None, None]
        assert {option: getattr(t, option) for option in kept} == kept

    def test_signatures_name_the_options(self) -> None:
        options = set(inspect.signature(task).parameters)
        assert options - set(inspect.signature(import_module("tasks").Task.with_options).parameters) == {
            "__fn",
            "version",
        }
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            task(lambda: 1).with_options(version="2")

    def test_the_key_of_a_task_is_its_functions(self) -> None:
        def work():
            pass

        t = task(work, name="orig")
        assert t.task_key.startswith("work-")
        assert t.with_options(name="other").task_key == t.task_key

    def test_can_turn_options_off(self) -> None:
        t = task(lambda: 1, name="t", retries=3, persist_result=True, tags={"a"})
        u = t.with_options(retries=0, persist_result=False)
        assert (u.retries, u.persist_result) == (0, False)

    def test_used_in_a_run(self, colour: Colour) -> None:
        @colour.task(name="orig")
        async def work():
            return runtime.task_run.name, runtime.task_run.task_name

        @colour.flow
        async def main():
            return await colour(work.with_options(name="other", task_run_name="run"))

        assert colour.run(main) == ("run", "other")

    def test_task_runner(self) -> None:
        runner = task_runners.ThreadPoolTaskRunner(max_workers=3)
        f = flow(lambda: 1, name="f").with_options(task_runner=runner)
        assert f.task_runner is runner

    def test_of_a_method(self) -> None:
        class Adder:
            by = 10

            @task
            def add(self, x):
                return self.by + x

        assert Adder().add.with_options(name="other")(1) == 11


@pytest.mark.parametrize(
    ("option", "value"),
    [("retry_delay_seconds", "soon"), ("timeout_seconds", "soon"), ("retries", "many")],
)
@riverrun_only("a nonsense option is refused where it is written, by its name")
def test_nonsense_options_are_refused(option: str, value: object) -> None:
    for decorate in (task, flow):
        with pytest.raises((TypeError, ValueError), match=option):
            decorate(lambda: 1, name="x", **{option: value})


@pytest.mark.parametrize("value", [-1.0, -5])
def test_negative_jitter_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="retry_jitter_factor"):
        task(lambda: 1, name="x", retry_jitter_factor=value)


@riverrun_only("names of 10,000 characters; the peer's server refuses them")
def test_long_names(kind: str) -> None:
    name = "n" * 10_000

    @{"task": task, "flow": flow}[kind](name=name, **{f"{kind}_run_name": name})
    def work():
        return run_name_of(kind)

    assert work() == name


@riverrun_only("the peer puts the flow's name into an HTTP header, which a line break breaks")
def test_names_may_hold_any_letters(kind: str) -> None:
    name = "Füße 流れ 🐟 'q' \"d\" \\ \n"

    @{"task": task, "flow": flow}[kind](name=name, **{f"{kind}_run_name": name})
    def work():
        return run_name_of(kind)

    assert work() == name


def test_a_name_of_a_lambda_warns_or_is_kept() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert task(lambda: 1).name


@pytest.mark.parametrize("option", ["on_completion", "on_failure", "on_running"])
def test_wrong_hooks_are_refused_with_an_example(kind: str, option: str) -> None:
    decorator = {"task": task, "flow": flow}[kind]
    example = re.escape(f"@{kind}({option}=[hook1, hook2])")
    with pytest.raises(TypeError, match=f"(?s)Expected iterable for '{option}'; got function instead.*{example}"):
        decorator(**{option: lambda *_: 1})(lambda: 1)
    with pytest.raises(TypeError, match=f"(?s)Expected callables in '{option}'; got str instead.*{example}"):
        decorator(**{option: [print, "x"]})(lambda: 1)


def test_a_run_name_that_became_wrong_is_refused_in_the_run() -> None:
    @task
    def work():
        pass

    work.task_run_name = 3
    with pytest.raises(TypeError, match="Expected string or callable for 'task_run_name'; got int instead"):
        work()
    with pytest.raises(TypeError, match="for 'task_run_name' returned type NoneType but a string is required"):
        work.with_options(task_run_name=lambda: None)()
