"""What user code can read about the run it is in."""

import asyncio
import threading

import pytest

from .sdk import ON_PEER, Colour, flow, import_module, riverrun_only, tags, task

runtime = import_module("runtime")
context = import_module("context")
exceptions = import_module("exceptions")


def test_outside_a_run_everything_is_empty() -> None:
    assert runtime.flow_run.id is None
    assert runtime.flow_run.name is None
    assert runtime.flow_run.flow_name is None
    assert runtime.flow_run.parameters == {}
    assert runtime.flow_run.tags == []
    assert runtime.flow_run.run_count == 0
    assert runtime.flow_run.parent_flow_run_id is None
    assert runtime.flow_run.root_flow_run_id is None
    assert runtime.task_run.id is None
    assert runtime.task_run.name is None
    assert runtime.task_run.task_name is None
    assert runtime.task_run.parameters == {}
    assert runtime.task_run.tags == []
    assert runtime.task_run.run_count == 0
    assert runtime.deployment.id is None


def test_flow_run(colour: Colour) -> None:
    @colour.flow(name="the flow", flow_run_name="the run", version="7")
    async def main(x, y=2):
        run = runtime.flow_run
        return run.name, run.flow_name, dict(run.parameters), set(run.tags), run.run_count, run.flow_version, run.id

    with tags("t"):
        *facts, run_id = colour.run(main, 1)
    assert facts == ["the run", "the flow", {"x": 1, "y": 2}, {"t"}, 1, "7"]
    assert isinstance(run_id, str)


def test_task_run(colour: Colour) -> None:
    @colour.task(name="the task", task_run_name="the run", tags=["t"])
    async def work(x, y=2):
        run = runtime.task_run
        return run.name, run.task_name, dict(run.parameters), set(run.tags), run.run_count, run.id

    *facts, run_id = colour.run(work, 1)
    assert facts == ["the run", "the task", {"x": 1, "y": 2}, {"t"}, 1]
    assert isinstance(run_id, str)


def test_tasks_see_their_flow_run_and_flows_see_no_task(colour: Colour) -> None:
    @colour.task
    async def work():
        return runtime.flow_run.id, runtime.task_run.id

    @colour.flow
    async def main():
        before = runtime.task_run.id
        inside = await colour(work)
        return before, inside, runtime.flow_run.id, runtime.task_run.id

    before, (flow_id, task_id), own, after = colour.run(main)
    assert before is after is None
    assert flow_id == own
    assert task_id


def test_parents_and_root(colour: Colour) -> None:
    @colour.flow
    async def leaf():
        return runtime.flow_run.parent_flow_run_id, runtime.flow_run.root_flow_run_id

    @colour.flow
    async def middle():
        return await colour(leaf), runtime.flow_run.id, runtime.flow_run.parent_flow_run_id

    @colour.flow
    async def top():
        return await colour(middle), runtime.flow_run.id, runtime.flow_run.root_flow_run_id

    if ON_PEER and colour.is_async:
        pytest.skip("the peer asks its server by a blocking call")
    ((parent, root), middle_id, middle_parent), top_id, top_root = colour.run(top)
    assert parent == middle_id
    assert middle_parent == root == top_id == top_root


def test_attributes_are_read_from_the_module_too() -> None:
    @flow
    def main():
        from_module = import_module("runtime.flow_run")
        return from_module.id == runtime.flow_run.id

    assert main() is True
    with pytest.raises(AttributeError):
        runtime.flow_run.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("variable", "attribute", "value", "expected"),
    [
        ("FLOW_RUN__NAME", ("flow_run", "name"), "mocked", "mocked"),
        ("TASK_RUN__TASK_NAME", ("task_run", "task_name"), "mocked", "mocked"),
        ("FLOW_RUN__RUN_COUNT", ("flow_run", "run_count"), "5", 5),
    ],
)
def test_values_may_be_mocked_by_environment(monkeypatch, variable, attribute, value, expected) -> None:
    prefix = runtime.__name__.split(".")[0].upper()
    monkeypatch.setenv(f"{prefix}__RUNTIME__{variable}", value)
    assert getattr(getattr(runtime, attribute[0]), attribute[1]) == expected


