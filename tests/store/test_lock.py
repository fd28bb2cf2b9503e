"""The one-writer lock: exclusive between processes, free when its holder dies, patient for as long as it was told."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from riverrun.server.db.lock import DatabaseLock

_HOLD = (
    "import sys, pathlib\nfrom riverrun.server.db.lock import DatabaseLock\n"
    "lock = DatabaseLock(pathlib.Path(sys.argv[1]))\nassert lock.acquire(5, 'testing')\nprint('held', flush=True)\n"
    "sys.stdin.read()\n"
)


def _holder(path: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == "held"
    return process


def _end(process: subprocess.Popen) -> None:
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_only_one_process_holds_it_and_the_other_hears_who(tmp_path: Path) -> None:
    path = tmp_path / "home" / "riverrun.db"
    process = _holder(path)
    said: list[str] = []
    with DatabaseLock(path) as lock:
        assert not lock.acquire(0.05, on_wait=said.append)
        assert not lock.held
        assert f"process {process.pid} (testing)" in said[0]
        assert len(said) == 1
        _end(process)
        assert lock.acquire(5)
        assert lock.held
    assert not lock.held


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "riverrun.db"
    process = _holder(path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with DatabaseLock(path) as lock:
        assert lock.acquire(0)
    process.stdin.close()
    process.stdout.close()


def test_it_is_private_and_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "home" / "riverrun.db"
    with DatabaseLock(path) as lock:
        assert lock.acquire(0, "testing")
        assert lock.holder() == f"process {os.getpid()} (testing)"
        inode = lock.path.stat().st_ino
    lock.release()
    assert lock.path.stat().st_ino == inode
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_started_program_does_not_inherit_it(tmp_path: Path) -> None:
    path = tmp_path / "riverrun.db"
    lock = DatabaseLock(path)
    assert lock.acquire(0)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    lock.release()
    with DatabaseLock(path) as again:
        assert again.acquire(0)
    child.stdin.close()
    child.wait()
