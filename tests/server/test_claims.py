"""Claims: who asks gets what is due, in order, within the limits, and nobody else gets it."""

import copy
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from riverrun.base.ids import uuid7
from riverrun.server.serve import in_thread
from riverrun.wire.journal import FLOW_RUN, StateRecord, encode
from riverrun.wire.states import TYPE_CODES, StateType
from tests.server.claiming import Place


@pytest.fixture
def place(api: httpx.Client) -> Place:
    return Place(api)


def test_a_claim_gives_the_run_with_what_it_takes_to_run_it(place: Place) -> None:
    deployment = place.deploy(job_variables={"command": "go", "env": {"B": "2"}})
    run = place.run(deployment, job_variables={"env.C": "3"})
    (one,) = place.claim()
    assert one["flow_run"]["id"] == run
    assert one["flow_run"]["state"]["type"] == "PENDING"
    assert one["deployment"]["id"] == deployment
    assert one["flow_name"].startswith("flow ")
    assert one["job_configuration"] == {
        "command": "go", "env": {"A": "1", "B": "2", "C": "3"}, "key": "{{ prefect.blocks.secret.k }}", "label": "run-x",
    }  # fmt: skip
    assert place.claim() == []
    begun = place.begin(run, one["fence"])
    assert begun["status"] == "ACCEPT"
    assert begun["flow_run"]["state"]["type"] == "RUNNING"


def test_what_is_due_first_goes_first_and_what_is_not_due_waits(place: Place) -> None:
    runs = {second: place.run(seconds=second) for second in (-1, -3, 60, -2)}
    assert place.ids(limit=10) == [runs[-3], runs[-2], runs[-1]]
    assert place.state(runs[60])["type"] == "SCHEDULED"


def test_a_waiting_claim_is_answered_at_once_and_when_a_run_is_due(place: Place) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(place.ids, wait=20)
        time.sleep(0.3)  # it waits by now; were it not so, the test would be weaker, not wrong
        before = time.monotonic()
        run = place.run()
        assert waiting.result() == [run]
        assert time.monotonic() - before < 1.5
    run = place.run(seconds=0.7)
    before = time.monotonic()
    assert place.ids(wait=20) == [run]
    assert 0.5 < time.monotonic() - before < 1.9
    before = time.monotonic()
    assert place.ids(wait=0.2) == []
    assert time.monotonic() - before >= 0.2


def test_queues_go_by_priority(place: Place) -> None:
    for name, priority in (("low", 3), ("high", 1)):
        place.api.post(f"/work_pools/{place.pool}/queues", json={"name": name, "priority": priority})
    runs = {
        name: place.run(place.deploy(work_queue_name=name), seconds=-1 if name == "high" else -9)
        for name in ("low", "high")
    }
    assert place.ids(work_queue_names=["low"]) == [runs["low"]]
    place.end(runs["low"], "CANCELLED")
    runs["low"] = place.run(place.deploy(work_queue_name="low"), seconds=-9)
    assert place.ids(limit=5) == [runs["high"], runs["low"]]
    body = {"worker": str(uuid4()), "name": "w", "work_queue_names": ["none such"]}
    assert place.api.post(f"/work_pools/{place.pool}/claim", json=body).status_code == 404
    assert place.api.post("/work_pools/none such/claim", json=body).status_code == 404
    assert place.api.post(f"/work_pools/{place.pool}/claim", json={**body, "name": ""}).status_code == 422


def test_pauses_hold_runs_back(place: Place) -> None:
    run = place.run()
    pool, queue = f"/work_pools/{place.pool}", f"/work_pools/{place.pool}/queues/default"
    for path in (pool, queue):
        place.api.patch(path, json={"is_paused": True})
        assert place.ids() == []
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(place.ids, wait=20)
            time.sleep(0.2)
            before = time.monotonic()
            place.api.patch(path, json={"is_paused": False})
            assert waiting.result() == [run]
            assert time.monotonic() - before < 1.5
        place.api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "SCHEDULED"}, "force": True})


