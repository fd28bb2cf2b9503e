"""Locks between the processes of a machine (or of several that share a directory), as files.

A lock is a small JSON file that names its holder and the process behind it. Every change is made under a POSIX record lock
on one guard file, which the operating system frees when a process dies and which a forked child does not inherit. A lock
whose process is dead on this machine is taken over at once; from another machine only its expiry frees it.
"""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from riverrun.base.clock import now, to_micros
from riverrun.base.ids import uuid7
from riverrun.base.loops import in_thread
from riverrun.locking.protocol import LockManager
from riverrun.utilities.hashing import stable_hash

#: seconds between two looks at a lock: at first, and at most
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.1
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NAME_LENGTH = 150


class LockFile(Struct):
    """The content of a lock file."""

    holder: str
    #: microseconds since the epoch; None: held until it is released or its process dies
    expiration: int | None = None
    pid: int = 0
    #: tells a process from an earlier one with the same pid; None where the system does not say
    started: str | None = None
    machine: str = ""
    #: the system's boot and pid namespace
    boot: str = ""

    def is_over(self) -> bool:
        """Whether the lock no longer binds anybody."""
        if self.expiration is not None and self.expiration <= to_micros(now()):
            return True
        if self.machine != _machine():
            return False
        boot, _, namespace = self.boot.partition("/")
        own_boot, _, own_namespace = _boot().partition("/")
        if boot != own_boot:
            return True
        return namespace == own_namespace and _started(self.pid) != self.started


class FileSystemLockManager(LockManager):
    """Locks as files in `lock_files_directory`, which is made when it is first needed.

    Several processes exclude each other when they use the same directory. The directory must support POSIX record locks
    (`fcntl`); local disks do, and NFS version 4.
    """

    def __init__(self, lock_files_directory: Path | str) -> None:
        self.lock_files_directory = Path(lock_files_directory).expanduser().resolve()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileSystemLockManager) and other.lock_files_directory == self.lock_files_directory

    def __hash__(self) -> int:
        return hash(self.lock_files_directory)

    def __repr__(self) -> str:
        return f"FileSystemLockManager(lock_files_directory={str(self.lock_files_directory)!r})"

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        for pause in _looks(acquire_timeout):
            time.sleep(pause)
            if self._take(key, holder, hold_timeout):
                return True
        return False

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        # One look is short; waiting must not occupy a thread that the holder may need to finish.
        import asyncio

        for pause in _looks(acquire_timeout):
            await asyncio.sleep(pause)
            if await in_thread(self._take, key, holder, hold_timeout):
                return True
        return False

    def release_lock(self, key: str, holder: str) -> None:
        path = self._path(key)
        with self._guard():
            lock = self._read(path)
            if lock is None or lock.holder != holder:
                raise ValueError(f"No lock held by {holder} for transaction with key {key}")
            path.unlink()

    def is_locked(self, key: str, use_cache: bool = False) -> bool:
        return self._read(self._path(key)) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        lock = self._read(self._path(key))
        return lock is not None and lock.holder == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        for pause in _looks(timeout):
            time.sleep(pause)
            if not self.is_locked(key):
                return True
        return False

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        import asyncio

        for pause in _looks(timeout):
            await asyncio.sleep(pause)
            if not await in_thread(self.is_locked, key):
                return True
        return False

    def _path(self, key: str) -> Path:
        name = key
        if not key or len(key) > _NAME_LENGTH or not _NAME_CHARACTERS.issuperset(key) or key.startswith("."):
            readable = "".join(letter if letter in _NAME_CHARACTERS else "-" for letter in key[-60:])
            name = f"{readable.lstrip('.')}-{stable_hash(key.encode('utf-8', 'surrogatepass'))}"
        return self.lock_files_directory / f"{name}.lock"

    def _read(self, path: Path) -> LockFile | None:
        """The lock in a file, None if there is none that still binds."""
        try:
            lock = msgspec.json.decode(path.read_bytes(), type=LockFile)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:  # not written by us: lock files appear complete
            return None
        return None if lock.is_over() else lock

    def _take(self, key: str, holder: str, hold_timeout: float | None) -> bool:
        path = self._path(key)
        with self._guard():
            lock = self._read(path)
            if lock is not None and lock.holder != holder:
                return False
            expiration = None if hold_timeout is None else to_micros(now()) + round(hold_timeout * 1e6)
            pid = os.getpid()
            new = LockFile(holder, expiration, pid, _started(pid), _machine(), _boot())
            # written aside, then renamed: who reads without the guard sees a whole file
            draft = path.with_name(f".{uuid7().hex}.draft")
            try:
                draft.write_bytes(msgspec.json.encode(new))
                draft.replace(path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            return True

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Exclude all other threads and processes that would change a lock in this directory."""
        directory = self.lock_files_directory
        with _threads:
            try:
                descriptor = os.open(directory / ".guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                directory.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(directory / ".guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                _lock_descriptor(descriptor)
                yield
            finally:
                os.close(descriptor)  # frees the record lock


#: Record locks belong to the process, so its threads need a lock of their own; it also makes sure that no second
#: descriptor of a guard is closed while the first holds the lock (closing any one frees it).
_threads = threading.Lock()


def _new_thread_lock() -> None:
    global _threads
    _threads = threading.Lock()


os.register_at_fork(after_in_child=_new_thread_lock)


def _lock_descriptor(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    fcntl.lockf(descriptor, fcntl.LOCK_EX)


def _looks(timeout: float | None) -> Iterator[float]:
    """How long to sleep before each look at a lock: not at all before the first; the last is at the deadline."""
    deadline = None if timeout is None else time.monotonic() + timeout
    yield 0.0
    pause = _FIRST_LOOK
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return
        yield pause if left is None else min(pause, left)
        pause = min(pause * 1.5, _LAST_LOOK)


# -- who a process is ---------------------------------------------------------------------------------------------------

_identity: dict[str, Any] = {}


def _machine() -> str:
    known = _identity.get("machine")
    if known is None:
        known = _identity["machine"] = f"{platform.node()}/{_text('/etc/machine-id')}"
    return str(known)


def _boot() -> str:
    """The boot of the system and the namespace that pids count in."""
    known = _identity.get("boot")
    if known is None:
        try:
            namespace = str(os.stat("/proc/self/ns/pid").st_ino)
        except OSError:
            namespace = ""
        known = _identity["boot"] = f"{_text('/proc/sys/kernel/random/boot_id')}/{namespace}"
    return str(known)


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """What tells the process with this pid from earlier ones; None if there is none (or no way to know its start)."""
    try:
        # the 22nd field; the second is the command's name in parentheses and may hold anything
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except OSError:
        return "?"
    else:
        return "zombie" if fields[0] in (b"Z", b"X") else fields[19].decode()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return "alive"
    return "alive"
