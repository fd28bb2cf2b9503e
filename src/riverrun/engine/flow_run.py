"""The life of a flow run, written once for sync and async.

Its transitions are decided by the same pure rules as a server's (`rules.flow_run`): here in process, each recorded in the
journal. A subflow run has a task run in its parent that mirrors its states, so that the parent's graph shows it.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from riverrun.base.clock import now
from riverrun.base.errors import Abort, CancelledRun, FailedRun, FlowRunTimeoutError, Pause, UnfinishedRun
from riverrun.base.ids import uuid7
from riverrun.base.loops import run_blocking
from riverrun.base.names import run_name as random_name
from riverrun.base.sources import told
from riverrun.client import journal
from riverrun.context import FlowRunContext, TagsContext, TaskRunContext
from riverrun.engine import commands, inputs, record
from riverrun.engine.drive import Steps
from riverrun.engine.effects import Call, Do, Sleep, Wait
from riverrun.engine.hooks import run_hooks
from riverrun.engine.naming import run_name
from riverrun.engine.parameters import serialize
from riverrun.engine.subflows import Call as SubflowCall
from riverrun.engine.subflows import Outcome, Subflows, call_of, subflows_of
from riverrun.engine.task_run import active_transaction
from riverrun.engine.timeouts import DeadlineExceeded
from riverrun.engine.tracebacks import strip
from riverrun.futures import resolve_futures_to_states
from riverrun.logging import flow_run_logger, patch_print
from riverrun.rules import flow_run as rules
from riverrun.states import (
    Completed,
    Failed,
    Pending,
    Running,
    State,
    Suspended,
    exception_to_failed_state_sync,
    get_state_result,
    return_value_to_state_sync,
)
from riverrun.wire.journal import StateRecord
from riverrun.wire.runs import FlowRun, RunPolicy, TaskRun
from riverrun.wire.states import BaseState, StateType

if TYPE_CHECKING:
    from riverrun.flows import Flow

_NOTHING: AbstractContextManager[None] = nullcontext()

#: types of states that a function can't end its run with; Cancelling asks others to end it, Paused to go on later
_UNDER_WAY = frozenset({StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING})


def _given(coroutine: Any) -> Any:
    return coroutine


class FlowRunLife:
    """One flow run from Pending to its end. Made by `Flow.__call__`."""

    __slots__ = (
        "args",
        "begun",
        "call",
        "context",
        "error",
        "flow",
        "handle",
        "interrupt",
        "kwargs",
        "outermost",
        "parameters",
        "parent",
        "run",
        "siblings",
        "sources",
        "state",
        "streamed",
        "struck",
        "tags",
        "upstream",
        "value",
    )

    def __init__(
        self,
        flow: "Flow[Any, Any]",
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        parameters: dict[str, Any],
        wait_for: Any = None,
        *,
        run: FlowRun | None = None,
        begun: bool = False,
    ) -> None:
        """Binds a call; with `run` it is that run which is run, for the first time or again.

        `begun`: the server knows the run and has let it begin, so that it is Running already.
        """
        self.flow = flow
        self.args = args
        self.kwargs = kwargs
        self.parameters = parameters
        parent_context = FlowRunContext.var.get()
        parent_task = TaskRunContext.var.get()
        self.outermost = parent_context is None and parent_task is None
        self.tags = TagsContext.get().current_tags
        self.upstream: list[Any] = []
        self.sources: record.Inputs = {}
        if parameters or wait_for is not None or parent_task is not None:
            self.upstream, self.sources = inputs.sources(
                parameters, wait_for, parent_context, None if parent_task is None else parent_task.task_run.id
            )
        self.parent: TaskRun | None = None
        #: what the flow run around this one remembers of its earlier attempts, and by what it knows this call
        self.siblings: Subflows | None = None
        self.call: SubflowCall | None = None
        if parent_context is not None and parent_context.flow_run is not None:
            self.siblings = subflows_of(parent_context)
            self.parent = self._stand_in(parent_context)
        self.run = run or FlowRun(
            id=uuid7(),
            name=random_name(),
            created=now(),
            tags=sorted(self.tags),
            flow_version=flow.version,
            empirical_policy=RunPolicy(retries=flow.retries, retry_delay=flow.retry_delay_seconds),
            parent_task_run_id=None if self.parent is None else self.parent.id,
        )
        self.state: State[Any] = Pending()
        self.value: Any = None
        self.error: BaseException | None = None
        self.interrupt: BaseException | None = None
        self.context: FlowRunContext | None = None
        #: by what the server interrupts the run, and whether something from outside has
        self.handle: commands.Handle | None = None
        self.begun = begun
        self.struck = False
        #: whether a generator's items go to the caller one by one (engine.streams)
        self.streamed = False

    def _stand_in(self, context: FlowRunContext) -> TaskRun:
        """The task run that shows this subflow in its parent: that of an earlier attempt of the parent, or a new one."""
        task, siblings = self.flow.as_task(), self.siblings
        run = None if siblings is None else siblings.stand_in(task.task_key)
        if run is None:
            run = record.new_task_run(task, context, self.tags, self.sources)
            run.name = self.flow.name
            if siblings is not None:
                siblings.note_stand_in(run)
        return run

    # -- what happens ------------------------------------------------------------------------------------------------

    def live(self) -> Steps:
        """The steps, for a driver. The run is recorded when its upstream is done and its parameters are known."""
        flow_before, task_before = FlowRunContext.var.get(), TaskRunContext.var.get()
        transaction_before = active_transaction()
        try:
            if self.upstream:
                wait = Wait(self.upstream)
                yield wait
                if wait.error is not None:
                    self._record_created()
                    yield from self._end_struck(wait.error)
                    return
            not_ready = inputs.first_not_completed(self.parameters, self.upstream) if self.upstream else None
            if self.upstream and not_ready is None:
                self.parameters = inputs.resolve(self.parameters)
                self.args, self.kwargs = self.flow.signature.split(self.parameters)
            if not_ready is None and self._has_run_before():
                return
            self._record_created()
            if not_ready is not None:
                self._enter(Pending(name="NotReady", message=not_ready))
                self.logger.warning("Did not start: %s", not_ready)
                return
            yield from self._begin()
        finally:
            if self.interrupt is not None and active_transaction() is not transaction_before:
                from riverrun.engine.storing import close_left_open

                close_left_open(transaction_before)
            FlowRunContext.var.set(flow_before)
            TaskRunContext.var.set(task_before)
            if self.handle is not None:
                self.handle.release()

    def _record_created(self) -> None:
        if self.begun:
            self.run.parameters = self.parameters
            return
        created: tuple[Any, ...] = ()
        if self.parent is not None:
            known = self.parent.state is not None
            created = () if known else (record.task_run_record(self.parent, self.sources),)
            created = (*created, record.move(self.parent, Pending()))
        if self.run.state is None:
            # parameters are written as they were given; validation may still change or refuse them
            created = (*created, record.flow_run_record(self.run, self.flow.name, serialize(self.parameters)))
        self.run.parameters = self.parameters
        journal.append_all((*created, record.move(self.run, self.state)))

    def _has_run_before(self) -> bool:
        """Whether an earlier attempt of the parent completed this call and kept its result; then that is the outcome."""
        context = FlowRunContext.var.get()
        if self.siblings is None or self.parent is None or not self.flow.persists(context):
            return False
        self.call = call_of(self.parent.task_key, self.parameters)
        outcome = None if self.call is None else self.siblings.outcome(self.call)
        if outcome is None:
            return False
        self.run, self.state, self.value = outcome
        shown = self.parent.state
        if shown is None or shown.state_details.child_flow_run_id != self.run.id:
            created = () if shown is not None else (record.task_run_record(self.parent, self.sources),)
            journal.append_all((*created, self._mirror(self.parent, self.state)))
        self.logger.info("Completed in an earlier attempt of the flow run around it; its result is used again")
        return True

    def _begin(self) -> Steps:
        flow = self.flow
        if flow.should_validate_parameters:
            try:
                self.parameters = flow.validate_parameters(self.parameters)
            except Exception as error:  # noqa: BLE001 - user types may raise anything
                self.error = strip(error)
                self.state = exception_to_failed_state_sync(
                    error, prefix="Validation of flow parameters failed with error:"
                )
                self.logger.error("%s", self.state.message)
                yield from self._finish(self.state)
                return
            self.args, self.kwargs = flow.signature.split(self.parameters)
            self.run.parameters = self.parameters
        runner = flow.task_runner.duplicate()
        self.context = context = FlowRunContext(
            flow=flow,
            flow_run=self.run,
            parameters=self.parameters,
            task_runner=runner,
            log_prints=flow.prints_to_log(FlowRunContext.var.get()),
            persist_result=flow.persists(FlowRunContext.var.get()),
            parent=FlowRunContext.var.get(),
        )
        TaskRunContext.var.set(None)
        FlowRunContext.var.set(context)
        if flow.flow_run_name is not None:
            try:
                self._rename()
            except Exception as error:  # noqa: BLE001 - the template is the user's code
                self.error = strip(error)
                self.state = exception_to_failed_state_sync(error, prefix="Flow run encountered an exception:")
                yield from self._finish(self.state)
                return
        self.handle = commands.take(self)
        with runner, patch_print() if context.log_prints else _NOTHING:
            yield from self._attempts(runner)

    def _attempts(self, runner: Any) -> Steps:
        """Run the user's function until a final state is accepted: the rules answer a failure with a retry."""
        flow, run = self.flow, self.run
        self.logger.info("Beginning flow run %r for flow %r", run.name, flow.name)
        while True:
            self.error = None
            if self.context is not None and self.context._subflows is not None:
                self.context._subflows.begin_attempt()
            if self.begun:
                self.begun, self.state = False, self._as_state(run.state)
            else:
                self._enter(Running())
            if flow.on_running_hooks:
                yield from run_hooks(flow.on_running_hooks, (flow, run, self.state), self.logger)
            call = Call(flow.fn, self.args, self.kwargs, flow.timeout_seconds)
            yield call
            error = call.error
            if error is None and iscoroutine(call.value):
                # as from `return subflow()` where the subflow is async: else it would never run
                call = Call(_given if flow.isasync else run_blocking, (call.value,), {}, flow.timeout_seconds)
                yield call
                error = call.error
            # what was submitted belongs to this attempt: it ends before the attempt's state is told
            # tasks that are under way when a run is suspended go on to their ends
            finish = Do(runner.finish, None if isinstance(error, Pause) else error, interruptible=True)
            yield finish
            if finish.error is not None:
                # struck while it waited: what runs is struck as well
                error = finish.error
                yield Do(runner.finish, error, interruptible=True)
            if error is not None and not isinstance(error, Exception):
                yield from self._end_struck(error)
                return
            if error is None:
                yield from self._take_value(call.value)
            elif flow.timeout_seconds is not None and isinstance(error, DeadlineExceeded):
                message = f"Flow run exceeded timeout of {flow.timeout_seconds} second(s)"
                self.logger.error("%s: %s", message, error)
                self.error = FlowRunTimeoutError(str(error))
                self.state = Failed(name="TimedOut", message=message, data=self.error)
            else:
                self.error = strip(error)
                self.logger.error("Encountered exception during execution: %r", error, exc_info=error)
                self.state = exception_to_failed_state_sync(error, prefix="Flow run encountered an exception:")
            instant = now()
            decision = rules.decide(rules.facts_of(run), self.state, instant)
            if decision.state is not None and decision.state.type is StateType.SCHEDULED:
                retry_at = decision.state.state_details.scheduled_time
                self._enter(self._as_state(decision.state))
                self.logger.info("%s", self.state.message)
                # from the same instant: a wall clock that jumps meanwhile moves no deadline
                sleep = Sleep(max((retry_at - instant).total_seconds(), 0) if retry_at is not None else 0)
                yield sleep
                if sleep.error is not None:
                    yield from self._end_struck(sleep.error)
                    return
                runner._giving_up = False
                continue
            yield from self._finish(self.state)
            return

    # -- the end -----------------------------------------------------------------------------------------------------

    def _take_value(self, value: Any) -> Steps:
        """The state that follows from what the function returned: data, a state, futures, or collections of them."""
        futures = inputs.returned_futures(value)
        if futures:
            wait = Wait(futures)
            yield wait
            if wait.error is not None:
                raise wait.error
        if isinstance(value, Generator | AsyncGenerator):
            # not looked into: that would use it up
            self.value = value
            self.state = Completed(data=value)
            return
        # what the caller gets: data as it is, states in the place of futures
        self.value = resolve_futures_to_states(value) if futures else value
        self.state = state = return_value_to_state_sync(self.value, has_futures=False)
        if state.type in _UNDER_WAY:
            self.error = FailedRun(f"The flow returned the state {state.name!r}, which is not the end of a run.")
            self.state = exception_to_failed_state_sync(self.error)

    def _finish(self, state: State[Any]) -> Steps:
        """Store the result if that is asked for, enter the final state, run the hooks."""
        flow = self.flow
        if self.context is not None and self.context.persist_result and not isinstance(self.error, Exception):
            from riverrun.engine.storing import store_flow_result

            do = Do(store_flow_result, self, state)
            yield do
            if do.error is not None:
                if not isinstance(do.error, Exception):
                    yield from self._end_struck(do.error)
                    return
                state.message = f"The flow ran, but its result was not kept: {do.error}"
                self.logger.error("%s", state.message)
        self._enter(state)
        if self.siblings is not None and self.call is not None:
            self.siblings.keep(self.call, Outcome(self.run, state, self.value))
        if self.context is not None and (counts := self.context.counted()):
            total = sum(counts.values())
            parts = ", ".join(f"{number} {name}" for name, number in counts.items())
            self.logger.info("Ran %s task run%s: %s", total, "" if total == 1 else "s", parts)
        log = self.logger.info if state.type is StateType.COMPLETED else self.logger.error
        log("Finished in state %s", state)
        hooks = self._hooks(state.type)
        if hooks:
            yield from run_hooks(hooks, (flow, self.run, state), self.logger)
        outer = FlowRunContext.var.get()
        if self.parent is not None and self.value is not None and outer is not None and outer.parent is not None:
            inputs.track(outer.parent, self.value, self.parent.id)

    def _hooks(self, kind: StateType) -> Sequence[Callable[..., Any]]:
        flow = self.flow
        if kind is StateType.COMPLETED:
            return flow.on_completion_hooks
        if kind is StateType.FAILED:
            return flow.on_failure_hooks
        # whoever watches this process from outside (a runner) says here that it runs these hooks itself
        left = told("ENABLE_CANCELLATION_AND_CRASHED_HOOKS")
        if left is not None and left.lower() in {"false", "0"}:
            return ()
        if kind is StateType.CRASHED:
            return flow.on_crashed_hooks
        return flow.on_cancellation_hooks if kind in (StateType.CANCELLED, StateType.CANCELLING) else ()

    def _crash(self, error: BaseException) -> None:
        """The run was struck from outside of its code; the caller gets the exception as it was."""
        self.struck = True
        run_id = self.run.id
        if run_id in commands.fenced:
            self.interrupt = Abort("Another process has claimed this flow run; it goes on there.")
            self.logger.error("%s", self.interrupt)
            return
        state = commands.end_state(error, run_id)
        if run_id in commands.cancelled:
            # the end of this run, and not of what called it
            self.error = CancelledRun(state.message)
            if self.handle is not None:
                self.handle.landed()
        else:
            self.interrupt = self.error = strip(error)
        self._enter(state)
        self.logger.error("%s%s", "Crash detected! " if state.is_crashed() else "", state.message)

    def _end_struck(self, error: BaseException) -> Steps:
        if self.run.id in commands.suspended:
            error = Pause("The flow run was suspended; it goes on in another process.", state=Suspended())
        if isinstance(error, Pause) and error.state is not None:
            # the server has written that state; another process goes on from it
            self.struck, self.state, self.interrupt = True, error.state, strip(error)
            self.logger.info("%s", error)
            return
        self._crash(error)
        if self.run.id not in commands.fenced:
            yield from run_hooks(self._hooks(self.state.type), (self.flow, self.run, self.state), self.logger)

    def crashed(self, error: BaseException) -> None:
        """Write the end state at once: the steps are broken."""
        entered = self.run.state  # what is on record; `self.state` may be ahead of it
        if entered is None or not entered.is_final():
            self._crash(error)

    def verdict(self, return_state: bool) -> tuple[BaseException | None, Any]:
        """What the caller gets: an exception to raise, or else the value or the state.

        It is the caller that raises, so that no frame of the engine stands in the user's traceback.
        """
        if self.interrupt is not None:
            return self.interrupt, None
        if return_state:
            return None, self.state
        if self.error is not None:
            return self.error, None
        if not self.state.is_final() and not self.state.is_paused():
            why = (
                f"did not run: {self.state.message}"
                if self.context is None
                else f"is {self.state}; it has no result yet"
            )
            return UnfinishedRun(f"Flow run {self.run.name!r} {why}"), None
        if not isinstance(self.value, BaseState):
            return None, self.value
        try:
            return None, get_state_result(self.state)
        except Exception as error:  # noqa: BLE001 - whatever the state holds is the flow's outcome
            return strip(error), None

    def note_item(self, item: Any) -> None:
        """A generator yielded `item`; flows track only what they return."""

    # -- steps -------------------------------------------------------------------------------------------------------

    def _enter(self, state: State[Any]) -> None:
        """Enter a state; the task run that stands for a subflow follows."""
        self.state = state
        if self.parent is not None:
            state.state_details.task_run_id = self.parent.id
        records = [record.move(self.run, state)]
        if self.parent is not None:
            records.append(self._mirror(self.parent, state))
        journal.append_all(records)
        journal.hurry()

    def _mirror(self, parent: TaskRun, state: State[Any]) -> StateRecord:
        mirror = state.model_copy(update={"id": uuid7(), "state_details": state.state_details.model_copy()})
        mirror.state_details.child_flow_run_id = self.run.id
        return record.move(parent, mirror)

    @staticmethod
    def _as_state(state: Any) -> State[Any]:
        """A state that the rules made, as one of ours."""
        if isinstance(state, State):
            return state
        return State(**{name: getattr(state, name) for name in state.__struct_fields__})

    def _rename(self) -> None:
        """Give the run its name from the flow's template; raises what the template or function raises."""
        flow = self.flow
        name = run_name(flow.flow_run_name, self.parameters, f"flow {flow.name!r}")  # type: ignore[arg-type]
        record.update(self.run, name=name)

    @property
    def logger(self) -> Any:
        return flow_run_logger(self.run, self.flow)