@pytest.mark.parametrize("what", ["pool", "queue"])
def test_limits_of_pools_and_queues_hold_and_pass_slots_on(place: Place, what: str) -> None:
    path = f"/work_pools/{place.pool}" + ("/queues/default" if what == "queue" else "")
    place.api.patch(path, json={"concurrency_limit": 2})
    runs = [place.run(seconds=-9 + n) for n in range(4)]
    assert place.ids(limit=10) == runs[:2]
    assert place.ids(limit=10) == []
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(place.ids, wait=20, limit=10)
        time.sleep(0.2)
        before = time.monotonic()
        place.end(runs[0])
        assert waiting.result() == [runs[2]]
        assert time.monotonic() - before < 1.5


def test_a_limit_of_the_pool_counts_over_its_queues(place: Place) -> None:
    place.api.post(f"/work_pools/{place.pool}/queues", json={"name": "other", "priority": 1})
    other = place.deploy(work_queue_name="other")
    for _ in range(3):
        place.run(other)
        place.run()
    place.api.patch(f"/work_pools/{place.pool}", json={"concurrency_limit": 4})
    assert len(place.ids(limit=10)) == 4


def test_the_limit_of_a_deployment_lets_the_first_come_first(api: httpx.Client) -> None:
    place = Place(api, concurrency_limit=1)
    runs = [place.run(seconds=-9 + n) for n in range(3)]
    assert place.ids(limit=10) == [runs[0]]
    assert [place.state(run)["name"] for run in runs[1:]] == ["AwaitingConcurrencySlot"] * 2
    free = place.run(place.deploy())
    assert place.ids(limit=10) == [free]
    later = place.run(seconds=-1)
    for ended, following in zip(runs, [*runs[1:], later], strict=True):
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(place.ids, wait=20, limit=10)
            time.sleep(0.2)
            before = time.monotonic()
            place.end(ended)
            assert waiting.result() == [following]
            assert time.monotonic() - before < 1.5


def test_what_comes_too_much_is_cancelled_where_that_is_wanted(api: httpx.Client) -> None:
    place = Place(api, concurrency_limit=1, concurrency_options={"collision_strategy": "CANCEL_NEW"})
    runs = [place.run(seconds=-9 + n) for n in range(3)]
    assert place.ids(limit=10) == [runs[0]]
    assert [place.state(run)["type"] for run in runs[1:]] == ["CANCELLED"] * 2


def test_a_slot_that_a_journal_gives_back_is_passed_on(api: httpx.Client) -> None:
    place = Place(api, concurrency_limit=1)
    runs = [place.run(seconds=-9 + n) for n in range(2)]
    (one,) = place.claim(limit=10)
    writer = uuid7()
    body = {"writer": str(writer), "transition_id": str(uuid7()), "fence": one["fence"]}
    assert api.post(f"/flow_runs/{runs[0]}/begin", json=body).json()["status"] == "ACCEPT"
    assert place.ids() == []
    ended = StateRecord(
        FLOW_RUN, UUID(runs[0]).bytes, uuid7().bytes, TYPE_CODES[StateType.COMPLETED], time.time_ns() // 1000
    )
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(place.ids, wait=20)
        time.sleep(0.2)
        before = time.monotonic()
        content = msgspec.msgpack.encode({"writer": writer.bytes, "records": [[1, encode(ended)]]})
        headers = {"content-type": "application/x-msgpack"}
        assert api.post("/journal", content=content, headers=headers).status_code == 200
        assert waiting.result() == [runs[1]]
        assert time.monotonic() - before < 1.5
    assert place.state(runs[0])["type"] == "COMPLETED"


def test_runners_claim_runs_of_their_deployments(place: Place) -> None:
    other = place.deploy()
    first, second = place.run(other, seconds=-5), place.run(seconds=-3)
    place.run(place.deploy())
    body = {"worker": str(uuid4()), "name": "r", "deployment_ids": [place.deployment, other, str(uuid4())], "limit": 5}
    got = place.api.post("/deployments/claim", json=body).json()
    assert [one["flow_run"]["id"] for one in got["claims"]] == [first, second]
    assert got["lease_seconds"] == 30
    assert place.api.get(f"/deployments/{place.deployment}").json()["status"] == "READY"
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(place.api.post, "/deployments/claim", json={**body, "wait": 20})
        time.sleep(0.2)
        run = place.run(other)
        assert [one["flow_run"]["id"] for one in waiting.result().json()["claims"]] == [run]


