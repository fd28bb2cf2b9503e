"""The life of a run as a process, from the worker's side: start, watch, cancel, reap, and tell what the process could not.

What the run's own process has told in its journal stands. Only where it ended without its last word does the crew speak: the
spool that the process left is shipped first, then the final state is proposed, again and again until the server takes it.
Shared by the process worker and by `serve`'s runner; lives on an event loop.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from riverrun.base.clock import now, to_micros
from riverrun.base.config import settings
from riverrun.base.errors import ObjectNotFound, RiverrunError
from riverrun.client import journal
from riverrun.client.calls.answers import ClaimedRun
from riverrun.client.calls.flow_runs import read_flow_run
from riverrun.client.journal import shipping
from riverrun.client.journal.batches import Refusal, dead_spools, post_batch, ship_spool
from riverrun.client.journal.line import Line, LineError
from riverrun.client.talk import hold
from riverrun.engine.pausing import propose
from riverrun.logging import get_logger
from riverrun.states import Cancelled, Crashed, State
from riverrun.wire.journal import LogRecord
from riverrun.wire.spool import spools
from riverrun.workers.children import Child, Orphans
from riverrun.workers.links import host, send_there
from riverrun.workers.templates import WATCH_SECONDS, LaunchError, Plan, Spare, Stable

#: seconds between SIGTERM and SIGKILL where nobody says
GRACE_SECONDS: Final = 10.0
_LONGEST_LAST_LINE: Final = 500
#: of the journals of runs: most are short, and each makes one of its own
_SEGMENT_BYTES: Final = str(256 * 1024)
#: seconds after SIGKILL until its effect counts as unconfirmed
_CONFIRM_SECONDS: Final = 5.0
_TIDY_SECONDS: Final = 5.0
#: runs that may be between their claim and their process
MOST_STARTING: Final = 24
_LEVELS: Final = {"stdout": 20, "stderr": 20}


class Job(Struct, kw_only=True):
    """How one run is to be run on this machine."""

    claimed: ClaimedRun
    #: the same as it came
    document: bytes
    #: variables over those of the worker; None unsets
    env: Mapping[str, str | None] = {}
    command: str | None = None
    working_dir: Path | None = None
    stream_output: bool = True
    #: a new interpreter for this run
    cold: bool = False
    grace_seconds: float = GRACE_SECONDS
    limits: Mapping[str, int] = {}

    @property
    def id(self) -> UUID:
        return self.claimed.flow_run.id

    @property
    def name(self) -> str:
        return self.claimed.flow_run.name


class _Charge:
    """A run that is the crew's to run, until it is over."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.child: Child | None = None
        #: why it is made to end: "cancel", "lost" (somebody else has it) or "stop" (the worker is to end at once)
        self.ending: str | None = None
        self.starting: asyncio.Task[Spare | None] | None = None
        self.killer: asyncio.Task[Any] | None = None
        #: all processes of it are known to be dead
        self.confirmed = True


