"""Locks on the keys of a store that may have a lock manager; who locks is made up where nobody says."""

from typing import TYPE_CHECKING

from riverrun.base.errors import ConfigurationError

if TYPE_CHECKING:
    from riverrun.locking.protocol import LockManager
    from riverrun.transactions import IsolationLevel


class LockedKeys:
    """The locks of a store: those of its `lock_manager`."""

    lock_manager: "LockManager | None"

    @staticmethod
    def generate_default_holder() -> str:
        """Who locks when nobody says: this machine, process and thread, and the coroutine's task if there is one."""
        import os
        import sys
        import threading
        from platform import node

        thread = threading.current_thread()
        holder = f"{node()}:{os.getpid()}:{thread.ident}:{thread.name}"
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None and asyncio._get_running_loop() is not None:
            task = asyncio.current_task()
            if task is not None:
                holder = f"{holder}:{id(task)}"
        return holder

    def supports_isolation_level(self, level: "IsolationLevel") -> bool:
        """Whether transactions of this isolation can use this store; ValueError on what is not a level."""
        if level == "READ_COMMITTED":
            return True
        if level == "SERIALIZABLE":
            return self.lock_manager is not None
        raise ValueError(f"Unsupported isolation level: {level!r}. Levels are READ_COMMITTED and SERIALIZABLE.")

    def acquire_lock(self, key: str, holder: str | None = None, timeout: float | None = None) -> bool:
        """Take the lock on a key, waiting at most `timeout` seconds; False if it was not to be had."""
        return self._locks.acquire_lock(key, holder or self.generate_default_holder(), timeout)

    async def aacquire_lock(self, key: str, holder: str | None = None, timeout: float | None = None) -> bool:
        """As `acquire_lock`."""
        return await self._locks.aacquire_lock(key, holder or self.generate_default_holder(), timeout)

    def release_lock(self, key: str, holder: str | None = None) -> None:
        """Give the lock back; ValueError if the holder does not have it."""
        self._locks.release_lock(key, holder or self.generate_default_holder())

    def is_locked(self, key: str) -> bool:
        return self._locks.is_locked(key)

    def is_lock_holder(self, key: str, holder: str | None = None) -> bool:
        return self._locks.is_lock_holder(key, holder or self.generate_default_holder())

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the key is free, at most `timeout` seconds; False if it is not."""
        return self._locks.wait_for_lock(key, timeout)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """As `wait_for_lock`."""
        return await self._locks.await_for_lock(key, timeout)

    @property
    def _locks(self) -> "LockManager":
        if self.lock_manager is None:
            raise ConfigurationError(
                "Result store is not configured with a lock manager: give it one, as in"
                " ResultStore(lock_manager=FileSystemLockManager(...)) or"
                " cache_policy=INPUTS.configure(lock_manager=FileSystemLockManager(...))."
            )
        return self.lock_manager
