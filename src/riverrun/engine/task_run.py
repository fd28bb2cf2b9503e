"""The life of a task run, written once for sync and async, direct and submitted.

`TaskRunLife` binds one call of a task to its run; `live` is the sequence of what happens to it. A plain call takes the
straight path: Pending, Running, the user's function, Completed. What a task may have on top (upstream futures, a transaction
with cache and result, retries, hooks) are steps of their own that the straight path skips.
"""

import sys
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from riverrun.base.errors import FailedRun, TaskRunTimeoutError, UnfinishedRun
from riverrun.client import journal
from riverrun.context import FlowRunContext, TagsContext, TaskRunContext
from riverrun.engine import commands, inputs, record, retries
from riverrun.engine.drive import Steps
from riverrun.engine.effects import Call, Do, Effect, Sleep, Wait
from riverrun.engine.hooks import run_hooks
from riverrun.engine.naming import run_name
from riverrun.engine.timeouts import DeadlineExceeded
from riverrun.engine.tracebacks import strip
from riverrun.logging import is_enabled, patch_print, task_run_logger
from riverrun.states import (
    NONE_RESULT,
    AwaitingRetry,
    Cancelled,
    Completed,
    Failed,
    Pending,
    Retrying,
    Running,
    State,
    exception_to_failed_state_sync,
    return_value_to_state_sync,
)
from riverrun.wire.runs import RunInput, TaskRun
from riverrun.wire.states import StateType

if TYPE_CHECKING:
    from riverrun.concurrency.leases import Lease
    from riverrun.engine.storing import TaskStoring
    from riverrun.tasks import Task

_NOTHING: AbstractContextManager[None] = nullcontext()

#: types of states that a function can't end its run with
_UNDER_WAY = frozenset({StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})

#: types of values that are data: no state or future can be in them
_SIMPLE = frozenset({type(None), bool, int, float, str, bytes})


def active_transaction() -> Any:
    """The innermost open transaction; there can only be one where its module has been imported."""
    module = sys.modules.get("riverrun.transaction_life")
    return None if module is None else module.active_transaction.get()


