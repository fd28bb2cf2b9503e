"""The outbox: what is announced is read in the order of commits, once, and nothing that was not committed."""

import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from riverrun.server import outbox
from riverrun.server.db import schema
from riverrun.server.db import tables as t
from riverrun.server.db.engine import open_database
from riverrun.server.db.units import Transaction
from riverrun.server.store import Store

_START = outbox.Cursor()


@pytest.fixture
def store(fresh_store_url: str) -> Iterator[Store]:
    with open_database(fresh_store_url) as database:
        schema.upgrade(database)
        store = Store(database)
        yield store
        store.close()


def _announce(number: int) -> Callable[[Transaction], None]:
    return lambda transaction: transaction.announce("T", number, 1)


def _numbers(store: Store, cursor: outbox.Cursor = _START) -> list[int]:
    batch = store.read_now(lambda reader: outbox.read(reader, cursor))
    return [entry[1] for _, _, entry in batch.entries]


def test_entries_are_read_in_the_order_of_commits(store: Store) -> None:
    for number in range(5):
        store.write_now(_announce(number))
    assert _numbers(store) == [0, 1, 2, 3, 4]
    after = store.read_now(outbox.end)
    store.write_now(_announce(5))
    assert _numbers(store, after) == [5]


def test_a_failed_unit_announces_nothing(store: Store) -> None:
    def fail(transaction: Transaction) -> None:
        transaction.announce("T", 1, 1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.write_now(fail)
    assert _numbers(store) == []


def test_an_older_transaction_that_commits_later_is_not_passed_over(store: Store) -> None:
    if store.database.path is not None:
        pytest.skip("one writer: commits are in the order of keys")
    begun, go_on = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> None:
        transaction.announce("T", 1, 1)
        transaction.scalar(sa.select(sa.func.pg_current_xact_id()))
        transaction.finish()
        transaction._announced.clear()
        begun.set()
        assert go_on.wait(20)

    thread = threading.Thread(target=store.write_now, args=(slow,))
    thread.start()
    assert begun.wait(20)
    store.write_now(_announce(2))
    seen = store.read_now(lambda reader: outbox.read(reader, outbox.Cursor()))
    go_on.set()
    thread.join(20)
    later = store.read_now(lambda reader: outbox.read(reader, seen.cursor))
    assert sorted(entry[1] for _, _, entry in seen.entries + later.entries) == [1, 2]


def test_cleaning_leaves_the_newest_entry(store: Store) -> None:
    for number in range(3):
        store.write_now(_announce(number))
    store.write_now(lambda transaction: transaction.execute(sa.update(t.outbox).values(created=0)))
    assert store.write_now(outbox.clean) == 2
    assert _numbers(store) == [2]


def test_an_emitted_event_is_stored_and_announced(store: Store) -> None:
    resource = {"prefect.resource.id": "prefect.variable.x", "prefect.resource.name": "x"}
    made = store.write_now(lambda transaction: outbox.emit(transaction, "prefect.variable.created", resource))
    rows = store.read_now(lambda reader: reader.rows(sa.select(t.event)))
    assert [row.id for row in rows] == [made]
    (entry,) = store.read_now(lambda reader: outbox.read(reader, outbox.Cursor())).entries
    assert list(entry[2]) == ["E", rows[0].key]
