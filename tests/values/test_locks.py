"""Locks: between threads, coroutines and processes; holders that die."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from riverrun.base.clock import now, to_micros
from riverrun.locking.filesystem import FileSystemLockManager
from riverrun.locking.memory import MemoryLockManager
from riverrun.locking.protocol import LockManager


@pytest.fixture(params=["memory", "files"])
def manager(request, tmp_path):
    return MemoryLockManager() if request.param == "memory" else FileSystemLockManager(tmp_path / "locks")


@pytest.fixture
def key(tmp_path):
    return f"some/key {tmp_path.name}"


def test_protocol(manager):
    assert isinstance(manager, LockManager)


def test_there_is_one_memory():
    assert MemoryLockManager() is MemoryLockManager()


def test_files_are_equal_by_directory(tmp_path):
    assert FileSystemLockManager(tmp_path) == FileSystemLockManager(str(tmp_path))
    assert FileSystemLockManager(tmp_path) != FileSystemLockManager(tmp_path / "x")
    assert len({FileSystemLockManager(tmp_path), FileSystemLockManager(tmp_path)}) == 1


def test_take_and_give_back(manager, key):
    assert not manager.is_locked(key)
    assert manager.wait_for_lock(key)
    assert manager.acquire_lock(key, "one")
    assert manager.acquire_lock(key, "one")
    assert manager.is_locked(key)
    assert manager.is_lock_holder(key, "one")
    assert not manager.is_lock_holder(key, "two")
    assert not manager.acquire_lock(key, "two", acquire_timeout=0)
    assert not manager.acquire_lock(key, "two", acquire_timeout=0.02)
    assert not manager.wait_for_lock(key, timeout=0.02)
    with pytest.raises(ValueError, match="No lock held by two for transaction with key"):
        manager.release_lock(key, "two")
    manager.release_lock(key, "one")
    assert not manager.is_locked(key)
    with pytest.raises(ValueError, match="No lock held by one"):
        manager.release_lock(key, "one")


def test_take_and_give_back_async(manager, key):
    async def main():
        assert await manager.await_for_lock(key)
        assert await manager.aacquire_lock(key, "one")
        assert not await manager.aacquire_lock(key, "two", acquire_timeout=0.02)
        assert not await manager.await_for_lock(key, timeout=0.02)
        waiting = asyncio.create_task(manager.aacquire_lock(key, "two"))
        also = asyncio.create_task(manager.await_for_lock(key))
        await asyncio.sleep(0)
        manager.release_lock(key, "one")
        assert await waiting
        manager.release_lock(key, "two")
        assert await also

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_lock_frees_itself(manager, key):
    assert manager.acquire_lock(key, "one", hold_timeout=0.05)
    assert manager.is_locked(key)
    assert manager.wait_for_lock(key, timeout=10)
    assert not manager.is_locked(key)
    assert manager.acquire_lock(key, "one", hold_timeout=0.05)
    assert manager.acquire_lock(key, "two", acquire_timeout=10)
    with pytest.raises(ValueError, match="No lock held by one"):
        manager.release_lock(key, "one")
    manager.release_lock(key, "two")


def test_a_lock_frees_itself_async(manager, key):
    async def main():
        assert await manager.aacquire_lock(key, "one", hold_timeout=0.05)
        assert await manager.aacquire_lock(key, "two", acquire_timeout=10, hold_timeout=0.05)
        assert await manager.await_for_lock(key, timeout=10)

    asyncio.run(main())


def test_threads_exclude_each_other(manager, key):
    inside, most, turns = 0, 0, []

    def work(holder):
        nonlocal inside, most
        for _ in range(5):
            assert manager.acquire_lock(key, holder, acquire_timeout=15)
            inside += 1
            most = max(most, inside)
            turns.append(holder)
            inside -= 1
            manager.release_lock(key, holder)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert len(turns) == 20


def test_a_waiting_thread_is_woken(manager, key):
    assert manager.acquire_lock(key, "one")
    got = threading.Event()

    def work():
        if manager.acquire_lock(key, "two"):
            got.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not got.is_set()
    manager.release_lock(key, "one")
    thread.join(10)
    assert got.is_set()
    manager.release_lock(key, "two")


def test_waiters_leave_nothing_behind(key):
    manager = MemoryLockManager()
    assert manager.acquire_lock(key, "one")
    assert not manager.acquire_lock(key, "two", acquire_timeout=0.01)
    assert not manager.wait_for_lock(key, timeout=0.01)

    async def main():
        assert not await manager.aacquire_lock(key, "two", acquire_timeout=0.01)

    asyncio.run(main())
    assert manager._waiters[key] == []
    manager.release_lock(key, "one")
    assert key not in manager._waiters
    assert key not in manager._locks


def test_a_forked_child_does_not_inherit_locks(key):
    manager = MemoryLockManager()
    assert manager.acquire_lock(key, "one")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if manager.acquire_lock(key, "child", acquire_timeout=0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert manager.is_lock_holder(key, "one")
    manager.release_lock(key, "one")


# -- files


def lock_file(manager):
    (path,) = [path for path in manager.lock_files_directory.iterdir() if path.suffix == ".lock"]
    return path


@pytest.mark.parametrize("name", ["plain", "a/b", "../../x", "x" * 5_000, "ünï", ".hidden", "\ud800", "nul\0", ""])
def test_any_key_is_a_file_in_the_directory(tmp_path, name):
    manager = FileSystemLockManager(tmp_path / "locks")
    assert manager.acquire_lock(name, "one")
    assert not manager.acquire_lock(name, "two", acquire_timeout=0)
    assert lock_file(manager).parent == tmp_path / "locks"
    assert not manager.is_locked(name + "x")
    manager.release_lock(name, "one")
    assert [path.name for path in (tmp_path / "locks").iterdir()] == [".guard"]


def edit(manager, **changes):
    path = lock_file(manager)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "locked"),
    [
        ({}, True),
        ({"started": "12345"}, False),  # another process with the same pid
        ({"pid": 2**22 + 5}, False),
        ({"boot": "another-boot/1"}, False),
        ({"machine": "elsewhere/1", "pid": 2**22 + 5, "boot": "b/1"}, True),  # cannot be seen from here
        ({"machine": "elsewhere/1", "expiration": to_micros(now()) - 1}, False),
        ({"expiration": to_micros(now()) + 10**12}, True),  # the suite ends long before
    ],
)
def test_whether_a_lock_binds(tmp_path, changes, locked):
    manager = FileSystemLockManager(tmp_path)
    assert manager.acquire_lock("k", "one")
    edit(manager, **changes)
    assert manager.is_locked("k") is locked
    assert manager.acquire_lock("k", "two", acquire_timeout=0) is not locked


@pytest.mark.parametrize("content", [b"", b"4000000", b"garbage", b"\xff"])
def test_files_that_are_no_locks_do_not_bind(tmp_path, content):
    manager = FileSystemLockManager(tmp_path)
    (tmp_path / "k.lock").write_bytes(content)
    assert not manager.is_locked("k")
    assert manager.acquire_lock("k", "one", acquire_timeout=0)


def test_another_pid_namespace_cannot_be_judged(tmp_path):
    manager = FileSystemLockManager(tmp_path)
    assert manager.acquire_lock("k", "one")
    boot = json.loads(lock_file(manager).read_text())["boot"].partition("/")[0]
    edit(manager, boot=f"{boot}/1", pid=2**22 + 5)
    assert manager.is_locked("k")


# -- processes

HOLD = """
import sys, time
from riverrun.locking.filesystem import FileSystemLockManager
manager = FileSystemLockManager(sys.argv[1])
assert manager.acquire_lock("k", "holder")
print("held", flush=True)
sys.stdin.read()
"""

COMPUTE = """
import sys, os
from pathlib import Path
from riverrun.locking.filesystem import FileSystemLockManager
from riverrun.results import ResultStore
from riverrun.transactions import IsolationLevel, transaction

