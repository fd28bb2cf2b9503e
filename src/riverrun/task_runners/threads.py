"""Submitted tasks in threads; async tasks on an event loop that the runner owns.

A run whose upstream is not done yet holds no thread: the last future it waits for starts it. The number of tasks that *run* at
once is bounded (`max_workers`, default 1,000); one that waits inside riverrun does not count meanwhile.
"""

import threading
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from riverrun.base.clock import monotonic
from riverrun.base.config import settings
from riverrun.base.errors import TerminationSignal
from riverrun.base.interrupts import closed
from riverrun.base.pool import WorkerPool, released
from riverrun.engine.drive import adrive, drive
from riverrun.engine.task_run import TaskRunLife
from riverrun.engine.thread_calls import strike_thread, take_strike_back
from riverrun.futures import PrefectTaskRunFuture
from riverrun.logging import get_logger
from riverrun.task_runners.base import NOT_STARTED, TaskRunner

if TYPE_CHECKING:
    from riverrun.base.task_loops import TaskLoops
    from riverrun.states import State
    from riverrun.tasks import Task

#: how often a struck runner looks whether threads have come back to code that may be struck
_LOOK_AGAIN_SECONDS = 0.02

#: after which wait a person is told what is being waited for
_TELL_AFTER_SECONDS = 0.5


class ThreadPoolTaskRunner(TaskRunner[PrefectTaskRunFuture[Any]]):
    """Runs submitted tasks in threads of this process.

    `max_workers` bounds how many run at once; None takes the setting `tasks_runner_thread_pool_max_workers`.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__()
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers of ThreadPoolTaskRunner must be at least 1, not {max_workers}")
        self._max_workers = max_workers
        self._pool: WorkerPool | None = None
        self._loops: TaskLoops | None = None
        self._lock = threading.Lock()
        #: what has been submitted and is not done
        self._alive: dict[TaskRunLife, PrefectTaskRunFuture[Any]] = {}
        #: the threads in which runs are under way
        self._threads: dict[TaskRunLife, int] = {}
        self._giving_up = False
        self._struck = False
        #: runs that a thread or loop was free for when they were handed over: they count as begun
        self._admitted: set[TaskRunLife] = set()
        #: async runs that are on a loop, and runs that will not be
        self._begun: set[TaskRunLife] = set()
        self._given_up: set[TaskRunLife] = set()

    @property
    def max_workers(self) -> int:
        """How many tasks may run at once."""
        return self._max_workers or settings().tasks_runner_thread_pool_max_workers

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
            context = copy_context()
            waiting = [upstream for upstream in life.upstream if not upstream.done()]
            if waiting:
                when_all_done(waiting, lambda: self._start(life, context))
            else:
                self._start(life, context)
            return future

    def _start(self, life: TaskRunLife, context: Context) -> None:
        if self._giving_up:
            self._give_up(life)
            return
        if len(self._admitted) < self.max_workers:
            self._admitted.add(life)
        if life.task.isasync:
            self._ensure_loops().submit(lambda: self._run_async(life), context)
        else:
            self._ensure_pool().submit(lambda: self._run(life, context))

    def _is_late(self, life: TaskRunLife) -> bool:
        """Whether a run comes to begin when its flow has ended, and had not been promised to."""
        return self._giving_up and (self._struck or life not in self._admitted)

    def _run(self, life: TaskRunLife, context: Context) -> None:
        if self._is_late(life):
            self._give_up(life)
            return
        ident = threading.get_ident()
        try:
            self._threads[life] = ident
            try:
                context.run(drive, life)
            finally:
                with self._lock:  # from here on nobody strikes this thread
                    self._threads.pop(life, None)
                take_strike_back(ident)  # it must not hit the thread's next job
        except (KeyboardInterrupt, TerminationSignal) as late:
            # the strike hit after the end of the user's code
            life.crashed(late)

    async def _run_async(self, life: TaskRunLife) -> None:
        with self._lock:
            self._begun.add(life)
        if self._is_late(life):
            self._give_up(life)
        else:
            await adrive(life)

    def _give_up(self, life: TaskRunLife) -> None:
        with self._lock:
            if life in self._given_up:
                return
            self._given_up.add(life)
        life.cancel("The flow run ended before this task run began.")

    def _done(self, life: TaskRunLife, future: PrefectTaskRunFuture[Any], state: "State[Any]") -> None:
        self._alive.pop(life, None)
        self._begun.discard(life)
        self._admitted.discard(life)
        future.set_state(state)

    def _ensure_pool(self) -> WorkerPool:
        pool = self._pool
        if pool is None:
            with self._lock:
                pool = self._pool
                if pool is None:
                    pool = self._pool = WorkerPool(self.max_workers, "riverrun-task")
        return pool

    def _ensure_loops(self) -> "TaskLoops":
        from riverrun.base.task_loops import TaskLoops

        with self._lock:
            if self._loops is None:
                self._loops = TaskLoops(self.max_workers, "riverrun-tasks")
            return self._loops

    def finish(self, error: BaseException | None) -> None:
        """Wait for all submitted runs, also those that they submit.

        After an `error`, runs that still wait for others or for a free thread are cancelled. Struck from outside (Ctrl-C,
        SIGTERM), those under way are struck too, get the grace to clean up, and end as Crashed whether or not their threads
        have stopped.
        """
        if error is not None:
            self._giving_up = True
        if error is None or isinstance(error, Exception):
            with released():
                while self._alive:
                    next(iter(list(self._alive.values()))).wait()
            return
        self._struck = True
        try:
            self._strike(error)
        finally:
            for life in list(self._alive):
                if not life.state.is_final():
                    life.crashed(error)

    def _strike(self, error: BaseException) -> None:
        """Interrupt what runs, and wait for it within the grace."""
        kind = type(error) if isinstance(error, KeyboardInterrupt | TerminationSignal) else TerminationSignal
        grace = settings().engine_crash_grace_seconds
        deadline = monotonic() + grace
        told = False
        if self._loops is not None:
            self._loops.cancel()
            for life in list(self._alive):
                if life.task.isasync and life not in self._begun:
                    self._give_up(life)
        struck: set[int] = set()
        while self._alive and monotonic() < deadline:
            with self._lock:
                for life, ident in self._threads.items():
                    if ident not in struck and life in self._alive and strike_thread(ident, kind, drive.__code__):
                        struck.add(ident)
            for future in list(self._alive.values())[:1]:
                future.wait(_LOOK_AGAIN_SECONDS)
            if self._alive and not told and deadline - monotonic() < grace - _TELL_AFTER_SECONDS:
                told = True
                names = ", ".join(sorted(life.run.name for life in list(self._alive)[:5]))
                get_logger("task_runners").warning(
                    "Waiting up to %g s for %s task run(s) that have not stopped yet: %s",
                    grace,
                    len(self._alive),
                    names,
                )

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
        if self._loops is not None:
            self._loops.close()
            self._loops = None
        super().__exit__(*exc)


def when_all_done(futures: list[Any], then: Callable[[], object]) -> None:
    """Call `then` once, when all futures are done, in the thread of the last one."""
    lock = threading.Lock()
    left = len(futures)

    def note(_future: object) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            then()

    for future in futures:
        future.add_done_callback(note)
