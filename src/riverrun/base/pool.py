"""Threads of our own for what is submitted: created on demand, reused newest first, ended when idle.

`concurrent.futures` is not used: it is off the light import path and its threads hold the exit of the process. A
*permit* is the right to run user code in a pool; whoever waits inside riverrun gives its permit back meanwhile
(`released`), so nested submits cannot deadlock at any depth. This module knows nothing of runs, futures or contexts.
"""

import os
import sys
import threading
import time
import weakref
from _thread import LockType, allocate_lock
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import CodeType, FrameType

Job = Callable[[], object]

_pools: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


class Permit:
    """The right of one thread to run user code in a pool. All fields are guarded by the pool's lock."""

    __slots__ = ("held", "pool", "revoked", "turn")

    def __init__(self, pool: "WorkerPool") -> None:
        self.pool = pool
        self.held = False
        #: a revoked permit counts nowhere any more; its thread runs on without one
        self.revoked = False
        #: the lock on which a thread waits for this permit to be given again
        self.turn: LockType | None = None


class _Current(threading.local):
    permit: Permit | None = None


_current = _Current()
_nothing: AbstractContextManager[None] = nullcontext()


class _Released:
    """Gives a permit back on entry and takes it again on exit."""

    __slots__ = ("_permit",)

    def __init__(self, permit: Permit) -> None:
        self._permit = permit

    def __enter__(self) -> None:
        self._permit.pool._give_back(self._permit)

    def __exit__(self, *exc_info: object) -> None:
        self._permit.pool._take_again(self._permit)


def released() -> AbstractContextManager[None]:
    """Give the current thread's permit back for the time of a wait inside riverrun.

    On exit the permit is taken again, before any task that has not started; this may wait for another task to end or
    to wait. Nothing happens in a thread that holds no permit, and nested uses count once.
    """
    permit = _current.permit
    if permit is None or not permit.held:
        return _nothing
    return _Released(permit)


def current_permit() -> Permit | None:
    """The permit of the current thread, held or released at the moment; None outside a pool."""
    return _current.permit


def adopt(permit: Permit | None) -> None:
    """Let the current thread act for `permit`, whose own thread waits for it (None: for no permit any more)."""
    _current.permit = permit


def successor(permit: Permit) -> Permit:
    """Take its right away from `permit`, whoever acts for it, and give it to a new one.

    The new permit has the place of the old one in its pool: it is held if that was held; else `take` it.
    """
    fresh = Permit(permit.pool)
    permit.pool._revoke(permit, fresh)
    return fresh


def take(permit: Permit) -> None:
    """Wait until `permit` is held, as at the end of `released`; returns also when it is revoked meanwhile."""
    permit.pool._take_again(permit)


class _Unawaited(threading.Event):
    """Lets `Thread.start` return at once.

    It waits for the new thread to run, which nobody here needs, and which beside one busy thread costs a switch interval for
    every thread (measured: 100 threads in 0.42 s).
    """

    def wait(self, timeout: float | None = None) -> bool:
        return True


class _Worker(threading.Thread):
    """One thread of a pool: comes for the queue, works until it is empty, sleeps until it is called again."""

    def __init__(self, pool: "WorkerPool", name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._started = _Unawaited()
        self.pool = pool
        self.wake = allocate_lock()
        self.wake.acquire()
        #: set under the pool's lock: the pool is shut down and this thread is not needed any more
        self.ends = False

    def run(self) -> None:
        pool = self.pool
        permit = Permit(pool)
        while True:
            job = pool._come(self, permit)
            while job is not None:
                _current.permit = permit
                try:
                    job()
                except BaseException:  # noqa: BLE001 - the thread's edge: a job reports its own failures, this one did not
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self)))
                replacement = _current.permit  # a call in another thread may have come back with another
                if replacement is not None:
                    permit = replacement
                job = pool._next_job(self, permit)
            _current.permit = None
            if not self.wake.acquire(timeout=pool.idle_seconds) and pool._retire(self):
                return
            if self.ends:
                return


