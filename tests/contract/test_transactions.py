"""Transactions: what belongs together is committed together or undone, last first."""

import uuid

import pytest

from .sdk import Colour, flow, import_module, task

transactions = import_module("transactions")
transaction, get_transaction = transactions.transaction, transactions.get_transaction
CommitMode, TransactionState = transactions.CommitMode, transactions.TransactionState
IsolationLevel = transactions.IsolationLevel


class Log(list):
    def step(self, name: str, **options):
        """A task that notes its run, its commit and its rollback."""

        @task(name=name, **options)
        def work(fail: bool = False):
            self.append(f"run {name}")
            if fail:
                raise ValueError(name)
            return name

        @work.on_commit
        def commit(txn):
            self.append(f"commit {name}")

        @work.on_rollback
        def rollback(txn):
            self.append(f"rollback {name}")

        return work


def test_all_is_committed_at_the_end() -> None:
    log = Log()
    a, b = log.step("a"), log.step("b")

    @flow
    def main():
        with transaction():
            a()
            b()
            log.append("end")

    main()
    assert log == ["run a", "run b", "end", "commit a", "commit b"]


def test_a_failure_undoes_in_reverse_order() -> None:
    log = Log()
    a, b, c = log.step("a"), log.step("b"), log.step("c")

    @flow
    def main():
        with transaction():
            a()
            b()
            c(fail=True)

    with pytest.raises(ValueError, match="c"):
        main()
    assert log[:3] == ["run a", "run b", "run c"]
    assert [entry for entry in log if entry in {"rollback a", "rollback b"}] == ["rollback b", "rollback a"]
    assert not any(entry.startswith("commit") for entry in log)


def test_an_exception_of_the_users_own_undoes_too() -> None:
    log = Log()
    a = log.step("a")

    @flow
    def main():
        with pytest.raises(KeyError), transaction():
            a()
            raise KeyError
        return "went on"

    assert main() == "went on"
    assert log == ["run a", "rollback a"]


def test_tasks_outside_commit_at_once() -> None:
    log = Log()
    a, b = log.step("a"), log.step("b")

    @flow
    def main():
        a()
        b(fail=True)

    with pytest.raises(ValueError, match="b"):
        main()
    assert "commit a" in log
    assert "rollback a" not in log


def test_nested_transactions_wait_for_the_outer_one() -> None:
    log = Log()
    a, b = log.step("a"), log.step("b")

    @flow
    def main():
        with transaction():
            with transaction():
                a()
            log.append("inner ended")
            b()

    main()
    assert log.index("inner ended") < log.index("commit a") < log.index("commit b")


def test_a_late_failure_undoes_the_nested_one() -> None:
    log = Log()
    a = log.step("a")

    @flow
    def main():
        with transaction():
            with transaction():
                a()
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        main()
    assert log == ["run a", "rollback a"]


@pytest.mark.parametrize("mode", [CommitMode.EAGER, CommitMode.OFF])
def test_commit_modes_of_a_nested_transaction(mode) -> None:
    log = Log()
    a = log.step("a")

    @flow
    def main():
        with transaction():
            with transaction(commit_mode=mode):
                a()
            log.append("inner ended")

    main()
    early, late = ["run a", "commit a", "inner ended"], ["run a", "inner ended", "commit a"]
    assert log == (early if mode is CommitMode.EAGER else late)


def test_commit_mode_off_rolls_back_unless_committed_by_hand() -> None:
    log = Log()
    a = log.step("a")
    with transaction(commit_mode=CommitMode.OFF):
        a()
    assert log == ["run a", "rollback a"]
    log.clear()
    with transaction(commit_mode=CommitMode.OFF) as txn:
        a()
        txn.commit()
    assert log == ["run a", "commit a"]


def test_states_of_a_transaction() -> None:
    with transaction() as txn:
        assert txn.is_active()
        assert txn.state == TransactionState.ACTIVE
    assert txn.is_committed()
    with pytest.raises(ValueError), transaction() as txn:  # noqa: PT011
        raise ValueError
    assert txn.is_rolled_back()


