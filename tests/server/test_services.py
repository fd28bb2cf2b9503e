"""The loops of a server: done again and again, by one replica at a time, and never silently broken."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from riverrun.server.db import tables
from riverrun.server.db.engine import Database, open_database
from riverrun.server.services import all_loops, loops
from riverrun.server.services.contract import Loop
from riverrun.server.services.loops import Services, reasons_against
from riverrun.server.store import Store
from tests.store.conftest import backend, cluster, database, postgres_databases, sqlite_template, store_url

__all__ = ["backend", "cluster", "database", "postgres_databases", "sqlite_template", "store_url"]


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    opened = Store(database)
    yield opened
    opened.close()


class Counted:
    """A loop that counts its passes and can be made to fail; `reached(n)` waits for the n-th."""

    def __init__(self, name: str = "counted", interval: float = 0.01, **options: Any) -> None:
        self.passes = 0
        self.failing = False
        self.result = 0
        self.running = 0
        self.overlapped = False
        self._changed = threading.Condition()
        self.loop = Loop(name=name, doc="Counts.", interval=interval, run_once=self.run_once, **options)

    def run_once(self, store: Store, now: int) -> int:
        with self._changed:
            self.running += 1
            self.overlapped |= self.running > 1
            self.passes += 1
            self._changed.notify_all()
        with self._changed:
            self.running -= 1
        if self.failing:
            raise ValueError("made to fail")
        return self.result

    async def reached(self, number: int) -> None:
        def wait() -> None:
            with self._changed:
                assert self._changed.wait_for(lambda: self.passes >= number, 10), self.passes

        await asyncio.to_thread(wait)


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario, 15))


def test_every_loop_says_what_it_is() -> None:
    for loop in all_loops():
        assert loop.name == loop.name.lower()
        assert loop.doc.endswith(".")
        assert loop.interval > 0


def test_a_pass_of_every_loop_is_harmless_on_an_empty_store(store: Store) -> None:
    for loop in all_loops():
        assert loop.run_once(store, 1_800_000_000_000_000) >= 0


def test_loops_run_until_stopped_and_start_again(store: Store) -> None:
    counted = Counted()

    async def scenario() -> None:
        store.hub.attach(asyncio.get_running_loop())
        services = Services(store, [counted.loop])
        await services.stop()  # before anything runs: nothing to do
        await services.start()
        await services.start()
        await counted.reached(3)
        await services.stop()
        await services.stop()
        after = counted.passes
        await services.start()
        await counted.reached(after + 2)
        await services.stop()
        assert services.health["counted"].passes == counted.passes
        assert services.health["counted"].last_ok is not None
        assert not counted.overlapped

    run(scenario())


def test_a_topic_wakes_a_loop_before_its_time(store: Store) -> None:
    counted = Counted(interval=3600, topics=("bell",))

    async def scenario() -> None:
        store.hub.attach(asyncio.get_running_loop())
        services = Services(store, [counted.loop])
        await services.start()
        await counted.reached(1)
        await store.write(lambda transaction: transaction.wake("bell"))
        await counted.reached(2)
        await services.stop()

    run(scenario())


def test_a_pass_with_more_to_do_is_followed_at_once(store: Store) -> None:
    counted = Counted(interval=3600, again=True)
    counted.result = 5

    async def scenario() -> None:
        store.hub.attach(asyncio.get_running_loop())
        services = Services(store, [counted.loop])
        await services.start()
        await counted.reached(10)
        await services.stop()
        assert services.health["counted"].done >= 50

    run(scenario())


def test_a_failing_loop_is_tried_again_and_told_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "FIRST_PAUSE", 0.1)
    counted = Counted(interval=3600)
    counted.failing = True

    async def scenario() -> None:
        store.hub.attach(asyncio.get_running_loop())
        services = Services(store, [counted.loop])
        known = [counted.loop]
        await services.start()
        await counted.reached(2)  # although the next pass would be an hour away
        assert await store.read(lambda reader: reasons_against(reader, services, known)) == []
        await counted.reached(3)
        while services.health["counted"].failures < 3:
            await asyncio.sleep(0.01)
        (reason,) = await store.read(lambda reader: reasons_against(reader, services, known))
        assert reason == "The loop counted failed 3 times in a row: ValueError: made to fail"
        counted.failing = False
        await counted.reached(4)
        while services.health["counted"].failures:
            await asyncio.sleep(0.01)
        assert await store.read(lambda reader: reasons_against(reader, services, known)) == []
        await services.stop()

    run(scenario())


@pytest.mark.parametrize("backend", [pytest.param("postgres", marks=pytest.mark.postgres)])
def test_one_replica_leads_and_another_takes_over(
    store_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "RENEW_SECONDS", 0.1)
    first, second = Counted(), Counted()
    own = Counted(name="own", one_for_all=False)

    async def scenario(other: Store) -> None:
        for each in (store, other):
            each.hub.attach(asyncio.get_running_loop())
        one = Services(store, [first.loop])
        two = Services(other, [second.loop, own.loop])
        await one.start()
        await two.start()
        await first.reached(3)
        await own.reached(3)  # what every process does for itself is not led
        assert second.passes == 0
        assert await other.read(lambda reader: reasons_against(reader, two, [second.loop])) == []
        first.failing = True
        while not await other.read(lambda reader: reasons_against(reader, two, [second.loop])):
            await asyncio.sleep(0.05)  # the other replica tells of the failures too
        await one.stop()
        await second.reached(1)
        await two.stop()
        row = await store.read(lambda reader: reader.row(sa.select(tables.loop).where(tables.loop.c.name == "counted")))
        assert (row.epoch, row.lease_until) == (2, 0)

    with open_database(store_url) as database:
        other = Store(database)
        try:
            run(scenario(other))
        finally:
            other.close()


@pytest.mark.parametrize("backend", [pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_dead_leader_is_replaced_when_its_lease_ends(
    store_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "RENEW_SECONDS", 0.1)
    counted = Counted()
    dead = Services(store, [counted.loop])
    heir = Services(store, [counted.loop])

    async def scenario() -> None:
        store.hub.attach(asyncio.get_running_loop())
        await store.write(dead._make_rows)
        await dead._renew()
        assert dead.leads(counted.loop)
        await heir.start()
        assert not heir.leads(counted.loop)
        ended = sa.update(tables.loop).values(lease_until=1)
        await store.write(lambda transaction: transaction.execute(ended).rowcount)
        await counted.reached(1)
        assert heir.leads(counted.loop)
        await dead._renew()
        assert not dead.leads(counted.loop)
        await heir.stop()

    run(scenario())
