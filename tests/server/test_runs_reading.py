"""Runs as they are answered, their states, graphs and sums; how many statements that takes; what takes too long."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from bench.catalogue import Catalogue
from riverrun.server.app import all_routes
from riverrun.server.db import schema
from riverrun.server.db import tables as t
from riverrun.server.db.engine import Database, open_database
from riverrun.server.db.filters import Filters
from riverrun.server.db.units import Caller
from riverrun.server.db.watch import TookTooLongError, Watchdog
from riverrun.server.http.table import Tree
from riverrun.server.runs import listing, queries, rollups, sums
from riverrun.server.runs.listing import FLOW_RUNS, TASK_RUNS
from riverrun.server.runs.rollups import EXPECTED, STARTED
from riverrun.server.store import Store
from riverrun.wire.flow_runs import FlowRunResponse
from riverrun.wire.task_runs import TaskRunResponse
from tests.server.conftest import _store
from tests.server.test_filters import post
from tests.server.test_transitions import make_flow, make_run, propose
from tests.store.conftest import BACKENDS


def test_a_flow_run_has_every_field(api: httpx.Client) -> None:
    run = make_run(api, parameters={"x": [1]}, job_variables={"image": "y"}, empirical_policy={"retries": 2})
    propose(api, run, "RUNNING")
    read = api.get(f"/flow_runs/{run['id']}").json()
    assert set(read) == set(FlowRunResponse.__struct_fields__)
    assert read["empirical_policy"]["retries"] == 2
    assert read["empirical_policy"]["pause_keys"] == []
    assert read["job_variables"] == {"image": "y"}
    assert read["state"]["state_details"]["flow_run_id"] == run["id"]
    assert read["estimated_run_time"] > 0 == read["total_run_time"]
    assert post(api, "/flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})[0]["id"] == run["id"]
    assert api.get(f"/flow_runs/{uuid.uuid4()}").status_code == 404


def test_a_task_run_has_every_field(api: httpx.Client) -> None:
    run = make_run(api)
    source = {"input_type": "parameter", "name": "n"}
    body = {"flow_run_id": run["id"], "task_key": "k", "dynamic_key": "1", "task_inputs": {"x": [source]}}
    made = post(api, "/task_runs/", {**body, "tags": ["t"], "state": {"type": "PENDING"}}, 201)
    read = api.get(f"/task_runs/{made['id']}").json()
    assert set(read) == set(TaskRunResponse.__struct_fields__)
    assert (read["task_inputs"], read["tags"], read["dynamic_key"]) == ({"x": [source]}, ["t"], "1")
    assert read["labels"] == {"prefect.flow.id": run["flow_id"], "prefect.flow-run.id": run["id"]}
    named = api.get(f"/ui/task_runs/{made['id']}").json()
    assert named["flow_run_name"] == run["name"]
    assert api.get(f"/ui/task_runs/{uuid.uuid4()}").status_code == 404


@pytest.mark.parametrize("kind", ["flow", "task"])
def test_states(api: httpx.Client, kind: str) -> None:
    run = make_run(api)
    if kind == "task":
        propose(api, run, "RUNNING")
        body = {"flow_run_id": run["id"], "task_key": "k", "dynamic_key": "1", "state": {"type": "PENDING"}}
        run = post(api, "/task_runs/", body, 201)
    propose(api, run, "RUNNING", kind=f"{kind}_runs")
    path, param = f"/{kind}_run_states/", f"{kind}_run_id"
    states = api.get(path, params={param: run["id"]}).json()
    assert [state["type"] for state in states] == ["PENDING", "RUNNING"]
    assert states[0]["state_details"][param] == run["id"]
    assert api.get(f"{path}{states[1]['id']}").json() == states[1]
    assert api.get(path, params={param: str(uuid.uuid4())}).json() == []
    assert api.get(f"{path}{uuid.uuid4()}").status_code == 404
    assert api.get(path).status_code == 422


def test_the_graph(api: httpx.Client) -> None:
    run = make_run(api)

    def task(key: str, inputs: dict[str, list[dict[str, str]]]) -> str:
        body = {"flow_run_id": run["id"], "task_key": key, "dynamic_key": "0", "name": key, "task_inputs": inputs}
        return post(api, "/task_runs/", {**body, "state": {"type": "PENDING"}}, 201)["id"]

    def of(task_id: str) -> dict[str, str]:
        return {"input_type": "task_run", "id": task_id}

    first = task("first", {})
    second = task("second", {"x": [of(first), of(first)], "y": [of(str(uuid.uuid4()))]})
    inner = task("inner", {"__parents__": [of(second)], "x": [of(first)]})
    stands_for = task("sub", {"x": [of(second)]})
    child = make_run(api, parent_task_run_id=stands_for, name="child")
    graph = api.get(f"/flow_runs/{run['id']}/graph-v2").json()
    nodes = dict(graph["nodes"])
    assert set(nodes) == {first, second, inner, child["id"]}
    assert graph["root_node_ids"] == [first]
    assert nodes[second]["parents"] == [{"id": first}]
    assert {edge["id"] for edge in nodes[first]["children"]} == {second, inner}
    assert nodes[inner]["encapsulating"] == [{"id": second}]
    assert nodes[second]["children"] == [{"id": child["id"]}]
    assert nodes[child["id"]]["kind"] == "flow-run"
    assert nodes[child["id"]]["label"].endswith(" / child")
    assert [state["name"] for state in graph["states"]] == ["Pending"]
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert api.get(f"/flow_runs/{run['id']}/graph-v2", params={"since": later}).json()["nodes"]
    old = {each["id"]: each for each in api.get(f"/flow_runs/{run['id']}/graph").json()}
    assert [each["id"] for each in old[second]["upstream_dependencies"]][0] == first
    assert len(old) == 4
    for path in ("graph", "graph-v2"):
        assert api.get(f"/flow_runs/{uuid.uuid4()}/{path}").status_code == 404


def test_sums_for_pages(api: httpx.Client) -> None:
    flow, other = make_flow(api), make_flow(api)
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    planned = {"type": "SCHEDULED", "state_details": {"scheduled_time": soon}}
    run = post(api, "/flow_runs/", {"flow_id": flow, "state": planned, "name": "next"}, 201)
    following = post(api, "/ui/flows/next-runs", {"flow_ids": [flow, other]})
    assert following[other] is None
    assert (following[flow]["name"], following[flow]["state_name"]) == ("next", "Scheduled")
    assert post(api, "/ui/flows/count-deployments", {"flow_ids": [flow]}) == {flow: 0}
    body = {"flow_run_id": run["id"], "task_key": "k", "dynamic_key": "0", "state": {"type": "PENDING"}}
    post(api, "/task_runs/", body, 201)
    assert post(api, "/ui/flow_runs/count-task-runs", {"flow_run_ids": [run["id"]]}) == {run["id"]: 1}
    points = post(api, "/ui/flow_runs/history", {"flows": {"id": {"any_": [flow]}}, "limit": 1000})
    assert [point["id"] for point in points] == [run["id"]]
    assert post(api, "/ui/task_runs/count", {"flow_runs": {"id": {"any_": [run["id"]]}}})["PENDING"] == 1
    assert api.post("/ui/task_runs/dashboard/counts", json={"task_runs": {}}).status_code == 422
    assert api.post("/ui/flow_runs/history", json={"limit": 1001}).status_code == 422


def test_flows_are_deleted_with_their_runs(api: httpx.Client) -> None:
    run = make_run(api, tags=["gone"])
    body = {"flow_run_id": run["id"], "task_key": "k", "dynamic_key": "0", "state": {"type": "PENDING"}}
    task = post(api, "/task_runs/", body, 201)
    assert api.delete(f"/flows/{run['flow_id']}").status_code == 204
    for path in (f"/flows/{run['flow_id']}", f"/flow_runs/{run['id']}", f"/task_runs/{task['id']}"):
        assert api.get(path).status_code == 404
    assert api.delete(f"/flows/{run['flow_id']}").status_code == 404
    more = [make_flow(api) for _ in range(3)]
    deleted = post(api, "/flows/bulk_delete", {"flows": {"id": {"any_": more}}, "limit": 2})["deleted"]
    assert len(deleted) == 2
    assert set(deleted) < set(more)
    assert api.post("/flows/bulk_delete", json={"limit": 51}).status_code == 422


# -- over a store that the catalogue filled -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=BACKENDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small store as the catalogue fills it, and the catalogue."""
    with _store(request.param, request, tmp_path_factory.mktemp("catalogue")) as url, open_database(url) as database:
        schema.upgrade(database)
        catalogue = Catalogue(300, 4)
        catalogue.fill(database)
        store = Store(database)
        yield store, catalogue
        store.close()


