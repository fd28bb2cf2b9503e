"""A picture of a flow without running its tasks.

The flow's function is called while a tracker listens: tasks called in it do not run but become nodes, and arguments that
are results of other tasks become edges. A task gives its `viz_return_value`, or the node itself, in place of its result.
This module must stay light: tasks ask `get_task_viz_tracker` at every call.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Self

from riverrun.utilities.collections import visit_collection
from riverrun.utilities.colours import complete, is_async_caller


class FlowVisualizationError(Exception):
    """The flow's function raised while its picture was made."""


class VisualizationUnsupportedError(Exception):
    """The flow does something that no picture can show."""


class GraphvizImportError(Exception):
    """The package graphviz is not installed."""


class GraphvizExecutableNotFoundError(Exception):
    """The package graphviz is installed, its program `dot` is not."""


class VizTask:
    """A task in a picture. As a stand-in for a future or a list of them it gives its result to who asks."""

    def __init__(self, name: str, upstream_tasks: list["VizTask"] | None = None, value: Any = None) -> None:
        self.name = name
        self.upstream_tasks: list[VizTask] = upstream_tasks or []
        self._value = self if value is None else value

    def result(self, *_args: Any, **_kwargs: Any) -> Any:
        """What the task gives in the picture."""
        return self._value

    def wait(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing to wait for."""

    def __iter__(self) -> Iterator["VizTask"]:
        yield self

    def __repr__(self) -> str:
        return f"<VizTask {self.name!r}>"


class TaskVizTracker:
    """Collects the tasks called inside its `with` block."""

    def __init__(self) -> None:
        self.tasks: list[VizTask] = []
        self.dynamic_task_counter: Counter[str] = Counter()
        self.object_id_to_task: dict[int, VizTask] = {}
        # linked values stay alive, so that their ids stay theirs
        self._held: list[Any] = []
        self._token: Token[TaskVizTracker | None] | None = None

    def add_task(self, task: VizTask) -> None:
        """Add a task; its name gets the number of the call."""
        count = self.dynamic_task_counter[task.name]
        self.dynamic_task_counter[task.name] += 1
        task.name = f"{task.name}-{count}"
        self.tasks.append(task)

    def link_viz_return_value_to_viz_task(self, viz_return_value: Any, viz_task: VizTask) -> None:
        """Let later tasks that receive this very object depend on the task; shared singletons can't say where they come from."""
        if isinstance(viz_return_value, _UNTRACKABLE) or (
            type(viz_return_value) is int and -6 < viz_return_value < 257
        ):
            return
        self.object_id_to_task[id(viz_return_value)] = viz_task
        self._held.append(viz_return_value)

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._token is not None:
            _current.reset(self._token)


_UNTRACKABLE = (bool, type(None), type(...), type(NotImplemented), type, FunctionType, BuiltinFunctionType, ModuleType)
_current: ContextVar[TaskVizTracker | None] = ContextVar("task_viz_tracker", default=None)

#: the tracker that listens here, or None; tasks ask at every call
get_task_viz_tracker: Callable[[], TaskVizTracker | None] = _current.get


def track_viz_task(is_async: bool, task_name: str, parameters: dict[str, Any], viz_return_value: Any = None) -> Any:
    """Note the call of a task or subflow and give what stands for its result; a coroutine for async ones."""
    if is_async:

        async def noted() -> Any:
            return _track_viz_task(task_name, parameters, viz_return_value)

        return noted()
    return _track_viz_task(task_name, parameters, viz_return_value)


def submitted_viz_value(task: Any, parameters: dict[str, Any]) -> VizTask:
    """Note a submitted or mapped task; the node stands for its future, or for the list of its futures."""
    tracker = _current.get()
    node = VizTask(task.name, _upstream(tracker, parameters), task.viz_return_value)
    if tracker is not None:
        tracker.add_task(node)
        if task.viz_return_value is not None:
            tracker.link_viz_return_value_to_viz_task(task.viz_return_value, node)
    return node


def _track_viz_task(task_name: str, parameters: dict[str, Any], viz_return_value: Any = None) -> Any:
    tracker = _current.get()
    if tracker is None:
        return None
    node = VizTask(task_name, _upstream(tracker, parameters))
    tracker.add_task(node)
    if viz_return_value is None:
        return node
    tracker.link_viz_return_value_to_viz_task(viz_return_value, node)
    return viz_return_value


def _upstream(tracker: TaskVizTracker | None, parameters: dict[str, Any]) -> list[VizTask]:
    found: dict[int, VizTask] = {}
    known: dict[int, VizTask] = {} if tracker is None else tracker.object_id_to_task

    def look(item: Any) -> Any:
        node = item if isinstance(item, VizTask) else known.get(id(item))
        if node is not None:
            found[id(node)] = node
        return item

    visit_collection(parameters, visit_fn=look)
    return list(found.values())


# -- pictures ---------------------------------------------------------------------------------------------------------------


class Graph:
    """Nodes and edges of a flow's picture."""

    def __init__(self, name: str, tasks: list[VizTask]) -> None:
        self.name = name
        self.nodes = [task.name for task in tasks]
        shown = set(self.nodes)
        self.edges = [
            (upstream.name, task.name) for task in tasks for upstream in task.upstream_tasks if upstream.name in shown
        ]

    def to_mermaid(self) -> str:
        """Mermaid text."""
        keys: dict[str, str] = {}
        for node in self.nodes:
            key = "".join(char if char.isalnum() and char.isascii() else "_" for char in node)
            keys[node] = key if key not in keys.values() else f"{key}_{len(keys)}"
        lines = ["flowchart TD"]
        lines += [f'    {key}["{node.replace(chr(34), "#quot;")}"]' for node, key in keys.items()]
        lines += [f"    {keys[upstream]} --> {keys[downstream]}" for upstream, downstream in self.edges]
        return "\n".join(lines)

    def to_dot(self) -> str:
        """Text in the language of Graphviz."""
        lines = [f"digraph {_quoted(self.name)} {{"]
        lines += [f"\t{_quoted(node)}" for node in self.nodes]
        lines += [f"\t{_quoted(upstream)} -> {_quoted(downstream)}" for upstream, downstream in self.edges]
        return "\n".join([*lines, "}"])

    def to_text(self) -> str:
        """Lines for a terminal: each task with what it takes its input from."""
        sources: dict[str, list[str]] = {node: [] for node in self.nodes}
        for upstream, downstream in self.edges:
            sources[downstream].append(upstream)
        width = max(map(len, self.nodes), default=0)
        lines = [f"{node:<{width}}  <- {', '.join(above)}" if above else node for node, above in sources.items()]
        return "\n".join([self.name, *(f"  {line}" for line in lines)])

    __str__ = to_text

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self.nodes)} tasks, {len(self.edges)} edges>"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def flow_picture(flow: Any, parameters: dict[str, Any]) -> Graph:
    """The picture of a call of `flow`; blocks for async flows too. Raises FlowVisualizationError."""
    return _picture_of(flow, _listen(flow, parameters, complete))


