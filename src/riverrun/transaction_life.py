"""The life of a transaction, written once for sync and async code: generators that yield whatever may wait.

Users import from `riverrun.transactions`, which drives these steps. Nothing here blocks or awaits.
"""

import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar
from copy import deepcopy
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Any, ClassVar, Self

from riverrun.base.errors import ConfigurationError, SerializationError
from riverrun.base.ids import uuid7

if TYPE_CHECKING:
    import logging

    from riverrun.results import ResultStore

    LoggingAdapter = logging.LoggerAdapter[logging.Logger]

Hook = Callable[..., Any]
#: steps of a transaction's life: (object, method or None for a hook, arguments); what comes back is the result
Steps = Generator[tuple[Any, str | None, dict[str, Any]], Any, Any]

_NOT_SET: Any = object()


class _Upper(StrEnum):
    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:  # noqa: ARG004
        return name


class IsolationLevel(_Upper):
    """SERIALIZABLE locks the key from beginning to end, so that one transaction at a time computes it."""

    READ_COMMITTED = auto()
    SERIALIZABLE = auto()


class CommitMode(_Upper):
    """When a transaction that went well commits.

    EAGER: at its own end. LAZY: with the transaction around, at its own end if it is the outermost. OFF: as LAZY, but the
    outermost one rolls back at its end unless it was told to commit.
    """

    EAGER = auto()
    LAZY = auto()
    OFF = auto()


class TransactionState(_Upper):
    """Where a transaction is in its life."""

    PENDING = auto()
    ACTIVE = auto()
    STAGED = auto()
    COMMITTED = auto()
    ROLLED_BACK = auto()


active_transaction: ContextVar["BaseTransaction | None"] = ContextVar("transaction", default=None)


def enclosing_transaction() -> "BaseTransaction | None":
    """The innermost open transaction. A task run has one of its own, opened here when its code first needs it."""
    active = active_transaction.get()
    if active is not None:
        return active
    from riverrun.context import TaskRunContext

    context = TaskRunContext.get()
    if context is None:
        return None
    if context.own_transaction is None:
        from riverrun.transactions import AsyncTransaction, Transaction

        kind = AsyncTransaction if context.task.isasync else Transaction
        own = context.own_transaction = kind(store=context.result_store, write_on_commit=False)
        own.prepare_transaction()
        own.state = TransactionState.ACTIVE
        active_transaction.set(own)
    return context.own_transaction  # type: ignore[no-any-return]