class Crew:
    """Runs claimed runs as processes of this machine."""

    def __init__(self, *, own_process: bool, on_line: Callable[[str], object] | None = None) -> None:
        """`own_process`: no other code of this process starts processes, so that orphans may be waited for here."""
        self._logger = get_logger("workers")
        self._stable = Stable()
        self._charges: dict[UUID, _Charge] = {}
        self._orphans = Orphans()
        self._adopts = own_process
        self._on_line = on_line
        self._adopting = self._orphans.adopt()
        self._shipping = asyncio.Lock()
        self._unshipped = False
        self._tidier = asyncio.get_running_loop().create_task(self._tidy())
        self.starting = 0

    def __contains__(self, run_id: UUID) -> bool:
        return run_id in self._charges

    def has_process(self, run_id: UUID) -> bool:
        charge = self._charges.get(run_id)
        return charge is not None and charge.child is not None

    # -- one run -----------------------------------------------------------------------------------------------------

    async def run(self, job: Job) -> int | None:
        """Run it to its end; the exit status of its process, None where there was none."""
        charge = self._charges[job.id] = _Charge(job)
        scratch: str | None = None
        self.starting += 1
        starting = True
        try:
            if job.working_dir is None and _directory_of(job) is None:
                scratch = tempfile.mkdtemp(prefix="riverrun-run-")
            charge.starting = asyncio.get_running_loop().create_task(self._start(charge, scratch))
            try:
                spare = await charge.starting
            except asyncio.CancelledError:
                if charge.ending is None:
                    raise
                if charge.ending != "lost":
                    await self._report(charge, "Its process had not been started yet.")
                return None
            except (LaunchError, OSError) as error:
                await self._report(charge, f"No process could be started for it: {error}")
                return None
            finally:
                self.starting -= 1
                starting = False
            assert charge.child is not None
            status = await self._watch(charge, spare)
            try:
                await self._conclude(charge, status)
            finally:
                charge.child.bury()
            return status
        finally:
            if starting:
                self.starting -= 1
            self._charges.pop(job.id, None)
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)

    async def _start(self, charge: _Charge, scratch: str | None) -> Spare | None:
        job = charge.job
        child = Child(self._line_of(job))
        environment = _environment(job.env)
        variables = _variables_of(job)
        local, deployment = _directory_of(job), job.claimed.deployment
        directory = local or job.working_dir or (None if scratch is None else Path(scratch))
        for each in (job.working_dir, directory):
            if each is not None and not each.is_dir():
                raise LaunchError(f"Its working directory {each} does not exist on this machine.")
        if job.command:
            self._start_command(job, child, environment | variables, directory)
            charge.child = child
            return None
        entrypoint = None if local is None or deployment is None else deployment.entrypoint
        plan = Plan(tuple(sorted(environment.items())), None if directory is None else str(directory), entrypoint)
        base = Plan(tuple(sorted(_environment({}).items())))
        message: dict[str, Any] = {
            "id": str(job.id),
            "claim": job.document,
            "variables": variables,
            "cwd": None if entrypoint is not None and not job.cold else plan.directory,
            "limits": dict(job.limits),
        }
        spare = await self._stable.launch(plan, base, message, child, cold=job.cold)
        charge.child = child
        if charge.ending is not None:  # asked for while it was not there
            self._begin_ending(charge)
        return spare

    def _start_command(self, job: Job, child: Child, environment: dict[str, str], directory: Path | None) -> None:
        """Start what the pool or deployment says instead of our own process; it executes the run by its id."""
        ends = child.open()
        try:
            process = subprocess.Popen(
                shlex.split(job.command or ""),
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=ends.out,
                stderr=ends.err,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            child.close()
            raise LaunchError(f"The command {job.command!r} could not be started: {error}") from error
        finally:
            ends.close()
        process.returncode = 0  # the child object waits for it
        child.start(process.pid)

    async def _watch(self, charge: _Charge, spare: Spare | None) -> int | None:
        """Wait for the end of its process; see that one that was forked gets going."""
        child = charge.child
        assert child is not None
        if spare is not None and spare.forks:
            late = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look_after, child, spare)
            status = await child.ended()
            late.cancel()
            return status
        return await child.ended()

    def _look_after(self, child: Child, spare: Spare) -> None:
        """A fork that has not said a word hangs: what its template has loaded cannot be forked."""
        if child.said or child.is_over:
            return
        why = f"a run forked from it said nothing for {WATCH_SECONDS:g} s"
        self._logger.warning("Runs of %s get processes of their own: %s.", spare.plan.entrypoint, why)
        self._stable.mark_unforkable(spare.plan, why)
        child.said["hung"] = True
        child.kill()

    async def _conclude(self, charge: _Charge, status: int | None) -> None:
        """The process is over: see that nothing of it is left, and that the server knows how it ended."""
        child, job = charge.child, charge.job
        assert child is not None
        if charge.killer is not None:
            charge.killer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await charge.killer
        if charge.ending is not None:
            child.kill()
        child.close()
        said = child.said
        if said.get("shipped") is False:
            self._unshipped = True
        if said.get("not_ours"):
            self._logger.info("%s", said["not_ours"])
        elif charge.ending == "lost" or (said.get("ended") and charge.confirmed):
            pass
        elif said.get("hung") and charge.ending is None:
            job.cold = True
            self._charges.pop(job.id, None)
            await self.run(job)
        elif job.command and status == 0 and charge.ending is None:
            pass  # it speaks for itself
        else:
            await self._speak_for(charge, child, status)

    async def _speak_for(self, charge: _Charge, child: Child, status: int | None) -> None:
        """Tell what the process has left in its journal, then how it ended, then that nothing follows."""
        writer = child.said.get("begun")
        if writer:
            await asyncio.to_thread(_ship_spool_of, writer)
        message = _how(status) if charge.ending is None else _how(status, hint="")
        if charge.ending != "cancel" and child.last_lines:
            message += " Its last lines:\n" + "\n".join(line[:_LONGEST_LAST_LINE] for line in child.last_lines)
        await self._report(charge, message)
        if writer:
            await asyncio.to_thread(_close_writer, writer)

    async def _report(self, charge: _Charge, message: str) -> None:
        """Propose the final state of a run whose process cannot; the server knows when it has ended otherwise."""
        state: State[Any]
        if charge.ending == "cancel":
            tail = "" if charge.confirmed else f" Its end could not be confirmed: {_where(charge.child)}."
            state = Cancelled(message=f"The run was cancelled on request. {message}{tail}")
        else:
            state = Crashed(message=message)
        pause = 0.2
        while True:
            try:
                result = await asyncio.to_thread(_propose_end, charge.job.id, state)
            except ObjectNotFound:
                return  # deleted
            except RiverrunError as error:
                self._logger.warning("The end of flow run %r is not told yet: %s", charge.job.name, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)
                continue
            if result:
                self._logger.info("Flow run %r is %s: %s", charge.job.name, state.name, message.partition("\n")[0])
            return

    # -- making runs end ---------------------------------------------------------------------------------------------

    def cancel(self, run_id: UUID) -> None:
        """End a run: its code is interrupted, then its processes are told to end, then they are killed."""
        self._end(run_id, "cancel")

    def fence(self, run_id: UUID) -> None:
        """Stop a run that somebody else has by now; nothing is said of it."""
        self._end(run_id, "lost")

    def stop_all(self) -> None:
        """End every run now, as crashed."""
        for run_id in list(self._charges):
            self._end(run_id, "stop")

    def _end(self, run_id: UUID, why: str) -> None:
        charge = self._charges.get(run_id)
        if charge is None or charge.ending is not None:
            return
        charge.ending = why
        if charge.child is None and charge.starting is not None:
            charge.starting.cancel()
        self._begin_ending(charge)

    def _begin_ending(self, charge: _Charge) -> None:
        if charge.child is not None and charge.killer is None and not charge.child.is_over:
            charge.killer = asyncio.get_running_loop().create_task(self._kill(charge, charge.child))

    async def _kill(self, charge: _Charge, child: Child) -> None:
        deadline = time.monotonic() + charge.job.grace_seconds
        listens = not charge.job.command and charge.ending != "stop"
        if listens:
            child.tell({"fence": True} if charge.ending == "lost" else {"cancel": True})
            child.signal_others(signal.SIGTERM)
        else:
            child.signal(signal.SIGTERM)
        await asyncio.sleep(max(deadline - time.monotonic(), 0))
        child.kill()
        await asyncio.sleep(_CONFIRM_SECONDS)
        charge.confirmed = False
        child.status = None
        child.give_up()

    # -- output ------------------------------------------------------------------------------------------------------

    def _line_of(self, job: Job) -> Callable[[str, str], None]:
        run_id = job.id.bytes

        def take(stream: str, line: str) -> None:
            if stream != "console" and settings().logging_to_api_enabled:
                journal.append(LogRecord(run_id, None, to_micros(now()), _LEVELS[stream], f"process.{stream}", line))
            if job.stream_output:
                self._show(line, sys.stdout if stream == "stdout" else sys.stderr)

        return take

    def _show(self, line: str, stream: Any) -> None:
        if self._on_line is not None:
            self._on_line(line)
            return
        with contextlib.suppress(OSError, ValueError):
            stream.write(line + "\n")
            stream.flush()

    # -- what processes leave behind ---------------------------------------------------------------------------------

    async def _ship_left_behind(self) -> None:
        """Send what ended processes could not send any more. What cannot be sent now is sent later."""
        async with self._shipping:
            said = [charge.child.said for charge in self._charges.values() if charge.child is not None]
            minded = {each["begun"] for each in said if each.get("begun")}
            self._unshipped = not await asyncio.to_thread(_ship_spools, minded)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            self._stable.tidy()
            if self._adopting and self._adopts:
                known = {charge.child.pid for charge in self._charges.values() if charge.child is not None}
                self._orphans.reap(known | self._stable.pids)
            if self._unshipped:
                await self._ship_left_behind()

    async def close(self) -> None:
        """Let go of the templates; runs that still go on are left alone."""
        self._tidier.cancel()
        self._stable.close()
        if self._unshipped:
            await self._ship_left_behind()


