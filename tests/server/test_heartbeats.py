"""Runs of unmodified Prefect clients that fall silent: judged by their heartbeats, never without one."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from riverrun.base.clock import now, to_micros
from riverrun.server.db.engine import open_database
from riverrun.server.serve import in_thread
from riverrun.server.services.heartbeats import LONGEST, Watch
from riverrun.server.store import Store

SECOND = 1_000_000


@pytest.fixture
def opened(fresh_store_url: str) -> Iterator[tuple[httpx.Client, Store]]:
    with in_thread(fresh_store_url) as base, httpx.Client(base_url=f"{base}/api", timeout=20) as client:
        with open_database(fresh_store_url) as database:
            store = Store(database)
            yield client, store
            store.close()


def running(api: httpx.Client) -> str:
    flow = api.post("/flows/", json={"name": uuid4().hex}).json()["id"]
    body = {"flow_id": flow, "state": {"type": "RUNNING"}}
    return str(api.post("/flow_runs/", json=body).json()["id"])


def beat(api: httpx.Client, run: str, seconds_ago: float = 0) -> None:
    event = {
        "id": str(uuid4()),
        "occurred": (now() - timedelta(seconds=seconds_ago)).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
    }
    assert api.post("/events", json=[event]).status_code == 204


def state(api: httpx.Client, run: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/flow_runs/{run}").json()["state"]
    return found


def judged(store: Store, after: int) -> int:
    """How many runs end in a pass so many microseconds from now, by a loop that has been on watch for long enough."""
    watch, at = Watch(), to_micros(now()) + after
    for step in range(LONGEST, 0, -30 * SECOND):
        assert watch.run_once(store, at - step) == 0
    return watch.run_once(store, at)


def test_a_run_whose_heartbeats_stay_out_has_crashed(opened: tuple[httpx.Client, Store]) -> None:
    api, store = opened
    run, silent = running(api), running(api)
    beat(api, run)
    assert judged(store, LONGEST - 30 * SECOND) == 0
    assert judged(store, LONGEST + 30 * SECOND) == 1
    assert state(api, run)["type"] == "CRASHED"
    assert "heartbeats" in state(api, run)["message"]
    assert state(api, silent)["type"] == "RUNNING", "it has never sent one"
    assert judged(store, LONGEST + 60 * SECOND) == 0
    # it lives after all
    done = api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "COMPLETED"}})
    assert (done.status_code, done.json()["status"]) == (201, "ACCEPT")


def test_whatever_is_heard_of_a_run_counts(opened: tuple[httpx.Client, Store]) -> None:
    api, store = opened
    run = running(api)
    beat(api, run)
    late = (now() + timedelta(seconds=300)).isoformat()
    line = {"name": "x", "level": 20, "message": "still here", "timestamp": late, "flow_run_id": run}
    assert api.post("/logs/", json=[line]).status_code == 201
    assert judged(store, LONGEST + 30 * SECOND) == 0
    assert judged(store, LONGEST + 330 * SECOND) == 1


def test_a_client_that_beats_seldom_is_given_the_time(opened: tuple[httpx.Client, Store]) -> None:
    api, store = opened
    run = running(api)
    beat(api, run, seconds_ago=900)
    beat(api, run)
    assert judged(store, 2700 * SECOND) == 0
    assert judged(store, 2800 * SECOND) == 1


def test_nobody_is_judged_after_a_start_or_a_jump_of_the_clock(opened: tuple[httpx.Client, Store]) -> None:
    api, store = opened
    run = running(api)
    beat(api, run)
    watch, later = Watch(), to_micros(now()) + 2 * LONGEST
    assert watch.run_once(store, later) == 0
    assert watch.run_once(store, later + LONGEST + SECOND) == 0
    assert state(api, run)["type"] == "RUNNING"
