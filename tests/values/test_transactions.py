"""Transactions, sync and async: one suite through both kinds."""

import asyncio
import logging
import threading
from contextlib import asynccontextmanager

import pytest

from riverrun.base.errors import ConfigurationError
from riverrun.filesystems import LocalFileSystem, NullFileSystem
from riverrun.locking.memory import MemoryLockManager
from riverrun.results import ResultStore
from riverrun.transactions import (
    AsyncTransaction,
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    atransaction,
    get_transaction,
    transaction,
)


class Kind:
    """A transaction of either kind, used as if it were async."""

    def __init__(self, colour):
        self.colour = colour

    @asynccontextmanager
    async def __call__(self, **options):
        if self.colour == "async":
            async with AsyncTransaction(**options) as txn:
                yield txn
        else:
            with Transaction(**options) as txn:
                yield txn

    async def call(self, method, *args):
        answer = method(*args)
        return await answer if self.colour == "async" else answer


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return Kind(request.param)


@pytest.fixture
def store(tmp_path):
    return ResultStore(result_storage=LocalFileSystem(basepath=tmp_path), lock_manager=MemoryLockManager())


def run(test):
    """Run an async test function."""

    def wrapped(**fixtures):
        asyncio.run(asyncio.wait_for(test(**fixtures), 15))

    import inspect

    wrapped.__signature__ = inspect.signature(test)
    wrapped.__name__ = test.__name__
    wrapped.__module__ = test.__module__
    return wrapped


class Failure(Exception):
    pass


# -- states


def test_a_new_transaction():
    txn = Transaction()
    assert txn.is_pending()
    assert txn.store is txn.key is txn.commit_mode is None
    assert txn == Transaction()
    assert txn != Transaction(key="k")
    assert Transaction() != AsyncTransaction()
    assert "state=<TransactionState.PENDING" in repr(txn)


@pytest.mark.parametrize("state", TransactionState)
def test_predicates(state):
    txn = Transaction(state=state)
    answers = {
        "PENDING": txn.is_pending(),
        "ACTIVE": txn.is_active(),
        "STAGED": txn.is_staged(),
        "COMMITTED": txn.is_committed(),
        "ROLLED_BACK": txn.is_rolled_back(),
    }
    assert [name for name, answer in answers.items() if answer] == [state.name] == [state]


@run
async def test_the_active_one(kind):
    assert get_transaction() is None
    async with kind(key="outer") as outer:
        assert get_transaction() is outer
        assert outer.get_parent() is None
        async with kind(key="inner") as inner:
            assert get_transaction() is inner
            assert inner.get_parent() is outer
        assert get_transaction() is outer
        with pytest.raises(Failure):
            async with kind(key="failing"):
                raise Failure
        assert get_transaction() is outer
    assert get_transaction() is None


@run
async def test_used_again(kind):
    for txn in (Transaction() if kind.colour == "sync" else AsyncTransaction(),):
        for _ in range(2):
            if kind.colour == "sync":
                with txn:
                    assert txn.is_active()
            else:
                async with txn:
                    assert txn.is_active()
            assert txn.is_committed()


# -- commit modes


@run
async def test_a_nested_one_commits_with_the_outer_one(kind):
    async with kind(key="outer") as outer:
        async with kind(key="inner") as inner:
            pass
        assert inner.is_staged()
        assert outer.children == [inner]
    assert inner.is_committed()
    assert outer.is_committed()


@run
async def test_eager(kind):
    async with kind(commit_mode=CommitMode.EAGER) as outer:
        async with kind() as inner:
            pass
        assert inner.commit_mode is CommitMode.EAGER
        assert inner.is_committed()
        assert outer.is_active()
    assert outer.is_committed()
    async with kind(commit_mode="LAZY") as outer:
        async with kind(commit_mode="EAGER") as inner:
            pass
        assert inner.is_committed()


@run
async def test_off(kind):
    async with kind(commit_mode=CommitMode.OFF) as txn:
        pass
    assert txn.is_rolled_back()
    async with kind(commit_mode=CommitMode.OFF) as txn:
        assert await kind.call(txn.commit) is True
        assert await kind.call(txn.commit) is False
        assert await kind.call(txn.rollback) is False
    assert txn.is_committed()
    async with kind() as outer:
        async with kind(commit_mode=CommitMode.OFF) as inner:
            pass
        assert inner.is_staged()
    assert inner.is_committed()
    async with kind(commit_mode=CommitMode.OFF) as outer:
        async with kind() as inner:
            assert inner.commit_mode is CommitMode.OFF
        await kind.call(outer.commit)
    assert inner.is_committed()


# -- rollback


@run
async def test_rollback_goes_backwards(kind):
    told = []

    def tell(name):
        return lambda txn: told.append((name, txn.key, txn.state.name))

    with pytest.raises(Failure):
        async with kind(key="outer") as outer:
            outer.stage(None, on_rollback_hooks=[tell("outer")])
            for key in ("one", "two"):
                async with kind(key=key) as inner:
                    inner.stage(1, on_rollback_hooks=[tell("first"), tell("second")])
            raise Failure
    assert [name for name, *_ in told] == ["outer", "second", "first", "second", "first"]
    assert [key for _, key, _ in told] == ["outer", "two", "two", "one", "one"]
    assert outer.is_rolled_back()
    assert all(child.is_rolled_back() for child in outer.children)