async def aflow_picture(flow: Any, parameters: dict[str, Any]) -> Graph:
    """As `flow_picture`, on the running loop."""
    with TaskVizTracker() as tracker:
        try:
            outcome = _call(flow, parameters)
            if hasattr(outcome, "__await__"):
                await outcome
        except Exception as error:
            raise _explained(flow, error) from error
    return _picture_of(flow, tracker)


def _listen(flow: Any, parameters: dict[str, Any], finish: Callable[[Any], Any]) -> TaskVizTracker:
    with TaskVizTracker() as tracker:
        try:
            finish(_call(flow, parameters))
        except Exception as error:
            raise _explained(flow, error) from error
    return tracker


def _call(flow: Any, parameters: dict[str, Any]) -> Any:
    args, kwargs = flow.signature.split(parameters)
    outcome = flow.fn(*args, **kwargs)
    if getattr(flow, "isgenerator", False) and not flow.isasync:
        for _ in outcome:
            pass
    elif getattr(flow, "isgenerator", False):

        async def drain() -> None:
            async for _ in outcome:
                pass

        return drain()
    return outcome


def _explained(flow: Any, error: Exception) -> Exception:
    if isinstance(error, VisualizationUnsupportedError):
        return error
    return FlowVisualizationError(
        f"The picture of flow {flow.name!r} could not be made: its function raised {type(error).__name__}: {error}. Tasks"
        " return no results while a picture is made; if the flow's own code uses a task's result, give the task a"
        " `viz_return_value`."
    )


def _picture_of(flow: Any, tracker: TaskVizTracker) -> Graph:
    return Graph(flow.name, tracker.tasks)


def visualize_flow(flow: Any, parameters: dict[str, Any]) -> Any:
    """Draw the flow: a window where Graphviz is installed, else text on the terminal. Gives the graph.

    To be awaited in async code.
    """
    if is_async_caller():

        async def drawn() -> Graph:
            return show(await aflow_picture(flow, parameters))

        return drawn()
    return show(flow_picture(flow, parameters))


def show(graph: Graph) -> Graph:
    """Open the rendered graph, or print it with a word on what rendering needs."""
    try:
        render(graph)
    except (GraphvizImportError, GraphvizExecutableNotFoundError) as error:
        import sys

        sys.stdout.write(f"{graph.to_text()}\n\n{graph.to_mermaid()}\n\n{error}\n")
    return graph


def render(graph: Graph) -> None:
    """Render with Graphviz and open the result. Raises GraphvizImportError or GraphvizExecutableNotFoundError."""
    import importlib
    import tempfile

    try:
        graphviz: Any = importlib.import_module("graphviz")
    except ImportError as error:
        raise GraphvizImportError(
            "For a drawing instead of text install the Python package `graphviz` and the program Graphviz; or paste the"
            " Mermaid text into an editor that renders it."
        ) from error
    try:
        graphviz.Source(graph.to_dot(), filename=graph.name, directory=tempfile.mkdtemp(), format="png").render(
            view=True
        )
    except graphviz.backend.ExecutableNotFound as error:
        raise GraphvizExecutableNotFoundError(
            "The Python package `graphviz` is installed, but the program `dot` of Graphviz is not on the PATH."
        ) from error