class TestContext:
    def test_outside(self) -> None:
        with pytest.raises(exceptions.MissingContextError):
            context.get_run_context()
        assert context.FlowRunContext.get() is None
        assert context.TaskRunContext.get() is None

    def test_inside(self, colour: Colour) -> None:
        @colour.task
        async def work():
            ctx = context.get_run_context()
            return type(ctx).__name__, ctx.task.name, str(ctx.task_run.id) == runtime.task_run.id

        @colour.flow
        async def main():
            ctx = context.get_run_context()
            facts = type(ctx).__name__, ctx.flow.name, str(ctx.flow_run.id) == runtime.flow_run.id
            return facts, await colour(work), type(context.get_run_context()).__name__

        facts, inner, after = colour.run(main)
        assert facts in {("FlowRunContext", "main", True), ("EngineContext", "main", True)}
        assert inner == ("TaskRunContext", "work", True)
        assert after == facts[0]

    def test_a_task_keeps_its_flows_context(self, colour: Colour) -> None:
        @colour.task
        async def work():
            return context.FlowRunContext.get().flow.name

        @colour.flow
        async def main():
            return await colour(work)

        assert colour.run(main) == "main"

    def test_is_gone_after_a_failure(self, colour: Colour) -> None:
        @colour.flow
        async def main():
            raise ValueError

        colour.run(main, return_state=True)
        assert context.FlowRunContext.get() is None
        assert runtime.flow_run.id is None

    def test_parameters(self) -> None:
        @task
        def work(x, y=2):
            return dict(context.TaskRunContext.get().parameters)

        @flow
        def main(a):
            return dict(context.FlowRunContext.get().parameters), work(1)

        assert main(3) == ({"a": 3}, {"x": 1, "y": 2})

    def test_a_thread_of_the_users_own_has_none(self) -> None:
        seen = []

        @flow
        def main():
            thread = threading.Thread(target=lambda: seen.append(context.FlowRunContext.get()))
            thread.start()
            thread.join()

        main()
        assert seen == [None]

    def test_concurrent_async_flows_keep_theirs(self) -> None:
        @flow
        async def main(name):
            for _ in range(3):
                await asyncio.sleep(0)
                assert runtime.flow_run.parameters == {"name": name}
            return runtime.flow_run.id

        async def both():
            return await asyncio.gather(*[main(i) for i in range(4)])

        assert len(set(asyncio.run(both()))) == 4

    def test_flow_inside_a_task_is_the_innermost(self, colour: Colour) -> None:
        @colour.flow
        async def inner():
            return type(context.get_run_context()).__name__ != "TaskRunContext", runtime.task_run.id

        @colour.task
        async def work():
            return await colour(inner)

        innermost, _ = colour.run(work)
        assert innermost is True


@riverrun_only("a run's count is right in a child process and in hooks too")
def test_runtime_in_hooks() -> None:
    seen = []

    @flow(flow_run_name="r", on_completion=[lambda *a: seen.append(runtime.flow_run.name)])
    def main():
        pass

    main()
    assert seen == ["r"]


def test_scheduled_start_time_is_about_now(colour: Colour) -> None:
    from datetime import UTC, datetime, timedelta

    @colour.flow
    async def main():
        return runtime.flow_run.scheduled_start_time

    when = colour.run(main)
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)


def test_dir_lists_the_attributes() -> None:
    assert {"id", "name", "parameters", "tags", "run_count", "flow_name"} <= set(dir(runtime.flow_run))
    assert {"id", "name", "parameters", "tags", "run_count", "task_name"} <= set(dir(runtime.task_run))
