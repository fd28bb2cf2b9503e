"""Artifacts over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest


def make(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = api.post("/artifacts/", json=fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def flow_run(api: httpx.Client) -> dict[str, Any]:
    flow = api.post("/flows/", json={"name": f"flow-{uuid4().hex}"}).json()
    run: dict[str, Any] = api.post("/flow_runs/", json={"flow_id": flow["id"]}).json()
    return run


@pytest.mark.parametrize("data", [None, 1, 1.5, "text", '{"not": "parsed"}', {"a": [1]}, [[1, 2]], True], ids=repr)
def test_data_comes_back_as_it_was(api: httpx.Client, data: Any) -> None:
    made = make(api, data=data, type="table", description="# Words", metadata_={"k": "v"})
    assert (made["data"], type(made["data"])) == (data, type(data))
    assert (made["metadata_"], made["description"], made["key"]) == ({"k": "v"}, "# Words", None)
    assert api.get(f"/artifacts/{made['id']}").json() == made


def test_the_newest_of_a_key_is_known(api: httpx.Client) -> None:
    key = f"key-{uuid4().hex}"
    first, second = make(api, key=key, data=1), make(api, key=key, data=2, type="markdown")
    assert api.get(f"/artifacts/{key}/latest").json() == second
    filter = {"artifacts": {"key": {"any_": [key]}}}
    [collection] = api.post("/artifacts/latest/filter", json=filter).json()
    assert (collection["latest_id"], collection["data"], collection["type"]) == (second["id"], 2, "markdown")
    assert collection["id"] not in (first["id"], second["id"])
    assert api.patch(f"/artifacts/{second['id']}", json={"data": 3}).status_code == 204
    assert api.post("/artifacts/latest/filter", json=filter).json()[0]["data"] == 3
    assert api.post("/artifacts/count", json=filter).json() == 2
    assert api.post("/artifacts/latest/count", json=filter).json() == 1
    assert api.delete(f"/artifacts/{second['id']}").status_code == 204
    assert api.get(f"/artifacts/{key}/latest").json()["id"] == first["id"]
    assert api.delete(f"/artifacts/{first['id']}").status_code == 204
    assert api.get(f"/artifacts/{key}/latest").status_code == 404
    assert api.post("/artifacts/latest/filter", json=filter).json() == []


def test_only_what_is_said_changes(api: httpx.Client) -> None:
    made = make(api, data={"a": 1}, description="old", metadata_={"k": "v"})
    assert api.patch(f"/artifacts/{made['id']}", json={"description": "new", "metadata_": None}).status_code == 204
    changed = api.get(f"/artifacts/{made['id']}").json()
    assert (changed["data"], changed["description"], changed["metadata_"]) == ({"a": 1}, "new", None)
    assert api.patch(f"/artifacts/{uuid4()}", json={"data": 1}).status_code == 404
    assert api.patch(f"/artifacts/{made['id']}", json={"key": "x"}).status_code == 422


def test_artifacts_are_found(fresh_api: httpx.Client) -> None:
    api = fresh_api
    run, other = flow_run(api), flow_run(api)
    task = str(uuid4())
    a = make(api, key="a-1", type="table", flow_run_id=run["id"], task_run_id=task)
    b = make(api, key="a-2", type="markdown", flow_run_id=run["id"])
    c = make(api, key="b-1", type="result", flow_run_id=other["id"])
    d = make(api, data=4)

    def found(**body: Any) -> set[str]:
        ids = {one["id"] for one in api.post("/artifacts/filter", json=body).json()}
        assert api.post("/artifacts/count", json=body).json() == len(ids)
        return ids

    assert found() == {one["id"] for one in (a, b, c, d)}
    assert found(artifacts={"key": {"exists_": True}}) == {a["id"], b["id"], c["id"]}
    assert found(artifacts={"key": {"exists_": False}}) == {d["id"]}
    assert found(artifacts={"key": {"like_": "A-_"}}) == {a["id"], b["id"]}
    assert found(artifacts={"type": {"not_any_": ["result"]}}) == {a["id"], b["id"]}
    assert found(artifacts={"task_run_id": {"any_": [task]}}) == {a["id"]}
    assert found(artifacts={"operator": "or_", "id": {"any_": [d["id"]]}, "key": {"any_": ["b-1"]}}) == {
        c["id"],
        d["id"],
    }
    assert found(flow_runs={"id": {"any_": [run["id"]]}}) == {a["id"], b["id"]}
    assert found(flows={"id": {"any_": [other["flow_id"]]}}) == {c["id"]}
    assert found(flow_runs={"id": {"any_": [run["id"]]}}, artifacts={"type": {"any_": ["table"]}}) == {a["id"]}
    newest = api.post("/artifacts/filter", json={"sort": "CREATED_DESC", "limit": 2, "offset": 1}).json()
    assert [one["id"] for one in newest] == [c["id"], b["id"]]
    by_key = api.post("/artifacts/latest/filter", json={"sort": "KEY_ASC"}).json()
    assert [one["key"] for one in by_key] == ["a-1", "a-2", "b-1"]
    of_run = api.post("/artifacts/latest/filter", json={"flow_runs": {"id": {"any_": [run["id"]]}}}).json()
    assert {one["latest_id"] for one in of_run} == {a["id"], b["id"]}
    assert len(api.post("/artifacts/filter").json()) == 4


def test_a_key_has_a_form(api: httpx.Client) -> None:
    for key in ("camelCase", "a_b", "", "a b", "k" * 501):
        answer = api.post("/artifacts/", json={"key": key, "data": 1})
        assert answer.status_code == 422
        assert answer.json()["exception_detail"][0]["loc"] == ["body", "key"]


def test_fields_of_a_query_may_be_null(api: httpx.Client) -> None:
    nulls = {"offset": None, "limit": None, "sort": None, "artifacts": None}
    assert api.post("/artifacts/filter", json=nulls).status_code == 200
    answer = api.post("/artifacts/filter", json={**nulls, "sort": "sideways"})
    assert answer.json()["exception_detail"][0]["loc"] == ["body", "sort"]


def test_many_may_leave_an_artifact_of_one_key_at_once(api: httpx.Client) -> None:
    key = f"key-{uuid4().hex}"
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda number: make(api, key=key, data=number), range(20)))
    filter = {"artifacts": {"key": {"any_": [key]}}}
    [collection] = api.post("/artifacts/latest/filter", json=filter).json()
    assert collection["latest_id"] in {one["id"] for one in made}
    assert api.post("/artifacts/count", json=filter).json() == 20