class WorkerPool:
    """Runs callables in daemon threads; at most `max_workers` at a time (None: no bound).

    `submit` queues in order and never blocks. A task that waits inside riverrun does not count as running meanwhile, so
    more threads than `max_workers` may exist. A thread without work ends after `idle_seconds`; a pool in which work
    waits and nothing moves for `stall_seconds` logs why, once. A forked child finds the pool empty.
    """

    def __init__(
        self, max_workers: int | None, name: str, *, idle_seconds: float = 5.0, stall_seconds: float = 5.0
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers of the pool {name!r} must be at least 1 or None, not {max_workers}")
        self.max_workers = max_workers
        self.name = name
        self.idle_seconds = idle_seconds
        self.stall_seconds = stall_seconds
        self._bound = max_workers if max_workers is not None else sys.maxsize
        self._begin_empty()
        _pools.add(self)

    def _begin_empty(self) -> None:
        self._lock = allocate_lock()
        self._queue: deque[Job] = deque()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._returning: deque[Permit] = deque()
        self._running = 0  # permits held
        self._coming = 0  # threads called for the queue that have not looked into it yet
        self._count = 0  # threads ever started, for their names
        self._moves = 0  # jobs begun or ended: what a stalled pool lacks
        self._closed = False
        self._at_rest: list[LockType] = []
        self._watched = False
        self._complained = False

    def submit(self, job: Job) -> None:
        """Queue `job`, which must not raise. Raises RuntimeError after `shutdown` and when no thread can be started."""
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the pool {self.name!r} is shut down; nothing can be submitted to it any more")
            self._queue.append(job)
            # Four on their way are enough: each calls two more if it finds more than it takes. So a thousand tasks that
            # wait have a thousand threads at once, and a thousand that take no time do not.
            worker = self._call_one() if self._coming < 4 else None
            full = self._running + self._coming >= self._bound and len(self._queue) > self._coming
            watch = full and not self._watched and not self._complained
            self._watched = self._watched or watch
        if worker is not None:
            self._start(worker, job)
        elif watch:
            self._watch()

    def shutdown(self, wait: bool = True, cancel_pending: bool = False, timeout: float | None = None) -> list[Job]:
        """Accept nothing more; end idle threads.

        `cancel_pending` takes what has not started out of the queue and returns it, else it is still run. `wait` waits
        for the rest, at most `timeout` seconds; what still runs then runs on in its daemon thread.
        """
        rest = allocate_lock()
        rest.acquire()
        with self._lock:
            self._closed = True
            dropped = list(self._queue) if cancel_pending else []
            if cancel_pending:
                self._queue.clear()
            for worker in self._idle:
                worker.ends = True
                worker.wake.release()
            self._idle.clear()
            done = not self._busy and not self._queue
            if not done:
                self._at_rest.append(rest)
        if wait and not done:
            with released():
                rest.acquire(timeout=-1 if timeout is None else max(timeout, 0.0))
        return dropped

    @property
    def running(self) -> int:
        """How many tasks run at this moment, without those that wait inside riverrun."""
        return self._running

    @property
    def pending(self) -> int:
        """How many tasks have not started."""
        return len(self._queue)

    # -- everything below is called by the threads of the pool or under its lock --

    def _call_one(self) -> _Worker | None:
        """Call one more thread for the queue if it needs one: wake an idle one, or give a new one to be started."""
        if self._coming >= len(self._queue) or self._running + self._coming >= self._bound:
            return None
        self._coming += 1
        if self._idle:
            self._idle.pop().wake.release()
            return None
        self._count += 1
        return _Worker(self, f"{self.name}-{self._count}")

    def _start(self, worker: _Worker, job: Job | None = None) -> None:
        """Start a thread that was called. If that fails and nobody else will come, `job` is taken back and the error raised."""
        try:
            worker.start()
        except RuntimeError as error:
            with self._lock:
                self._coming -= 1
                alone = not self._busy and not self._coming
                if alone and job is not None and job in self._queue:
                    self._queue.remove(job)
            if alone:
                raise RuntimeError(f"no thread can be started for the pool {self.name!r}: {error}") from error

    def _come(self, worker: _Worker, permit: Permit) -> Job | None:
        """The first job for a thread that was called; None when there is none for it, and it has to sleep or to end."""
        newcomers: list[_Worker | None] = []
        with self._lock:
            self._coming -= 1
            job = self._pop(permit)
            if job is None:
                self._rest(worker)
            else:
                self._moves += 1
                self._busy.add(worker)
                newcomers = [self._call_one(), self._call_one()]
        for newcomer in newcomers:
            if newcomer is not None:
                self._start(newcomer)
        return job

    def _next_job(self, worker: _Worker, permit: Permit) -> Job | None:
        """The next job for a thread that ended one; None when it has to sleep or to end."""
        with self._lock:
            self._moves += 1
            if permit.held:
                permit.held = False
                self._running -= 1
                if self._returning:
                    self._grant(self._returning.popleft())
            job = self._pop(permit)
            if job is None:
                self._busy.discard(worker)
                self._rest(worker)
            return job

    def _pop(self, permit: Permit) -> Job | None:
        if not self._queue or self._running >= self._bound:
            return None
        self._running += 1
        permit.held = True
        return self._queue.popleft()

    def _rest(self, worker: _Worker) -> None:
        if not self._closed:
            self._idle.append(worker)
            return
        worker.ends = True
        worker.wake.release()
        if not self._busy and not self._queue:
            for rest in self._at_rest:
                rest.release()
            self._at_rest.clear()

    def _retire(self, worker: _Worker) -> bool:
        """Whether a thread that slept through its idle time may end; False when it was woken at the last moment."""
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                return True
        worker.wake.acquire()
        return False

    def _grant(self, permit: Permit) -> None:
        self._running += 1
        permit.held = True
        if permit.turn is not None:
            permit.turn.release()
            permit.turn = None

    def _give_back(self, permit: Permit) -> None:
        newcomer = None
        with self._lock:
            if not permit.held or permit.revoked:
                return
            permit.held = False
            self._running -= 1
            if self._returning:
                self._grant(self._returning.popleft())
            else:
                newcomer = self._call_one()
        if newcomer is not None:
            self._start(newcomer)

    def _take_again(self, permit: Permit) -> None:
        turn = None
        with self._lock:
            if permit.revoked or permit.held:
                return
            if self._running < self._bound:
                self._running += 1
                permit.held = True
            else:
                turn = permit.turn = allocate_lock()
                turn.acquire()
                self._returning.append(permit)
        if turn is not None:
            turn.acquire()

    def _revoke(self, permit: Permit, heir: Permit) -> None:
        with self._lock:
            permit.revoked = True
            heir.held = permit.held
            permit.held = False
            if permit in self._returning:
                self._returning.remove(permit)
            if permit.turn is not None:
                permit.turn.release()
                permit.turn = None

    def _watch(self) -> None:
        try:
            threading.Thread(target=self._look_for_stall, name=f"{self.name}-watch", daemon=True).start()
        except RuntimeError:  # no thread to be had: the pool works without the hint
            self._watched = False

    def _look_for_stall(self) -> None:
        seen = -1
        while self._queue:
            if self._moves == seen:
                self._complained = True
                self._complain()
                break
            seen = self._moves
            time.sleep(self.stall_seconds)
        self._watched = False

    def _complain(self) -> None:
        import logging

        with self._lock:
            busy = list(self._busy)[:3]
            waiting = len(self._queue)
        stands = [place for worker in busy if (place := whereabouts(worker.ident)) is not None]
        logging.getLogger("riverrun.task_runner").info(
            "%s: all %d workers are busy, none has finished for %g s and %d tasks wait. "
            "A wait that riverrun cannot see (a lock, an event, another executor) keeps its worker; "
            "wait through futures, or raise max_workers. Busy at: %s",
            self.name,
            self._bound,
            self.stall_seconds,
            waiting,
            "; ".join(stands) or "unknown",
        )


def whereabouts(ident: int | None) -> str | None:
    """`file:line in function` where a thread stands: in user code if it has a frame there, else its innermost frame."""
    innermost = _frame_of(ident)
    if innermost is None:
        return None
    frame: FrameType | None = innermost
    while frame is not None and (_is_own(frame) or _is_standard(frame)):
        frame = frame.f_back
    frame = frame or innermost
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def is_at_user_code(ident: int, caller: CodeType) -> bool:
    """Whether a thread stands in user code, or in what user code calls of the standard library, and not in riverrun.

    `caller` is the function of riverrun that calls the user's: standing there means being in a built-in function.
    """
    frame = _frame_of(ident)
    while frame is not None and frame.f_code is not caller:
        # struck between taking its lock and its `try`, logging would keep every thread waiting for ever
        if _is_own(frame) or frame.f_code.co_filename.startswith(_LOGGING):
            return False
        if not _is_standard(frame):
            return True
        frame = frame.f_back
    return frame is not None


def _frame_of(ident: int | None) -> FrameType | None:
    return sys._current_frames().get(ident) if ident is not None else None


_OWN = __file__.removesuffix(f"base{os.sep}pool.py")
_STANDARD = threading.__file__.removesuffix("threading.py")
_LOGGING = f"{_STANDARD}logging{os.sep}"


def _is_own(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OWN)


def _is_standard(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return (path.startswith(_STANDARD) and "site-packages" not in path) or path.startswith("<frozen")


def _forget_threads() -> None:
    """In a forked child no thread but the current one exists: pools begin empty, and nobody holds a permit."""
    _current.permit = None
    for pool in list(_pools):
        pool._begin_empty()


os.register_at_fork(after_in_child=_forget_threads)
