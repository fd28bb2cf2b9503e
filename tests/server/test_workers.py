"""Workers over HTTP: life signs, statuses, and the runs they are given."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

NOW = datetime.now(UTC)


def _at(**delta) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def _heartbeat(api: httpx.Client, pool: str, name: str, **fields) -> None:
    assert api.post(f"/work_pools/{pool}/workers/heartbeat", json={"name": name, **fields}).status_code == 204


def _workers(api: httpx.Client, pool: str, **body) -> list[dict]:
    return api.post(f"/work_pools/{pool}/workers/filter", json=body).json()


def test_life_signs(api: httpx.Client) -> None:
    api.post("/work_pools/", json={"name": "alive", "type": "process"})
    assert _workers(api, "alive") == []
    for name in ("one", "one", "two"):
        _heartbeat(api, "alive", name, heartbeat_interval_seconds=60)
    found = _workers(api, "alive")
    assert [worker["name"] for worker in found] == ["two", "one"]
    assert found[0]["status"] == "ONLINE"
    assert found[0]["heartbeat_interval_seconds"] == 60
    assert _workers(api, "alive", limit=1)[0]["name"] == "two"
    assert api.get("/work_pools/alive").json()["status"] == "READY"
    assert api.delete("/work_pools/alive/workers/one").status_code == 204
    assert api.delete("/work_pools/alive/workers/one").status_code == 404
    assert [worker["name"] for worker in _workers(api, "alive")] == ["two"]


def test_a_silent_worker_is_offline(api: httpx.Client) -> None:
    api.post("/work_pools/", json={"name": "silent", "type": "process"})
    _heartbeat(api, "silent", "gone", heartbeat_interval_seconds=0)
    _heartbeat(api, "silent", "here")
    assert {worker["name"]: worker["status"] for worker in _workers(api, "silent")} == {
        "gone": "OFFLINE",
        "here": "ONLINE",
    }
    only = _workers(api, "silent", workers={"status": {"any_": ["OFFLINE"]}})
    assert [worker["name"] for worker in only] == ["gone"]
    assert _workers(api, "silent", workers={"last_heartbeat_time": {"before_": _at(hours=-1)}}) == []
    api.delete("/work_pools/silent/workers/here")
    assert api.get("/work_pools/silent").json()["status"] == "NOT_READY"


def test_what_is_wrong_is_said(api: httpx.Client) -> None:
    assert api.post("/work_pools/nobody/workers/heartbeat", json={"name": "w"}).status_code == 404
    assert api.post("/work_pools/nobody/workers/filter").status_code == 404
    api.post("/work_pools/", json={"name": "strict", "type": "process"})
    answer = api.post("/work_pools/strict/workers/heartbeat")
    assert answer.status_code == 422
    assert "required" in answer.text
    assert api.post("/work_pools/strict/get_scheduled_flow_runs", json={"work_queue_names": ["x"]}).status_code == 404
    assert api.post("/work_pools/strict/get_scheduled_flow_runs", json={"limit": 201}).status_code == 422


@pytest.fixture
def pool(fresh_api: httpx.Client) -> httpx.Client:
    """A pool A with queues q1 and q2 behind `default`, each with two due runs and one of tomorrow; one runs in q1."""
    fresh_api.post("/work_pools/", json={"name": "A", "type": "process"})
    flow = fresh_api.post("/flows/", json={"name": "f"}).json()["id"]
    for queue in ("q1", "q2"):
        fresh_api.post("/work_pools/A/queues", json={"name": queue})
        for hours in (24, -1, -2):
            _run(fresh_api, flow, queue, {"type": "SCHEDULED", "state_details": {"scheduled_time": _at(hours=hours)}})
    _run(fresh_api, flow, "q1", {"type": "RUNNING"})
    return fresh_api


def _run(api: httpx.Client, flow: str, queue: str, state: dict) -> str:
    body = {"flow_id": flow, "work_pool_name": "A", "work_queue_name": queue, "state": state}
    answer = api.post("/flow_runs/", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["work_queue_name"] == queue
    return answer.json()["id"]


def _due(api: httpx.Client, **body) -> list[dict]:
    answer = api.post("/work_pools/A/get_scheduled_flow_runs", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_runs_come_by_priority_then_time(pool: httpx.Client) -> None:
    found = _due(pool)
    assert [each["flow_run"]["work_queue_name"] for each in found] == ["q1"] * 3 + ["q2"] * 3
    times = [each["flow_run"]["next_scheduled_start_time"] for each in found]
    assert times[:3] == sorted(times[:3])
    assert len(_due(pool, scheduled_before=_at(seconds=10))) == 4
    assert len(_due(pool, scheduled_after=_at(seconds=10))) == 2
    assert len(_due(pool, limit=2)) == 2
    assert _due(pool, limit=0) == []
    assert len(_due(pool, work_queue_names=["q2"])) == 3
    pool.patch("/work_pools/A/queues/q2", json={"priority": 1})
    assert _due(pool)[0]["flow_run"]["work_queue_name"] == "q2"


def test_pauses_and_limits_hold(pool: httpx.Client) -> None:
    pool.patch("/work_pools/A/queues/q1", json={"concurrency_limit": 2})
    assert len(_due(pool)) == 1 + 3  # one runs already
    assert pool.get("/work_pools/A/queues/q1").json()["active_slots"] == 1
    pool.patch("/work_pools/A", json={"concurrency_limit": 3})
    assert len(_due(pool)) == 2
    pool.patch("/work_pools/A", json={"concurrency_limit": 0})
    assert _due(pool) == []
    pool.patch("/work_pools/A", json={"concurrency_limit": None})
    pool.patch("/work_pools/A/queues/q1", json={"is_paused": True})
    assert {each["flow_run"]["work_queue_name"] for each in _due(pool)} == {"q2"}
    pool.patch("/work_pools/A", json={"is_paused": True})
    assert _due(pool) == []
    status = pool.post("/work_pools/A/concurrency_status", json={"flow_run_limit": 5}).json()
    assert (status["active_slots"], status["count"], status["pages"]) == (1, 3, 1)
    one = next(queue for queue in status["queues"] if queue["queue_name"] == "q1")
    assert (one["active_slots"], one["concurrency_limit"], one["flow_runs"][0]["state_type"]) == (1, 2, "RUNNING")
    paged = pool.post("/work_pools/A/concurrency_status", json={"page": 2, "limit": 2}).json()
    assert (len(paged["queues"]), paged["pages"]) == (1, 2)


def test_asking_makes_ready(pool: httpx.Client) -> None:
    before = datetime.now(UTC)
    _due(pool, work_queue_names=["q1"])
    queues = {queue["name"]: queue for queue in pool.post("/work_pools/A/queues/filter").json()}
    assert datetime.fromisoformat(queues["q1"]["last_polled"]) >= before
    assert queues["q1"]["status"] == "READY"
    assert queues["q2"]["last_polled"] is None
    _due(pool)
    assert all(queue["status"] == "READY" for queue in pool.post("/work_pools/A/queues/filter").json())
