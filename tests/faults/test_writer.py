"""The one writer of a SQLite store when the file refuses: every unit gets an answer, what was promised is there, the rest goes on."""

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from riverrun.server.db.engine import Database, open_database
from riverrun.server.db.tables import flow
from riverrun.server.db.units import SYSTEM, Transaction
from riverrun.server.store import Store
from tests.store.conftest import sqlite_template

__all__ = ["sqlite_template"]

SECONDS = 10


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:  # noqa: F811
    path = tmp_path / "riverrun.db"
    path.write_bytes(sqlite_template.read_bytes())
    with open_database(path) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    opened = Store(database)
    yield opened
    opened.close()


def insert(store: Store, size: int = 10) -> "tuple[UUID, Future[Any]]":
    """Have a row written."""
    made = uuid4()

    def unit(transaction: Transaction) -> None:
        values = {"id": made, "name": "x" * size, "name_key": made.hex, "created": transaction.now}
        transaction.execute(sa.insert(flow).values(workspace_id=transaction.workspace, **values))

    return made, store.writer.submit(unit, SYSTEM)


def there(store: Store) -> set[UUID]:
    return set(store.read_now(lambda reader: {row.id for row in reader.rows(sa.select(flow.c.id))}))


def outcomes(store: Store, asked: "list[tuple[UUID, Future[Any]]]") -> int:
    """How many failed; those that did not are there, and no other."""
    failed = [future.exception(SECONDS) for _, future in asked]
    assert there(store) == {made for (made, _), error in zip(asked, failed, strict=True) if error is None}
    return sum(error is not None for error in failed)


def busy(store: Store, count: int) -> "list[tuple[UUID, Future[Any]]]":
    """Units that are all waiting before the first of them runs, so that they go in groups."""
    ready, started = Future(), Future()

    def hold(_: Transaction) -> None:
        started.set_result(None)
        ready.result(SECONDS)

    store.writer.submit(hold, SYSTEM)
    started.result(SECONDS)
    asked = [insert(store) for _ in range(count)]
    ready.set_result(None)
    return asked


@pytest.mark.parametrize("failing", range(1, 8))
def test_the_nth_commit_fails(store: Store, database: Database, failing: int) -> None:
    """A group whose commit fails is made again one by one; a unit whose own commit fails is told so, and is not there."""
    commits = 0

    @event.listens_for(database.engine, "commit")
    def refuse(_: object) -> None:
        nonlocal commits
        commits += 1
        if failing <= commits < failing + 2:
            raise sqlite3.OperationalError("disk I/O error")

    asked = []
    for _ in range(9):
        asked += busy(store, 5)
        asked[-1][1].exception(SECONDS)
    assert outcomes(store, asked) <= 1, "only the second of two failures in a row can meet a unit that stands alone"
    assert commits > failing + 1


def test_a_full_store_refuses_and_goes_on_when_there_is_room(store: Store, database: Database) -> None:
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 4}")
    asked = [insert(store, 3000) for _ in range(60)]
    assert 0 < outcomes(store, asked) < 60
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1073741823")
    assert insert(store, 3000)[1].result(SECONDS) is None


def test_a_transaction_that_cannot_begin_is_an_answer_too(store: Store, database: Database) -> None:
    """A backup or a person's shell holds the file for longer than the writer waits."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=20")
    other = sqlite3.connect(database.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        for _, future in [insert(store) for _ in range(3)]:
            with pytest.raises(sa.exc.OperationalError, match="locked"):
                future.result(SECONDS)
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert outcomes(store, [insert(store) for _ in range(3)]) == 0


def test_nobody_waits_for_a_unit_any_more(store: Store) -> None:
    """The request of a client that went away ends; its unit is done, and the writer goes on."""

    async def main() -> None:
        ready, started = Future[None](), Future[None]()

        def hold(_: Transaction) -> None:
            started.set_result(None)
            ready.result(SECONDS)

        waiting = asyncio.create_task(store.write(hold))
        await asyncio.wrap_future(started)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        ready.set_result(None)
        assert await asyncio.wait_for(store.write(lambda _: "done"), SECONDS) == "done"

    asyncio.run(main())
