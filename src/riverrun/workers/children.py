"""Processes of runs, seen from the worker: their output, their end, and how they are made to end.

Everything here happens on the worker's event loop. A child leads a session, so that all that it starts (and that does not
take pains to get away) can be found and ended with it. Where the system has them, process descriptors (pidfd) tell of its end.
"""

import asyncio
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from riverrun.workers.messages import Gone, Inbox, frame

#: bytes of a line without an end
_LONGEST_LINE: Final = 65_536
#: how often the end of a child is looked for where there is no pidfd
_LOOK: Final = 0.05
#: lines that are kept to be told with a crash
_LAST_LINES: Final = 12
#: of each pipe when the process is over; more than fits in
_LAST_READS: Final = 32

OnLine = Callable[[str, str], object]


class Ends(NamedTuple):
    """The run's ends of its pipes and of its control socket, to be handed to the process; closed here after that."""

    control: int
    out: int
    err: int
    console: int
    #: the worker's ends: whoever holds them too can write when the worker is gone
    readers: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        return (self.control, self.out, self.err, self.console, *self.readers)

    def close(self) -> None:
        for descriptor in self.all[:4]:
            os.close(descriptor)


class Child:
    """The process of one run, from before it is there until it is reaped."""

    def __init__(self, on_line: OnLine) -> None:
        """`on_line(stream, line)` gets what it writes; stream is "stdout", "stderr" or "console"."""
        self._loop = asyncio.get_running_loop()
        self._on_line = on_line
        self.pid = 0
        self.status: int | None = None
        #: what the process has said of itself: begun, ended, not_ours
        self.said: dict[str, Any] = {}
        self.begun = asyncio.Event()
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        self._pidfd: int | None = None
        #: reading end of a pipe -> which stream it is, and the beginning of its last line
        self._pipes: dict[int, tuple[str, bytearray]] = {}
        self._control: socket.socket | None = None
        self._inbox = Inbox()

    def open(self) -> Ends:
        """Make the pipes and begin to read them."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._control = ours
        self._loop.add_reader(ours.fileno(), self._hear)
        out, err, console = (self._open_pipe(stream) for stream in ("stdout", "stderr", "console"))
        return Ends(theirs.detach(), out, err, console, tuple(self._pipes))

    def _open_pipe(self, stream: str) -> int:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._pipes[reader] = stream, bytearray()
        self._loop.add_reader(reader, self._read, reader)
        return writer

    def start(self, pid: int) -> None:
        """The process is there: watch for its end."""
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._loop.call_later(_LOOK, self._look)
        else:
            self._loop.add_reader(self._pidfd, self._reap)

    async def ended(self) -> int | None:
        """Wait for its end: its exit status, negative for a signal; None where nobody knows."""
        return await asyncio.shield(self._ended)

    @property
    def is_over(self) -> bool:
        return self._ended.done()

    # -- talking to it -------------------------------------------------------------------------------------------------

    def tell(self, message: dict[str, Any]) -> None:
        """Say something short to the process; nothing where it does not listen."""
        if self._control is not None:
            with suppress(OSError):
                self._control.send(frame(message))

    def _hear(self) -> None:
        assert self._control is not None
        try:
            self._inbox.read(self._control)
        except BlockingIOError:
            return
        except Gone:
            self._drop_control()
            return
        while (message := self._inbox.take()) is not None:
            self.said |= message
            if "begun" in message:
                self.begun.set()

    def _drop_control(self) -> None:
        if self._control is not None:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
            self._control = None

    # -- its output ----------------------------------------------------------------------------------------------------

    def _read(self, reader: int) -> bool:
        """Read what is there at once; whether there was something."""
        stream, part = self._pipes[reader]
        try:
            data = os.read(reader, 65_536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._finish_pipe(reader)
            return False
        *lines, rest = (bytes(part) + data).split(b"\n")
        for line in lines:
            self._tell_line(stream, line)
        part[:] = rest
        if len(part) > _LONGEST_LINE:
            self._tell_line(stream, bytes(part))
            part.clear()
        return True

    def _tell_line(self, stream: str, line: bytes) -> None:
        # what a progress bar has overwritten is not told
        text = line.removesuffix(b"\r").rpartition(b"\r")[2].decode(errors="backslashreplace")
        if stream != "console":
            self.last_lines.append(text)
        self._on_line(stream, text)

    def _finish_pipe(self, reader: int) -> None:
        stream, part = self._pipes.pop(reader)
        self._loop.remove_reader(reader)
        os.close(reader)
        if part:
            self._tell_line(stream, bytes(part))

    def close(self) -> None:
        """Read what is there and let go of pipes and socket; a process that outlives the run may hold the other ends."""
        if self._control is not None:
            self._hear()
        self._drop_control()
        for reader in list(self._pipes):
            for _ in range(_LAST_READS):
                if reader not in self._pipes or not self._read(reader):
                    break
            if reader in self._pipes:
                self._finish_pipe(reader)
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    # -- its end -------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
        self._look()

    def _look(self) -> None:
        if self._ended.done():
            return
        status = _status_of(self.pid)
        if status is None and is_alive(self.pid):  # also one that has ended, as long as its parent is another
            self._loop.call_later(_LOOK, self._look)
        else:
            self._end(status)

    def _end(self, status: int | None) -> None:
        self.status = status
        if not self._ended.done():
            self._ended.set_result(status)

    def bury(self) -> None:
        """Let the system forget it. Until then others see its number taken, and leave what it has left behind to the worker."""
        if self.pid:
            with suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)

    def give_up(self) -> None:
        """Wait no longer for an end that does not come."""
        self._end(None)

    # -- making it end -------------------------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Send a signal to the process and all of its group."""
        if self.pid and not self._group(number):
            with suppress(OSError):
                os.kill(self.pid, number)

    def signal_others(self, number: int) -> None:
        """Send a signal to what the process has started, but not to itself."""
        for pid in others_of(self.pid):
            with suppress(OSError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End the process and everything that it has started, at once."""
        if not self.pid:
            return
        others = list(others_of(self.pid))
        self._group(signal.SIGKILL)
        for pid in (*others, *(() if self._ended.done() else (self.pid,))):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _group(self, number: int) -> bool:
        """Whether there was a group. Once the leader is reaped its number may be another's: then its session tells."""
        if self._ended.done():
            return False
        try:
            os.killpg(self.pid, number)
        except OSError:
            return False
        return True


def _status_of(pid: int) -> int | None:
    """How a child has ended, leaving it unburied; None if it has not, or is somebody else's."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if found is None or not found.si_pid:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# -- families ---------------------------------------------------------------------------------------------------------------


def others_of(leader: int) -> Iterator[int]:
    """The living processes of the session that `leader` leads or led, and the descendants of these; not the leader."""
    if not leader:
        return
    table = dict(_processes())
    family = {pid for pid, (_, session) in table.items() if session == leader}
    grown = -1
    while grown != len(family):
        grown = len(family)
        family |= {pid for pid, (parent, _) in table.items() if parent in family or parent == leader}
    family -= {leader, os.getpid()}
    yield from family


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """(process, (parent, session)) of every process that is not a zombie; nothing where there is no /proc."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - names alone
    except OSError:
        return
    for name in names:
        if name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                fields = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
                if fields[0] not in (b"Z", b"X"):
                    yield int(name), (int(fields[1]), int(fields[3]))


class Orphans:
    """Reaps what runs leave behind: this process is the parent of their orphans (prctl), and nobody else waits for them."""

    #: a process that is about to be known as a run may be seen first; it is left alone for so long
    _PATIENCE: Final = 10.0

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}

    @staticmethod
    def adopt() -> bool:
        """Become the parent of all orphans among the descendants; False where the system does not do that."""
        import ctypes

        try:
            return bool(ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0)  # PR_SET_CHILD_SUBREAPER
        except (OSError, AttributeError):
            return False

    def reap(self, known: set[int]) -> None:
        """Wait for those that have ended; `known` are waited for elsewhere."""
        now = time.monotonic()
        strangers = _children() - known
        self._seen = {pid: self._seen.get(pid, now) for pid in strangers}
        for pid, since in self._seen.items():
            if now - since > self._PATIENCE:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def _children() -> set[int]:
    found: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found.update(int(pid) for pid in listing.read_text().split())
    return found
