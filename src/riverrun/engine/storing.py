"""The stored part of a task run's life: its transaction, the cached result that may end it, the result it leaves.

Only runs that persist a result, have transaction hooks or run inside a user's transaction come here. The transaction's own
steps (`transaction_life`) are performed as effects, so that they wait where everything else waits.
"""

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from riverrun.base.clock import now
from riverrun.base.config import settings
from riverrun.context import TaskRunContext
from riverrun.engine import record
from riverrun.engine.drive import Steps
from riverrun.engine.effects import Do, Effect, Hook
from riverrun.result_records import ResultRecord
from riverrun.states import NONE_RESULT, Completed, State
from riverrun.transaction_life import BaseTransaction, active_transaction
from riverrun.transactions import AsyncTransaction, Transaction
from riverrun.utilities.colours import complete
from riverrun.wire.states import StateType

if TYPE_CHECKING:
    from riverrun.engine.flow_run import FlowRunLife
    from riverrun.engine.task_run import TaskRunLife


class TaskStoring:
    """The transaction of one task run."""

    def __init__(self, life: "TaskRunLife") -> None:
        task = life.task
        context = life.context
        assert context is not None  # made by the life before this
        context.persist_result = self.persist = task.persists(life.outer or life.flow_context)
        self.store = context.result_store
        key, found = self._key(life) if self.persist else (None, False)
        refresh = settings().tasks_refresh_cache if task.refresh_cache is None else task.refresh_cache
        policy = task.cache_policy if self.persist else None
        kind = AsyncTransaction if task.isasync else Transaction
        self.transaction: BaseTransaction = kind(
            key=key,
            store=self.store,
            # without a key of a policy nothing may be found under the key, which is there to write to
            overwrite=refresh or not found,
            isolation_level=getattr(policy, "isolation_level", None),
            write_on_commit=self.persist,
            logger=life.logger,
        )
        self.cache_key = key if found else None
        self._opened = False
        self._closed = False

    def _key(self, life: "TaskRunLife") -> tuple[str | None, bool]:
        """Where the result goes, and whether one that is there already may be used. Without a key nothing is stored."""
        task = life.task
        policy = None if settings().tasks_disable_caching else task.cache_policy
        if policy is not None:
            flow_context = life.flow_context
            try:
                assert life.context is not None  # made by the life before this
                key = policy.compute_key(
                    task_ctx=life.context,
                    inputs=life.parameters,
                    flow_parameters=(flow_context.parameters if flow_context else None) or {},
                )
            except Exception as error:
                life.logger.error(
                    "Error encountered when computing cache key - result will not be persisted: %s",
                    error,
                    exc_info=error,
                )
                return None, False
            if key is not None:
                return key, True
        # a key that the user named may find what is there; one that was made up finds nothing
        named = task.result_storage_key is not None and policy is None
        return self.store.storage_key_fn(), named and not settings().tasks_disable_caching

    def live(self, life: "TaskRunLife") -> Steps:
        """Open the transaction; use what is stored, or make the attempts."""
        inner = TaskRunContext.var.get()
        assert inner is not None  # made by the life before this
        inner.own_transaction = self.transaction
        try:
            # what is around this transaction is around the task run
            TaskRunContext.var.set(life.outer)
            try:
                yield from _steps(self.transaction._open())
            finally:
                TaskRunContext.var.set(inner)
            self._opened = True
            if self.cache_key is not None:
                life.publish()
                record.update(life.run, cache_key=self.cache_key)
            if self.transaction.is_committed():
                yield from self._use_stored(life)
                return
        except Exception as error:  # noqa: BLE001 - a storage, lock or configuration that fails is the run's failure
            yield from self._end(failed=True)
            life.error = error
            life.state = life.failed(error)
            life.storing = None
            yield from life.finish()
            return
        yield from life.attempts()

    def _use_stored(self, life: "TaskRunLife") -> Steps:
        store, key = self.store, self.transaction.key
        assert key is not None  # only then can it be committed already
        read = Do(partial(store.read, key=key, holder=self.transaction._holder or None))
        yield read
        if read.error is not None:
            raise read.error
        found: ResultRecord[Any] = read.value
        yield from life.enter_running()
        life.value = found.result
        life.state = Completed(name="Cached", data=found)
        life.state.state_details.cache_key = self.cache_key
        life.state.state_details.cache_expiration = found.expiration
        yield from life.finish()

    def settle(self, life: "TaskRunLife") -> Generator[Effect, Any, None]:
        """Before the final state: stage and commit what was returned, or roll back. May change the state."""
        state = life.state
        if self._closed or state.name == "Cached":
            yield from self._end(failed=False)
            return
        if state.type is not StateType.COMPLETED:
            yield from self._end(failed=True)
            return
        try:
            yield from self._keep(life, state)
        except Exception as error:
            yield from self._end(failed=True)
            state.message = f"The task ran, but its result was not kept: {error}"
            life.logger.error("%s", state.message, exc_info=error)

    def _keep(self, life: "TaskRunLife", state: State[Any]) -> Generator[Effect, Any, None]:
        """Stage what was returned and end the transaction."""
        task = life.task
        data = None if state.data is NONE_RESULT else state.data
        result: Any = data
        if self.transaction.key is not None:
            expiration = None if task.cache_expiration is None else now() + task.cache_expiration
            result = (
                data
                if isinstance(data, ResultRecord)
                else self.store.create_result_record(data, key=self.transaction.key, expiration=expiration)
            )
            state.state_details.cache_key = self.cache_key
            state.state_details.cache_expiration = expiration
        undo = partial(_note_rollback, life)
        undo.log_on_run = False  # type: ignore[attr-defined] # bookkeeping of ours, not a hook of the user's
        self.transaction.stage(
            result,
            on_rollback_hooks=[undo, *task.on_rollback_hooks],
            on_commit_hooks=list(task.on_commit_hooks),
        )
        yield from self._end(failed=False)
        if self.transaction.failure is not None:
            state.message = f"The task ran, but its result was not kept: {self.transaction.failure}"
        elif result is not data:
            state.data = result

    def abandon(self) -> None:
        """The run was struck: roll back now."""
        abandon(self._end(failed=True))

    def _end(self, *, failed: bool) -> Generator[Effect, Any, None]:
        if self._opened and not self._closed:
            self._closed = True
            yield from _steps(self.transaction._close(failed=failed))


