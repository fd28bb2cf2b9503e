"""Waiting for task runs that end elsewhere: one thread asks the server for all of them together."""

import os
import random
import threading
import weakref
from contextvars import Context, copy_context
from typing import Any, Final, Protocol
from uuid import UUID

from riverrun.base.errors import RiverrunError
from riverrun.wire.runs import TaskRun

#: ids in one request: the longest list that the server answers
_AT_ONCE: Final = 200
_SHORTEST: Final = 0.05
_LONGEST: Final = 1.0


class Waiter(Protocol):
    """Who wants to know how a run ended."""

    def ended(self, run: TaskRun) -> object: ...


class _Watcher:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: weakref.WeakValueDictionary[UUID, Any] = weakref.WeakValueDictionary()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, run_id: UUID, waiter: Waiter) -> None:
        with self._lock:
            self._waiters[run_id] = waiter
            self._news.set()
            if self._thread is None:
                context = copy_context()  # with the settings of whoever waits
                self._thread = threading.Thread(
                    target=self._run, args=(context,), name="riverrun-ended-runs", daemon=True
                )
                self._thread.start()

    def _run(self, context: Context) -> None:
        pause = _SHORTEST
        while True:
            with self._lock:
                waiters = dict(self._waiters.items())
                if not waiters:
                    self._thread = None
                    return
                self._news.clear()
            found = context.run(self._look, list(waiters))
            for run in found:
                waiter = waiters.get(run.id)
                if waiter is not None:
                    waiter.ended(run)
                    with self._lock:
                        self._waiters.pop(run.id, None)
            del waiters
            waiter = None
            pause = _SHORTEST if found else min(pause * 1.5, _LONGEST)
            if self._news.wait(pause * random.uniform(0.8, 1.0)):  # noqa: S311 - spreads, guards nothing
                pause = _SHORTEST

    def _look(self, run_ids: list[UUID]) -> list[TaskRun]:
        """Those of the runs that have ended. None while the server is away."""
        from riverrun.client.calls.task_runs import read_task_runs
        from riverrun.client.http import send
        from riverrun.wire.filters import TaskRunFilter, TaskRunFilterId
        from riverrun.wire.requests import TaskRunsFilterBody

        ended: list[TaskRun] = []
        for start in range(0, len(run_ids), _AT_ONCE):
            some = TaskRunFilter(id=TaskRunFilterId(any_=run_ids[start : start + _AT_ONCE]))
            try:
                runs = send(read_task_runs(TaskRunsFilterBody(task_runs=some)))
            except RiverrunError:
                continue
            ended += [run for run in runs if run.state is not None and run.state.is_final()]
        return ended


_watcher = _Watcher()
watch = _watcher.watch


def _begin_anew() -> None:
    global _watcher, watch
    _watcher = _Watcher()
    watch = _watcher.watch


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
