"""Processes that are ready before a run comes: templates that are forked, standbys that are used once.

A template has one flow imported, in one environment and directory, as its files were; whatever of that is different for a run
makes it another template. They are few, are let go when nobody has needed them for a while, and code that has changed on disk
is never served by one. Lives on the worker's event loop.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from riverrun.base.errors import RiverrunError
from riverrun.logging import get_logger
from riverrun.workers.children import Child, Ends
from riverrun.workers.freshness import Stamp, is_fresh
from riverrun.workers.messages import Gone, Inbox, send

#: templates that are kept, and how much memory they may take together
MOST: Final = 8
MOST_BYTES: Final = 1 << 30
#: seconds that one is kept without a run, and at all: its import may have read tokens that expire
IDLE_SECONDS: Final = 600.0
OLDEST_SECONDS: Final = 3600.0
#: seconds until a forked run must have said something; else what it was forked from cannot be forked
WATCH_SECONDS: Final = 10.0
#: environments of one flow that get templates of their own
_MOST_ENVIRONMENTS: Final = 2
#: variables that the interpreter reads when it starts
_OF_THE_INTERPRETER: Final = ("PYTHON", "LD_", "DYLD_")
#: attempts to import a flow whose files are being written
_ATTEMPTS: Final = 3

_counter = iter(range(1, sys.maxsize))
_can_fork = sys.platform == "linux"


class Plan(NamedTuple):
    """What a process has to be before it becomes a run."""

    #: the whole environment
    environment: tuple[tuple[str, str], ...]
    #: where and what to import beforehand; None: the run does it
    directory: str | None = None
    entrypoint: str | None = None


class LaunchError(RiverrunError):
    """No process could be started for a run."""

    code = "launch"


class Spare:
    """A process that waits for jobs: a template (`forks`) or a standby."""

    def __init__(self, plan: Plan, *, forks: bool) -> None:
        self.plan = plan
        self.forks = forks
        self.born = self.used = time.monotonic()
        self.files: dict[str, Stamp] = {}
        #: a file was written while it was imported
        self.touched = False
        self.said_ready = False
        self.dead = False
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox()
        self._starting: dict[int, asyncio.Future[int]] = {}
        self._ready: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._sock, theirs = socket.socketpair()
        self._sock.settimeout(5)  # no process may hold up the loop by not reading
        self._output, output = os.pipe()
        command = [sys.executable, "-m", "riverrun.workers.child", str(theirs.fileno())]
        try:
            self.process = subprocess.Popen(
                command,
                env=dict(plan.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            self._sock.close()
            os.close(self._output)
            raise LaunchError(f"{sys.executable} could not be started: {error}") from error
        finally:
            theirs.close()
            os.close(output)
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._show)
        self._loop.add_reader(self._sock.fileno(), self._hear)
        with suppress(Gone):
            send(self._sock, {"forks": forks, "directory": plan.directory, "entrypoint": plan.entrypoint})

    async def ready(self) -> dict[str, Any]:
        """What it says when it has imported everything. Raises LaunchError if it ends before."""
        return await asyncio.shield(self._ready)

    async def give(self, job: dict[str, Any], ends: Ends) -> int:
        """Have a process become this run; its id."""
        self.used = time.monotonic()
        number = job["n"] = next(_counter)
        started: asyncio.Future[int] = self._loop.create_future()
        self._starting[number] = started
        try:
            send(self._sock, job, ends.all)
            if self.forks:
                return await started
        except Gone as error:
            self.close()
            raise LaunchError(f"A process that waited for runs is gone: {error}") from error
        finally:
            self._starting.pop(number, None)
        self._hand_over()
        return self.process.pid

    def _hand_over(self) -> None:
        """The process is a run now, and waited for as such."""
        self.dead = True
        self.process.returncode = 0
        self._drop()

    def _hear(self) -> None:
        try:
            self._inbox.read(self._sock)
        except (Gone, OSError):
            self.close()
            return
        while (message := self._inbox.take()) is not None:
            if "started" in message:
                self._note_start(message)
            elif not self._ready.done():
                self.files = {path: tuple(known) for path, known in message.get("files", {}).items()}
                self.touched = message.get("touched", False)
                self.said_ready = True
                self._ready.set_result(message)

    def _show(self) -> None:
        """What an import prints belongs to no run; people see it on the worker's console."""
        try:
            data = os.read(self._output, 65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._output)
            return
        with suppress(OSError, ValueError):
            sys.stderr.write(data.decode(errors="backslashreplace"))
            sys.stderr.flush()

    def _note_start(self, message: dict[str, Any]) -> None:
        started = self._starting.get(message["started"])
        if started is None or started.done():
            return
        if message["pid"]:
            started.set_result(message["pid"])
        else:
            started.set_exception(LaunchError(f"No process could be forked: {message.get('why')}"))

    @property
    def bytes(self) -> int:
        """Its memory now."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0

    def is_usable(self, now: float) -> bool:
        return not self.dead and not self.touched and now - self.born < OLDEST_SECONDS and is_fresh(self.files)

    def close(self) -> None:
        """Let it end. Runs that were forked from it go on."""
        if self.dead:
            return
        self.dead = True
        gone = LaunchError("A process that was to become a run has ended before.")
        waiters: list[asyncio.Future[Any]] = [self._ready, *self._starting.values()]
        for waiting in waiters:
            if not waiting.done():
                waiting.set_exception(gone)
                waiting.exception()  # nobody need ask for it
        self._drop()
        if not self.said_ready:  # in the midst of an import, it hears nothing
            self.process.kill()
        self._loop.call_later(0.2, self._reap, 0)

    def _drop(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._show()
            self._loop.remove_reader(self._output)
            os.close(self._output)

    def _reap(self, times: int) -> None:
        if self.process.poll() is not None:
            return
        if times == 10:  # it is stuck in the user's import
            self.process.kill()
        self._loop.call_later(0.2, self._reap, times + 1)


class Stable:
    """The templates and standbys of a worker."""

    def __init__(self, forks: bool = _can_fork) -> None:
        self._forks = forks
        self._logger = get_logger("workers")
        self._templates: dict[Plan, Spare] = {}
        self._standbys: dict[Plan, Spare] = {}
        #: plans whose imports cannot be forked, and why
        self.unforkable: dict[Plan, str] = {}

    async def launch(self, plan: Plan, base: Plan, job: dict[str, Any], child: Child, *, cold: bool = False) -> Spare:
        """Start the run in a process that is as `plan` says; what it was started from. Raises LaunchError.

        `base` is the worker's own environment: where a plan is not worth a template, the run is forked from one for all.
        """
        for attempt in range(_ATTEMPTS):
            spare = await self._spare_for(plan, base, job, cold=cold or attempt == _ATTEMPTS - 1)
            ends = child.open()
            try:
                pid = await spare.give(job, ends)
            except LaunchError as error:
                child.close()
                self._logger.warning("%s Trying again.", error)
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            except asyncio.CancelledError:
                child.close()
                raise
            finally:
                ends.close()
            child.start(pid)
            return spare
        raise LaunchError("No process could be started.")

    async def _spare_for(self, plan: Plan, base: Plan, job: dict[str, Any], *, cold: bool) -> Spare:
        if cold:
            return await self._begin(plan._replace(entrypoint=None, directory=None), forks=False)
        if plan.entrypoint is not None and self._deserves_own(plan):
            spare = await self._with_flow(plan)
            if spare is not None:
                return spare
        differing = _difference(plan, base)
        if any(name.startswith(_OF_THE_INTERPRETER) for name in differing):
            return await self._begin(plan._replace(entrypoint=None, directory=None), forks=False)
        job["variables"] = {**differing, **job["variables"]}
        if job["cwd"] is None:
            job["cwd"] = plan.directory
        return await self._ready_one(base) or await self._begin(base, forks=False)

    def _deserves_own(self, plan: Plan) -> bool:
        others = [
            each
            for each in (*self._templates, *self._standbys)
            if each.entrypoint == plan.entrypoint and each.directory == plan.directory
        ]
        return plan in others or len(others) < _MOST_ENVIRONMENTS

    async def _with_flow(self, plan: Plan) -> Spare | None:
        """A process that has the flow imported as it is on disk now; None where that cannot be had."""
        for _ in range(_ATTEMPTS):
            spare = await self._ready_one(plan)
            if spare is None:
                return None
            if spare.is_usable(time.monotonic()):
                return spare
            self._forget(plan, spare)
        return None

    async def _ready_one(self, plan: Plan) -> Spare | None:
        forks = self._forks and plan not in self.unforkable
        kept = self._templates if forks else self._standbys
        spare = kept.get(plan)
        if spare is None or not spare.is_usable(time.monotonic()):
            if spare is not None:
                spare.close()
            spare = kept[plan] = Spare(plan, forks=forks)
        if not forks:
            # used once: the next one is made ready already
            kept[plan] = Spare(plan, forks=False)
        try:
            said = await spare.ready()
        except LaunchError:
            said = {"ready": False}
        if not said["ready"]:
            self._forget(plan, spare)
            return None  # what cannot be imported fails once more in the run, where people look for the reason
        why = said.get("unforkable")
        if forks and why:
            self._logger.info("Runs of %s get processes of their own: %s.", plan.entrypoint, why)
            self.mark_unforkable(plan, why)
            return await self._ready_one(plan)
        self._shrink()
        return spare

    async def _begin(self, plan: Plan, *, forks: bool) -> Spare:
        spare = Spare(plan, forks=forks)
        await spare.ready()
        return spare

    def mark_unforkable(self, plan: Plan, why: str) -> None:
        """Fork this no more."""
        self.unforkable[plan] = why
        spare = self._templates.pop(plan, None)
        if spare is not None:
            spare.close()

    def _forget(self, plan: Plan, spare: Spare) -> None:
        for kept in (self._templates, self._standbys):
            if kept.get(plan) is spare:
                del kept[plan]
        spare.close()

    def _shrink(self) -> None:
        """Let go of those that were used longest ago."""
        kept = sorted([*self._templates.values(), *self._standbys.values()], key=lambda each: each.used, reverse=True)
        total = 0
        for number, spare in enumerate(kept):
            total += spare.bytes
            if number and (number >= MOST or total > MOST_BYTES):
                self._forget(spare.plan, spare)

    def tidy(self) -> None:
        """Called now and then: lets go of what was not used for long, and of files that have changed."""
        now = time.monotonic()
        for spare in [*self._templates.values(), *self._standbys.values()]:
            if now - spare.used > IDLE_SECONDS or not spare.is_usable(now):
                self._forget(spare.plan, spare)

    @property
    def pids(self) -> set[int]:
        return {spare.process.pid for spare in (*self._templates.values(), *self._standbys.values())}

    def close(self) -> None:
        for spare in [*self._templates.values(), *self._standbys.values()]:
            self._forget(spare.plan, spare)


def _difference(plan: Plan, base: Plan) -> dict[str, str | None]:
    """What has to be set and unset to make the environment of `base` that of `plan`."""
    wanted, there = dict(plan.environment), dict(base.environment)
    changed: dict[str, str | None] = {name: value for name, value in wanted.items() if there.get(name) != value}
    return changed | {name: None for name in there if name not in wanted}