def _ask(store: Store, query: tuple[str, str, dict[str, Any]]) -> Any:
    import msgspec

    _, path, body = query
    found = Tree(all_routes()).find("POST", f"/api{path}")
    assert isinstance(found, tuple)
    route = found[0]
    arguments = route.arguments({}, lambda _name, _many: None, msgspec.json.encode(body))
    return asyncio.run(store.read(lambda reader: route.handler(reader, **arguments)))


def test_every_query_of_the_catalogue_finds_what_a_plain_look_finds(filled: tuple[Store, Catalogue]) -> None:
    store, catalogue = filled
    numbers = {}
    for name, path, body in catalogue.queries():
        answer = _ask(store, (name, path, body))
        if path.endswith("/count") and isinstance(answer, int):
            numbers[name] = answer
        elif path.endswith("/filter") and "offset" not in body:
            numbers[name] = len(answer)
    for name, number in numbers.items():
        if name.endswith(" counted"):
            for order in ("ID_DESC", "EXPECTED_START_TIME_DESC"):
                listed = numbers.get(f"{name.removesuffix(' counted')} {order}")
                assert listed is None or listed == min(number, 200), name
    assert numbers["flow runs counted"] == catalogue.flow_runs
    assert numbers["task runs counted"] == catalogue.flow_runs * catalogue.tasks