def _propose_end(run_id: UUID, state: State[Any]) -> bool:
    """Propose a final state unless the run has one; whether it is the run's now."""
    found = send_there(read_flow_run(run_id)).state
    return (found is None or not found.is_final()) and hold(propose(run_id, state), send_there).status == "ACCEPT"


def _ship_spools(minded: set[bytes]) -> bool:
    """Ship the spools of processes that have ended but for those that are minded; whether the server has taken them all."""
    where = shipping.target()
    if where is None:
        return False
    line = Line(contextlib.nullcontext)
    try:
        found = dead_spools(spools(settings().journal_dir), journal.current_writer() or b"")
        return not [spool for spool in found if spool.writer not in minded and not ship_spool(line, where, spool)]
    except OSError:
        return False
    finally:
        line.close()


def _ship_spool_of(writer: bytes) -> None:
    """Ship what a process has left, if it has left anything and the server is there; else it is shipped later."""
    where = shipping.target()
    if where is None:
        return
    line = Line(contextlib.nullcontext)
    try:
        for spool in spools(settings().journal_dir):
            if spool.writer == writer:
                ship_spool(line, where, spool, closed=False)
    except OSError:
        pass
    finally:
        line.close()


def _close_writer(writer: bytes) -> None:
    where = shipping.target()
    line = Line(contextlib.nullcontext)
    with contextlib.suppress(LineError, Refusal):
        if where is not None:
            post_batch(line, where, writer, [], closed=True)
    line.close()