class BaseTransaction:
    """What both kinds share; see `Transaction` for the arguments."""

    _FIELDS: ClassVar[tuple[str, ...]] = (
        "store",
        "key",
        "children",
        "commit_mode",
        "isolation_level",
        "state",
        "on_commit_hooks",
        "on_rollback_hooks",
        "overwrite",
        "logger",
        "write_on_commit",
    )

    def __init__(
        self,
        *,
        store: "ResultStore | None" = None,
        key: str | None = None,
        children: "list[BaseTransaction] | None" = None,
        commit_mode: CommitMode | None = None,
        isolation_level: IsolationLevel | None = IsolationLevel.READ_COMMITTED,
        state: TransactionState = TransactionState.PENDING,
        on_commit_hooks: list[Hook] | None = None,
        on_rollback_hooks: list[Hook] | None = None,
        overwrite: bool = False,
        logger: "logging.Logger | LoggingAdapter | None" = None,
        write_on_commit: bool = True,
    ) -> None:
        self.store = store
        self.key = key
        self.children = [] if children is None else children
        self.commit_mode = None if commit_mode is None else CommitMode(commit_mode)
        self.isolation_level = None if isolation_level is None else IsolationLevel(isolation_level)
        self.state = state
        self.on_commit_hooks = [] if on_commit_hooks is None else on_commit_hooks
        self.on_rollback_hooks = [] if on_rollback_hooks is None else on_rollback_hooks
        self.overwrite = overwrite
        self._logger = logger
        self.write_on_commit = write_on_commit
        self._parent: BaseTransaction | None = None
        #: whose child it is: to look through all children would cost more with each
        self._joined: BaseTransaction | None = None
        self._values: dict[str, Any] = {}
        self._staged_value: Any = None
        self._holder = ""
        self._locked = False
        #: why it could not be committed, where that is what it was rolled back for
        self.failure: BaseException | None = None
        #: guards the moment at which children can no longer join
        self._joining = threading.Lock()
        self._closing: TransactionState | None = None

    @property
    def logger(self) -> "logging.Logger | LoggingAdapter":
        if self._logger is None:
            import logging

            self._logger = logging.getLogger("riverrun.transactions")
        return self._logger

    # -- what users ask and say

    def set(self, name: str, value: Any) -> None:
        """Remember a value under a name, for this transaction and those inside it."""
        self._values[name] = value

    def get(self, name: str, default: Any = _NOT_SET) -> Any:
        """A deep copy of the value set under a name here or in the nearest transaction around.

        What can't be copied (a lock, a connection) is given as it is. Raises ValueError for an unknown name without a default.
        """
        transaction: BaseTransaction | None = self
        while transaction is not None:
            if name in transaction._values:
                value = transaction._values[name]
                try:
                    return deepcopy(value)
                except Exception:  # noqa: BLE001 - whatever a user's class raises when it can't be copied
                    return value
            transaction = transaction.get_parent()
        if default is _NOT_SET:
            raise ValueError(
                f"Could not retrieve value for unknown key: {name}. It was set neither in this transaction nor in one around it."
            )
        return default

    def is_committed(self) -> bool:
        return self.state is TransactionState.COMMITTED

    def is_rolled_back(self) -> bool:
        return self.state is TransactionState.ROLLED_BACK

    def is_staged(self) -> bool:
        return self.state is TransactionState.STAGED

    def is_pending(self) -> bool:
        return self.state is TransactionState.PENDING

    def is_active(self) -> bool:
        return self.state is TransactionState.ACTIVE

    def stage(
        self,
        value: Any,
        on_rollback_hooks: list[Hook] | None = None,
        on_commit_hooks: list[Hook] | None = None,
    ) -> None:
        """Say what is written on commit (a value or a ResultRecord) and which hooks run; nothing once it is committed."""
        if self.state is TransactionState.COMMITTED:
            return
        self._staged_value = value
        self.on_rollback_hooks = on_rollback_hooks or []
        self.on_commit_hooks = on_commit_hooks or []
        self.state = TransactionState.STAGED

    def add_child(self, transaction: "BaseTransaction") -> None:
        """Make the end of another transaction depend on this one's."""
        self.children.append(transaction)

    def get_parent(self) -> "BaseTransaction | None":
        """The transaction around this one, None for the outermost."""
        return self._parent

    @classmethod
    def get_active(cls) -> Self | None:
        """The innermost transaction that is open here, None if there is none."""
        return active_transaction.get()  # type: ignore[return-value] # whichever kind it is

    def prepare_transaction(self) -> None:
        """Take over from the transaction around what was not said, and check that the store can do what is asked."""
        parent = self._parent
        if self.commit_mode is None:
            self.commit_mode = (parent.commit_mode if parent is not None else None) or CommitMode.LAZY
        if self.isolation_level is None:
            self.isolation_level = (
                parent.isolation_level if parent is not None else None
            ) or IsolationLevel.READ_COMMITTED
        if self.store is None:
            return
        if self.store.lock_manager is None and parent is not None and parent.store is not None:
            locks = parent.store.lock_manager
            if locks is not None and self.isolation_level is IsolationLevel.SERIALIZABLE:
                self.store = self.store.model_copy(update={"lock_manager": locks})
        if self.key and not self.store.supports_isolation_level(self.isolation_level):
            raise ConfigurationError(
                f"Isolation level {self.isolation_level.name} is not supported by provided configuration: it needs a lock"
                " manager. Give the store one, as in ResultStore(lock_manager=FileSystemLockManager(directory)), or for a"
                " task cache_policy=INPUTS.configure(isolation_level='SERIALIZABLE', lock_manager=...)."
            )
        if self.store.metadata_storage is not None and type(self.store.metadata_storage).__name__ == "NullFileSystem":
            # bare values can't say that they are records: whether the key was committed could not be told
            self.store = self.store.model_copy(update={"metadata_storage": None})

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, BaseTransaction)
            and type(self) is type(other)
            and all(getattr(self, name) == getattr(other, name) for name in self._FIELDS)
        )

    __hash__ = None  # type: ignore[assignment] # compares by content and changes

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._FIELDS if name != "logger")
        return f"{type(self).__name__}({fields})"

    # -- the life of a transaction

    def _open(self) -> Steps:
        self._parent = enclosing_transaction()
        self._closing = None
        self.prepare_transaction()
        active_transaction.set(self)
        self.state = TransactionState.ACTIVE
        try:
            yield from self._own("begin")
        except BaseException:
            active_transaction.set(self._parent)
            yield from self._unlock()
            raise

    def _begin(self) -> Steps:
        if self.store is None or not self.key:
            return
        if self.isolation_level is IsolationLevel.SERIALIZABLE:
            outer = self._outer_holder()
            self._holder = outer or str(uuid7())
            if outer is None:
                yield self.store, "acquire_lock", {"key": self.key, "holder": self._holder}
                self._locked = True
        if not self.overwrite and (yield self.store, "exists", {"key": self.key}):
            self.state = TransactionState.COMMITTED
            yield from self._unlock()  # there is nothing to write, others need not wait until the end

    def _outer_holder(self) -> str | None:
        """Who holds the lock on the same key among the transactions around: waiting for oneself would never end."""
        transaction = self._parent
        while transaction is not None:
            theirs, ours = transaction.store, self.store
            if theirs is not None and ours is not None and transaction._locked and transaction.key == self.key:
                same_locks = theirs.lock_manager == ours.lock_manager
                if same_locks:
                    return transaction._holder
            transaction = transaction._parent
        return None

    def _close(self, failed: bool) -> Steps:
        """The end of the `with` block."""
        try:
            if failed:
                yield from self._own("rollback")
            elif not self._is_settled() and (end := self._end_of_block()) is not None:
                yield from self._own(end)
        finally:
            yield from self._own("reset")

    def _end_of_block(self) -> str | None:
        """What to do at the end of a block that went well; None: it is left to the transaction around."""
        if self.commit_mode is CommitMode.EAGER:
            return "commit"
        parent = self._parent
        if parent is None:
            return "rollback" if self.commit_mode is CommitMode.OFF else "commit"
        with parent._joining:
            if parent._closing is None:
                self.state = TransactionState.STAGED
                return None
        # it outlived the transaction around: work submitted there and not waited for
        return "commit" if parent._closing is TransactionState.COMMITTED else "rollback"

    def _is_settled(self) -> bool:
        return self.state in (TransactionState.COMMITTED, TransactionState.ROLLED_BACK)

    def _reset(self) -> Steps:
        parent = self._parent
        if active_transaction.get() is self:
            active_transaction.set(parent)
        if self._is_settled():
            yield from self._unlock()
        if parent is not None:
            if self._joined is not parent:
                parent.add_child(self)
                self._joined = parent
            if self.state is TransactionState.ROLLED_BACK and not parent._is_settled():
                yield parent, "rollback", {}

    def _unlock(self) -> Steps:
        if self._locked and self.store is not None:
            self._locked = False
            try:
                yield self.store, "release_lock", {"key": self.key, "holder": self._holder}
            except ValueError:  # it timed out, or somebody removed it: then there is nothing to give back
                self.logger.warning("The lock of transaction %r was lost before its end.", self.key)

    def _commit(self) -> Steps:
        if self._is_settled():
            return False
        with self._joining:
            self._closing = TransactionState.COMMITTED
        try:
            for child in self.children:
                yield child, "commit", {}
            for hook in self.on_commit_hooks:
                if not (yield from self._hook(hook, "commit")):
                    yield from self._own("rollback")
                    return False
            if self.store is not None and self.key and self.write_on_commit:
                yield from self._write()
        except SerializationError as error:
            self.failure = error
            self.logger.warning(
                "Encountered an error while serializing result of transaction %r: %s The code goes on, but the"
                " transaction is rolled back.",
                self.key,
                error,
            )
            yield from self._own("rollback")
            return False
        except BaseException as error:  # of a child, of the storage, or from outside
            self.failure = error
            yield from self._own("rollback")
            if not isinstance(error, Exception):
                raise
            self.failure = error
            self.logger.error("An error was encountered while committing transaction %r", self.key, exc_info=error)
            return False
        self.state = TransactionState.COMMITTED
        yield from self._unlock()
        return True

    def _write(self) -> Steps:
        from riverrun.result_records import ResultRecord

        holder = self._holder or None
        staged = self._staged_value
        if isinstance(staged, ResultRecord):
            yield self.store, "persist_result_record", {"result_record": staged, "holder": holder}
        else:
            yield self.store, "write", {"key": self.key, "obj": staged, "holder": holder}

    def _rollback(self) -> Steps:
        if self._is_settled():
            return False
        with self._joining:
            self._closing = TransactionState.ROLLED_BACK
        succeeded = True
        for hook in reversed(self.on_rollback_hooks):
            succeeded = (yield from self._hook(hook, "rollback")) and succeeded
        self.state = TransactionState.ROLLED_BACK
        for child in reversed(self.children):
            try:
                yield child, "rollback", {}
            except Exception as error:  # one that can't be undone does not keep the others from it
                succeeded = False
                self.logger.error(
                    "An error was encountered while rolling back transaction %r", child.key, exc_info=error
                )
        yield from self._unlock()
        return succeeded

    def _hook(self, hook: Hook, kind: str) -> Steps:
        """Run a hook; False if it failed, which is logged."""
        name = getattr(hook, "__name__", None) or getattr(getattr(hook, "func", None), "__name__", type(hook).__name__)
        aloud = getattr(hook, "log_on_run", True) is not False
        if aloud:
            self.logger.info("Running %s hook %r", kind, name)
        try:
            yield hook, None, {"transaction": self}
        except Exception as error:
            if kind == "commit":
                self.failure = error
            self.logger.error("An error was encountered while running %s hook %r", kind, name, exc_info=error)
            return False
        if aloud:
            self.logger.info("%s hook %r finished running successfully", kind.capitalize(), name)
        return True

    def _own(self, method: str) -> Steps:
        """A step that is a public method of this transaction, so that subclasses may change it."""
        return (yield self, method, {})
