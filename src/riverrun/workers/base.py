"""What all types of workers share, and what users build their own on.

A type of worker is a subclass of `BaseWorker` with a name (`type`), a job configuration (what a run's infrastructure needs),
variables (what users may set of it) and `run`, which brings one run to its end. Everything between the server and `run` is here:
the pool, claims, signs of life, cancelling, crash reports, draining. Claims and presence are long polls in threads; the rest
happens on one event loop.
"""

import asyncio
import builtins
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from uuid import UUID, uuid4

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from riverrun.base.errors import InputError, ObjectAlreadyExists, ObjectNotFound, RiverrunError
from riverrun.base.names import run_name
from riverrun.client.calls import work as calls
from riverrun.client.calls.answers import ClaimedRun, ClaimedRuns
from riverrun.client.http import asend
from riverrun.client.journal.line import LineError
from riverrun.client.location import ensure_api_url
from riverrun.client.talk import hold
from riverrun.engine.pausing import propose
from riverrun.logging import get_logger
from riverrun.states import Cancelled, Crashed, State
from riverrun.wire.claims import WorkerPresence, WorkerPresenceBody, WorkPoolClaimBody
from riverrun.wire.deployments import DeploymentResponse
from riverrun.wire.requests import WorkPoolsWorkersHeartbeatBody
from riverrun.wire.runs import FlowRun
from riverrun.wire.work import WorkPoolCreate, WorkPoolResponse, WorkPoolUpdate
from riverrun.workers.health import Health
from riverrun.workers.links import Link, Poll, Refused, send_there
from riverrun.workers.placeholders import filled

#: seconds that a claim, and a sign of life, wait for news
_CLAIM_WAIT: Final = 25.0
_PRESENCE_WAIT: Final = 10.0
#: the same while there are runs: of one that came after the question nothing is told before the next
_BUSY_PRESENCE_WAIT: Final = 2.0
_HEARTBEAT_SECONDS: Final = 30.0
#: seconds without an answer after which a worker does not call itself healthy
_HEALTHY_SECONDS: Final = 60.0
#: runs of one claim
_MOST_AT_ONCE: Final = 25


class BaseJobConfiguration(BaseModel):
    """What the infrastructure of one run is made of. Subclasses add fields; `{{ name }}` in a template fills each of them."""

    model_config = ConfigDict(extra="ignore")

    command: str | None = Field(default=None, description="What is executed for a run. Unset: the worker chooses.")
    env: dict[str, str | None] = Field(default_factory=dict, description="Variables of the run's environment.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of what the worker starts.")
    name: str | None = Field(default=None, description="Name of what the worker starts.")

    @classmethod
    def json_template(cls) -> dict[str, Any]:
        """Each field with the placeholder that fills it, or the template that the field itself brings along."""
        template = {}
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra
            own = extra.get("template") if isinstance(extra, dict) else None
            template[name] = own if own is not None else f"{{{{ {name} }}}}"
        return template

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow_name: str | None = None,
        work_pool: WorkPoolResponse | None = None,
        worker_name: str | None = None,
    ) -> None:
        """Fill in what is known only with the run; called before `run`. Subclasses extend it."""
        self.name = self.name or flow_run.name
        labels = {"flow-run-id": str(flow_run.id), "flow-run-name": flow_run.name}
        if deployment is not None:
            labels["deployment-name"] = deployment.name
        if flow_name is not None:
            labels["flow-name"] = flow_name
        if work_pool is not None:
            labels["work-pool-name"] = work_pool.name
        if worker_name is not None:
            labels["worker-name"] = worker_name
        self.labels = {f"riverrun.io/{name}": value for name, value in labels.items()} | self.labels