def abandon(steps: Generator[Effect, Any, None]) -> None:
    """Perform steps of a transaction here and now: the run was struck and its driver performs nothing any more."""
    for step in steps:
        try:
            step.value = complete(step.fn(*step.args))  # type: ignore[attr-defined]
        except BaseException as error:  # noqa: BLE001 - the transaction's steps decide what it means
            step.error = error


def close_left_open(before: BaseTransaction | None) -> None:
    """Roll back the transactions inside `before` that a signal kept from reaching the end of their block."""
    while (left := active_transaction.get()) is not None and left is not before:
        abandon(_steps(left._close(failed=True)))
        if active_transaction.get() is left:
            active_transaction.set(left._parent)


def close_own(transaction: BaseTransaction, *, failed: bool) -> Generator[Effect, Any, None]:
    """End a transaction that user code of a plain run asked for."""
    yield from _steps(transaction._close(failed=failed))


def _note_rollback(life: "TaskRunLife", _transaction: BaseTransaction) -> None:
    if life.run.state is not None and life.run.state.is_final():
        state: State[Any] = Completed(name="RolledBack", message="Task rolled back as part of transaction")
        record.enter(life.run, state)


def _steps(steps: Generator[tuple[Any, str | None, dict[str, Any]], Any, Any]) -> Generator[Effect, Any, Any]:
    """A transaction's steps as effects: its hooks as hooks, its storage as blocking work of ours."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            target, method, options = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        answer = error = None
        if method is None:
            effect: Effect = Hook(target, options["transaction"])
        elif isinstance(target, BaseTransaction):
            try:
                answer = yield from _steps(getattr(target, f"_{method}")())
            except BaseException as raised:  # noqa: BLE001 - given to the step that asked
                error = raised
            continue
        else:
            effect = Do(partial(getattr(target, method), **options), interruptible=method == "acquire_lock")
        yield effect
        answer, error = effect.value, effect.error


def store_flow_result(life: "FlowRunLife", state: State[Any]) -> None:
    """Write a flow run's result and let the state refer to it; raises what the serializer or the storage raises."""
    if state.type is not StateType.COMPLETED or isinstance(state.data, ResultRecord) or life.context is None:
        return
    store = life.context.result_store
    result = store.create_result_record(None if state.data is NONE_RESULT else state.data)
    store.persist_result_record(result)
    state.data = result
