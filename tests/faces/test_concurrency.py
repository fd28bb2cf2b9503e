"""Slots of limits: taken and given back whatever happens, renewed while they are needed, waited for; limits of tags."""

import asyncio
import threading
from uuid import uuid4

import pytest

from riverrun import flow, task
from riverrun.base.errors import ObjectGone
from riverrun.concurrency import asyncio as of_async
from riverrun.concurrency import leases, slots, tags
from riverrun.concurrency.leases import Lease, keeper
from riverrun.concurrency.sync import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencyLeaseLost,
    ConcurrencySlotAcquisitionError,
    concurrency,
    rate_limit,
)


@pytest.fixture
def limit(server):
    """Make a limit; its name."""

    def make(slots: int = 1, decay: float = 0.0, name: str | None = None) -> str:
        name = name or f"limit-{uuid4().hex[:8]}"
        made = {"name": name, "limit": slots, "slot_decay_per_second": decay}
        assert server.post("/v2/concurrency_limits/", json=made).status_code == 201
        return name

    return make


@pytest.fixture
def taken(server):
    """How many slots of a limit are taken."""
    return lambda name: server.get(f"/v2/concurrency_limits/{name}").json()["active_slots"]


def test_slots_are_held_inside_the_block(limit, taken):
    name, other = limit(3), limit(2)
    with concurrency([name, other], occupy=2):
        assert (taken(name), taken(other)) == (2, 2)
    assert (taken(name), taken(other)) == (0, 0)
    with pytest.raises(ZeroDivisionError), concurrency(name):
        1 / 0  # noqa: B018
    assert taken(name) == 0


def test_waiting_ends(limit):
    name = limit()
    with concurrency(name):
        with pytest.raises(AcquireConcurrencySlotTimeoutError, match=name), concurrency(name, timeout_seconds=0.05):
            pass
        with pytest.raises(ConcurrencySlotAcquisitionError, match="max_retries"), concurrency(name, max_retries=0):
            pass


def test_who_waits_is_woken_when_a_neighbour_is_done(limit, monkeypatch):
    """Not by the server's Retry-After, which would be long over the test's time-out."""
    monkeypatch.setattr(slots, "_retry_after", lambda _response: 600.0)
    name = limit()
    inside, order = threading.Event(), []

    def neighbour():
        inside.wait(5)
        with concurrency(name):
            order.append("neighbour")

    thread = threading.Thread(target=neighbour)
    thread.start()
    with concurrency(name):
        inside.set()
        while not _someone_waits(name):
            pass
        order.append("first")
    thread.join(10)
    assert order == ["first", "neighbour"]


def _someone_waits(name: str) -> bool:
    from riverrun.concurrency.turns import _waiting

    return name in _waiting


def test_limits_that_do_not_exist(server, caplog):
    with concurrency("nowhere"):
        pass
    with pytest.raises(ConcurrencySlotAcquisitionError, match="must be created"), concurrency("nowhere", strict=True):
        pass
    with concurrency([]):
        pass


def test_more_than_there_is_says_so(limit):
    name = limit(1)
    with pytest.raises(ConcurrencySlotAcquisitionError, match=name), concurrency(name, occupy=5):
        pass


def test_rate_limits_use_slots_up(limit):
    name = limit(2, decay=0.001)
    rate_limit(name)
    rate_limit(name)
    with pytest.raises(AcquireConcurrencySlotTimeoutError):
        rate_limit(name, timeout_seconds=0.05)
    with pytest.raises(ConcurrencySlotAcquisitionError):
        rate_limit(limit(2))  # without a decay it is no rate


def test_async_code(limit, taken):
    name = limit()

    async def holding(started: asyncio.Event):
        async with of_async.concurrency(name):
            started.set()
            await asyncio.sleep(60)

    async def main():
        started = asyncio.Event()
        holder = asyncio.create_task(holding(started))
        await started.wait()
        assert taken(name) == 1
        with pytest.raises(TimeoutError):
            async with of_async.concurrency(name, timeout_seconds=0.05):
                pass
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
        assert taken(name) == 0
        async with of_async.concurrency(name):
            pass
        await of_async.rate_limit(limit(1, decay=1.0))

    asyncio.run(main())


def test_an_abandoned_request_gives_its_slots_back(limit, taken):
    name = limit()
    attempt = slots.Attempt(slots.Wanted(name, 1, lease_duration=60))
    attempt.abandon()  # before the answer has come
    assert attempt.run() is None
    keeper.flush(5)
    assert taken(name) == 0


