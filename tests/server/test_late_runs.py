"""Runs that do not begin in time: told so once, or discarded as their schedule or deployment wants it."""

from collections.abc import Iterator
from uuid import UUID

import pytest
import sqlalchemy as sa

from riverrun.base.clock import now, to_micros
from riverrun.server.db import tables as t
from riverrun.server.db.engine import Database
from riverrun.server.runs.queries import flow_run_answer, state_answers
from riverrun.server.runs.transitions import set_flow_run_state
from riverrun.server.services import late_runs
from riverrun.server.services.scheduler import Scheduler
from riverrun.server.store import Store
from riverrun.wire.deployments import ConcurrencyOptions
from riverrun.wire.states import TYPE_CODES, StateType
from riverrun.wire.transitions import StateCreate
from tests.server.scheduling import MINUTE, RUN, SECOND, deploy, every, states
from tests.store.conftest import backend, cluster, database, postgres_databases, sqlite_template, store_url

__all__ = ["backend", "cluster", "database", "postgres_databases", "sqlite_template", "store_url"]

SCHEDULED = TYPE_CODES[StateType.SCHEDULED]


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    opened = Store(database)
    yield opened
    opened.close()


@pytest.fixture
def begin() -> int:
    return to_micros(now()) // MINUTE * MINUTE


def _ids(store: Store, deployment_id: UUID) -> list[UUID]:
    query = sa.select(RUN.id).where(RUN.deployment_id == deployment_id).order_by(RUN.expected_start_time)
    return store.read_now(lambda reader: [row.id for row in reader.rows(query)])


def _sums(store: Store) -> dict[tuple[int, str], int]:
    """How many flow runs there are of each state, by the sums that are kept in step."""
    total: dict[tuple[int, str], int] = {}
    tables = [t.run_rollup] if store.database.path is not None else [t.run_rollup, t.run_rollup_delta]
    for table in tables:
        query = sa.select(table.c.state_type, table.c.state_name, table.c.n).where(
            table.c.kind == 0, table.c.flow_key == 0
        )
        for code, name, n in store.read_now(lambda reader, query=query: [tuple(row) for row in reader.rows(query)]):
            total[code, name] = total.get((code, name), 0) + n
    return {key: n for key, n in total.items() if n}


def test_a_run_is_told_to_be_late_once(store: Store, begin: int) -> None:
    deployment = deploy(store, every(60), at=begin)
    Scheduler().run_once(store, begin)
    first = begin + MINUTE
    assert late_runs.next_due(store) == first + 15 * SECOND
    assert late_runs.run_once(store, first + 14 * SECOND) == 0
    assert late_runs.run_once(store, first + 15 * SECOND) == 1
    assert late_runs.run_once(store, first + 16 * SECOND) == 0
    assert states(store, deployment) == {
        first: "Late", **{begin + n * MINUTE: "Scheduled" for n in (2, 3, 4)}
    }  # fmt: skip
    run_id = _ids(store, deployment)[0]
    run = store.read_now(lambda reader: flow_run_answer(reader, run_id))
    scheduled, late = store.read_now(lambda reader: state_answers(reader, run_id, task=False))
    assert (scheduled.name, late.name, late.type) == ("Scheduled", "Late", "SCHEDULED")
    assert run.state == late
    assert run.next_scheduled_start_time == late.state_details.scheduled_time == run.expected_start_time
    assert late.timestamp > scheduled.timestamp
    assert _sums(store) == {(SCHEDULED, ""): 3, (SCHEDULED, "Late"): 1}
    # it begins as others do
    result, _ = store.write_now(lambda tx: set_flow_run_state(tx, run_id, StateCreate(type=StateType.PENDING)))
    assert result.status == "ACCEPT"
    assert late_runs.run_once(store, first + 10) == 0


def test_many_become_late_in_bulk(store: Store, begin: int) -> None:
    deployments = [deploy(store, every(1), at=begin) for _ in range(3)]
    Scheduler().run_once(store, begin)
    assert late_runs.run_once(store, begin + 5 * MINUTE) == 300
    for deployment in deployments:
        assert set(states(store, deployment).values()) == {"Late"}
    assert _sums(store) == {(SCHEDULED, "Late"): 300}


@pytest.mark.parametrize(
    ("policy", "max_late", "left"),
    [
        ("all", None, ["Late", "Late", "Late", "Scheduled"]),
        ("all", 90.0, ["Cancelled", "Late", "Late", "Scheduled"]),
        ("latest", None, ["Cancelled", "Cancelled", "Late", "Scheduled"]),
        ("none", None, ["Cancelled", "Cancelled", "Cancelled", "Scheduled"]),
        ("all", 5.0, ["Cancelled", "Cancelled", "Cancelled", "Scheduled"]),
    ],
)
def test_late_runs_are_kept_by_policy(
    store: Store, begin: int, policy: str, max_late: float | None, left: list[str]
) -> None:
    deployment = deploy(store, every(60, catch_up=policy, max_late=max_late), at=begin)
    other = deploy(store, every(60), at=begin)
    Scheduler().run_once(store, begin)
    late_runs.run_once(store, begin + 3 * MINUTE + 20 * SECOND)
    assert list(states(store, deployment).values()) == left
    assert list(states(store, other).values()) == ["Late", "Late", "Late", "Scheduled"]


def test_the_latest_is_on_time(store: Store, begin: int) -> None:
    deployment = deploy(store, every(60, catch_up="latest"), at=begin)
    Scheduler().run_once(store, begin)
    late_runs.run_once(store, begin + 2 * MINUTE + SECOND)
    assert list(states(store, deployment).values()) == ["Cancelled", "Scheduled", "Scheduled", "Scheduled"]
    run = store.read_now(lambda reader: flow_run_answer(reader, _ids(store, deployment)[0]))
    assert run.state.message.startswith("Too late: ")


def test_a_full_limit_that_takes_no_new_runs_cancels_the_late(store: Store, begin: int) -> None:
    deployment = deploy(
        store, every(60), at=begin, concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy="CANCEL_NEW"),
    )  # fmt: skip
    Scheduler().run_once(store, begin)
    first, *_ = _ids(store, deployment)
    store.write_now(lambda tx: set_flow_run_state(tx, first, StateCreate(type=StateType.PENDING), force=False))
    late_runs.run_once(store, begin + 2 * MINUTE + 30 * SECOND)
    assert list(states(store, deployment).values()) == ["Pending", "Cancelled", "Scheduled", "Scheduled"]
    store.write_now(lambda tx: set_flow_run_state(tx, first, StateCreate(type=StateType.CRASHED)))
    late_runs.run_once(store, begin + 3 * MINUTE + 30 * SECOND)
    assert list(states(store, deployment).values()) == ["Crashed", "Cancelled", "Late", "Scheduled"]
