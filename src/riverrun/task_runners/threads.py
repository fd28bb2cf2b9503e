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
from riverrun.base.pool import WorkerPool, released
from riverrun.engine.drive import adrive, drive
from riverrun.engine.task_run import TaskRunLife
from riverrun.futures import PrefectTaskRunFuture
from riverrun.task_runners.base import TaskRunner

if TYPE_CHECKING:
    from riverrun.base.task_loops import TaskLoops
    from riverrun.states import State
    from riverrun.tasks import Task


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
        self._giving_up = False

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
            raise RuntimeError("The task runner must be started before submitting work.")
        args, kwargs = task.signature.split(parameters)
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
        elif life.task.isasync:
            self._ensure_loops().submit(lambda: adrive(life), context)
        else:
            self._ensure_pool().submit(lambda: self._run(life, context))

    def _run(self, life: TaskRunLife, context: Context) -> None:
        if self._giving_up:
            self._give_up(life)
        else:
            context.run(drive, life)

    def _give_up(self, life: TaskRunLife) -> None:
        life.cancel("The flow run ended before this task run began.")

    def _done(self, life: TaskRunLife, future: PrefectTaskRunFuture[Any], state: "State[Any]") -> None:
        self._alive.pop(life, None)
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
        """Wait for all submitted runs, also those that they submit. After an `error`, runs that have not begun are
        cancelled; struck from outside (Ctrl-C, SIGTERM), those under way get the grace and then end as Crashed."""
        if error is not None:
            self._giving_up = True
        struck = error is not None and not isinstance(error, Exception)
        deadline = monotonic() + settings().engine_crash_grace_seconds if struck else None
        with released():
            while self._alive:
                future = next(iter(list(self._alive.values())))
                future.wait(None if deadline is None else max(deadline - monotonic(), 0))
                if deadline is not None and monotonic() >= deadline:
                    break
        for life in list(self._alive):
            if error is not None and not life.state.is_final():
                life.crashed(error)

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