class TaskRunLife:
    """One task run from Pending to its end. Made by `Task.__call__` and the task runners."""

    __slots__ = (
        "args",
        "closed",
        "context",
        "error",
        "flow_context",
        "held",
        "interrupt",
        "kwargs",
        "on_done",
        "outer",
        "parameters",
        "run",
        "slots",
        "sources",
        "state",
        "storing",
        "streamed",
        "tags",
        "task",
        "upstream",
        "value",
    )

    def __init__(
        self,
        task: "Task[Any, Any]",
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        parameters: dict[str, Any],
        wait_for: Any = None,
        *,
        run: TaskRun | None = None,
        origins: dict[str, set[RunInput]] | None = None,
    ) -> None:
        """Binds a call; with `run` it continues a run that was recorded elsewhere (another process).

        `origins` are runs that parameters came from where the parameters do not tell, as with the items of a map.
        """
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.parameters = parameters
        self.flow_context = flow_context = FlowRunContext.var.get()
        parent = TaskRunContext.var.get()
        self.tags = tags = TagsContext.get().current_tags
        #: futures that this run waits for, and what it got its arguments from
        self.upstream: list[Any] = []
        self.sources: record.Inputs = {}
        if run is None and (parameters or wait_for is not None or parent is not None):
            self.upstream, self.sources = inputs.sources(
                parameters, wait_for, flow_context, None if parent is None else parent.task_run.id
            )
        if origins:
            inputs.add_origins(self.sources, origins)
        self.run: TaskRun = run or record.new_task_run(task, flow_context, tags, self.sources)
        self.state: State[Any] = Pending()
        self.value: Any = None
        self.error: BaseException | None = None
        #: what must be raised in the caller once the run has its end: Ctrl-C, SystemExit, cancellation
        self.interrupt: BaseException | None = None
        self.context: TaskRunContext | None = None
        #: the context of the task run around this one
        self.outer: TaskRunContext | None = None
        self.storing: TaskStoring | None = None
        #: the slots of limits of its tags
        self.slots: Lease | None = None
        #: whether a generator's items go to the caller one by one (engine.streams)
        self.streamed = False
        #: whether the run was given its end from outside
        self.closed = False
        self.held: tuple[Any, ...] | None = None
        self.on_done: Callable[[State[Any]], object] | None = None

    # -- what happens ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Write down that the run exists and is Pending. A direct call leaves that to its next state: one append for all."""
        self.held = (record.task_run_record(self.run, self.sources), record.move(self.run, self.state))

    def publish(self) -> None:
        """Put what `open` holds back into the journal now, for a run that may have to wait."""
        if self.held is not None:
            held, self.held = self.held, None
            journal.append_all(held)

    def live(self) -> Steps:
        """The steps, for a driver."""
        if self.closed:
            return
        before = TaskRunContext.var.get()
        transaction_before = active_transaction()
        task, run = self.task, self.run
        broken = False
        try:
            if self.upstream:
                wait = Wait(self.upstream)
                yield wait
                if wait.error is not None:
                    self._crash(wait.error)
                    return
                if not self.resolve():
                    return
            self.context = context = TaskRunContext(
                task=task, task_run=run, parameters=self.parameters, log_prints=task.prints_to_log(self.flow_context)
            )
            self.outer = before
            TaskRunContext.var.set(context)
            if task.task_run_name is not None:
                try:
                    self._rename()
                except Exception as error:  # noqa: BLE001 - the template is the user's code
                    self.error = strip(error)
                    self.state = self.failed(error)
                    yield from self.finish()
                    return
            with patch_print() if context.log_prints else _NOTHING:
                if run.tags and not (yield from self._take_slots()):
                    return
                if self._needs_storing():
                    yield from self._live_stored()
                else:
                    yield from self.attempts()
        except BaseException:
            broken = True  # the driver calls `crashed`, which tells whoever waits
            raise
        finally:
            if self.slots is not None:
                from riverrun.concurrency.tags import let_go

                let_go(self.slots)
            if self.interrupt is not None and active_transaction() is not transaction_before:
                from riverrun.engine.storing import close_left_open

                close_left_open(transaction_before)
            TaskRunContext.var.set(before)
            if self.on_done is not None and not broken:
                self.on_done(self.state)

    def _take_slots(self) -> Generator[Effect, None, bool]:
        """Wait until the limits of the run's tags let it begin; False if it was struck meanwhile."""
        from riverrun.concurrency import tags

        names = tags.names_of(self.run.tags)
        if names:
            self.publish()
            outcome = yield from tags.take(names, self.run.id, Do, Wait)
            if isinstance(outcome, BaseException):
                self._crash(outcome)
                return False
            self.slots = outcome
        return True

    def attempts(self) -> Steps:
        """Run the user's function until it succeeds or nothing is left to try."""
        task, run = self.task, self.run
        state: State[Any] = Running()
        while True:
            self._enter(state)
            self.context.start_time = state.timestamp  # type: ignore[union-attr] # made before this
            if task.on_running_hooks:
                yield from run_hooks(task.on_running_hooks, (task, run, state), self.logger)
            call = Call(self._function(), self.args, self.kwargs, task.timeout_seconds)
            yield call
            error = call.error
            if error is None:
                value = call.value
                if value.__class__ in _SIMPLE:
                    self.value = value
                    self.state = Completed(data=NONE_RESULT if value is None else value)
                else:
                    yield from self._take_value(value)
                break
            if not isinstance(error, Exception):
                self._crash(error)
                return
            if task.timeout_seconds is not None and isinstance(error, DeadlineExceeded):
                self.error = error = TaskRunTimeoutError(str(error))
                self.state = self._failed_state(error)
            else:
                self.error = strip(error)
                self.state = self._failed_state(error)
            delay = yield from retries.next_delay(self)
            if delay is None:
                self._tell_failure(error)
                break
            if delay > 0:
                self._enter(AwaitingRetry.after(delay, self.state))
                self._tell_retry(error, delay)
                sleep = Sleep(delay)
                yield sleep
                if sleep.error is not None:
                    self._crash(sleep.error)
                    return
            else:
                self._tell_retry(error, 0)
            self.error = None
            state = Retrying()
        yield from self.finish()

    def _needs_storing(self) -> bool:
        """Whether this run has a result to keep, hooks on a transaction, or a transaction around it."""
        task = self.task
        if task.persists(self.outer or self.flow_context) or task.on_commit_hooks or task.on_rollback_hooks:
            return True
        return active_transaction() is not None

    def _live_stored(self) -> Steps:
        """The attempts inside a transaction: a cached result ends the run, a new one is stored before Completed."""
        from riverrun.engine.storing import TaskStoring

        self.storing = storing = TaskStoring(self)
        yield from storing.live(self)

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> Steps:
        """Store the result if that is asked for, enter the final state, run the hooks."""
        if self.storing is not None:
            yield from self.storing.settle(self)
        elif self.context is not None and self.context.own_transaction is not None:
            from riverrun.engine.storing import close_own

            yield from close_own(self.context.own_transaction, failed=self.state.type is not StateType.COMPLETED)
        state = self.state
        self._enter(state)
        if self.flow_context is not None:
            self.flow_context.count(state.name)  # type: ignore[arg-type] # every state has a name
        hooks: Sequence[Callable[..., Any]]
        if state.type is StateType.COMPLETED:
            if self.flow_context is not None and self.value is not None:
                inputs.track(self.flow_context, self.value, self.run.id)
            hooks = self.task.on_completion_hooks
            if is_enabled(10):
                self.logger.debug("Finished in state %s", state)
        else:
            hooks = self.task.on_failure_hooks if state.type is StateType.FAILED else ()
            self.logger.error("Finished in state %s", state)
        if hooks:
            yield from run_hooks(hooks, (self.task, self.run, state), self.logger)

    def _crash(self, error: BaseException) -> None:
        """The run was struck from outside of its code; the caller gets the exception as it was."""
        self.interrupt = self.error = strip(error)
        self.state = commands.end_state(error, self.run.flow_run_id)
        if self.storing is not None:
            self.storing.abandon()
        elif self.context is not None and self.context.own_transaction is not None:
            from riverrun.engine.storing import abandon, close_own

            abandon(close_own(self.context.own_transaction, failed=True))
        self._enter(self.state)
        self.logger.error("%s%s", "Crash detected! " if self.state.is_crashed() else "", self.state.message)

    def cancel(self, message: str) -> None:
        """End a run that has not begun; nothing if it has its end already."""
        if self.closed:
            return
        self._enter(Cancelled(message=message))
        if self.on_done is not None:
            self.on_done(self.state)

    def fail(self, error: Exception) -> None:
        """End a run that could not even be started, for a reason of its own."""
        self.error = error
        self._enter(self.failed(error))
        if self.on_done is not None:
            self.on_done(self.state)

    def adopt(self, state: State[Any], run: TaskRun) -> None:
        """Take over how the run ended in another process, where its states were recorded."""
        self.state = state
        for field in run.__struct_fields__:
            setattr(self.run, field, getattr(run, field))
        self.run.state = state
        if self.on_done is not None:
            self.on_done(state)

    def crashed(self, error: BaseException) -> None:
        """Write the end state at once: the steps are broken, or their thread is given up. Nothing is recorded after it."""
        entered = self.run.state  # what is on record; `self.state` may be ahead of it
        if entered is None or not entered.is_final():
            self._crash(error)
        self.closed = True
        if self.on_done is not None:
            self.on_done(self.state)

    def verdict(self, return_state: bool) -> tuple[BaseException | None, Any]:
        """What the caller of a direct call gets: an exception to raise, or else the value or the state.

        It is the caller that raises, so that no frame of the engine stands in the user's traceback.
        """
        if self.interrupt is not None:
            return self.interrupt, None
        if return_state:
            return None, self.state
        if self.error is not None:
            return self.error, None
        if not self.state.is_final():
            return UnfinishedRun(f"Task run {self.run.name!r} did not run: {self.state.message}"), None
        # as it was returned, also if that is a state or a future
        return None, self.value

    def note_item(self, item: Any) -> None:
        """A generator yielded `item`: whoever is given it depends on this run."""
        if self.flow_context is not None and item is not None:
            inputs.track(self.flow_context, item, self.run.id)

    # -- steps -------------------------------------------------------------------------------------------------------

    def _enter(self, state: State[Any]) -> None:
        if self.closed:  # this thread was given up; what it still does is not the run's any more
            return
        self.state = state
        moved = record.move(self.run, state)
        held = self.held
        if held is None:
            journal.append(moved)
        else:
            self.held = None
            journal.append_all((*held, moved))

    def enter_running(self) -> Steps:
        """Running without an attempt: a cached result is about to be used."""
        before = self.state
        state: State[Any] = Running()
        self._enter(state)
        if self.task.on_running_hooks:
            yield from run_hooks(self.task.on_running_hooks, (self.task, self.run, state), self.logger)
        self.state = before

    def resolve(self) -> bool:
        """Put upstream results in the place of futures; False if one has no result, then the run is NotReady."""
        not_ready = inputs.first_not_completed(self.parameters, self.upstream)
        if not_ready is not None:
            self._enter(Pending(name="NotReady", message=not_ready))
            self.logger.warning("Did not start: %s", not_ready)
            return False
        self.parameters = inputs.resolve(self.parameters)
        self.args, self.kwargs = self.task.signature.split(self.parameters)
        return True

    def _function(self) -> Callable[..., Any]:
        """The user's function; a generator's is run to its end unless its items are handed out one by one."""
        task = self.task
        if not task.isgenerator or self.streamed:
            return task.fn
        return partial(_all_items_async if task.isasync else _all_items, task.fn)

    def _rename(self) -> None:
        """Give the run its name from the task's template; raises what the template or function raises."""
        task = self.task
        name = run_name(task.task_run_name, self.parameters, f"task {task.name!r}")  # type: ignore[arg-type]
        if self.held is None:
            record.update(self.run, name=name)
        else:
            self.run.name = self.held[0].name = name

    def _take_value(self, value: Any) -> Steps:
        """The state that follows from what the function returned: data, a state, futures, or collections of them."""
        futures = inputs.returned_futures(value)
        if futures:
            wait = Wait(futures)
            yield wait
            if wait.error is not None:
                raise wait.error
        self.value = recorded_value(value)
        if isinstance(value, Generator | AsyncGenerator):
            # not looked into: that would use it up
            self.state = Completed(data=value)
            return
        self.state = state = return_value_to_state_sync(value, has_futures=bool(futures))
        if state.type in _UNDER_WAY:
            self.error = FailedRun(f"The task returned the state {state.name!r}, which is not the end of a run.")
            self.state = exception_to_failed_state_sync(self.error)

    def failed(self, error: Exception) -> State[Any]:
        """The state of a run that failed for good; says so in its log."""
        self._tell_failure(error)
        return self._failed_state(error)

    def _failed_state(self, error: Exception) -> State[Any]:
        if isinstance(error, TaskRunTimeoutError) and self.task.timeout_seconds is not None:
            message = f"Task run exceeded timeout of {self.task.timeout_seconds} second(s)"
            return Failed(name="TimedOut", message=message, data=error)
        return exception_to_failed_state_sync(error, prefix="Task run encountered an exception")

    def _tell_failure(self, error: Exception) -> None:
        self.logger.error("Task run failed with exception: %r", error, exc_info=error)

    def _tell_retry(self, error: Exception, delay: float) -> None:
        self.logger.warning(
            "Task run failed with exception: %r - Retry %s/%s will start %s",
            error,
            self.run.run_count,
            self.task.retries,
            f"{delay:g} second(s) from now" if delay else "immediately",
            exc_info=error,
        )

    @property
    def logger(self) -> Any:
        return task_run_logger(self.run, self.task)


def recorded_value(value: Any) -> Any:
    """What a record of a result that user code made and returned stands for; anything else as it is."""
    records = sys.modules.get("riverrun.result_records")  # not loaded: nothing here can be one
    return value.result if records is not None and isinstance(value, records.ResultRecord) else value


def _all_items(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
    return list(fn(*args, **kwargs))


async def _all_items_async(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
    return [item async for item in fn(*args, **kwargs)]