def test_the_sums_are_those_of_the_ledger(filled: tuple[Store, Catalogue]) -> None:
    store, _ = filled

    def contents() -> list[Any]:
        store.write_now(rollups.fold)
        return sorted(store.read_now(lambda reader: reader.rows(sa.select(t.run_rollup).where(t.run_rollup.c.n != 0))))

    kept = contents()
    store.write_now(rollups.rebuild)
    assert kept == contents()
    assert len(kept) > 100


@pytest.mark.parametrize("kind", [FLOW_RUNS, TASK_RUNS], ids=["flow_run", "task_run"])
@pytest.mark.parametrize("axis", [EXPECTED, STARTED], ids=["expected", "started"])
def test_numbers_by_interval_are_the_same_from_the_sums_and_from_the_ledger(
    filled: tuple[Store, Catalogue], kind: Any, axis: int
) -> None:
    store, _ = filled
    low, high = (
        store.read_now(lambda reader, pick=pick: reader.scalar(sa.select(pick(kind.table.c.expected_start_time))))
        for pick in (sa.func.min, sa.func.max)
    )
    for first, span, number in ((low - 7, (high - low) // 13, 15), (low // 60_000_000 * 60_000_000, 3_600_000_000, 9)):
        grid = sums.Grid(first, span, 1, number)

        def both(reader: Any, grid: Any = grid) -> tuple[Any, Any]:
            reader.now = high + 1_000_000
            told = sums.cells(reader, kind, Filters(), axis, grid, timed=True)
            read = sums._cells(reader.rows(sums._ledger(reader, kind, [], axis, grid, timed=True)))
            return tuple(sorted((repr(cell) for cell in cells)) for cells in (told, read))

        told, read = store.read_now(both)
        assert told == read
        assert told


class _Counted:
    """The statements that readers send."""

    def __init__(self, database: Database) -> None:
        self.statements: list[tuple[str, Any]] = []
        engine = database.readers
        sa.event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, _c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        self.statements.append((statement, parameters))


@pytest.mark.parametrize("filled", [BACKENDS[0]], indirect=True)
def test_no_query_of_the_catalogue_reads_a_whole_table(filled: tuple[Store, Catalogue]) -> None:
    store, catalogue = filled
    counted = _Counted(store.database)
    large = {"flow_run", "task_run", "flow_run_state", "task_run_state", "flow_run_tag", "task_run_tag", "run_rollup"}
    for query in catalogue.queries():
        counted.statements.clear()
        _ask(store, query)
        for statement, parameters in list(counted.statements):
            with store.database.read() as connection:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            # an index is scanned where its order is walked; a table without one only by its key, in order
            scans = [row[-1] for row in plan if row[-1].startswith("SCAN ") and " USING " not in row[-1]]
            whole = [scan for scan in scans if scan.split()[1] in large and "ORDER BY" not in statement]
            assert not whole, (query[0], statement, plan)


@pytest.mark.parametrize("filled", [BACKENDS[0]], indirect=True)
@pytest.mark.parametrize(
    ("most", "path", "body"),
    [
        (1, "/flow_runs/filter", {}),
        (1, "/task_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"}),
        (
            1,
            "/flow_runs/filter",
            {"sort": "EXPECTED_START_TIME_DESC", "flow_runs": {"state": {"name": {"any_": ["Late"]}}}},
        ),
        (2, "/flow_runs/filter", {"flow_runs": {"tags": {"all_": ["common"]}}}),
        (2, "/task_runs/filter", {"task_runs": {"state": {"type": {"any_": ["FAILED"]}}}}),
        (2, "/task_runs/filter", {"flow_runs": {"id": {"any_": [str(uuid.UUID(int=1))]}}}),
        (3, "/flow_runs/filter", {"flows": {"name": {"any_": ["flow-0"]}}, "flow_runs": {"tags": {"all_": ["rare"]}}}),
        (2, "/flow_runs/count", {"flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}),
        (4, "/flow_runs/paginate", {}),
    ],
    ids=range(9),
)
def test_how_many_statements_a_request_takes(
    filled: tuple[Store, Catalogue], most: int, path: str, body: dict[str, Any]
) -> None:
    store, _ = filled
    counted = _Counted(store.database)
    _ask(store, ("", path, body))
    assert 1 <= len(counted.statements) <= most


def test_one_run_is_one_statement(filled: tuple[Store, Catalogue]) -> None:
    store, catalogue = filled
    counted = _Counted(store.database)
    store.read_now(lambda reader: queries.flow_run_answer(reader, catalogue.some_flow_run))
    assert len(counted.statements) == 1


def test_what_takes_too_long_is_ended_and_named(filled: tuple[Store, Catalogue]) -> None:
    store, _ = filled
    if store.database.path is None:
        endless: Any = sa.text("SELECT pg_sleep(10)")
    else:
        endless = sa.text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    with pytest.raises(TookTooLongError):
        asyncio.run(store.read(lambda reader: reader.scalar(endless), Caller()))
    # and the connection goes on
    assert asyncio.run(store.read(lambda reader: listing.count(reader, FLOW_RUNS, Filters()), Caller())) > 0


def test_the_watchdog_ends_nothing_that_is_in_time(tmp_path: Path) -> None:
    import sqlite3
    import threading

    watchdog = Watchdog()
    connection = sqlite3.connect(tmp_path / "x.db", check_same_thread=False)
    with watchdog.watching(connection, 60):
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with watchdog.watching(connection, 0.01), pytest.raises(sqlite3.OperationalError):
        connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    watchdog.close()
    assert "riverrun-watchdog" not in {thread.name for thread in threading.enumerate() if not thread.is_alive()}


def test_a_damaged_row_costs_no_page(fresh_api: httpx.Client, fresh_store_url: str) -> None:
    run, other = make_run(fresh_api), make_run(fresh_api)
    with open_database(fresh_store_url) as database, database.write() as connection:
        mine = t.flow_run.c.id == uuid.UUID(run["id"])
        connection.execute(sa.update(t.flow_run).where(mine).values(parameters="{no json", policy="[]"))
    found = {each["id"]: each for each in post(fresh_api, "/flow_runs/filter", {})}
    assert set(found) == {run["id"], other["id"]}
    assert "riverrun.unreadable" in found[run["id"]]["labels"]