def test_who_claims_is_online_and_makes_ready(place: Place) -> None:
    worker = uuid4()
    assert place.api.get(f"/work_pools/{place.pool}").json()["status"] == "NOT_READY"
    place.claim(worker)
    assert place.api.get(f"/work_pools/{place.pool}").json()["status"] == "READY"
    (row,) = place.api.post(f"/work_pools/{place.pool}/workers/filter").json()
    assert (row["name"], row["status"]) == ("w", "ONLINE")
    assert place.api.get(f"/work_pools/{place.pool}/queues/default").json()["status"] == "READY"
    assert place.api.get(f"/deployments/{place.deployment}").json()["status"] == "READY"
    run = place.run()
    assert place.ids(worker) == [run]
    place.api.post("/workers/presence", json={"worker": str(worker), "leaving": True})
    (row,) = place.api.post(f"/work_pools/{place.pool}/workers/filter").json()
    assert row["status"] == "OFFLINE"
    state = place.state(run)
    assert state["type"] == "SCHEDULED"
    assert "The worker w has stopped" in state["message"]
    assert place.ids() == [run]


def _claim_all(places: list[Place], claimers: int = 8) -> list[str]:
    """What competing claimers got, until there was nothing left."""
    got: list[str] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        place = places[number % len(places)]
        while mine := place.ids(limit=1 + number % 3, wait=1):
            with lock:
                got.extend(mine)

    with ThreadPoolExecutor(claimers) as threads:
        list(threads.map(work, range(claimers)))
    return got


def test_a_hundred_runs_for_competing_claimers_go_once_each(place: Place) -> None:
    runs = {place.run() for _ in range(100)}
    assert Counter(_claim_all([place])) == Counter(runs)


def test_replicas_hand_out_each_run_once_and_keep_limits(fresh_store_url: str) -> None:
    if fresh_store_url.startswith("sqlite"):
        pytest.skip("a SQLite store has one server")
    with ExitStack() as stack:
        bases = [stack.enter_context(in_thread(fresh_store_url)) for _ in range(2)]
        clients = [stack.enter_context(httpx.Client(base_url=f"{base}/api", timeout=20)) for base in bases]
        first = Place(clients[0])
        second = copy.copy(first)
        second.api = clients[1]
        runs = {first.run() for _ in range(60)}
        clients[0].patch(f"/work_pools/{first.pool}", json={"concurrency_limit": 40})
        got = _claim_all([first, second])
        assert (len(got), len(set(got))) == (40, 40)
        clients[0].patch(f"/work_pools/{first.pool}", json={"concurrency_limit": None})
        assert Counter([*got, *_claim_all([first, second])]) == Counter(runs)


def test_one_id_handed_out_fifty_times_begins_once(place: Place) -> None:
    run = place.run()
    (one,) = place.claim()
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda n: place.begin(run, one["fence"] if n % 2 else None), range(50)))
    assert Counter(answer["status"] for answer in answers) == {"ACCEPT": 1, "ABORT": 49}


def test_a_run_keeps_the_version_of_the_deployment_that_it_was_made_of(place: Place) -> None:
    deployment = place.deploy(entrypoint="a.py:f", job_variables={"command": "old"})
    old = place.run(deployment, seconds=-5)
    place.api.patch(f"/deployments/{deployment}", json={"entrypoint": "b.py:f", "job_variables": {"command": "new"}})
    new = place.run(deployment)
    got = {one["flow_run"]["id"]: one for one in place.claim(limit=5)}
    assert {run: got[run]["deployment"]["entrypoint"] for run in (old, new)} == {old: "a.py:f", new: "b.py:f"}
    assert got[old]["job_configuration"]["command"] == "old"


def test_a_waiting_claim_hears_of_queues_that_are_new(place: Place) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(place.ids, wait=20)
        time.sleep(0.2)
        deployment = place.deploy(work_queue_name="made by the deployment")
        time.sleep(0.1)
        before = time.monotonic()
        run = place.run(deployment)
        assert waiting.result() == [run]
        assert time.monotonic() - before < 1.5
