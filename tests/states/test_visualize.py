"""Pictures of flows: what becomes a node and an edge, without anything running."""

import asyncio
from types import SimpleNamespace

import pytest

from riverrun.engine.parameters import Signature
from riverrun.utilities.annotations import unmapped
from riverrun.utilities.visualization import (
    FlowVisualizationError,
    Graph,
    TaskVizTracker,
    VizTask,
    _track_viz_task,
    aflow_picture,
    flow_picture,
    get_task_viz_tracker,
    submitted_viz_value,
    track_viz_task,
)


def make_flow(fn, isasync=False, isgenerator=False):
    return SimpleNamespace(name="demo", fn=fn, signature=Signature(fn), isasync=isasync, isgenerator=isgenerator)


def call(name, value=None, isasync=False, **parameters):
    return track_viz_task(isasync, name, parameters, value)


def test_tracker_is_there_only_inside():
    assert get_task_viz_tracker() is None
    with TaskVizTracker() as tracker:
        assert get_task_viz_tracker() is tracker
    assert get_task_viz_tracker() is None


def test_names_are_numbered():
    with TaskVizTracker() as tracker:
        for name in ("a", "a", "b"):
            tracker.add_task(VizTask(name))
    assert [task.name for task in tracker.tasks] == ["a-0", "a-1", "b-0"]


@pytest.mark.parametrize(
    ("value", "linked"), [("text", True), ([1], True), (500, True), (None, False), (1, False), (True, False)]
)
def test_which_values_are_linked(value, linked):
    with TaskVizTracker() as tracker:
        task = VizTask("a")
        tracker.link_viz_return_value_to_viz_task(value, task)
    assert (tracker.object_id_to_task.get(id(value)) is task) == linked


def test_edges_by_node_and_by_value():
    with TaskVizTracker() as tracker:
        first = _track_viz_task("first", {"x": 1})
        value = ["v"]
        assert _track_viz_task("second", {"x": {"deep": [first]}}, viz_return_value=value) is value
        _track_viz_task("third", {"x": [value], "y": first})
    assert [[up.name for up in task.upstream_tasks] for task in tracker.tasks] == [
        [],
        ["first-0"],
        ["second-0", "first-0"],
    ]


def test_flow_picture():
    def fn(n, *, k=2):
        a = call("a", x=n)
        b = call("b", x=a, y=k)
        call("c", x=[a, b])

    graph = flow_picture(make_flow(fn), {"n": 1, "k": 3})
    assert graph.nodes == ["a-0", "b-0", "c-0"]
    assert graph.edges == [("a-0", "b-0"), ("a-0", "c-0"), ("b-0", "c-0")]
    assert graph.to_mermaid().splitlines() == [
        "flowchart TD", '    a_0["a-0"]', '    b_0["b-0"]', '    c_0["c-0"]', "    a_0 --> b_0", "    a_0 --> c_0",
        "    b_0 --> c_0",
    ]  # fmt: skip
    assert '\t"a-0" -> "b-0"' in graph.to_dot().splitlines()
    assert "  c-0  <- a-0, b-0" in graph.to_text().splitlines()


def test_submitted_and_mapped():
    task = SimpleNamespace(name="t", viz_return_value=None)
    valued = SimpleNamespace(name="v", viz_return_value=[7])

    def fn():
        future = submitted_viz_value(task, {"x": 1})
        mapped = submitted_viz_value(valued, {"x": future, "y": unmapped(2)})
        call("sum", x=[each.result() for each in mapped])
        future.wait()

    graph = flow_picture(make_flow(fn), {})
    assert graph.edges == [("t-0", "v-0"), ("v-0", "sum-0")]


def test_async_flows():
    async def fn():
        a = await call("a", isasync=True)
        await call("b", isasync=True, x=a)

    flow = make_flow(fn, isasync=True)
    assert flow_picture(flow, {}).edges == [("a-0", "b-0")]

    async def main():
        return (await aflow_picture(flow, {})).edges, flow_picture(flow, {}).nodes

    assert asyncio.run(main()) == ([("a-0", "b-0")], ["a-0", "b-0"])


def test_generators():
    def fn():
        yield call("a")

    async def afn():
        yield await call("b", isasync=True)

    assert flow_picture(make_flow(fn, isgenerator=True), {}).nodes == ["a-0"]
    assert flow_picture(make_flow(afn, isasync=True, isgenerator=True), {}).nodes == ["b-0"]


def test_errors_name_the_flow_and_the_way_out():
    def fn():
        return call("a") + 1

    with pytest.raises(FlowVisualizationError, match=r"'demo'.*TypeError.*viz_return_value"):
        flow_picture(make_flow(fn), {})
    assert get_task_viz_tracker() is None


def test_names_that_need_quoting():
    graph = Graph('a "b"', [VizTask('x "y" \\ z-0'), VizTask("x_-y----z-0")])
    assert '"x \\"y\\" \\\\ z-0"' in graph.to_dot()
    mermaid = graph.to_mermaid().splitlines()
    assert "#quot;y#quot;" in mermaid[1]
    keys = [line.split("[")[0] for line in mermaid[1:]]
    assert len(set(keys)) == 2


def test_without_graphviz_it_is_printed(capsys):
    try:
        import graphviz  # noqa: F401
    except ImportError:
        from riverrun.visualize import show

        show(Graph("demo", [VizTask("a-0")]))
        printed = capsys.readouterr().out
        assert "flowchart TD" in printed
        assert "graphviz" in printed
