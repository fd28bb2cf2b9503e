"""Every filter over one small store: what each leaves is known, lists and counts agree, in every order."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.server.test_transitions import propose

NOW = datetime.now(UTC)
ORDERS = (
    "ID_DESC",
    "EXPECTED_START_TIME_ASC",
    "EXPECTED_START_TIME_DESC",
    "NAME_ASC",
    "NAME_DESC",
    "NEXT_SCHEDULED_START_TIME_ASC",
    "END_TIME_DESC",
    "START_TIME_ASC",
    "START_TIME_DESC",
)


def post(api: httpx.Client, path: str, body: dict[str, Any], status: int = 200) -> Any:
    answer = api.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def at(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


@pytest.fixture(scope="module")
def world(server_url: str) -> Iterator[dict[str, Any]]:
    """Two flows; runs 0-2 of the first, 3-4 of the second, 5 a subflow of 0; task runs a, b in 0, c in 3, d in none."""
    with httpx.Client(base_url=f"{server_url}/api", timeout=20) as api:
        etl = post(api, "/flows/", {"name": "etl", "tags": ["data", 'odd",'], "labels": {"team": "x"}}, 201)
        web = post(api, "/flows/", {"name": "Web 100_"}, 201)
        scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": at(2)}}
        plans = [
            (etl, {"name": "first-run", "tags": ["a", "b"], "state": {"type": "PENDING"}, "flow_version": "1"}),
            (etl, {"name": "second_run", "tags": ["a"], "state": scheduled, "idempotency_key": "once"}),
            (etl, {"name": "Third", "state": {"type": "PENDING", "name": "Waiting"}}),
            (web, {"name": "x" * 120 + "tail", "tags": ["b"], "state": {"type": "PENDING"}}),
            (web, {"name": "fifth", "tags": ["long " * 60], "state": {"type": "SCHEDULED", "name": "Late"}}),
        ]
        runs = [post(api, "/flow_runs/", {"flow_id": flow["id"], **fields}, 201) for flow, fields in plans]
        tasks = {
            name: post(api, "/task_runs/", {"task_key": name, "dynamic_key": "0", "name": f"{name}-0", **fields}, 201)
            for name, fields in {
                "a": {"flow_run_id": runs[0]["id"], "tags": ["t"], "state": {"type": "PENDING"}},
                "b": {"flow_run_id": runs[0]["id"], "tags": ["t", "u"], "state": scheduled},
                "c": {"flow_run_id": runs[3]["id"], "state": {"type": "PENDING"}},
                "d": {"state": scheduled},
            }.items()
        }
        child = {"flow_id": web["id"], "name": "child", "parent_task_run_id": tasks["b"]["id"]}
        runs.append(post(api, "/flow_runs/", {**child, "state": {"type": "PENDING"}}, 201))
        propose(api, runs[0], "RUNNING")
        propose(api, runs[0], "COMPLETED")
        propose(api, runs[3], "RUNNING")
        yield {"runs": runs, "tasks": tasks, "flows": [etl, web]}


def _flow_run_cases() -> list[tuple[dict[str, Any], set[int]]]:
    every = set(range(6))

    def own(**fields: Any) -> dict[str, Any]:
        return {"flow_runs": fields}

    return [
        ({}, every),
        ({"flow_runs": {}, "flows": None}, every),
        (own(id={"any_": ["RUN0", "RUN4"]}), {0, 4}),
        (own(id={"any_": []}), set()),
        (own(id={"not_any_": ["RUN0"]}), every - {0}),
        (own(id={"not_any_": []}), every),
        (own(name={"any_": ["first-run", "fifth"]}), {0, 4}),
        (own(name={"like_": "_RUN"}), {1}),
        (own(name={"like_": "R"}), {0, 1, 2}),
        (own(name={"like_": "TAIL"}), {3}),
        (own(name={"like_": "%"}), set()),
        (own(name={"like_": ""}), every),
        (own(name={"any_": ["x" * 120 + "tail"]}), {3}),
        (own(tags={"all_": ["a"]}), {0, 1}),
        (own(tags={"all_": ["a", "b"]}), {0}),
        (own(tags={"any_": ["a", "b"]}), {0, 1, 3}),
        (own(tags={"any_": []}), set()),
        (own(tags={"all_": []}), every),
        (own(tags={"is_null_": True}), {2, 5}),
        (own(tags={"is_null_": False}), every - {2, 5}),
        (own(tags={"all_": ["long " * 60]}), {4}),
        (own(tags={"operator": "or_", "all_": ["b"], "is_null_": True}), {0, 2, 3, 5}),
        (own(state={"type": {"any_": ["COMPLETED"]}}), {0}),
        (own(state={"type": {"any_": ["PENDING", "RUNNING"]}}), {2, 3, 5}),
        (own(state={"type": {"any_": []}}), set()),
        (own(state={"type": {"not_any_": ["PENDING", "SCHEDULED"]}}), {0, 3}),
        (own(state={"name": {"any_": ["Pending"]}}), {5}),
        (own(state={"name": {"any_": ["Waiting", "Late", "Running"]}}), {2, 3, 4}),
        (own(state={"name": {"any_": ["waiting"]}}), set()),
        (own(state={"name": {"not_any_": ["Waiting", "Pending"]}}), {0, 1, 3, 4}),
        (own(state={"type": {"any_": ["PENDING"]}, "name": {"any_": ["Waiting"]}}), {2}),
        (
            own(state={"operator": "or_", "type": {"any_": ["RUNNING"]}, "name": {"any_": ["Waiting"]}}),
            {2, 3},
        ),
        (own(flow_version={"any_": ["1", "2"]}), {0}),
        (own(start_time={"is_null_": True}), every - {0, 3}),
        (own(start_time={"after_": at(1)}), {1}),
        (own(start_time={"before_": at(1), "is_null_": False}), {0, 3}),
        (own(end_time={"is_null_": False}), {0}),
        (own(end_time={"after_": at(-1), "before_": at(1)}), {0}),
        (own(expected_start_time={"after_": at(1)}), {1}),
        (own(expected_start_time={"before_": at(-1)}), set()),
        (own(next_scheduled_start_time={"after_": at(1)}), {1}),
        (own(next_scheduled_start_time={"before_": at(3)}), {1, 4}),
        (own(parent_flow_run_id={"any_": ["RUN0"]}), {5}),
        (own(parent_flow_run_id={"any_": ["RUN1"]}), set()),
        (own(parent_task_run_id={"any_": ["TASKb"]}), {5}),
        (own(parent_task_run_id={"is_null_": True}), every - {5}),
        (own(idempotency_key={"any_": ["once"]}), {1}),
        (own(deployment_id={"is_null_": True}), every),
        (own(deployment_id={"any_": [str(uuid.uuid4())]}), set()),
        (own(work_queue_name={"is_null_": True}), every),
        (own(work_queue_name={"any_": ["default"]}), set()),
        (own(created_by={"is_null_": True}), every),
        (own(created_by={"type_": ["DEPLOYMENT"], "id_": [str(uuid.uuid4())]}), set()),
        (own(operator="or_", id={"any_": ["RUN0"]}, state={"type": {"any_": ["RUNNING"]}}), {0, 3}),
        (own(tags={"all_": ["a"]}, state={"type": {"any_": ["COMPLETED"]}}), {0}),
        ({"flows": {"name": {"any_": ["etl"]}}}, {0, 1, 2}),
        ({"flows": {"name": {"like_": "00_"}}}, {3, 4, 5}),
        ({"flows": {"name": {"any_": ["nobody"]}}}, set()),
        ({"flows": {"id": {"not_any_": ["FLOW0"]}}}, {3, 4, 5}),
        ({"flows": {"tags": {"all_": ["data"]}}}, {0, 1, 2}),
        ({"flows": {"tags": {"all_": [","]}}}, set()),
        ({"flows": {"tags": {"is_null_": True}}}, {3, 4, 5}),
        ({"flows": {"deployment": {"is_null_": True}}}, every),
        ({"flows": {"deployment": {"is_null_": False}}}, set()),
        ({"flows": {"name": {"any_": ["etl"]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}, {1}),
        ({"task_runs": {"tags": {"all_": ["u"]}}}, {0}),
        ({"task_runs": {"state": {"type": {"any_": ["PENDING"]}}}}, {0, 3}),
        ({"task_runs": {"name": {"any_": ["c-0"]}}, "flows": {"name": {"any_": ["etl"]}}}, set()),
        ({"deployments": {"name": {"any_": ["none"]}}}, set()),
        ({"work_pools": {"name": {"any_": ["none"]}}}, set()),
        ({"work_pool_queues": {"name": {"startswith_": ["n"]}}}, set()),
    ]


def _task_run_cases() -> list[tuple[dict[str, Any], set[str]]]:
    def own(**fields: Any) -> dict[str, Any]:
        return {"task_runs": fields}

    return [
        ({}, {*"abcd"}),
        (own(id={"any_": ["TASKa", "TASKd"]}), {"a", "d"}),
        (own(name={"like_": "B-"}), {"b"}),
        (own(name={"any_": ["a-0", "c-0"]}), {"a", "c"}),
        (own(tags={"all_": ["t"]}), {"a", "b"}),
        (own(tags={"all_": ["t", "u"]}), {"b"}),
        (own(tags={"is_null_": True}), {"c", "d"}),
        (own(state={"type": {"any_": ["SCHEDULED"]}}, flow_run_id={"is_null_": True}), {"d"}),
        (own(state={"name": {"any_": ["Scheduled", "Pending"]}}), {*"abcd"}),
        (own(start_time={"is_null_": True}), {*"abcd"}),
        (own(end_time={"after_": at(0)}), set()),
        (own(expected_start_time={"after_": at(1)}), {"b", "d"}),
        (own(subflow_runs={"exists_": True}), {"b"}),
        (own(subflow_runs={"exists_": False}), {"a", "c", "d"}),
        (own(flow_run_id={"any_": ["RUN0"]}), {"a", "b"}),
        (own(flow_run_id={"any_": ["RUN0", "RUN3"]}), {"a", "b", "c"}),
        (own(flow_run_id={"is_null_": True}), {"d"}),
        (own(flow_run_id={}), {"a", "b", "c"}),
        (own(operator="or_", id={"any_": ["TASKd"]}, tags={"all_": ["u"]}), {"b", "d"}),
        ({"flow_runs": {"id": {"any_": ["RUN0"]}}}, {"a", "b"}),
        ({"flow_runs": {"id": {"any_": ["RUN0"]}}, "task_runs": {"tags": {"all_": ["u"]}}}, {"b"}),
        ({"flow_runs": {"id": {"not_any_": ["RUN0"]}}}, {"c"}),
        ({"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}, {"a", "b"}),
        ({"flow_runs": {"tags": {"any_": ["b"]}}}, {"a", "b", "c"}),
        ({"flows": {"name": {"any_": ["etl"]}}}, {"a", "b"}),
        ({"flows": {"name": {"any_": ["etl"]}}, "flow_runs": {"name": {"like_": "x"}}}, set()),
        ({"deployments": {"id": {"any_": [str(uuid.uuid4())]}}}, set()),
    ]


def _flow_cases() -> list[tuple[dict[str, Any], set[int]]]:
    return [
        ({}, {0, 1}),
        ({"flows": {"id": {"any_": ["FLOW1"]}}}, {1}),
        ({"flows": {"name": {"like_": "WEB"}}}, {1}),
        ({"flows": {"tags": {"all_": ["data", 'odd",']}}}, {0}),
        ({"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}, {0}),
        ({"flow_runs": {"tags": {"all_": ["b"]}}}, {0, 1}),
        ({"flow_runs": {"tags": {"all_": ["none"]}}}, set()),
        ({"task_runs": {"name": {"any_": ["c-0"]}}}, {1}),
        ({"flow_runs": {"name": {"like_": "run"}}, "task_runs": {"tags": {"all_": ["u"]}}}, {0}),
        ({"deployments": {"paused": {"eq_": True}}}, set()),
        ({"work_pools": {"type": {"any_": ["process"]}}}, set()),
    ]


def _meant(value: Any, world: dict[str, Any]) -> Any:
    """The filter with RUN0, TASKa, FLOW1 ... as ids."""
    if isinstance(value, dict):
        return {name: _meant(each, world) for name, each in value.items()}
    if isinstance(value, list):
        return [_meant(each, world) for each in value]
    if isinstance(value, str):
        for prefix, things in (("RUN", world["runs"]), ("FLOW", world["flows"])):
            if value[:-1] == prefix and value[-1].isdigit():
                return things[int(value[-1])]["id"]
        if value[:-1] == "TASK":
            return world["tasks"][value[-1]]["id"]
    return value


@pytest.mark.parametrize(("filters", "expected"), _flow_run_cases(), ids=range(len(_flow_run_cases())))
def test_flow_runs(api: httpx.Client, world: dict[str, Any], filters: dict[str, Any], expected: set[int]) -> None:
    body, ids = _meant(filters, world), {world["runs"][number]["id"] for number in expected}
    for order in ("ID_DESC", "EXPECTED_START_TIME_DESC", "NEXT_SCHEDULED_START_TIME_ASC"):
        found = [run["id"] for run in post(api, "/flow_runs/filter", {**body, "sort": order})]
        assert (len(found), set(found)) == (len(ids), ids), order
    assert post(api, "/flow_runs/count", body) == len(ids)


@pytest.mark.parametrize(("filters", "expected"), _task_run_cases(), ids=range(len(_task_run_cases())))
def test_task_runs(api: httpx.Client, world: dict[str, Any], filters: dict[str, Any], expected: set[str]) -> None:
    body, ids = _meant(filters, world), {world["tasks"][name]["id"] for name in expected}
    for order in ("ID_DESC", "EXPECTED_START_TIME_ASC", "END_TIME_DESC"):
        found = [run["id"] for run in post(api, "/task_runs/filter", {**body, "sort": order})]
        assert (len(found), set(found)) == (len(ids), ids), order
    assert post(api, "/task_runs/count", body) == len(ids)


@pytest.mark.parametrize(("filters", "expected"), _flow_cases(), ids=range(len(_flow_cases())))
def test_flows(api: httpx.Client, world: dict[str, Any], filters: dict[str, Any], expected: set[int]) -> None:
    body, ids = _meant(filters, world), {world["flows"][number]["id"] for number in expected}
    for order in ("UPDATED_DESC", "NAME_ASC"):
        assert {flow["id"] for flow in post(api, "/flows/filter", {**body, "sort": order})} == ids
    assert post(api, "/flows/count", body) == len(ids)


def test_orders(api: httpx.Client, world: dict[str, Any]) -> None:
    def order(sort: str) -> list[int]:
        numbers = {run["id"]: number for number, run in enumerate(world["runs"])}
        return [numbers[run["id"]] for run in post(api, "/flow_runs/filter", {"sort": sort})]

    by_id = sorted(range(6), key=lambda number: world["runs"][number]["id"], reverse=True)
    assert order("ID_DESC") == by_id
    assert order("EXPECTED_START_TIME_DESC") == order("EXPECTED_START_TIME_ASC")[::-1]
    assert order("EXPECTED_START_TIME_DESC")[0] == order("START_TIME_DESC")[0] == order("START_TIME_ASC")[-1] == 1
    assert order("NAME_ASC") == order("NAME_DESC")[::-1]
    # those that have no such time come last
    assert order("NEXT_SCHEDULED_START_TIME_ASC")[:2] == [4, 1]
    assert order("END_TIME_DESC")[0] == 0


def test_pages(api: httpx.Client, world: dict[str, Any]) -> None:
    whole = [run["id"] for run in post(api, "/flow_runs/filter", {"sort": "NAME_ASC"})]
    for filters in ({}, {"flow_runs": {"state": {"type": {"any_": ["PENDING", "SCHEDULED", "RUNNING", "COMPLETED"]}}}}):
        for sort in ORDERS:
            body = {"sort": sort, **filters}
            complete = [run["id"] for run in post(api, "/flow_runs/filter", body)]
            parts = [
                run["id"]
                for offset in range(0, 8, 2)
                for run in post(api, "/flow_runs/filter", {**body, "limit": 2, "offset": offset})
            ]
            assert parts == complete
    page = post(api, "/flow_runs/paginate", {"sort": "NAME_ASC", "limit": 4, "page": 2})
    assert ([run["id"] for run in page["results"]], page["count"], page["pages"], page["page"]) == (whole[4:], 6, 2, 2)
    assert post(api, "/task_runs/paginate", {"limit": 3})["pages"] == 2
    assert post(api, "/flows/paginate", {"limit": 0})["pages"] == 0
    assert post(api, "/flows/paginate", {"page": 2**62})["results"] == []
    assert post(api, "/flow_runs/filter", {"limit": 0}) == []
    assert post(api, "/flow_runs/filter", {"offset": 2**62}) == []


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"limit": -1},
        {"offset": -1},
        {"sort": "COLOUR_DESC"},
        {"flow_runs": {"colour": {"any_": ["red"]}}},
        {"flow_runs": {"id": {"any_": ["no id"]}}},
        {"flow_runs": {"state": {"type": {"any_": ["ASLEEP"]}}}},
        {"flow_runs": {"start_time": {"after_": "yesterday"}}},
    ],
    ids=range(8),
)
def test_what_cannot_be_asked(api: httpx.Client, body: dict[str, Any]) -> None:
    assert api.post("/flow_runs/filter", json=body).status_code == 422
    assert api.post("/flow_runs/filter", json={}).status_code == 200
