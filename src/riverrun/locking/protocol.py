"""What a lock manager must be able to do. No implementation here."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class LockManager(Protocol):
    """Locks by key, each held by at most one holder (any string). Taking a lock one holds already succeeds.

    Times are seconds; None waits, or holds, without end. The `a` versions do the same without blocking the event loop.
    """

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock, waiting for it at most `acquire_timeout`; False if it was not to be had.

        After `hold_timeout` the lock frees itself.
        """
        ...

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """As `acquire_lock`."""
        ...

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back; ValueError if `holder` does not hold it."""
        ...

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lock."""
        ...

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether `holder` holds the lock."""
        ...

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock; False if `timeout` passed first."""
        ...

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """As `wait_for_lock`."""
        ...
