"""Locks between the threads and coroutines of one process. Waiters are woken, nothing is polled."""

import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import ClassVar, NamedTuple, Self

from riverrun.locking.protocol import LockManager


class _Lock(NamedTuple):
    holder: str
    #: on the monotonic clock; None: held until it is released
    until: float | None


class MemoryLockManager(LockManager):
    """Locks in this process's memory. There is one instance: locks exclude each other wherever they are taken.

    A forked child starts without locks: what its parent's threads hold is not the child's to wait for.
    """

    _instance: ClassVar["MemoryLockManager | None"] = None
    _locks: dict[str, _Lock]
    _waiters: dict[str, list[Callable[[], None]]]

    def __new__(cls) -> Self:
        instance = cls.__dict__.get("_instance")
        if instance is None:
            instance = super().__new__(cls)
            instance._reset()
            os.register_at_fork(after_in_child=instance._reset)
            cls._instance = instance
        return instance

    def __init__(self) -> None:
        # one instance, made by __new__; there is nothing to set up again
        pass

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()  # another process has locks of its own

    def _reset(self) -> None:
        self._mutex = threading.Lock()
        self._locks = {}
        self._waiters = {}

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        deadline = _deadline(acquire_timeout)
        while True:
            event = threading.Event()
            if self._take(key, holder, hold_timeout, event.set):
                return True
            if not self._sleep(key, event, deadline):
                return self._take(key, holder, hold_timeout)

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        deadline = _deadline(acquire_timeout)
        while True:
            event, wake = _async_event()
            if self._take(key, holder, hold_timeout, wake):
                return True
            if not await self._asleep(key, event, wake, deadline):
                return self._take(key, holder, hold_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        with self._mutex:
            if not self._holds(key, holder):
                raise ValueError(f"No lock held by {holder} for transaction with key {key}")
            del self._locks[key]
            waiters = self._waiters.pop(key, ())
        for wake in waiters:
            wake()

    def is_locked(self, key: str) -> bool:
        with self._mutex:
            return self._current(key) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        with self._mutex:
            return self._holds(key, holder)

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        deadline = _deadline(timeout)
        while True:
            event = threading.Event()
            if self._is_free(key, event.set):
                return True
            if not self._sleep(key, event, deadline):
                return not self.is_locked(key)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        deadline = _deadline(timeout)
        while True:
            event, wake = _async_event()
            if self._is_free(key, wake):
                return True
            if not await self._asleep(key, event, wake, deadline):
                return not self.is_locked(key)

    # -- with the mutex held

    def _current(self, key: str) -> _Lock | None:
        lock = self._locks.get(key)
        if lock is not None and lock.until is not None and lock.until <= monotonic():
            del self._locks[key]
            return None
        return lock

    def _holds(self, key: str, holder: str) -> bool:
        lock = self._current(key)
        return lock is not None and lock.holder == holder

    # -- steps of waiting

    def _take(self, key: str, holder: str, hold: float | None, wake: Callable[[], None] | None = None) -> bool:
        """Take the lock, or have `wake` called when it is released."""
        with self._mutex:
            lock = self._current(key)
            if lock is not None and lock.holder != holder:
                if wake is not None:
                    self._waiters.setdefault(key, []).append(wake)
                return False
            self._locks[key] = _Lock(holder, _deadline(hold))
            return True

    def _is_free(self, key: str, wake: Callable[[], None]) -> bool:
        with self._mutex:
            if self._current(key) is None:
                return True
            self._waiters.setdefault(key, []).append(wake)
            return False

    def _wait_seconds(self, key: str, deadline: float | None) -> float | None:
        """How long to sleep at most: to the deadline or to the instant when the lock frees itself."""
        with self._mutex:
            lock = self._locks.get(key)
        instants = [instant for instant in (deadline, lock.until if lock else monotonic()) if instant is not None]
        return max(0.0, min(instants) - monotonic()) if instants else None

    def _forget(self, key: str, wake: Callable[[], None]) -> None:
        with self._mutex:
            waiters = self._waiters.get(key)
            if waiters and wake in waiters:
                waiters.remove(wake)

    def _sleep(self, key: str, event: threading.Event, deadline: float | None) -> bool:
        """Sleep until something may have changed; False once the deadline has passed."""
        event.wait(self._wait_seconds(key, deadline))
        self._forget(key, event.set)
        return deadline is None or monotonic() < deadline

    async def _asleep(self, key: str, event: "object", wake: Callable[[], None], deadline: float | None) -> bool:
        import asyncio

        assert isinstance(event, asyncio.Event)
        try:
            await asyncio.wait_for(event.wait(), self._wait_seconds(key, deadline))
        except TimeoutError:
            pass
        finally:
            self._forget(key, wake)
        return deadline is None or monotonic() < deadline


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else monotonic() + seconds


def _async_event() -> tuple[object, Callable[[], None]]:
    """An event of this loop, and what sets it from any thread."""
    import asyncio

    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wake() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    return event, wake