base = Path(sys.argv[1])
store = ResultStore(result_storage=base / "results", lock_manager=FileSystemLockManager(base / "locks"))
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    with transaction(key=f"k{number}", store=store, isolation_level=IsolationLevel.SERIALIZABLE) as txn:
        if not txn.is_committed():
            with open(base / "computed", "a") as file:
                file.write(f"{number} {os.getpid()}\\n")
            txn.stage(number * 10)
    assert txn.read().result == number * 10
print("done", flush=True)
"""


def start(program, *args):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def end(process):
    process.kill()
    process.communicate()


def test_two_processes_compute_once(tmp_path):
    processes = [start(COMPUTE, tmp_path) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            assert process.communicate(timeout=15)[0] == "done\n"
            assert process.returncode == 0
    finally:
        for process in processes:
            end(process)
    computed = [line.split()[0] for line in (tmp_path / "computed").read_text().splitlines()]
    assert sorted(computed, key=int) == [str(number) for number in range(20)]


def test_a_killed_holder_is_taken_over_from(tmp_path):
    manager = FileSystemLockManager(tmp_path)
    holder = start(HOLD, tmp_path)
    try:
        assert holder.stdout.readline() == "held\n"
        assert not manager.acquire_lock("k", "me", acquire_timeout=0.05)
        os.kill(holder.pid, signal.SIGKILL)
        # not waited for: a zombie is dead, too
        assert manager.acquire_lock("k", "me", acquire_timeout=10)
        assert manager.is_lock_holder("k", "me")
    finally:
        end(holder)


def test_many_that_wait_for_a_killed_holder_get_it_one_by_one(tmp_path):
    """The takeover itself must not be a race: each adds one to a number under the lock."""
    holder = start(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    count = tmp_path / "count"
    count.write_text("0")
    program = """
import sys, os
from pathlib import Path
from riverrun.locking.filesystem import FileSystemLockManager
manager = FileSystemLockManager(sys.argv[1])
count = Path(sys.argv[1], "count")
me = str(os.getpid())
print("ready", flush=True)
for _ in range(10):
    assert manager.acquire_lock("k", me)
    count.write_text(str(int(count.read_text()) + 1))
    manager.release_lock("k", me)
"""
    processes = [start(program, tmp_path) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        os.kill(holder.pid, signal.SIGKILL)
        for process in processes:
            process.communicate(timeout=15)
            assert process.returncode == 0
    finally:
        for process in [holder, *processes]:
            end(process)
    assert count.read_text() == "30"


def test_a_killed_process_leaves_no_guard_behind(tmp_path):
    """Killed inside the critical section: the system frees the guard."""
    program = """
import sys
from riverrun.locking.filesystem import FileSystemLockManager
manager = FileSystemLockManager(sys.argv[1])
with manager._guard():
    print("inside", flush=True)
    sys.stdin.read()
"""
    process = start(program, tmp_path)
    try:
        assert process.stdout.readline() == "inside\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        assert FileSystemLockManager(tmp_path).acquire_lock("k", "me", acquire_timeout=0)
    finally:
        end(process)


def test_a_child_forked_inside_the_guard_does_not_keep_it(tmp_path):
    manager = FileSystemLockManager(tmp_path)
    reading, writing = os.pipe()
    with manager._guard():
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent closes its end
            os._exit(0)
    os.close(reading)
    assert manager.acquire_lock("k", "me", acquire_timeout=0)
    os.close(writing)
    os.waitpid(pid, 0)