def test_leases_are_renewed_in_time(limit, taken, monkeypatch):
    monkeypatch.setattr(leases, "_RENEWED_AT", 0.0005)  # of 60 seconds
    renewed = threading.Event()
    sent = leases.send

    def send(call, *rest):
        sent(call, *rest)
        if call.path.endswith("/renew"):
            renewed.set()

    monkeypatch.setattr(leases, "send", send)
    name = limit()
    with concurrency(name, lease_duration=60):
        assert renewed.wait(5)
        assert taken(name) == 1
    assert taken(name) == 0


def _lose_at_once(monkeypatch):
    """Every renewal is refused, and comes at once."""
    monkeypatch.setattr(leases, "_RENEWED_AT", 0.0)

    def send(call, *_rest):
        if call.path.endswith("/renew"):
            raise ObjectGone("expired")

    monkeypatch.setattr(leases, "send", send)


def test_a_lost_lease_is_raised_where_that_is_asked_for(limit, monkeypatch):
    _lose_at_once(monkeypatch)
    lost = threading.Event()
    monkeypatch.setattr(slots, "tell_lost", lambda _lease, *, goes_on: lost.set())
    with pytest.raises(ConcurrencyLeaseLost), concurrency(limit(), strict=True):
        assert lost.wait(5)
    lost.clear()
    with concurrency(limit()):
        assert lost.wait(5)

    async def cancelled():
        async with of_async.concurrency(limit(), raise_on_lease_renewal_failure=True):
            await asyncio.sleep(60)

    with pytest.raises(ConcurrencyLeaseLost):
        asyncio.run(cancelled())


def test_a_lease_that_cannot_be_renewed_is_tried_again_until_it_ends(monkeypatch):
    from riverrun.base.errors import UnavailableError

    attempts = []

    def send(call, *_rest):
        attempts.append(call)
        raise UnavailableError("away")

    monkeypatch.setattr(leases, "send", send)
    monkeypatch.setattr(leases, "_RENEWED_AT", 0.1)
    lost = threading.Event()
    lease = Lease(uuid4(), 2.5, "http://x", ["a"], 1)
    lease.on_lost = lost.set
    keeper.keep(lease)
    assert lost.wait(10)
    assert len(attempts) >= 2
    assert isinstance(lease.lost, UnavailableError)


# -- limits of tags


def test_tagged_tasks_wait_for_their_limit(limit, taken):
    limit(2, name="tag:heavy")
    peak = now = 0
    lock = threading.Lock()
    together = threading.Barrier(2)

    @task(tags=["heavy", "free"])
    def heavy(number):
        nonlocal peak, now
        with lock:
            now += 1
            peak = max(peak, now)
        together.wait(10)  # two are let in, and never a third
        with lock:
            now -= 1
        return number

    @flow
    def many():
        return [future.result() for future in heavy.map(range(6))]

    assert many() == list(range(6))
    assert peak == 2
    keeper.flush(5)
    assert taken("tag:heavy") == 0


def test_slots_of_tags_come_back_however_a_run_ends(limit, taken):
    limit(1, name="tag:ends")

    @task(tags=["ends"], retries=1)
    def failing():
        raise ValueError("no")

    @task(tags=["ends"])
    def exiting():
        raise SystemExit(3)

    @task(tags=["ends"])
    async def waiting():
        await asyncio.sleep(60)

    @flow
    def ends():
        with pytest.raises(ValueError, match="no"):
            failing()
        with pytest.raises(SystemExit):
            exiting()

    async def cancelled():
        running = asyncio.create_task(waiting())
        while not taken("tag:ends"):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    ends()
    keeper.flush(5)
    assert taken("tag:ends") == 0
    asyncio.run(cancelled())
    keeper.flush(5)
    assert taken("tag:ends") == 0


def test_tags_without_limits_are_remembered(server, monkeypatch):
    asked = []
    attempt = tags.attempt

    def counting(names, run_id):
        asked.append(names)
        return attempt(names, run_id)

    monkeypatch.setattr(tags, "attempt", counting)

    @task(tags=["unlimited"])
    def light():
        pass

    for _ in range(20):
        light()
    assert asked == [("tag:unlimited",)]


def test_without_a_server_there_are_no_limits(alone):
    @task(tags=["anything"])
    def light():
        return 1

    assert light() == 1


def test_a_server_that_is_away_holds_up_only_what_is_known_to_be_limited(alone, monkeypatch):
    from riverrun.base import config

    monkeypatch.setenv("RIVERRUN_API_URL", "http://127.0.0.1:9/api")
    config.reload()
    assert tags.attempt(("tag:unknown",), uuid4()) is None
    monkeypatch.setattr(tags, "_limited", {("tag:known",)})
    assert isinstance(tags.attempt(("tag:known",), uuid4()), float)