def test_transactions_made_by_hand() -> None:
    made = transactions.Transaction()
    assert made.is_pending()
    assert made.store is None
    assert made == transactions.Transaction()
    assert made != transactions.Transaction(key="other")
    with made:
        assert made.is_active()
        assert made.get_parent() is None
    assert made.is_committed()
    assert transactions.Transaction(state=TransactionState.STAGED).is_staged()


def test_children_commit_with_the_parent() -> None:
    with transactions.Transaction(key="outer") as outer:
        with transactions.Transaction(key="inner") as inner:
            pass
        assert not inner.is_committed()
    assert outer.is_committed()
    assert inner.is_committed()


def test_a_rollback_reaches_the_parents() -> None:
    with transactions.Transaction(key="outer") as outer:
        with transactions.Transaction(key="middle") as middle:
            with transactions.Transaction(key="inner") as inner:
                inner.rollback()
            assert middle.is_rolled_back()
    assert outer.is_rolled_back()


def test_a_rollback_by_hand_stays() -> None:
    with transaction() as txn:
        assert txn.rollback() is True
        assert txn.is_rolled_back()
    assert txn.is_rolled_back()
    assert not txn.is_committed()


def test_a_child_that_fails_to_commit_rolls_all_back() -> None:
    class Bad(transactions.Transaction):
        def commit(self, **kwargs):
            raise ValueError("commit")

    with transactions.Transaction() as txn:
        txn.add_child(Bad())
    assert txn.is_rolled_back()


def test_a_rollback_that_fails_says_so_and_leaves_nothing_active() -> None:
    class Bad(transactions.Transaction):
        def rollback(self, **kwargs):
            raise ValueError("rollback")

    with transactions.Transaction(key="outer") as txn:
        txn.add_child(Bad())
        assert txn.rollback() is False
    assert get_transaction() is None


def test_a_hook_sees_the_parent() -> None:
    seen = []
    with pytest.raises(ValueError), transaction() as outer:  # noqa: PT011
        with transactions.Transaction(key="inner") as inner:
            inner.stage("v", on_rollback_hooks=[lambda txn: seen.append(txn.get_parent() is outer)])
        raise ValueError
    assert seen == [True]


def test_get_transaction() -> None:
    assert get_transaction() is None
    with transaction() as outer:
        assert get_transaction() is outer
        with transaction() as inner:
            assert get_transaction() is inner
            assert inner.get_parent() is outer
        assert get_transaction() is outer
    assert get_transaction() is None


def test_a_task_runs_in_a_transaction_of_its_own() -> None:
    @task
    def work():
        txn = get_transaction()
        return txn is not None and txn.is_active()

    assert work() is True


class TestData:
    def test_set_and_get(self) -> None:
        with transaction() as txn:
            txn.set("a", 1)
            assert txn.get("a") == 1
            assert txn.get("missing", "default") == "default"
            assert txn.get("missing", None) is None
            with pytest.raises(ValueError, match="missing"):
                txn.get("missing")

    def test_is_inherited_but_not_shared(self) -> None:
        with transaction() as outer:
            outer.set("a", [1])
            with transaction() as inner:
                assert inner.get("a") == [1]
                inner.set("a", [2])
                inner.set("b", 3)
                assert inner.get("a") == [2]
            assert outer.get("a") == [1]
            with pytest.raises(ValueError, match="b"):
                outer.get("b")

    def test_reaches_the_hooks(self) -> None:
        got = []

        @task
        def work():
            get_transaction().set("made", "file.txt")

        @work.on_rollback
        def undo(txn):
            got.append(txn.get("made"))

        with pytest.raises(ValueError), transaction():  # noqa: PT011
            work()
            raise ValueError
        assert got == ["file.txt"]

    def test_a_value_read_cannot_change_the_stored_one(self) -> None:
        with transaction() as txn:
            txn.set("a", [1])
            txn.get("a").append(2)
            assert txn.get("a") in ([1], [1, 2])


