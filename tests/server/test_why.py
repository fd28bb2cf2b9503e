"""Every run that is not running says why, as data and in one sentence."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from riverrun.base.ids import uuid7
from tests.server.claiming import Place


@pytest.fixture
def place(api: httpx.Client) -> Place:
    return Place(api)


def why(place: Place, run: str) -> dict[str, Any]:
    answer = place.api.get(f"/flow_runs/{run}/why")
    assert answer.status_code == 200, answer.text
    said = dict(answer.json())
    assert said["sentence"].endswith(".")
    assert len(said["sentence"]) < 400
    return said


def kinds(said: dict[str, Any]) -> list[str]:
    return [reason["kind"] for reason in said["reasons"]]


def test_scheduled_for_later(place: Place) -> None:
    place.claim()
    said = why(place, place.run(seconds=3600))
    assert kinds(said) == ["scheduled"]
    ahead = datetime.fromisoformat(said["predicted_start"]) - datetime.now(UTC)
    assert 3500 < ahead.total_seconds() < 3601
    assert said["late_seconds"] is None


def test_no_live_worker(place: Place) -> None:
    run = place.run(seconds=-100)
    said = why(place, run)
    assert kinds(said) == ["no_worker"]
    assert said["sentence"].startswith("It is late by 10")
    assert f"no live worker for work pool '{place.pool}' (none was ever seen)" in said["sentence"]
    assert said["predicted_start"] is None
    worker = uuid4()
    place.claim(worker, work_queue_names=["default"], limit=1)
    place.api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "SCHEDULED"}, "force": True})
    assert kinds(why(place, run)) == ["waiting"]
    place.api.post("/workers/presence", json={"worker": str(worker), "leaving": True})
    assert "w was last seen at 20" in why(place, run)["reasons"][0]["message"]


def test_pauses(place: Place) -> None:
    place.claim()
    run = place.run()
    place.api.patch(f"/work_pools/{place.pool}", json={"is_paused": True})
    place.api.patch(f"/work_pools/{place.pool}/queues/default", json={"is_paused": True})
    said = why(place, run)
    assert kinds(said) == ["pool_paused", "queue_paused"]
    assert said["sentence"].endswith("is paused (and 1 more reason).")
    assert said["predicted_start"] is None


def test_full_limits_name_their_holders(api: httpx.Client) -> None:
    place = Place(api, concurrency_limit=1)
    runs = [place.run(seconds=-9 + n) for n in range(3)]
    place.claim()
    place.api.patch(f"/work_pools/{place.pool}", json={"concurrency_limit": 1})
    place.api.patch(f"/work_pools/{place.pool}/queues/default", json={"concurrency_limit": 1})
    said = why(place, runs[2])
    assert kinds(said) == ["pool_limit", "queue_limit", "deployment_limit"]
    for reason in said["reasons"]:
        assert reason["limit"] == 1
        assert [holder["id"] for holder in reason["holders"]] == runs[:1]
        assert reason["ahead"] == 1
    assert "The limit of 1 of work pool" in said["sentence"]
    assert said["predicted_start"] is None  # no run has ended yet that would tell how long they take
    place.api.post(f"/flow_runs/{runs[0]}/set_state", json={"state": {"type": "RUNNING"}})
    place.end(runs[0])
    place.claim()
    assert why(place, runs[2])["predicted_start"] is not None


def test_waiting_behind_others(place: Place) -> None:
    place.claim()
    for _ in range(3):
        place.run(seconds=-5)
    said = why(place, place.run())
    assert kinds(said) == ["waiting"]
    assert said["reasons"][0]["ahead"] == 3


def test_pending_at_a_worker_and_running_and_ended(place: Place) -> None:
    run = place.run()
    place.claim()
    said = why(place, run)
    assert kinds(said) == ["pending"]
    assert said["reasons"][0]["name"] == "w"
    place.begin(run)
    said = why(place, run)
    assert said["running"] is True
    assert said["sentence"].startswith("It is running since")
    place.api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}})
    assert kinds(why(place, run)) == ["cancelling"]
    place.end(run, "CANCELLED")
    assert kinds(why(place, run)) == ["ended"]


def test_paused_for_input_and_retries(place: Place) -> None:
    run = place.run()
    place.claim()
    place.begin(run)
    until = "2099-01-01T00:00:00Z"
    details = {"pause_timeout": until, "run_input_keyset": {"schema": "s", "response": "r"}, "pause_key": str(uuid7())}
    paused = {"type": "PAUSED", "state_details": details}
    assert place.api.post(f"/flow_runs/{run}/set_state", json={"state": paused}).json()["status"] == "ACCEPT"
    said = why(place, run)
    assert kinds(said) == ["input"]
    assert "fails if it is not resumed by 2099-01-01" in said["sentence"]
    flow = place.api.post("/flows/", json={"name": f"flow {uuid4()}"}).json()["id"]
    body = {"flow_id": flow, "empirical_policy": {"retries": 1, "retry_delay": 100}, "state": {"type": "PENDING"}}
    retried = place.api.post("/flow_runs/", json=body).json()["id"]
    for kind in ("RUNNING", "FAILED"):
        place.api.post(f"/flow_runs/{retried}/set_state", json={"state": {"type": kind}})
    said = why(place, retried)
    assert kinds(said) == ["retry"]
    assert said["predicted_start"] is not None


def test_runs_that_nobody_would_start(place: Place) -> None:
    flow = place.api.post("/flows/", json={"name": f"flow {uuid4()}"}).json()["id"]
    alone = place.api.post("/flow_runs/", json={"flow_id": flow, "state": {"type": "SCHEDULED"}}).json()["id"]
    assert kinds(why(place, alone)) == ["no_deployment"]
    deployment = place.api.post("/deployments/", json={"name": "served", "flow_id": flow}).json()["id"]
    run = place.run(deployment)
    said = why(place, run)
    assert kinds(said) == ["nobody_serves"]
    assert "Nobody serves the deployment 'served' (nobody ever did)" in said["sentence"]
    empty = {"worker": str(uuid4()), "name": "r", "deployment_ids": [deployment]}
    place.api.post("/deployments/claim", json=empty)
    assert kinds(why(place, run)) == ["pending"]
    assert place.api.get(f"/flow_runs/{uuid4()}/why").status_code == 404
