"""Transactions: work that counts whole or not at all, with hooks for both, and results that are written on commit.

A transaction inside another joins it: it is staged at its end and committed, or rolled back, with the outer one.
`Transaction` drives the steps of `riverrun.transaction_life` blocking, `AsyncTransaction` awaiting. This module must not know
runs: the engine gives keys, stores, hooks and loggers.
"""

from typing import TYPE_CHECKING, Any, Self

from riverrun.base.interrupts import closed
from riverrun.transaction_life import (
    BaseTransaction,
    CommitMode,
    Hook,
    IsolationLevel,
    Steps,
    TransactionState,
    enclosing_transaction,
)

if TYPE_CHECKING:
    import logging

    from riverrun.result_records import ResultRecord
    from riverrun.results import ResultStore

    LoggingAdapter = logging.LoggerAdapter[logging.Logger]

__all__ = [
    "AsyncTransaction",
    "BaseTransaction",
    "CommitMode",
    "IsolationLevel",
    "Transaction",
    "TransactionState",
    "atransaction",
    "get_transaction",
    "transaction",
]


class Transaction(BaseTransaction):
    """A transaction of sync code, used with `with`.

    `key` is where its result is, or will be, in `store`: if there is one already (and not `overwrite`), the transaction is
    committed from the beginning. `write_on_commit` writes what was staged. An exception in the block rolls back, and goes on.
    """

    def begin(self) -> None:
        """Take the lock if it is needed and look for an existing record. Called by `with`."""
        _drive(self._begin())

    def read(self) -> "ResultRecord[Any] | None":
        """The record under the key; None without a store or a key."""
        if self.store is None or not self.key:
            return None
        return self.store.read(key=self.key, holder=self._holder or None)

    def commit(self) -> bool:
        """Commit what is inside, run the commit hooks, write the result. If any of it fails, roll back and return False."""
        return bool(_drive(self._commit()))

    def rollback(self) -> bool:
        """Run the rollback hooks, last first, then roll back what is inside. False if it was over or something failed."""
        return bool(_drive(self._rollback()))

    def reset(self) -> None:
        """Stop being the active transaction. Called by `with`."""
        _drive(self._reset())

    def run_hook(self, hook: Hook, hook_type: str) -> None:
        """Run a hook and log how it went."""
        _drive(self._hook(hook, hook_type))

    def __enter__(self) -> Self:
        _drive(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        _drive(self._close(failed=kind is not None))


class AsyncTransaction(BaseTransaction):
    """A transaction of async code, used with `async with`; see `Transaction`. Hooks may be async functions."""

    async def begin(self) -> None:
        """Take the lock if it is needed and look for an existing record. Called by `async with`."""
        await _adrive(self._begin())

    async def read(self) -> "ResultRecord[Any] | None":
        """The record under the key; None without a store or a key."""
        if self.store is None or not self.key:
            return None
        return await self.store.aread(key=self.key, holder=self._holder or None)

    async def commit(self) -> bool:
        """Commit what is inside, run the commit hooks, write the result. If any of it fails, roll back and return False."""
        return bool(await _adrive(self._commit()))

    async def rollback(self) -> bool:
        """Run the rollback hooks, last first, then roll back what is inside. False if it was over or something failed."""
        return bool(await _adrive(self._rollback()))

    async def reset(self) -> None:
        """Stop being the active transaction. Called by `async with`."""
        await _adrive(self._reset())

    async def run_hook(self, hook: Hook, hook_type: str) -> None:
        """Run a hook and log how it went."""
        await _adrive(self._hook(hook, hook_type))

    async def __aenter__(self) -> Self:
        await _adrive(self._open())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        await _adrive(self._close(failed=kind is not None))


def get_transaction() -> BaseTransaction | None:
    """The innermost transaction that is open here, None if there is none."""
    return enclosing_transaction()


def _options(
    key: str | None,
    store: "ResultStore | None",
    commit_mode: CommitMode | None,
    isolation_level: IsolationLevel | None,
    overwrite: bool,
    write_on_commit: bool,
    logger: Any,
) -> dict[str, Any]:
    if key and store is None:
        from riverrun.results import get_result_store

        store = get_result_store()
    return {
        "key": key,
        "store": store,
        "commit_mode": commit_mode,
        "isolation_level": isolation_level,
        "overwrite": overwrite,
        "write_on_commit": write_on_commit,
        "logger": logger,
    }


def transaction(
    key: str | None = None,
    store: "ResultStore | None" = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
    logger: "logging.Logger | LoggingAdapter | None" = None,
) -> Transaction:
    """A transaction for a `with` block.

    With a `key` and no `store`, the store is that of the run. What is not given is taken from the transaction around.
    """
    return Transaction(**_options(key, store, commit_mode, isolation_level, overwrite, write_on_commit, logger))


def atransaction(
    key: str | None = None,
    store: "ResultStore | None" = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
    logger: "logging.Logger | LoggingAdapter | None" = None,
) -> AsyncTransaction:
    """A transaction for an `async with` block; see `transaction`."""
    return AsyncTransaction(**_options(key, store, commit_mode, isolation_level, overwrite, write_on_commit, logger))


#: methods of a store that may wait long
_WAITING = frozenset({"acquire_lock", "exists", "write", "persist_result_record"})


def _drive(steps: Steps) -> Any:
    """Do the steps, blocking; a coroutine that comes back is completed."""
    from riverrun.utilities.colours import complete

    answer: Any = None
    error: BaseException | None = None
    with closed() as section:
        while True:
            try:
                target, method, options = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            answer = error = None
            try:
                if method is None or method == "acquire_lock":
                    answer = complete(section.call(_call, target, method, options))
                else:
                    answer = complete(_call(target, method, options))
            except BaseException as raised:  # noqa: BLE001 - given to the step that asked, which lets it out after its own end
                error = raised


async def _adrive(steps: Steps) -> Any:
    """Do the steps, awaiting what can be awaited."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            target, method, options = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        answer = error = None
        try:
            answer = _call(target, f"a{method}" if method in _WAITING else method, options)
            if hasattr(answer, "__await__"):
                answer = await answer
        except BaseException as raised:  # noqa: BLE001 - given to the step that asked, which lets it out after its own end
            error = raised


def _call(target: Any, method: str | None, options: dict[str, Any]) -> Any:
    if method is None:  # a hook
        return target(options["transaction"])
    return getattr(target, method)(**options)
