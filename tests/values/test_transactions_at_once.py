"""Transactions used by many threads and coroutines at once."""

import asyncio
import contextvars
import threading

import pytest

from riverrun.filesystems import LocalFileSystem
from riverrun.locking.memory import MemoryLockManager
from riverrun.results import ResultStore
from riverrun.transactions import IsolationLevel, atransaction, transaction


@pytest.fixture
def store(tmp_path):
    return ResultStore(result_storage=LocalFileSystem(basepath=tmp_path), lock_manager=MemoryLockManager())


def test_one_of_many_threads_computes(store):
    computed, seen = [], []

    def work(number):
        with transaction(key="k", store=store, isolation_level=IsolationLevel.SERIALIZABLE) as txn:
            if not txn.is_committed():
                computed.append(number)
                txn.stage(number)
        seen.append(txn.read().result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1
    assert seen == computed * 8


def test_one_of_many_coroutines_computes(store):
    computed = []

    async def work(number):
        async with atransaction(key="k", store=store, isolation_level=IsolationLevel.SERIALIZABLE) as txn:
            if not txn.is_committed():
                computed.append(number)
                await asyncio.sleep(0)
                txn.stage(number)
        return (await txn.read()).result

    async def main():
        return await asyncio.gather(*(work(number) for number in range(20)))

    assert asyncio.run(main()) == computed * 20


# -- threads


def test_work_that_outlives_its_transaction_follows_it(store):
    """Submitted inside, not waited for: it ends as the transaction around did."""
    for failing, expected in ((False, "COMMITTED"), (True, "ROLLED_BACK")):
        go, inside = threading.Event(), threading.Event()
        ended = []

        def work(go=go, inside=inside, ended=ended):
            with transaction() as txn:
                inside.set()
                go.wait()
            ended.append(txn.state)

        try:
            with transaction() as outer:
                thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
                thread.start()
                inside.wait()
                if failing:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        go.set()
        thread.join()
        assert outer.state == expected
        assert ended == [expected]


def test_many_threads_join_one_transaction(store):
    def work(number):
        with transaction(key=f"k{number}", store=store) as txn:
            txn.stage(number)

    with transaction() as outer:
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(work, number)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not store.exists("k0")
    assert len(outer.children) == 20
    assert all(store.read(f"k{number}").result == number for number in range(20))