def test_hooks_get_the_transaction() -> None:
    got = []

    @task
    def work():
        return 1

    work.on_commit(lambda txn: got.append((txn.is_committed(), txn.is_rolled_back())))
    work()
    assert len(got) == 1
    assert got[0][1] is False


def test_staged_values_are_written_when_committed(tmp_path) -> None:
    results = import_module("results")
    filesystems = import_module("filesystems")
    store = results.ResultStore(result_storage=filesystems.LocalFileSystem(basepath=str(tmp_path)))
    key = uuid.uuid4().hex
    with transaction(key=key, store=store) as txn:
        assert not txn.is_committed()
        txn.stage({"v": 1})
        assert txn.is_staged()
        assert not store.exists(key)
    assert store.read(key).result == {"v": 1}
    with transaction(key=key, store=store) as again:
        assert again.is_committed()
        assert again.read().result == {"v": 1}


def test_nothing_is_written_after_a_rollback(tmp_path) -> None:
    results = import_module("results")
    filesystems = import_module("filesystems")
    store = results.ResultStore(result_storage=filesystems.LocalFileSystem(basepath=str(tmp_path)))
    key = uuid.uuid4().hex
    with pytest.raises(ValueError), transaction(key=key, store=store) as txn:  # noqa: PT011
        txn.stage(1)
        raise ValueError
    assert not store.exists(key)


def test_results_of_undone_tasks_are_not_cached() -> None:
    calls = []
    key = uuid.uuid4().hex

    @task(persist_result=True, cache_key_fn=lambda *a: key)
    def work():
        calls.append(1)

    with pytest.raises(ValueError), transaction():  # noqa: PT011
        work()
        raise ValueError
    work()
    assert len(calls) == 2


def test_a_failing_commit_hook_rolls_back() -> None:
    log = []

    @task
    def work():
        log.append("run")

    @work.on_commit
    def broken(txn):
        raise RuntimeError("hook")

    @work.on_rollback
    def undo(txn):
        log.append("rollback")

    @flow
    def main():
        with transaction() as txn:
            work()
        return txn.state.name

    main(return_state=True)
    assert log == ["run", "rollback"]


def test_a_failing_rollback_hook_does_not_stop_the_others() -> None:
    log = []

    @task
    def first():
        pass

    @task
    def second():
        pass

    @first.on_rollback
    def undo_first(txn):
        log.append("first")

    @second.on_rollback
    def broken(txn):
        raise RuntimeError("hook")

    with pytest.raises(ValueError, match="mine"), transaction():
        first()
        second()
        raise ValueError("mine")
    assert log in (["first"], [])


def test_async_tasks_in_a_transaction(colour: Colour) -> None:
    log = []

    @colour.task
    async def work(x):
        log.append(x)
        return x

    work.on_rollback(lambda txn: log.append("rollback"))

    @colour.flow
    async def main():
        with transaction():
            await colour(work, 1)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        colour.run(main)
    assert log == [1, "rollback"]


def test_async_transactions() -> None:
    import asyncio

    async def main():
        async with transactions.atransaction() as txn:
            txn.set("a", 1)
            assert get_transaction() is txn
        return txn.is_committed()

    assert asyncio.run(main()) is True


def test_serializable_needs_a_lock_manager() -> None:
    exceptions = import_module("exceptions")
    with (
        pytest.raises(exceptions.ConfigurationError),
        transaction(key="k", isolation_level=IsolationLevel.SERIALIZABLE),
    ):
        pass


def test_submitted_tasks_do_not_join_the_callers_transaction_half_way() -> None:
    log = Log()
    a = log.step("a")

    @flow
    def main():
        with transaction():
            a.submit().wait()
            log.append("end")

    main()
    assert sorted(log) == ["commit a", "end", "run a"]
