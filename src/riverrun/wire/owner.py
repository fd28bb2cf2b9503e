"""Whose a spool is, and whether that process still lives.

A file lock alone is not enough: process numbers recur, a descendant may hold an inherited lock, and locks do not always cross
machines. So the header names the owner as exactly as the system allows. This module changes nothing but the header it is told
to write.
"""

import fcntl
import os
import struct
import time
from pathlib import Path

import msgspec

HEADER = "header"
LOCK = "lock"
#: An owner that cannot be looked up (another machine or pid namespace) counts as dead after so many seconds without growth.
FOREIGN_SILENCE = 600.0

_FORMAT = b"RRJ1"
#: After the format: the last sequence number + 1 once the owner has closed its journal, 0 until then.
_END = struct.Struct("<Q")


class Header(msgspec.Struct, frozen=True):
    """The owner of a spool. What the system does not tell is empty or 0."""

    version: int
    writer: bytes
    created: int  # microseconds UTC
    pid: int
    start_time: int  # of the process, in the kernel's ticks
    boot_id: str
    pid_namespace: int
    machine: str


def describe_self(writer: bytes) -> Header:
    """The header of a spool that this process owns."""
    pid = os.getpid()
    return Header(
        version=1,
        writer=writer,
        created=time.time_ns() // 1000,
        pid=pid,
        start_time=_start_time(pid) or 0,
        boot_id=_first_line("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_pid_namespace(),
        machine=_machine(),
    )


def write_header(directory: Path, header: Header) -> None:
    """Write the header of a new spool."""
    fd = os.open(directory / HEADER, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, _FORMAT + _END.pack(0) + msgspec.msgpack.encode(header))
    finally:
        os.close(fd)


def mark_closed(directory: Path, last: int) -> None:
    """Say in the header that the owner ended its journal itself: nothing follows record `last`."""
    fd = os.open(directory / HEADER, os.O_WRONLY)
    try:
        os.pwrite(fd, _END.pack(last + 1), len(_FORMAT))
    finally:
        os.close(fd)


def read_header(directory: Path) -> tuple[Header | None, int | None]:
    """The header (None if it is missing or damaged) and the last sequence number if its owner closed it."""
    try:
        data = (directory / HEADER).read_bytes()
        if not data.startswith(_FORMAT):
            return None, None
        (end,) = _END.unpack_from(data, len(_FORMAT))
        header = msgspec.msgpack.decode(data[len(_FORMAT) + _END.size :], type=Header)
    except (OSError, struct.error, msgspec.DecodeError):
        return None, None
    return header, end - 1 if end else None


def is_locked(directory: Path) -> bool:
    """Whether some process holds the owner's lock; a missing lock file is a free lock."""
    try:
        fd = os.open(directory / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared: two readers that ask at once do not take each other for the owner.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks: the header and the silence decide
    finally:
        os.close(fd)
    return False


def is_dead(directory: Path) -> bool:
    """Whether the owner of this spool certainly writes no more. Errs on the side of "alive"."""
    if is_locked(directory):
        return False
    header, last = read_header(directory)
    if last is not None:
        return True
    if header is not None and header.boot_id and header.machine == _machine():
        if header.boot_id != _first_line("/proc/sys/kernel/random/boot_id"):
            return True
        if header.pid_namespace == _pid_namespace():
            return _start_time(header.pid) != header.start_time
    return _silence(directory) > FOREIGN_SILENCE


def _silence(directory: Path) -> float:
    newest = 0.0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                newest = max(newest, entry.stat().st_mtime)
    except OSError:
        return 0.0
    return time.time() - newest


def _start_time(pid: int) -> int | None:
    """When the process started, in ticks since boot; None if there is none, 0 where the system does not tell."""
    try:
        with Path(f"/proc/{pid}/stat").open("rb") as file:
            # The name, in parentheses, may hold anything; the fields after it are numbered from 3.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, ValueError, IndexError):
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return 0


def _pid_namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _machine() -> str:
    return f"{os.uname().nodename}/{_first_line('/etc/machine-id')}"


def _first_line(path: str) -> str:
    try:
        with Path(path).open(encoding="ascii") as file:
            return file.readline().strip()
    except (OSError, ValueError):
        return ""
