"""Futures: handles on runs that were submitted.

A future is done when its run has reached the last state it will have in this process; `state` can be read at any time.
Waiting in a thread of a runner gives the thread's permit back, so waiting inside tasks never starves a bounded runner.
This module must not start anything: runners and lives set the outcomes.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

from riverrun.base.pool import released
from riverrun.base.task_loops import place_given_back
from riverrun.states import NONE_RESULT, Pending, State, aget_state_result, get_state_result
from riverrun.utilities.collections import FutureBase, visit_collection
from riverrun.wire.states import StateType

if TYPE_CHECKING:
    from riverrun.wire.runs import TaskRun

from _thread import allocate_lock

R = TypeVar("R")
F = TypeVar("F", bound="PrefectFuture[Any]")
W = TypeVar("W")

#: guards the callbacks of all futures; held for a few bytecodes only
_lock = allocate_lock()


class PrefectFuture(FutureBase, Generic[R]):
    """What every future can do. Task runners of others subclass it and give `state`, `wait` and `result`."""

    __slots__ = ("__weakref__", "_final_state", "_task_run_id")

    def __init__(self, task_run_id: UUID) -> None:
        self._task_run_id = task_run_id
        self._final_state: State[R] | None = None

    @property
    def task_run_id(self) -> UUID:
        """The id of the task run that this future stands for."""
        return self._task_run_id

    @property
    def state(self) -> "State[R]":
        """The current state of the run."""
        if self._final_state is not None:
            return self._final_state
        return Pending()

    def wait(self, timeout: float | None = None) -> None:
        """Block until the run is done, at most `timeout` seconds; returns either way."""
        raise TypeError(f"{type(self).__name__} must define wait()")

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:
        """The run's result, waiting for it.

        Raises what the run raised, or TimeoutError when it is not done within `timeout` seconds. With
        `raise_on_failure=False` an exception is returned instead of raised.
        """
        self.wait(timeout=timeout)
        state = self._final_state
        if state is None:
            raise TimeoutError(f"Task run {self._task_run_id} did not complete within {timeout} seconds")
        return cast(R, get_state_result(state, raise_on_failure=raise_on_failure))

    def add_done_callback(self, fn: "Callable[[PrefectFuture[R]], object]") -> None:
        """Call `fn(future)` when the run is done, at once if it is."""
        raise TypeError(f"{type(self).__name__} must define add_done_callback()")


class PrefectTaskRunFuture(PrefectFuture[R]):
    """The future of a task run in this process."""

    __slots__ = ("_callbacks", "_run")

    def __init__(self, task_run_id: UUID, run: "TaskRun | None" = None) -> None:
        super().__init__(task_run_id)
        self._run = run
        self._callbacks: list[Callable[[PrefectFuture[R]], object]] | None = []

    def __repr__(self) -> str:
        name = "" if self._run is None else f"{self._run.name!r}, "
        return f"{type(self).__name__}({name}{self._task_run_id}, {self.state.name})"

    @property
    def state(self) -> "State[R]":
        if self._final_state is not None:
            return self._final_state
        if self._run is not None and self._run.state is not None:
            return cast("State[R]", self._run.state)
        return super().state

    def done(self) -> bool:
        """Whether the run has reached its last state."""
        return self._callbacks is None

    def set_state(self, state: "State[R]") -> None:
        """Finish the future with the run's last state; only the first call counts."""
        with _lock:
            callbacks = self._callbacks
            if callbacks is None:
                return
            self._final_state = state
            self._callbacks = None
        for fn in callbacks:
            try:
                fn(self)
            except Exception:  # noqa: BLE001 - a waiter's callback must not keep the other waiters asleep
                from riverrun.logging import get_logger

                get_logger("futures").exception("A callback of the future of task run %s failed", self._task_run_id)

    def add_done_callback(self, fn: "Callable[[PrefectFuture[R]], object]") -> None:
        with _lock:
            if self._callbacks is not None:
                self._callbacks.append(fn)
                return
        fn(self)

    @property
    def wrapped_future(self) -> Any:
        """The run as a `concurrent.futures.Future` of its final state, for code that wants one."""
        from concurrent.futures import Future as ConcurrentFuture

        twin: ConcurrentFuture[Any] = ConcurrentFuture()
        self.add_done_callback(lambda future: twin.set_result(future.state))
        return twin

    def _remove_callback(self, fn: object) -> None:
        with _lock:
            if self._callbacks is not None and fn in self._callbacks:
                self._callbacks.remove(fn)

    def wait(self, timeout: float | None = None) -> None:
        if self._callbacks is None:
            return
        ready = allocate_lock()
        ready.acquire()

        def wake(_future: object) -> None:
            ready.release()

        self.add_done_callback(wake)
        with released(), place_given_back():
            if not ready.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
                self._remove_callback(wake)

    async def wait_async(self, timeout: float | None = None) -> None:
        """Wait on the running event loop; like `wait`, it returns on the time-out too."""
        import asyncio

        if self._callbacks is None:
            return
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def wake(_future: object) -> None:
            try:
                loop.call_soon_threadsafe(done.set)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        self.add_done_callback(wake)
        try:
            with place_given_back():
                await asyncio.wait_for(done.wait(), timeout)
        except TimeoutError:
            self._remove_callback(wake)

    async def aresult(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:
        """`result` for an event loop: the loop goes on meanwhile."""
        await self.wait_async(timeout)
        if self._final_state is None:
            raise TimeoutError(f"Task run {self._task_run_id} did not complete within {timeout} seconds")
        return cast(R, await aget_state_result(self._final_state, raise_on_failure=raise_on_failure))

    def __await__(self) -> Generator[Any, None, R]:
        return self.aresult().__await__()


class PrefectDistributedFuture(PrefectTaskRunFuture[R]):
    """The future of a run that goes on elsewhere: whoever waits for it has the server asked. Can be pickled."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._task_run_id,)

    def __hash__(self) -> int:
        return hash(self._task_run_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrefectDistributedFuture) and other._task_run_id == self._task_run_id

    @property
    def state(self) -> "State[R]":
        if self._final_state is None:
            from riverrun.client.calls.task_runs import read_task_run
            from riverrun.client.http import send

            self.ended(send(read_task_run(self._task_run_id)))
        if self._final_state is not None:
            return self._final_state
        return super().state

    def ended(self, run: "TaskRun") -> None:
        """The run as the server has it; if it has ended, the future is done."""
        self._run = run
        if run.state is None:
            return
        from riverrun.client.schemas.objects import users_state

        run.state = state = users_state(run.state)
        if state.is_final():
            self.set_state(state)

    def add_done_callback(self, fn: "Callable[[PrefectFuture[R]], object]") -> None:
        super().add_done_callback(fn)
        if self._callbacks is not None:
            from riverrun.client import ended

            ended.watch(self._task_run_id, self)


Future = PrefectTaskRunFuture


class PrefectWrappedFuture(PrefectTaskRunFuture[R], Generic[R, W]):
    """A future around one of another library, whose result is the run's final state; a base for runners of others.

    A wrapped result that is no state counts as the data of a completed run, a wrapped exception as a failure.
    """

    __slots__ = ("_wrapped_future",)

    def __init__(self, task_run_id: UUID, wrapped_future: W) -> None:
        super().__init__(task_run_id)
        self._wrapped_future = wrapped_future
        listen = getattr(wrapped_future, "add_done_callback", None)
        if listen is not None:
            listen(self._take_over)

    @property
    def wrapped_future(self) -> W:
        return self._wrapped_future

    def _take_over(self, wrapped: Any) -> None:
        try:
            outcome = wrapped.result()
        except BaseException as error:  # noqa: BLE001 - an outcome like any other; whoever asks for it gets it raised
            outcome = State(type=StateType.FAILED, message=str(error), data=error)
        if not isinstance(outcome, State):
            outcome = State(type=StateType.COMPLETED, data=NONE_RESULT if outcome is None else outcome)
        self.set_state(outcome)


class PrefectConcurrentFuture(PrefectWrappedFuture[R, Any]):
    """A future around a `concurrent.futures.Future`."""

    __slots__ = ()


class PrefectFutureList(list[F], Generic[F]):
    """The futures of a map, in the order of its items."""

    def wait(self, timeout: float | None = None) -> None:
        """Block until all are done, at most `timeout` seconds."""
        wait(self, timeout=timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        """All results in order; the first failure in that order is raised.

        Raises TimeoutError when they are not all done within `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        return [
            future.result(
                timeout=None if deadline is None else max(deadline - time.monotonic(), 0),
                raise_on_failure=raise_on_failure,
            )
            for future in self
        ]

    async def aresult(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        """`result` for an event loop."""
        import asyncio

        async with asyncio.timeout(timeout):
            return [await future.aresult(raise_on_failure=raise_on_failure) for future in self]  # type: ignore[attr-defined]


class DoneAndNotDoneFutures(NamedTuple):
    """The answer of `wait`."""

    done: "set[PrefectFuture[Any]]"
    not_done: "set[PrefectFuture[Any]]"


def wait(futures: "Iterable[PrefectFuture[Any]]", timeout: float | None = None) -> DoneAndNotDoneFutures:
    """Wait until all are done, at most `timeout` seconds, and tell which are."""
    pending = set(futures)
    deadline = None if timeout is None else time.monotonic() + timeout
    for future in list(pending):
        future.wait(None if deadline is None else max(deadline - time.monotonic(), 0))
    done = {future for future in pending if future.state.is_final() or _is_done(future)}
    return DoneAndNotDoneFutures(done, pending - done)


def _is_done(future: "PrefectFuture[Any]") -> bool:
    # a run that is NotReady is done without being final
    return future._final_state is not None


def as_completed(futures: "Iterable[F]", timeout: float | None = None) -> Iterator[F]:
    """Yield the futures as they get done.

    Raises TimeoutError when some are not done `timeout` seconds after the first `next`.
    """
    from collections import deque

    expected = list(dict.fromkeys(futures))
    finished: deque[F] = deque()
    news = allocate_lock()
    news.acquire()

    def note(future: Any) -> None:
        finished.append(future)
        with _lock:
            if news.locked():
                news.release()

    deadline = None if timeout is None else time.monotonic() + timeout
    for future in expected:
        future.add_done_callback(note)
    left = len(expected)
    try:
        while left:
            while not finished:
                remaining = -1.0 if deadline is None else deadline - time.monotonic()
                if deadline is not None and remaining <= 0:
                    raise TimeoutError(f"{left} (of {len(expected)}) futures unfinished")
                with released(), place_given_back():
                    news.acquire(timeout=remaining)
            left -= 1
            yield finished.popleft()
    finally:
        for future in expected:
            if isinstance(future, PrefectTaskRunFuture):
                future._remove_callback(note)


def resolve_futures_to_states(expr: Any) -> Any:
    """The same collection with each future replaced by the state its run ended in; waits for them."""

    def state_of(item: Any) -> Any:
        if isinstance(item, FutureBase):
            item.wait()  # type: ignore[attr-defined]
            return item.state  # type: ignore[attr-defined]
        return item

    return visit_collection(expr, visit_fn=state_of, return_data=True)


def resolve_futures_to_results(expr: Any) -> Any:
    """The same collection with each future replaced by its result; waits, and raises the first failure."""

    def result_of(item: Any) -> Any:
        return item.result() if isinstance(item, FutureBase) else item  # type: ignore[attr-defined]

    return visit_collection(expr, visit_fn=result_of, return_data=True)
