"""The scheduler makes each instant once: over stops, kills, changes, replicas and clocks that jump."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from riverrun.base.clock import from_micros, now, to_micros
from riverrun.server.db import tables as t
from riverrun.server.db.engine import Database, open_database
from riverrun.server.deployments import logic, queries, schedules
from riverrun.server.services.loops import Services
from riverrun.server.services.scheduler import LOOP, Scheduler, next_due
from riverrun.server.store import Store
from riverrun.wire.deployments import DeploymentScheduleCreate, DeploymentScheduleUpdate, DeploymentUpdate
from riverrun.wire.schedules import Schedule
from tests.server.scheduling import MINUTE, RUN, SECOND, deploy, every, instants, later, starts
from tests.store.conftest import backend, cluster, database, postgres_databases, sqlite_template, store_url

__all__ = ["backend", "cluster", "database", "postgres_databases", "sqlite_template", "store_url"]


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    opened = Store(database)
    yield opened
    opened.close()


@pytest.fixture
def begin() -> int:
    """A whole minute that the tests begin at."""
    return to_micros(now()) // MINUTE * MINUTE


def test_runs_are_kept_ahead(store: Store, begin: int) -> None:
    often = deploy(store, every(10), at=begin, tags=["mine"], parameters={"a": 1})
    hourly = deploy(store, every(3600), at=begin)
    second = deploy(store, every(1), at=begin)
    few = deploy(store, every(10, max_scheduled_runs=2), at=begin)
    scheduler = Scheduler()
    assert scheduler.run_once(store, begin) >= 4
    assert scheduler.run_once(store, begin) == 0
    ahead = starts(store, often)
    assert ahead == instants(10, begin, ahead[-1])
    assert 2 * MINUTE <= ahead[-1] - begin <= 3 * MINUTE
    assert starts(store, hourly) == instants(3600, begin, begin + 4 * 60 * MINUTE)
    assert len(starts(store, second)) == 100
    assert starts(store, few) == instants(10, begin, begin + 20 * SECOND)
    # whenever it is looked at again, there is enough, and each once
    for at in range(begin, begin + 5 * MINUTE, 3 * SECOND):
        if next_due(store) <= at:
            scheduler.run_once(store, at)
        assert starts(store, often)[-1] + 10 * SECOND >= at + 2 * MINUTE
        assert len(starts(store, hourly, RUN.expected_start_time > at)) >= 3
        assert starts(store, second)[-1] >= at + MINUTE
        assert len(starts(store, few, RUN.expected_start_time > at)) >= 1
    for deployment, step in ((often, 10), (hourly, 3600), (second, 1), (few, 10)):
        found = starts(store, deployment)
        assert found == instants(step, begin, found[-1])


def test_a_run_is_what_clients_expect(store: Store, begin: int) -> None:
    deployment = deploy(
        store,
        every(600, slug="s", parameters={"b": 2}),
        at=begin,
        tags=["mine"],
        parameters={"a": 1, "b": 1},
        version="7",
    )
    Scheduler().run_once(store, begin)
    from riverrun.server.runs.queries import flow_run_answer

    ids = store.read_now(
        lambda reader: [row.id for row in reader.rows(sa.select(RUN.id).order_by(RUN.expected_start_time))]
    )
    run = store.read_now(lambda reader: flow_run_answer(reader, ids[0]))
    assert (run.state_type, run.state_name, run.auto_scheduled) == ("SCHEDULED", "Scheduled", True)
    assert run.state.message == "Flow run scheduled"
    assert run.state.state_details.scheduled_time == run.next_scheduled_start_time == run.expected_start_time
    assert sorted(run.tags) == ["auto-scheduled", "mine"]
    assert run.parameters == {"a": 1, "b": 2}
    assert run.deployment_version == "7"
    assert run.created_by.type == "SCHEDULE"
    assert run.created_by.display_value == "s"
    assert run.labels["prefect.deployment.id"] == str(deployment)
    assert run.idempotency_key.startswith(f"scheduled {deployment} ")


def test_bounds_and_jitter(store: Store, begin: int) -> None:
    bounded = deploy(
        store,
        every(60, start=from_micros(begin + 10 * MINUTE), end=from_micros(begin + 12 * MINUTE)),
        at=begin,
    )
    moved = deploy(store, every(60, jitter=30.0), at=begin)
    scheduler = Scheduler()
    scheduler.run_once(store, begin)
    assert starts(store, bounded) == [begin + n * MINUTE for n in (10, 11, 12)]
    found = starts(store, moved)
    assert all(0 <= at - (begin + n * MINUTE) < 30 * SECOND for n, at in enumerate(found, 1))
    assert len({at % MINUTE for at in found}) > 1
    # the same however often it is asked for
    store.write_now(lambda tx: schedules.start_again(tx, moved))
    scheduler.run_once(store, begin)
    assert starts(store, moved) == found


@pytest.mark.parametrize(
    ("policy", "max_late", "expected"),
    [("all", None, 18), ("latest", None, 2), ("none", None, 2), ("all", 60.0, 6)],
)
def test_an_outage_is_made_up_for_by_policy(
    store: Store, begin: int, policy: str, max_late: float | None, expected: int
) -> None:
    deployment = deploy(store, every(10, catch_up=policy, max_late=max_late), at=begin)
    Scheduler().run_once(store, begin)
    before = starts(store, deployment)
    # three minutes after the last instant that had been made, a new server looks
    back = before[-1] + 3 * MINUTE
    Scheduler().run_once(store, back + 2 * SECOND)
    made = [at for at in starts(store, deployment) if before[-1] < at <= back + 2 * SECOND]
    assert made == instants(10, before[-1], back)[-expected:]


def test_the_latest_is_made_up_for_though_it_is_long_past(store: Store, begin: int) -> None:
    deployment = deploy(store, every(86400 * 7, catch_up="latest"), every(86400 * 7, catch_up="none"), at=begin)
    store.write_now(lambda tx: tx.execute(sa.update(t.deployment_schedule).values(mark=begin)))
    back = later(begin, days=30)
    Scheduler().run_once(store, back)
    assert [at for at in starts(store, deployment) if at <= back] == instants(86400 * 7, begin, back)[-1:]


def test_a_long_outage_is_bounded(store: Store, begin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riverrun.server.services.scheduler.MOST_MISSED", 500)
    deployment = deploy(store, every(1), at=begin)
    back = later(begin, days=300)
    Scheduler().run_once(store, back)
    made = [at for at in starts(store, deployment) if at <= back]
    assert 125 <= len(made) <= 500
    assert made == instants(1, begin, back)[-len(made) :]


def test_pauses_and_changes(store: Store, begin: int) -> None:
    deployment = deploy(store, every(60), every(10, slug="b"), at=begin)
    scheduler = Scheduler()

    def at(instant: int, change) -> None:
        def unit(transaction):
            transaction.now = instant
            return change(transaction)

        store.write_now(unit)
        scheduler.run_once(store, instant)

    scheduler.run_once(store, begin)
    at(begin + 95 * SECOND, lambda tx: logic.set_paused(tx, deployment, paused=True))
    assert starts(store, deployment) == []
    scheduler.run_once(store, begin + 10 * MINUTE)
    assert starts(store, deployment) == []
    at(begin + 20 * MINUTE, lambda tx: logic.set_paused(tx, deployment, paused=False))
    found = starts(store, deployment)
    # what a pause left out is not made up for
    assert found[0] == begin + 20 * MINUTE + 10 * SECOND
    at(begin + 21 * MINUTE, lambda tx: logic.update(tx, deployment, DeploymentUpdate(parameters={"c": 3})))
    soon = RUN.expected_start_time <= begin + 22 * MINUTE
    assert starts(store, deployment, soon) == [at for at in found if at <= begin + 22 * MINUTE]
    one, two = store.read_now(
        lambda reader: sorted(queries.schedules(reader, [deployment])[deployment], key=lambda each: each.slug or "")
    )
    off = DeploymentScheduleUpdate(active=False)

    def change(tx) -> None:
        schedules.update(tx, deployment, two.id, off)
        logic.remove_scheduled(tx, [deployment], only_auto=True, only_future=True, schedule_id=two.id)

    at(begin + 22 * MINUTE, change)
    left = starts(store, deployment, RUN.expected_start_time > begin + 22 * MINUTE)
    assert left == instants(60, begin + 22 * MINUTE, left[-1])
    assert len(left) >= 3
    assert one.slug is None


def test_a_clock_that_jumps_costs_no_instant_and_repeats_none(store: Store, begin: int) -> None:
    deployment = deploy(store, every(60), at=begin)
    scheduler = Scheduler()
    random_ = random.Random(7)
    at, first, furthest = begin, begin, begin
    for _ in range(60):
        at += random_.choice([30, 45, 60, -1800, 900, 3600]) * SECOND
        first, furthest = min(first, at), max(furthest, at)
        scheduler.run_once(store, at)
    found = starts(store, deployment)
    assert found == instants(60, first, found[-1])
    assert found[-1] >= furthest + 2 * MINUTE
    # far ahead and back, with another server looking afterwards
    Scheduler().run_once(store, later(at, days=400))
    Scheduler().run_once(store, at)
    due = starts(store, deployment, RUN.expected_start_time.between(at, at + 3 * MINUTE))
    assert due == instants(60, at - 1, at + 3 * MINUTE)


def test_what_cannot_be_read_holds_nobody_up(store: Store, begin: int, caplog: pytest.LogCaptureFixture) -> None:
    bad = deploy(store, every(60), at=begin)
    gone = deploy(store, every(60), at=begin)
    broken = {"schedule": '{"cron": "x"}'}
    table = t.deployment_schedule
    store.write_now(lambda tx: tx.execute(sa.update(table).where(table.c.deployment_id == bad).values(**broken)))
    store.write_now(lambda tx: tx.execute(sa.delete(t.deployment).where(t.deployment.c.id == gone)))
    good = deploy(store, every(60), at=begin)
    Scheduler().run_once(store, begin)
    assert len(starts(store, good)) == 4
    assert starts(store, bad) == starts(store, gone) == []
    assert f"of deployment {bad} makes no runs" in caplog.text
    assert next_due(store) > begin


@pytest.mark.parametrize("backend", [pytest.param("postgres", marks=pytest.mark.postgres)])
def test_replicas_that_both_believe_they_lead_make_each_instant_once(store_url: str, store: Store, begin: int) -> None:
    made = [deploy(store, every(5), every(60), at=begin) for _ in range(20)]

    async def scenario() -> None:
        with open_database(store_url) as database:
            other = Store(database)
            passes = [Scheduler(), Scheduler()]
            for at in range(begin, begin + 5 * MINUTE, 50 * SECOND):
                await asyncio.gather(
                    *(
                        asyncio.to_thread(scheduler.run_once, each, at)
                        for scheduler, each in zip(passes, (store, other), strict=True)
                    )
                )
            other.close()

    asyncio.run(scenario())
    for deployment in made:
        keys = store.read_now(
            lambda reader, deployment=deployment: [
                row[0] for row in reader.rows(sa.select(RUN.idempotency_key).where(RUN.deployment_id == deployment))
            ]
        )
        assert len(keys) == len(set(keys))
        found = starts(store, deployment, RUN.expected_start_time <= begin + 6 * MINUTE)
        assert sorted(set(found)) == instants(5, begin, begin + 6 * MINUTE)


def test_the_loop_is_woken_by_a_new_deployment(store: Store) -> None:
    async def scenario() -> None:
        store.hub.attach(asyncio.get_running_loop())
        services = Services(store, [LOOP])
        await services.start()
        while not services.health["scheduler"].passes:
            await asyncio.sleep(0.01)
        with store.hub.listen("scheduled") as made:
            deployment = await asyncio.to_thread(deploy, store, every(5))
            assert await made.wait(3)
        assert len(await asyncio.to_thread(starts, store, deployment)) >= 3
        await services.stop()

    asyncio.run(asyncio.wait_for(scenario(), 15))


def test_cron_over_a_change_of_the_clock(store: Store) -> None:
    """Two days of a wall-clock schedule with a pass every 20 minutes, over the spring change."""
    begin = to_micros(datetime(2027, 3, 27, 12, tzinfo=UTC))
    schedule = DeploymentScheduleCreate(schedule=Schedule(cron="30 2,3 * * *", timezone="Europe/Berlin"))
    deployment = deploy(store, schedule, at=begin)
    scheduler = Scheduler()
    for n in range(2 * 72):
        scheduler.run_once(store, later(begin, minutes=20 * n))
    found = [from_micros(at) for at in starts(store, deployment)]
    assert [f"{at:%d %H:%M}" for at in found[:4]] == ["28 01:00", "28 01:30", "29 00:30", "29 01:30"]
    assert found[1] - found[0] == timedelta(minutes=30)