def _directory_of(job: Job) -> Path | None:
    """Where the code of the run's deployment is on this machine; None where it has to be fetched."""
    deployment = job.claimed.deployment
    if deployment is None:
        return None
    from riverrun.execution import local_directory

    return local_directory(deployment, job.working_dir or Path.cwd())


def _environment(env: Mapping[str, str | None]) -> dict[str, str]:
    """The worker's own environment and settings, with changes."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RIVERRUN__", "PREFECT__"))
    }
    environment |= settings().to_environment_variables()
    environment.setdefault("RIVERRUN_JOURNAL_SEGMENT_BYTES", _SEGMENT_BYTES)
    for name, value in env.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = str(value)
    return environment


def _variables_of(job: Job) -> dict[str, str]:
    """What the process is told of its run, also by the peer's names."""
    told = {"FLOW_RUN_ID": str(job.id), "FENCE": str(job.claimed.fence)}
    run = job.claimed.flow_run
    if run.deployment_id is not None:
        told["DEPLOYMENT_ID"] = str(run.deployment_id)
    return {prefix + name: value for name, value in told.items() for prefix in ("RIVERRUN__", "PREFECT__")}


def _how(status: int | None, hint: str = " (out of memory?)") -> str:
    """How a process ended, in words."""
    if status is None:
        return "Its process is gone; nobody knows how it ended."
    if status >= 0:
        return f"Its process ended with exit status {status}, without telling how the run ended."
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"Its process was killed by {name}{hint if -status == signal.SIGKILL else ''}."


def _where(child: Child | None) -> str:
    return f"process {0 if child is None else child.pid} on {host()}"
