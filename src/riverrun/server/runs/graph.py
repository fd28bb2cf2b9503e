"""The graph of a flow run: its task runs and subflow runs, and what they waited for. SQL and folding in Python.

The edges stand in the inputs of the task runs, as one document per run, so they are put together here.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader
from riverrun.server.http.errors import HTTPError
from riverrun.server.runs import queries, render
from riverrun.wire.flow_runs import DependencyResult, Graph, GraphArtifact, GraphState
from riverrun.wire.runs import RunInput
from riverrun.wire.states import TYPES_BY_CODE, StateType

MAX_NODES = 10_000
MAX_ARTIFACTS = 10_000
#: the input that names the task run inside which another one was called
_PARENTS = "__parents__"


class Edge(Struct):
    """The other end of an edge."""

    id: UUID


class Node(Struct, kw_only=True):
    """A task run, or the subflow run that it stands for."""

    kind: Literal["flow-run", "task-run"]
    id: UUID
    label: str
    state_type: StateType | None
    start_time: datetime | None
    end_time: datetime | None
    parents: list[Edge] = []
    children: list[Edge] = []
    encapsulating: list[Edge] = []
    artifacts: list[GraphArtifact] = []


def dependencies(reader: Reader, flow_run_id: UUID) -> list[DependencyResult]:
    """The task runs of a flow run with what they took from; raises ObjectNotFound."""
    key = _flow_run(reader, flow_run_id).key
    run = t.task_run
    query = queries.TASK_RUN.where(run.c.flow_run_key == key).order_by(run.c.expected_start_time, run.c.key)
    found = render.task_run_answers_of(reader.rows(query.limit(MAX_NODES + 1)), reader.now)
    _check_size(flow_run_id, len(found))
    return [
        DependencyResult(
            id=task.id,
            name=task.name or "",
            upstream_dependencies=list(dict.fromkeys(each for inputs in task.task_inputs.values() for each in inputs)),
            state=task.state,
            expected_start_time=task.expected_start_time,
            start_time=task.start_time,
            end_time=task.end_time,
            total_run_time=task.total_run_time,
            estimated_run_time=task.estimated_run_time,
            untrackable_result=task.state is not None and task.state.state_details.untrackable_result,
        )
        for task in found
    ]


def graph(reader: Reader, flow_run_id: UUID, since: datetime | None) -> Graph:
    """What happened in a flow run, as nodes and edges; raises ObjectNotFound, HTTPError 400 for one that is too large."""
    parent = _flow_run(reader, flow_run_id)
    rows = _tasks(reader, parent.key)
    _check_size(flow_run_id, len(rows))
    artifacts = _artifacts(reader, flow_run_id)
    nodes = _nodes(rows, artifacts)
    floor = None if since is None else render.instant(to_micros(since))
    shown = [node for node in nodes if floor is None or node.end_time is None or node.end_time >= floor]
    states = queries.state_answers(reader, flow_run_id, task=False)
    return Graph(
        start_time=render.instant(parent.start_time or parent.expected_start_time),
        end_time=render.instant(parent.end_time),
        root_node_ids=[node.id for node in shown if not node.parents],
        nodes=[[node.id, node] for node in shown],
        artifacts=artifacts.get(None, []),
        states=[
            GraphState(id=each.id, timestamp=each.timestamp, type=each.type, name=each.name or "") for each in states
        ],
    )


def _check_size(flow_run_id: UUID, number: int) -> None:
    if number > MAX_NODES:
        raise HTTPError(400, f"The graph of flow run {flow_run_id} has more than {MAX_NODES:,} nodes.")


def _flow_run(reader: Reader, flow_run_id: UUID) -> Any:
    run = t.flow_run
    mine = (run.c.id == flow_run_id, run.c.workspace_id == reader.workspace)
    row = reader.row(sa.select(run.c.key, run.c.start_time, run.c.expected_start_time, run.c.end_time).where(*mine))
    if row is None:
        raise ObjectNotFound(f"There is no flow run {flow_run_id}.")
    return row


def _tasks(reader: Reader, flow_run_key: int) -> list[Any]:
    run, child, flow = t.task_run, t.flow_run.alias("child"), t.flow
    names = ("id", "name", "state_type", "start_time", "expected_start_time", "end_time")
    query = (
        sa.select(
            *(run.c[name] for name in names),
            run.c.inputs,
            *(child.c[name].label(f"child_{name}") for name in names),
            flow.c.name.label("flow_name"),
        )
        .select_from(run)
        .outerjoin(child, child.c.parent_task_run_id == run.c.id)
        .outerjoin(flow, flow.c.key == child.c.flow_key)
        .where(run.c.flow_run_key == flow_run_key)
        .limit(MAX_NODES + 1)
    )
    return reader.rows(query)


def _nodes(rows: list[Any], artifacts: dict[UUID | None, list[GraphArtifact]]) -> list[Node]:
    """The nodes in the order of their start, with their edges. A subflow run takes the place of its task run."""
    nodes: dict[UUID, Node] = {}
    #: ids of task runs, as inputs name them, to nodes
    places: dict[UUID, Node] = {}
    for row in rows:
        node = _node(row, artifacts)
        nodes[node.id] = places[row.id] = places[node.id] = node
    inputs = {places[row.id].id: _inputs(row.inputs) for row in rows}
    ordered = sorted(nodes.values(), key=_begin)
    above: dict[UUID, dict[UUID, Node]] = defaultdict(dict)
    around: dict[UUID, dict[UUID, Node]] = defaultdict(dict)
    for node in ordered:
        for name, sources in inputs[node.id].items():
            ends = (around if name == _PARENTS else above)[node.id]
            for source in sources:
                other = None if source.id is None else places.get(source.id)
                if other is not None and other is not node:
                    ends[other.id] = other
    for node in ordered:
        node.parents = [Edge(other.id) for other in sorted(above[node.id].values(), key=_begin)]
        node.encapsulating = [Edge(other.id) for other in sorted(around[node.id].values(), key=_begin)]
        for other in above[node.id].values():
            other.children.append(Edge(node.id))
    return ordered


def _begin(node: Node) -> tuple[float, UUID]:
    return (node.start_time.timestamp() if node.start_time is not None else 0.0, node.id)


def _node(row: Any, artifacts: dict[UUID | None, list[GraphArtifact]]) -> Node:
    def first(*names: str) -> datetime | None:
        return render.instant(next((value for name in names if (value := getattr(row, name)) is not None), None))

    code = row.state_type if row.child_state_type is None else row.child_state_type
    is_flow = row.child_id is not None
    label = f"{row.flow_name} / {row.child_name}" if is_flow else row.name
    finished = TYPES_BY_CODE.get(row.state_type) is StateType.COMPLETED
    return Node(
        kind="flow-run" if is_flow else "task-run",
        id=row.child_id if is_flow else row.id,
        label=label or "",
        state_type=TYPES_BY_CODE.get(code),
        start_time=first("child_start_time", "child_expected_start_time", "start_time", "expected_start_time"),
        end_time=first("child_end_time", "end_time", *(["expected_start_time"] if finished else [])),
        artifacts=artifacts.get(row.id, []),
    )


def _inputs(blob: bytes | None) -> dict[str, list[RunInput]]:
    try:
        return render.inputs_of(blob)
    except render.RENDER_ERRORS:
        return {}


def _artifacts(reader: Reader, flow_run_id: UUID) -> dict[UUID | None, list[GraphArtifact]]:
    """The artifacts of a flow run by task run; those of the flow run itself are under None."""
    artifact, newest = t.artifact, t.artifact_collection
    query = (
        sa.select(artifact, newest.c.latest_id)
        .outerjoin_from(artifact, newest, newest.c.latest_id == artifact.c.id)
        .where(
            artifact.c.flow_run_id == flow_run_id,
            artifact.c.workspace_id == reader.workspace,
            sa.or_(artifact.c.type.is_(None), artifact.c.type != "result"),
        )
        .order_by(artifact.c.created, artifact.c.key)
        .limit(MAX_ARTIFACTS)
    )
    found: dict[UUID | None, list[GraphArtifact]] = defaultdict(list)
    for row in reader.rows(query):
        found[row.task_run_id].append(
            GraphArtifact(
                id=row.id,
                created=from_micros(row.created),
                key=row.artifact_key,
                type=row.type,
                is_latest=row.artifact_key is None or row.latest_id is not None,
                # only progress is drawn in the graph itself
                data=_document(row.data) if row.type == "progress" else None,
            )
        )
    return dict(found)


def _document(text: str | None) -> Any:
    try:
        return None if text is None else msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