class BaseVariables(BaseModel):
    """What users may set of a job: in the pool, in a deployment, for a run."""

    name: str | None = Field(default=None, description="Name of what a worker starts for a run.")
    env: dict[str, str | None] = Field(
        default_factory=dict, title="Environment Variables", description="Variables of the run's environment."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of what a worker starts for a run.")
    command: str | None = Field(
        default=None, description="What is executed for a run. Leave it empty to let the worker choose."
    )


class BaseWorkerResult(BaseModel):
    """How the infrastructure of a run has ended; true if well."""

    identifier: str
    status_code: int

    def __bool__(self) -> bool:
        return self.status_code == 0


class TaskStatus:
    """By which `run` tells, as soon as it knows, what the infrastructure of the run is called."""

    def __init__(self) -> None:
        self.identifier: str | None = None

    def started(self, identifier: object = None) -> None:
        self.identifier = None if identifier is None else str(identifier)


class _Run:
    """A claimed run on its way through the worker."""

    def __init__(self, claimed: ClaimedRun, document: bytes) -> None:
        self.claimed = claimed
        self.document = document
        self.status = TaskStatus()
        self.configuration: BaseJobConfiguration | None = None
        self.cancelled = False
        self.task: asyncio.Task[None] | None = None
        self.killer: asyncio.Task[None] | None = None


class BaseWorker:
    """Takes runs of a work pool and brings each to its end by `run`.

    `prefetch_seconds` is taken for the sake of those who give it: runs come at their instant here, not by looking ahead.
    """

    type: ClassVar[str]
    job_configuration: ClassVar[builtins.type[BaseJobConfiguration]] = BaseJobConfiguration
    job_configuration_variables: ClassVar[builtins.type[BaseVariables] | None] = None

    def __init__(
        self,
        work_pool_name: str,
        work_queues: list[str] | None = None,
        name: str | None = None,
        prefetch_seconds: float | None = None,
        create_pool_if_not_found: bool = True,
        limit: int | None = None,
        heartbeat_interval_seconds: float | None = None,
        *,
        base_job_template: dict[str, Any] | None = None,
    ) -> None:
        if name is not None and ("/" in name or "%" in name):
            raise InputError(f"A worker's name holds no / and no %; {name!r} does.")
        if limit is not None and limit < 1:
            raise InputError(f"The limit of a worker is at least 1, not {limit}.")
        self.name = name or f"{self.__class__.__name__} {run_name()}"
        self.id = uuid4()
        self.limit = limit
        self.work_queues = list(work_queues or ())
        self.work_pool: WorkPoolResponse | None = None
        self._pool_name = work_pool_name
        self._create_pool = create_pool_if_not_found
        self._base_job_template = base_job_template
        self._heartbeat_seconds = heartbeat_interval_seconds or _HEARTBEAT_SECONDS
        self._logger = get_logger("workers")
        self._runs: dict[UUID, _Run] = {}
        self._known: list[UUID] = []
        self._room = threading.Condition()
        self._polls: list[Poll] = []
        self._heartbeat_at = 0.0
        #: whether the presence that is asked for now knows of no run
        self._idle = True
        self._stop: asyncio.Event | None = None
        self._once = False
        self._polled = False
        self._problem: RiverrunError | None = None

    # -- what a type of worker says -----------------------------------------------------------------------------------

    async def run(
        self, flow_run: FlowRun, configuration: BaseJobConfiguration, task_status: TaskStatus | None = None
    ) -> BaseWorkerResult:
        """Bring the run to its end on the infrastructure that the configuration describes, and tell how it ended.

        `task_status.started(identifier)` tells early what the infrastructure is called, so that it can be killed.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how a run is run.")

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: BaseJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End the infrastructure of a run that is to be cancelled; `run` returns then."""
        raise NotImplementedError(f"Workers of type {self.type!r} cannot end what they have started.")

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """What a pool of this type says of its jobs where nobody says it otherwise."""
        schema = (cls.job_configuration_variables or cls.job_configuration).model_json_schema()
        schema.pop("title", None)
        schema.pop("description", None)
        for field in schema.get("properties", {}).values():
            _drop_null(field)
        return {"job_configuration": cls.job_configuration.json_template(), "variables": schema}

    @property
    def _what(self) -> str:
        return f", for work pool {self._pool_name!r}" if self._pool_name else ""

    # -- its life ------------------------------------------------------------------------------------------------------

    async def start(
        self,
        run_once: bool = False,
        with_healthcheck: bool = False,
        printer: Callable[[str], object] = print,
        *,
        healthcheck_port: int = 8080,
    ) -> None:
        """Work until `stop`, SIGTERM or Ctrl-C; then end well: no more claims, what runs ends first. A second signal kills.

        With `run_once` the runs that are due now are run, no more.
        """
        self._once = run_once
        self._stop = asyncio.Event()
        async with self:
            health = Health(self.health, healthcheck_port) if with_healthcheck else None
            if health is not None:
                health.start()
            with _signals(self._on_signal):
                printer(f"Worker {self.name!r} started{self._what}.")
                try:
                    await self._stop.wait()
                    await self._drain()
                finally:
                    if health is not None:
                        health.stop()
            printer(f"Worker {self.name!r} stopped.")
        if self._problem is not None:
            raise self._problem

    def stop(self) -> None:
        """Take no more runs, and end when those under way have ended. To be called on the worker's loop."""
        if self._stop is not None:
            self._stop.set()

    async def setup(self) -> None:
        """Find or make the pool, and begin to take its runs."""
        self._loop = asyncio.get_running_loop()
        if self._stop is None:
            self._stop = asyncio.Event()
        await asyncio.to_thread(ensure_api_url)
        await self._sync_pool()
        self._polls = [
            Poll("worker-claims", self._claim, self._on_refusal),
            Poll("worker-presence", self._be_present),
        ]
        for poll in self._polls:
            poll.start()

    async def teardown(self) -> None:
        """Stop talking to the server; what was claimed and has not begun goes to other workers."""
        polls, self._polls = self._polls, []
        for poll in polls:
            await asyncio.to_thread(poll.stop)
        await asyncio.to_thread(self._say_farewell)

    async def __aenter__(self) -> Self:
        await self.setup()
        return self

    async def __aexit__(
        self, kind: builtins.type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.teardown()

    async def _drain(self) -> None:
        if self._polls:
            await asyncio.to_thread(self._polls[0].stop)
        while self._runs:
            await asyncio.wait([run.task for run in self._runs.values() if run.task is not None])

    def _on_signal(self) -> None:
        if self._stop is not None and not self._stop.is_set():
            self._logger.info("No more runs are taken; %d under way end first. Once more ends them.", len(self._runs))
            self._hand_back()
            self._stop.set()
            self._loop.run_in_executor(None, self._say_farewell)
        else:
            self._kill_all()

    def _hand_back(self) -> None:
        """Give up runs that have not begun; the farewell tells the server. Subclasses know which these are."""

    def _kill_all(self) -> None:
        """End every run now."""
        for run in self._runs.values():
            self._cancel(run)

    # -- the pool ------------------------------------------------------------------------------------------------------

    async def _sync_pool(self) -> None:
        try:
            pool = await asend(calls.read_work_pool(self._pool_name))
        except ObjectNotFound:
            if not self._create_pool:
                raise InputError(
                    f"There is no work pool {self._pool_name!r}. Create it with `riverrun work-pool create "
                    f"{self._pool_name} --type {self.type}`."
                ) from None
            pool = await self._make_pool()
        if pool.type != self.type and not (pool.type == "prefect-agent" and self.type == "process"):
            raise InputError(f"Work pool {pool.name!r} is of type {pool.type!r}; this worker serves {self.type!r}.")
        if not pool.base_job_template:
            template = self._base_job_template or self.get_default_base_job_template()
            await asend(calls.update_work_pool(pool.name, WorkPoolUpdate(base_job_template=template)))
        self.work_pool = pool

    async def _make_pool(self) -> WorkPoolResponse:
        template = self._base_job_template or self.get_default_base_job_template()
        wanted = WorkPoolCreate(name=self._pool_name, type=self.type, base_job_template=template)
        try:
            pool = await asend(calls.create_work_pool(wanted))
        except ObjectAlreadyExists:  # another worker was faster
            return await asend(calls.read_work_pool(self._pool_name))
        self._logger.info("Work pool %r created.", self._pool_name)
        return pool

    # -- claims, in a thread -------------------------------------------------------------------------------------------

    def _free(self) -> int:
        """How many more runs may be claimed now."""
        return min(_MOST_AT_ONCE, _MOST_AT_ONCE if self.limit is None else self.limit - len(self._runs))

    @property
    def _claim_wait(self) -> float:
        return 0.0 if self._once else _CLAIM_WAIT

    def _claim_request(self, limit: int) -> tuple[str, Any]:
        """(path, body) of a claim."""
        body = WorkPoolClaimBody(
            worker=self.id,
            name=self.name,
            limit=limit,
            wait=self._claim_wait,
            work_queue_names=self.work_queues or None,
        )
        return calls._pool(self._pool_name, "claim"), body

    def _claim(self, link: Link) -> bool:
        with self._room:
            if not self._room.wait_for(lambda: self._free() > 0 or self._polls[0].stopping, timeout=1.0):
                return True
            free = self._free()
        if free <= 0:
            return True
        path, body = self._claim_request(free)
        began = time.monotonic()
        found = link.post(path, body, ClaimedRuns)
        if found.claims:
            taken = [_Run(msgspec.json.decode(raw, type=ClaimedRun, strict=False), bytes(raw)) for raw in found.claims]
            with self._room:
                self._runs.update({run.claimed.flow_run.id: run for run in taken})
            self._call_on_loop(self._begin, taken)
            if self._idle:
                self._idle = False
                self._polls[1].nudge()
        if self._once:
            self._polls[0].stop()
            self._call_on_loop(self.stop)
        # an answer at once that brings nothing must not make us ask without end
        return bool(found.claims) or time.monotonic() - began > 0.2

    def _call_on_loop(self, what: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is over
            self._loop.call_soon_threadsafe(what, *args)

    def _on_refusal(self, refused: Refused) -> None:
        if refused.status in (404, 422):
            self._problem = refused
            self._call_on_loop(self.stop)

    # -- signs of life, in a thread ------------------------------------------------------------------------------------

    def _be_present(self, link: Link) -> bool:
        now = time.monotonic()
        if now - self._heartbeat_at >= self._heartbeat_seconds:
            self._heartbeat(link)
            self._heartbeat_at = now
        with self._room:
            holding = list(self._runs)
        self._idle = not holding
        wait = _PRESENCE_WAIT if self._idle else _BUSY_PRESENCE_WAIT
        body = WorkerPresenceBody(worker=self.id, wait=wait, holding=holding, known=self._known)
        said = link.post("/workers/presence", body, WorkerPresence)
        self._known = [*said.cancelling, *said.lost]
        if self._known:
            self._call_on_loop(self._obey, said)
        return time.monotonic() - now > 0.2 or bool(self._known)

    def _heartbeat(self, link: Link) -> None:
        body = WorkPoolsWorkersHeartbeatBody(name=self.name, heartbeat_interval_seconds=int(self._heartbeat_seconds))
        with suppress(Refused):  # of a pool that is gone the claims will tell
            link.post(calls._pool(self._pool_name, "workers", "heartbeat"), body, None)

    def _say_farewell(self) -> None:
        link = Link()
        try:
            body = WorkerPresenceBody(worker=self.id, holding=list(self._runs), leaving=True)
            link.post("/workers/presence", body, WorkerPresence)
        except (LineError, RiverrunError):
            pass  # the lease ends by itself
        finally:
            link.close()

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether the server answers this worker, and facts for whoever asks."""
        failing = [poll.failing_since for poll in self._polls if poll.failing_since is not None]
        longest = max((time.monotonic() - since for since in failing), default=0.0)
        alive = bool(self._polls) and all(poll.is_alive() or poll.stopping for poll in self._polls)
        facts = {"name": self.name, "work_pool": self._pool_name, "runs": len(self._runs), "limit": self.limit}
        return alive and longest < _HEALTHY_SECONDS, facts | {"seconds_without_server": round(longest, 1)}

    # -- runs, on the loop ---------------------------------------------------------------------------------------------

    def _begin(self, runs: list[_Run]) -> None:
        for run in runs:
            run.task = self._loop.create_task(self._bring_to_its_end(run))

    async def _bring_to_its_end(self, run: _Run) -> None:
        claimed = run.claimed
        try:
            await self._run_one(run)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the edge to a type of worker: whatever it raises, the run has an end
            self._logger.exception("Flow run %r could not be run", claimed.flow_run.name)
            await self._report(run, f"The worker could not run it: {type(error).__name__}: {error}")
        finally:
            self._forget(run)

    def _forget(self, run: _Run) -> None:
        with self._room:
            self._runs.pop(run.claimed.flow_run.id, None)
            self._room.notify_all()

    async def _run_one(self, run: _Run) -> None:
        configuration = run.configuration = await self._configuration(run.claimed)
        result = await self.run(run.claimed.flow_run, configuration, run.status)
        if run.cancelled:
            await self._report(run, "")
        elif not result:
            await self._report(run, f"Its infrastructure {result.identifier} ended with status {result.status_code}.")

    async def _configuration(self, claimed: ClaimedRun) -> BaseJobConfiguration:
        given = await asyncio.to_thread(filled, claimed.job_configuration)
        configuration = self.job_configuration.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
        configuration.prepare_for_flow_run(
            claimed.flow_run, claimed.deployment, claimed.flow_name, self.work_pool, self.name
        )
        return configuration

    def _obey(self, said: WorkerPresence) -> None:
        for run_id in said.cancelling:
            run = self._runs.get(run_id)
            if run is not None:
                self._cancel(run)
        for run_id in said.lost:
            run = self._runs.get(run_id)
            if run is not None:
                self._lose(run)

    def _cancel(self, run: _Run) -> None:
        if run.killer is None:
            run.cancelled = True
            run.killer = self._loop.create_task(self._kill_infrastructure(run))

    def _lose(self, run: _Run) -> None:
        self._cancel(run)

    async def _kill_infrastructure(self, run: _Run) -> None:
        if run.status.identifier is None or run.configuration is None:
            if run.task is not None:
                run.task.cancel()
            await self._report(run, "It had not begun.")
            return
        try:
            await self.kill_infrastructure(run.status.identifier, run.configuration)
        except Exception as error:  # the edge to a type of worker
            self._logger.exception("Flow run %r could not be cancelled", run.claimed.flow_run.name)
            await self._report(run, f"Its infrastructure {run.status.identifier} could not be ended: {error}")

    async def _report(self, run: _Run, message: str) -> None:
        """Propose how a run has ended, until the server takes it or knows better."""
        state: State[Any] = Crashed(message=message)
        if run.cancelled:
            state = Cancelled(message=f"The run was cancelled on request. {message}".rstrip())
        pause = 0.2
        while True:
            try:
                await asyncio.to_thread(hold, propose(run.claimed.flow_run.id, state), send_there)
                return
            except ObjectNotFound:
                return  # deleted
            except RiverrunError as error:
                self._logger.warning("The end of flow run %r is not told yet: %s", run.claimed.flow_run.name, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)


def _drop_null(field: dict[str, Any]) -> None:
    """A field that may be left out is shown as what it is when it is given."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        del field["anyOf"]
        field |= kinds[0]
    if field.get("default", ...) is None:
        del field["default"]


class _signals:  # noqa: N801 - used like a function
    """SIGTERM and SIGINT call `handler` on the running loop, in the main thread; elsewhere nothing."""

    def __init__(self, handler: Callable[[], object]) -> None:
        self._handler = handler

    def __enter__(self) -> None:
        self._here = threading.current_thread() is threading.main_thread()
        if self._here:
            self._loop = asyncio.get_running_loop()
            self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
            for number in self._before:
                self._loop.add_signal_handler(number, self._handler)

    def __exit__(self, *_exc: object) -> None:
        if self._here:
            for number, before in self._before.items():
                self._loop.remove_signal_handler(number)
                signal.signal(number, before)
