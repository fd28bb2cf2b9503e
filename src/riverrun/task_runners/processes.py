"""Submitted tasks in processes of this machine, for work that is bound by the CPU.

The child continues the run that the parent recorded: it gets the flow run's context, writes the states and logs into a journal
of its own, and sends the final state back. Tasks, parameters and results cross by cloudpickle; what can't is an error that
names it. As with every use of `multiprocessing` that spawns, a script needs `if __name__ == "__main__":` around its flow call.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from concurrent.futures import Future as ConcurrentFuture
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import cloudpickle

from riverrun.base.clock import monotonic
from riverrun.base.config import settings
from riverrun.base.errors import SerializationError, TerminationSignal
from riverrun.base.interrupts import closed, guard
from riverrun.base.pool import released
from riverrun.context import hydrated_context, serialize_context
from riverrun.engine.drive import adrive, drive
from riverrun.engine.task_run import TaskRunLife
from riverrun.futures import PrefectTaskRunFuture
from riverrun.task_runners.base import NOT_STARTED, TaskRunner
from riverrun.task_runners.threads import when_all_done
from riverrun.wire.states import BaseState

if TYPE_CHECKING:
    from riverrun.states import State
    from riverrun.tasks import Task


class ProcessPoolTaskRunner(TaskRunner[PrefectTaskRunFuture[Any]]):
    """Runs submitted tasks in a pool of spawned processes.

    `max_workers` bounds the processes; None takes the setting `tasks_runner_process_pool_max_workers`, else one per core.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__()
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers of ProcessPoolTaskRunner must be at least 1, not {max_workers}")
        self._max_workers = max_workers
        self._executor: ProcessPoolExecutor | None = None
        self._alive: dict[TaskRunLife, PrefectTaskRunFuture[Any]] = {}
        self._giving_up = False

    @property
    def max_workers(self) -> int:
        """How many processes run tasks."""
        return self._max_workers or settings().tasks_runner_process_pool_max_workers or os.cpu_count() or 1

    def duplicate(self) -> Self:
        return type(self)(max_workers=self._max_workers)

    def _options(self) -> dict[str, Any]:
        return {"max_workers": self.max_workers}

    def submit(
        self,
        task: "Task[Any, Any]",
        parameters: dict[str, Any],
        wait_for: Iterable[Any] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectTaskRunFuture[Any]:
        if not self._started:
            raise RuntimeError(NOT_STARTED)
        args, kwargs = task.signature.split(parameters)
        with closed():  # what is on record is also on its way
            life = TaskRunLife(task, args, kwargs, parameters, wait_for, origins=dependencies)
            future: PrefectTaskRunFuture[Any] = PrefectTaskRunFuture(life.run.id, life.run)
            life.on_done = partial(self._done, life, future)
            life.open()
            life.publish()
            self._alive[life] = future
            context = serialize_context()
            waiting = [upstream for upstream in life.upstream if not upstream.done()]
            if waiting:
                when_all_done(waiting, partial(self._start, life, context))
            else:
                self._start(life, context)
            return future

    def _start(self, life: TaskRunLife, context: dict[str, Any]) -> None:
        """Resolve the upstream here, where the results are, and send the run to a process."""
        if self._giving_up:
            life.cancel("The flow run ended before this task run began.")
            return
        if life.upstream and not life.resolve():
            life.on_done(life.state)  # type: ignore[misc]
            return
        try:
            order = cloudpickle.dumps((life.task, life.parameters, life.run, context))
        except Exception as error:  # noqa: BLE001 - a user's object may fail to pickle in any way
            problem = SerializationError(
                f"The task run {life.run.name!r} can't be sent to another process: {error}. Pass plain data, or use"
                " ThreadPoolTaskRunner."
            )
            problem.__cause__ = error
            life.fail(problem)
            return
        try:
            answer = self._send(order)
        except Exception as error:  # noqa: BLE001 - no process can be had: the run must still come to its end
            life.fail(error)
            return
        answer.add_done_callback(partial(self._returned, life))

    def _send(self, order: bytes) -> "ConcurrentFuture[bytes]":
        if self._executor is not None:
            try:
                return self._executor.submit(_run_in_child, order)
            except BrokenExecutor:
                # a process that died takes its pool along; what comes after it gets a new one
                self._executor.shutdown(wait=False)
        self._executor = ProcessPoolExecutor(
            max_workers=self.max_workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin_child,
        )
        return self._executor.submit(_run_in_child, order)

    def _returned(self, life: TaskRunLife, answer: "ConcurrentFuture[bytes]") -> None:
        if answer.cancelled():
            life.cancel("The flow run ended before this task run began.")
            return
        error = answer.exception()
        if isinstance(error, _Interrupted):
            life.cancel("The flow run ended before this task run began.")
            return
        if error is not None:
            # the process died (killed, out of memory): its journal holds what it had written
            life.crashed(error)
            return
        try:
            state, run, told = cloudpickle.loads(answer.result())
        except Exception as unreadable:  # noqa: BLE001 - a user's object may fail to unpickle in any way
            problem = SerializationError(
                f"The result of task run {life.run.name!r} came back from its process, but can't be read here: {unreadable}"
            )
            problem.__cause__ = unreadable
            life.fail(problem)
            return
        if told:
            life.adopt(state, run)
        else:
            life.fail(state.data)

    def _done(self, life: TaskRunLife, future: PrefectTaskRunFuture[Any], state: "State[Any]") -> None:
        self._alive.pop(life, None)
        future.set_state(state)

    def finish(self, error: BaseException | None) -> None:
        """Wait for all submitted runs. After an `error` what has not begun is cancelled.

        Struck from outside (Ctrl-C, SIGTERM), the processes are interrupted, get the grace to clean up, and are killed;
        their runs end as Crashed.
        """
        struck = error is not None and not isinstance(error, Exception)
        processes = self._processes()  # the pool forgets them when it shuts down
        if error is not None:
            self._giving_up = True
            if self._executor is not None:
                self._executor.shutdown(wait=False, cancel_futures=True)
        if struck:
            for process in processes:
                if process.pid is not None and process.is_alive():
                    os.kill(process.pid, signal.SIGINT)
        deadline = monotonic() + settings().engine_crash_grace_seconds if struck else None
        try:
            with released():
                while self._alive:
                    next(iter(list(self._alive.values()))).wait(
                        None if deadline is None else max(deadline - monotonic(), 0)
                    )
                    if deadline is not None and monotonic() >= deadline:
                        break
        finally:
            if error is not None:
                self._executor = None  # it takes nothing more; the flow's next attempt gets another
                for life in list(self._alive):
                    if not life.state.is_final():
                        life.crashed(error)
            if struck:
                for process in processes:
                    process.kill()

    def _processes(self) -> list[Any]:
        return list((getattr(self._executor, "_processes", None) or {}).values())

    def cancel_all(self) -> None:
        """Cancel all runs that are not done and end the processes."""
        self._giving_up = True
        processes = self._processes()
        executor, self._executor = self._executor, None
        for life in list(self._alive):
            life.cancel("The task runner was told to cancel all its runs.")
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()

    def __exit__(self, *exc: object) -> None:
        if self._executor is not None:
            processes = self._processes()
            self._executor.shutdown(wait=not self._alive, cancel_futures=True)
            if self._alive:
                for process in processes:
                    process.kill()
            self._executor = None
        super().__exit__(*exc)


class _Interrupted(Exception):
    """The child was interrupted before and begins no other run."""


_interrupted = False


def _begin_child() -> None:
    """In the child: Ctrl-C, which a terminal sends to parent and children, ends runs and not what is between them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_in_child(order: bytes) -> bytes:
    """In the child: continue the run, give its final state and the run back."""
    import asyncio

    from riverrun.client import journal

    global _interrupted
    if _interrupted:  # orders that were in the pipe already
        raise _Interrupted
    task, parameters, run, context = cloudpickle.loads(order)
    with hydrated_context(context):
        args, kwargs = task.signature.split(parameters)
        life = TaskRunLife(task, args, kwargs, parameters, run=run)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            if task.isasync:
                asyncio.run(adrive(life))
            else:
                with guard():
                    drive(life)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _interrupted = isinstance(life.interrupt, KeyboardInterrupt | TerminationSignal)
            journal.flush()
        return _portable(life.state, life)


def _portable(state: BaseState, life: TaskRunLife) -> bytes:
    """The outcome as bytes: final state, run, and whether that is the state that the child has recorded.

    A value or exception that can't be pickled is replaced by an error that says so.
    """
    run, failed = life.run, isinstance(state.data, BaseException)
    run.state = None  # it travels beside the run
    try:
        answer = bytes(cloudpickle.dumps((state, run, True)))
        if failed:
            cloudpickle.loads(answer)  # many an exception can be pickled and then not be made again
        return answer
    except Exception as error:  # noqa: BLE001 - a user's object may fail to pickle in any way
        what = f"exception, {state.data!r}," if failed else f"result, a {type(state.data).__name__},"
        problem = SerializationError(
            f"The {what} of task run {run.name!r} can't be sent back from its process: {error}"
        )
        replaced = state.model_copy(update={"data": problem})
        return bytes(cloudpickle.dumps((replaced, run, failed)))