@run
async def test_a_failing_rollback_hook_does_no_harm(kind, caplog):
    told = []

    def bad(txn):
        raise RuntimeError("whoops!")

    async with kind(key="outer") as outer:
        async with kind(key="inner") as inner:
            inner.stage(1, on_rollback_hooks=[told.append, bad])
        assert await kind.call(outer.rollback) is True
        assert await kind.call(outer.rollback) is False
    assert told == [inner]
    assert inner.is_rolled_back()
    assert "An error was encountered while running rollback hook 'bad'" in caplog.text
    assert "whoops!" in caplog.text


@run
async def test_rollback_goes_outwards(kind):
    async with kind(key="outer") as outer:
        async with kind(key="middle") as middle:
            async with kind(key="inner") as inner:
                await kind.call(inner.rollback)
            assert middle.is_rolled_back()
    assert outer.is_rolled_back()


@run
async def test_a_child_that_fails_to_roll_back_keeps_no_other_from_it(kind, caplog):
    class Bad(Transaction if kind.colour == "sync" else AsyncTransaction):
        def rollback(self):
            raise ValueError("no way back")

    async with kind() as outer:
        async with kind(key="good") as good:
            pass
        outer.add_child(Bad(key="bad"))
        assert await kind.call(outer.rollback) is False
    assert outer.is_rolled_back()
    assert good.is_rolled_back()
    assert "no way back" in caplog.text


@run
async def test_a_child_that_fails_to_commit_rolls_all_back(kind):
    class Bad(Transaction if kind.colour == "sync" else AsyncTransaction):
        def commit(self):
            raise ValueError("foo")

    async with kind() as outer:
        async with kind() as inner:
            pass
        outer.add_child(Bad())
    assert outer.is_rolled_back()
    assert inner.is_committed()  # what was committed before stays


@run
async def test_an_interrupt_in_a_hook_rolls_back_and_goes_on(kind):
    told = []

    def interrupt(txn):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with kind() as txn:
            txn.stage(1, on_commit_hooks=[interrupt], on_rollback_hooks=[told.append])
    assert txn.is_rolled_back()
    assert told == [txn]
    assert get_transaction() is None


def test_cancellation_rolls_back(store):
    told = []

    async def main():
        started = asyncio.Event()

        async def work():
            async with atransaction(key="k", store=store, isolation_level=IsolationLevel.SERIALIZABLE) as txn:
                txn.stage(1, on_rollback_hooks=[told.append])
                started.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert told[0].is_rolled_back()
    assert not store.is_locked("k")


# -- hooks


@run
async def test_commit_hooks(kind, caplog):
    caplog.set_level(logging.INFO)
    told = []

    def tell(txn):
        told.append(("sync", txn.key))

    async def atell(txn):
        await asyncio.sleep(0)
        told.append(("async", txn.key))

    def silent(txn):
        told.append(("silent", txn.key))

    silent.log_on_run = False
    async with kind(key="outer") as outer:
        async with kind(key="inner") as inner:
            inner.stage(1, on_commit_hooks=[tell])
        outer.stage(2, on_commit_hooks=[atell, silent])
    assert told == [("sync", "inner"), ("async", "outer"), ("silent", "outer")]
    assert outer.is_committed()
    assert "Running commit hook 'tell'" in caplog.text
    assert "Commit hook 'tell' finished running successfully" in caplog.text
    assert "silent" not in caplog.text


@run
async def test_a_failing_commit_hook_rolls_back(kind, store, caplog):
    told = []

    def bad(txn):
        raise RuntimeError("whoops!")

    async with kind(key="k", store=store) as txn:
        txn.stage(2, on_commit_hooks=[bad], on_rollback_hooks=[told.append])
    assert txn.is_rolled_back()
    assert told == [txn]
    assert not store.exists("k")
    assert "An error was encountered while running commit hook 'bad'" in caplog.text
    assert "whoops!" in caplog.text


def test_an_async_hook_of_a_sync_transaction_without_a_loop():
    told = []

    async def hook(txn):
        told.append(txn)

    with transaction(key="k", store=None, write_on_commit=False) as txn:
        txn.stage(1, on_commit_hooks=[hook])
    assert told == [txn]


@run
async def test_kinds_may_be_mixed(store):
    told = []

    async def hook(txn):
        told.append(txn.key)

    async with atransaction(key="a", store=store) as outer:
        with transaction(key="b", store=store) as middle:
            async with atransaction(key="c", store=store) as inner:
                inner.stage(3, on_commit_hooks=[hook])
            middle.stage(2, on_commit_hooks=[hook])
        outer.stage(1, on_commit_hooks=[hook])
    assert told == ["c", "b", "a"]
    assert [store.read(key).result for key in "abc"] == [1, 2, 3]


# -- data


