"""Attempts: a claim lasts as long as its worker gives signs of life; what it leaves behind goes to the next worker."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa

from riverrun.base.clock import now, to_micros
from riverrun.base.ids import uuid7
from riverrun.server.claims.attempts import LEASE
from riverrun.server.db import tables as t
from riverrun.server.db.engine import open_database
from riverrun.server.services.attempts import Sweeper
from riverrun.server.store import Store
from tests.server.claiming import Place

SECOND = 1_000_000


class Watch:
    """The store of a server, whose attempts can be made to expire, and a sweeper that has been on watch for long."""

    def __init__(self, url: str, place: Place) -> None:
        self.url, self.place = url, place
        self.sweeper = Sweeper()

    def sweep(self, store: Store) -> int:
        """Expire all attempts and journals, then do a pass."""
        past = to_micros(now()) - SECOND
        store.write_now(lambda tx: tx.execute(sa.update(t.attempt).values(lease_until=past)))
        self.sweeper._last = self.sweeper._since = to_micros(now()) - 2 * SECOND
        self.sweeper._since -= LEASE
        return self.sweeper.run_once(store, to_micros(now()))

    def attempts(self, store: Store) -> list[Any]:
        return store.read_now(lambda reader: reader.rows(sa.select(t.attempt)))


@pytest.fixture
def place(fresh_api: httpx.Client) -> Place:
    return Place(fresh_api)


@pytest.fixture
def store(fresh_store_url: str) -> Iterator[Store]:
    with open_database(fresh_store_url) as database:
        opened = Store(database)
        yield opened
        opened.close()


@pytest.fixture
def watch(fresh_store_url: str, place: Place) -> Watch:
    return Watch(fresh_store_url, place)


def presence(place: Place, worker: UUID, **fields: Any) -> dict[str, Any]:
    answer = place.api.post("/workers/presence", json={"worker": str(worker), **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_what_a_dead_worker_claimed_goes_to_the_next_with_a_higher_fence(
    place: Place, watch: Watch, store: Store
) -> None:
    dead, next_worker = uuid4(), uuid4()
    run = place.run()
    (first,) = place.claim(dead)
    assert watch.sweep(store) == 1
    state = place.state(run)
    assert state["type"] == "SCHEDULED"
    assert "The worker w has claimed this run and given no sign of life" in state["message"]
    assert presence(place, dead, holding=[run])["lost"] == [run]
    (second,) = place.claim(next_worker)
    assert second["flow_run"]["id"] == run
    assert second["fence"] > first["fence"]
    stale = place.begin(run, first["fence"])
    assert stale["status"] == "ABORT"
    assert "w has it now" in stale["details"]["reason"]
    assert place.begin(run, second["fence"])["status"] == "ACCEPT"
    assert presence(place, dead, holding=[run])["lost"] == [run]
    assert presence(place, next_worker, holding=[run])["lost"] == []
    place.end(run)
    assert presence(place, dead, holding=[run])["lost"] == []
    assert watch.attempts(store) == []


def test_signs_of_life_keep_what_the_worker_knows_of(place: Place, store: Store) -> None:
    worker = uuid4()
    runs = [place.run() for _ in range(2)]
    place.claim(worker, limit=5)
    past = to_micros(now()) - SECOND
    store.write_now(lambda tx: tx.execute(sa.update(t.attempt).values(lease_until=past)))
    presence(place, worker, holding=runs[:1])
    leases = {row.id: row.lease_until > past for row in store.read_now(
        lambda reader: reader.rows(sa.select(t.flow_run.c.id, t.attempt.c.lease_until).join_from(
            t.attempt, t.flow_run, t.flow_run.c.key == t.attempt.c.flow_run_key))
    )}  # fmt: skip
    assert leases == {UUID(runs[0]): True, UUID(runs[1]): False}
    presence(place, worker)
    rows = store.read_now(lambda reader: reader.rows(sa.select(t.attempt.c.lease_until)))
    assert all(row.lease_until > past for row in rows)


def test_nobody_is_judged_before_there_was_time_to_be_heard(place: Place, store: Store) -> None:
    place.run()
    place.claim()
    past = to_micros(now()) - SECOND
    store.write_now(lambda tx: tx.execute(sa.update(t.attempt).values(lease_until=past)))
    sweeper, begin = Sweeper(), to_micros(now())
    steps = range(0, LEASE, 5 * SECOND)
    assert [sweeper.run_once(store, begin + step) for step in steps] == [0] * len(steps)
    # the machine slept: the watch begins anew
    awake = begin + 3600 * SECOND
    assert [sweeper.run_once(store, awake + step) for step in steps] == [0] * len(steps)
    assert sweeper.run_once(store, awake + LEASE) == 1


def test_a_running_run_crashes_only_when_nothing_tells_of_it_any_more(place: Place, watch: Watch, store: Store) -> None:
    told, silent = place.run(), place.run()
    claims = {one["flow_run"]["id"]: one["fence"] for one in place.claim(limit=2)}
    assert place.begin(told, claims[told])["status"] == "ACCEPT"
    place.api.post(f"/flow_runs/{silent}/set_state", json={"state": {"type": "RUNNING"}})
    assert watch.sweep(store) == 1
    assert place.state(silent)["type"] == "CRASHED"
    assert place.state(told)["type"] == "RUNNING"
    store.write_now(lambda tx: tx.execute(sa.update(t.journal_writer).values(lease_until=None)))
    assert watch.sweep(store) == 1
    assert place.state(told)["type"] == "CRASHED"
    assert watch.attempts(store) == []


def test_a_run_that_is_cancelled_before_it_began_ends_with_its_worker(place: Place, watch: Watch, store: Store) -> None:
    worker = uuid4()
    run = place.run()
    place.claim(worker)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(presence, place, worker, holding=[run], wait=20)
        time.sleep(0.2)
        before = time.monotonic()
        place.api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}})
        assert waiting.result()["cancelling"] == [run]
        assert time.monotonic() - before < 1.5
    before = time.monotonic()
    presence(place, worker, holding=[run], known=[run], wait=0.3)
    assert time.monotonic() - before >= 0.3
    assert watch.sweep(store) == 1
    assert place.state(run)["type"] == "CANCELLED"


def test_the_slot_of_a_dead_worker_is_given_back(fresh_api: httpx.Client, watch: Watch, store: Store) -> None:
    place = Place(fresh_api, concurrency_limit=1)
    runs = [place.run(seconds=-9 + n) for n in range(2)]
    assert place.ids(limit=5) == runs[:1]
    assert watch.sweep(store) == 1
    # it stands where it stood: before the one that waited
    assert place.ids(limit=5) == runs[:1]
    place.end(runs[0], "FAILED")
    assert place.ids(limit=5) == runs[1:]


def test_a_pass_schedules_anew_who_waits_for_a_slot_that_is_free(
    fresh_api: httpx.Client, watch: Watch, store: Store
) -> None:
    place = Place(fresh_api, concurrency_limit=1)
    runs = [place.run(seconds=-9 + n) for n in range(2)]
    assert place.ids(limit=5) == runs[:1]
    assert place.state(runs[1])["name"] == "AwaitingConcurrencySlot"
    fresh_api.patch(f"/deployments/{place.deployment}", json={"concurrency_limit": 2})
    watch.sweeper.run_once(store, to_micros(now()))
    assert place.ids(limit=5) == runs[1:]


def test_a_waiting_worker_gets_what_a_dead_one_left(place: Place, watch: Watch, store: Store) -> None:
    run = place.run()
    place.claim()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(place.ids, wait=20)
        assert watch.sweep(store) == 1
        assert waiting.result() == [run]


def test_runs_of_nobody_need_no_fence(place: Place) -> None:
    run = place.run()
    body = {"writer": str(uuid7()), "transition_id": str(uuid7())}
    assert place.api.post(f"/flow_runs/{run}/begin", json=body).json()["status"] == "ACCEPT"
    other = place.run()
    assert place.begin(other, 1)["status"] == "ABORT"
