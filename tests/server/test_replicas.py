"""Replicas of one PostgreSQL store: what one commits wakes who waits at another."""

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from riverrun.server.db.engine import Database, open_database
from riverrun.server.db.notify import Notifier
from riverrun.server.hub import Hub, Stopping
from riverrun.server.store import Store
from tests.store.conftest import cluster, postgres_databases

__all__ = ["cluster", "postgres_databases"]

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def url(postgres_databases) -> Iterator[str]:
    made = postgres_databases.create(postgres_databases.template)
    yield made
    postgres_databases.drop(made)


@pytest.fixture
def databases(url: str) -> Iterator[tuple[Database, Database]]:
    with open_database(url) as one, open_database(url) as two:
        yield one, two


@asynccontextmanager
async def replica(database: Database):
    hub = Hub()
    hub.attach(asyncio.get_running_loop())
    store = Store(database, hub)
    notifier = Notifier(database.url, hub)
    notifier.start()
    await notifier.listening.wait()
    try:
        yield store, notifier
    finally:
        await notifier.stop()
        await asyncio.to_thread(store.close)


def run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario, 15))


def test_a_commit_here_wakes_a_waiter_there(databases) -> None:
    async def scenario() -> None:
        async with replica(databases[0]) as (here, _), replica(databases[1]) as (there, _):
            with there.hub.listen("bell") as wanted, there.hub.listen("other") as unwanted:
                await here.write(lambda transaction: transaction.wake("bell", "flow_run:ab"))
                assert await wanted.wait(5)
                assert not await unwanted.wait(0.05)

    run(scenario())


def test_more_topics_than_a_message_holds_wake_everybody(databases) -> None:
    async def scenario() -> None:
        async with replica(databases[0]) as (here, _), replica(databases[1]) as (there, _):
            with there.hub.listen("topic-77") as one, there.hub.listen("something else") as other:
                topics = [f"topic-{number}-{'x' * 40}" for number in range(1000)]
                await here.write(lambda transaction: transaction.wake(*topics))
                assert await one.wait(5)
                assert await other.wait(5)

    run(scenario())


def test_what_many_transactions_say_is_sent_merged(url: str, databases) -> None:
    async def scenario() -> None:
        heard: list[str] = []
        async with (
            replica(databases[0]) as (here, _),
            await psycopg.AsyncConnection.connect(url, autocommit=True) as ear,
        ):
            await ear.execute("LISTEN riverrun")

            async def listen() -> None:
                async for notice in ear.notifies():
                    heard.append(notice.payload)
                    if "last" in notice.payload:
                        return

            listening = asyncio.create_task(listen())
            for number in range(50):
                here.hub.notify({f"t{number}"})
            here.hub.notify({"last"})
            await listening
        topics = {topic for payload in heard for topic in payload.split("\n")[1:]}
        assert topics == {f"t{number}" for number in range(50)} | {"last"}
        assert len(heard) <= 10

    run(scenario())


def test_a_broken_connection_is_made_again(url: str, databases, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with replica(databases[0]) as (here, sender), replica(databases[1]) as (there, receiver):
            with psycopg.connect(url, autocommit=True) as admin:
                ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
                with there.hub.listen("whatever") as everybody:
                    assert admin.execute(ended).rowcount >= 1
                    assert await everybody.wait(5)  # after the break: what was missed is not known
            await receiver.listening.wait()
            with there.hub.listen("bell") as wanted:
                await here.write(lambda transaction: transaction.wake("bell"))
                assert await wanted.wait(5)

    run(scenario())


def test_a_closed_hub_ends_every_wait() -> None:
    async def scenario() -> None:
        hub = Hub()
        with hub.listen("never") as listener:
            waiting = asyncio.create_task(listener.wait(60))
            await asyncio.sleep(0)
            hub.close()
            with pytest.raises(Stopping):
                await waiting
            with pytest.raises(Stopping):
                await listener.wait(60)

    run(scenario())