@run
async def test_values(kind):
    async with kind() as outer:
        outer.set("list", [1])
        outer.set("lock", lock := threading.Lock())
        async with kind() as inner:
            inner.get("list").append(2)
            assert inner.get("list") == [1]
            inner.set("list", [3])
            assert inner.get("list") == [3]
            outer.set("late", 1)
            assert inner.get("late") == 1
            assert inner.get("lock") is lock
        assert outer.get("list") == [1]
        assert outer.get("none", None) is None
        assert outer.get("none", default="x") == "x"
        with pytest.raises(ValueError, match="Could not retrieve value for unknown key: none"):
            outer.get("none")


# -- records


@run
async def test_what_is_staged_is_written(kind, store):
    async with kind(key="k", store=store) as txn:
        assert not store.exists("k")
        txn.stage({"foo": "bar"})
    assert (await kind.call(txn.read)).result == {"foo": "bar"}
    assert store.read("k") == await kind.call(txn.read)


@run
async def test_a_record_may_be_staged(kind, store):
    async with kind(key="k", store=store) as txn:
        txn.stage(store.create_result_record("value", key="k"))
    assert store.read("k").result == "value"


@run
async def test_what_is_there_is_committed(kind, store):
    store.write("old", key="k")
    told = []
    async with kind(key="k", store=store) as txn:
        assert txn.is_committed()
        txn.stage("new", on_commit_hooks=[told.append])
        assert txn.is_committed()
    assert store.read("k").result == "old"
    assert told == []
    async with kind(key="k", store=store, overwrite=True) as txn:
        assert txn.is_active()
        txn.stage("new")
    assert store.read("k").result == "new"
    async with kind(key="j", store=store, write_on_commit=False) as txn:
        txn.stage("unwritten")
    assert txn.is_committed()
    assert not store.exists("j")


@run
async def test_bare_stores_get_records(kind, store):
    bare = store.model_copy(update={"metadata_storage": NullFileSystem()})
    async with kind(key="k", store=bare) as txn:
        assert txn.store.metadata_storage is None
        txn.stage(1)
    async with kind(key="k", store=bare) as txn:
        assert txn.is_committed()


@run
async def test_a_value_that_cannot_be_stored_rolls_back(kind, store, caplog):
    told = []
    async with kind(key="k", store=store) as txn:
        txn.stage([threading.Lock()], on_rollback_hooks=[told.append])
    assert txn.is_rolled_back()
    assert told == [txn]
    assert "value[0] of type 'lock'" in caplog.text
    assert "value[0] of type 'lock'" in str(txn.failure)


@run
async def test_without_a_store_there_is_nothing_to_read(kind):
    async with kind(key="k") as txn:
        txn.stage(1)
    assert txn.is_committed()
    assert await kind.call(txn.read) is None


@run
async def test_the_default_store_is_that_of_the_run():
    with transaction(key="default-sync") as txn:
        txn.stage(1)
    assert isinstance(txn.store, ResultStore)
    async with atransaction(key="default-async") as other:
        other.stage(2)
    assert txn.read().result == 1
    assert (await other.read()).result == 2
    with transaction() as bare:
        assert bare.store is None


# -- isolation


@run
async def test_isolation_is_inherited_and_checked(kind, store):
    async with kind(key="a", store=store, isolation_level=IsolationLevel.SERIALIZABLE):
        async with kind(key="b", store=store, isolation_level=None) as inner:
            assert inner.isolation_level is IsolationLevel.SERIALIZABLE
            assert store.is_locked("b")
        assert store.is_locked("b")  # until it is really committed
    assert not store.is_locked("a")
    assert not store.is_locked("b")
    lockless = store.model_copy(update={"lock_manager": None})
    with pytest.raises(
        ConfigurationError, match="Isolation level SERIALIZABLE is not supported by provided configuration"
    ):
        async with kind(key="a", store=lockless, isolation_level="SERIALIZABLE"):
            pass
    assert get_transaction() is None


@run
async def test_the_same_key_inside_itself_does_not_wait_for_itself(kind, store):
    async with kind(key="k", store=store, isolation_level="SERIALIZABLE") as outer:
        async with kind(key="k", store=store, isolation_level="SERIALIZABLE") as inner:
            inner.stage("inner")
        outer.stage("outer")
    assert store.read("k").result == "outer"
    assert not store.is_locked("k")


@run
async def test_locks_are_given_back_whatever_happens(kind, store):
    with pytest.raises(Failure):
        async with kind(key="k", store=store, isolation_level="SERIALIZABLE"):
            raise Failure
    assert not store.is_locked("k")
    store.write(1, key="k")
    async with kind(key="k", store=store, isolation_level="SERIALIZABLE") as txn:
        assert txn.is_committed()
        assert not store.is_locked("k")  # nobody need wait: there is nothing to write
        assert store.read("k").result == 1
    (store.result_storage._resolve_path("k")).unlink()
    broken = store.model_copy()
    broken.exists = broken.aexists = lambda key: 1 / 0
    with pytest.raises(ZeroDivisionError):
        async with kind(key="k", store=broken, isolation_level="SERIALIZABLE"):
            pass
    assert not store.is_locked("k")
    assert get_transaction() is None
