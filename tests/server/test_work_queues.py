"""Work queues over HTTP: priorities, names, those of a pool and those without."""

from datetime import UTC, datetime

import httpx
import pytest


@pytest.fixture
def pool(api: httpx.Client, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("[", "-").replace("]", "")
    assert api.post("/work_pools/", json={"name": name, "type": "process"}).status_code == 201
    return f"/work_pools/{name}/queues"


def _make(api: httpx.Client, pool: str, name: str, **fields) -> dict:
    answer = api.post(pool, json={"name": name, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def _priorities(api: httpx.Client, pool: str) -> dict[str, int]:
    return {queue["name"]: queue["priority"] for queue in api.post(f"{pool}/filter").json()}


def test_priorities_differ(api: httpx.Client, pool: str) -> None:
    assert _make(api, pool, "far", priority=99)["priority"] == 99
    assert _make(api, pool, "two")["priority"] == 2
    _make(api, pool, "new", priority=2)
    assert _priorities(api, pool) == {"default": 1, "new": 2, "two": 3, "far": 99}
    assert api.patch(f"{pool}/far", json={"priority": 1}).status_code == 204
    assert _priorities(api, pool) == {"far": 1, "default": 2, "new": 3, "two": 4}
    assert api.delete(f"{pool}/new").status_code == 204
    assert _priorities(api, pool) == {"far": 1, "default": 2, "two": 4}
    assert api.post(pool, json={"name": "zero", "priority": 0}).status_code == 422


def test_changes(api: httpx.Client, pool: str) -> None:
    made = _make(api, pool, "q", description="old", concurrency_limit=2)
    assert made["active_slots"] == 0
    assert api.post(pool, json={"name": "q"}).status_code == 409
    assert api.patch(f"{pool}/q", json={"name": "r", "is_paused": True}).status_code == 204
    found = api.get(f"{pool}/r").json()
    assert (found["id"], found["is_paused"], found["status"], found["description"]) == (
        made["id"],
        True,
        "PAUSED",
        "old",
    )
    assert api.get(f"{pool}/q").status_code == 404
    assert api.patch(f"{pool}/r", json={"name": "default"}).status_code == 409
    assert api.patch(
        f"/work_queues/{made['id']}", json={"is_paused": False, "last_polled": datetime.now(UTC).isoformat()}
    )
    assert api.get(f"/work_queues/{made['id']}").json()["status"] == "READY"
    assert api.delete(f"{pool}/default").status_code == 409
    assert api.delete(f"/work_queues/{made['id']}").status_code == 204
    assert api.get(f"/work_queues/{made['id']}").status_code == 404
    assert (
        api.post(f"{pool}/filter", json={"work_queues": {"name": {"startswith_": ["def"]}}}).json()[0]["name"]
        == "default"
    )


def test_queues_without_a_pool(fresh_api: httpx.Client) -> None:
    api = fresh_api
    made = api.post("/work_queues/", json={"name": "default"}).json()
    assert made["work_pool_name"] == "default-agent-pool"
    assert api.get("/work_pools/default-agent-pool").json()["type"] == "prefect-agent"
    assert api.post("/work_queues/", json={"name": "default"}).status_code == 409
    other = api.post("/work_queues/", json={"name": "other", "filter": {"tags": ["x"]}}).json()
    assert other["filter"] == {"tags": ["x"], "deployment_ids": None}
    assert api.get("/work_queues/name/other").json()["id"] == other["id"]
    assert api.get("/work_queues/name/nobody").status_code == 404
    assert [queue["name"] for queue in api.post("/work_queues/filter").json()] == ["default", "other"]
    status = api.get(f"/work_queues/{other['id']}/status").json()
    assert (status["healthy"], status["late_runs_count"], status["last_polled"]) == (False, 0, None)
    assert api.post(f"/work_queues/{other['id']}/get_runs", headers={"x-prefect-ui": "true"}).json() == []
    assert api.get(f"/work_queues/{other['id']}/status").json()["last_polled"] is None
    assert api.post(f"/work_queues/{other['id']}/get_runs").json() == []
    assert api.get(f"/work_queues/{other['id']}/status").json()["healthy"] is True
    assert api.post(f"/work_queues/{other['id']}/concurrency_status").json()["active_slots"] == 0
    unknown = "/work_queues/00000000-0000-0000-0000-000000000000"
    assert api.get(unknown).status_code == 404
    assert api.get(f"{unknown}/status").status_code == 404
    assert api.post(f"{unknown}/get_runs").status_code == 404
