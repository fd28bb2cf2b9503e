"""The runner behind `serve`: runs what is due of some deployments as processes of this machine.

The same claims, templates and processes as those of the process worker; only what is claimed differs: deployments instead of a
work pool.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from riverrun.base.config import settings
from riverrun.base.errors import InputError, RiverrunError
from riverrun.client.calls.answers import ClaimedRun
from riverrun.client.calls.deployments import pause_deployment
from riverrun.client.http import asend
from riverrun.utilities.colours import by_colour
from riverrun.wire.claims import DeploymentsClaimBody
from riverrun.workers.base import BaseJobConfiguration
from riverrun.workers.links import Link
from riverrun.workers.placeholders import filled
from riverrun.workers.process import ProcessJobConfiguration, ProcessWorker

if TYPE_CHECKING:
    from riverrun.deployments.runner import RunnerDeployment
    from riverrun.flows import Flow

#: runs at once where nobody says
LIMIT: Final = 5
_HEALTH_PORT: Final = 8080


class _Server(ProcessWorker):
    """A process worker that takes runs of deployments."""

    _own_process = False

    def __init__(self, name: str, deployments: list[UUID], limit: int | None) -> None:
        super().__init__(work_pool_name="", name=name, limit=limit)
        self._deployments = deployments

    async def _sync_pool(self) -> None:
        """There is none."""

    def _claim_request(self, limit: int) -> tuple[str, Any]:
        body = DeploymentsClaimBody(
            worker=self.id, name=self.name, limit=limit, wait=self._claim_wait, deployment_ids=self._deployments
        )
        return "/deployments/claim", body

    def _heartbeat(self, link: Link) -> None:
        """Nobody waits for a sign of a runner; those for its runs suffice."""

    async def _configuration(self, claimed: ClaimedRun) -> BaseJobConfiguration:
        deployment = claimed.deployment
        variables = {**(deployment.job_variables if deployment else {}), **(claimed.flow_run.job_variables or {})}
        given = {name: value for name, value in variables.items() if name in ProcessJobConfiguration.model_fields}
        return ProcessJobConfiguration.model_validate(await asyncio.to_thread(filled, given))


class Runner:
    """Runs the runs of deployments from this process, at most `limit` at once (None: a few).

    When it stops it takes no more runs, lets those under way end, and with `pause_on_shutdown` lets the schedules of its
    deployments rest. `query_seconds` and `prefetch_seconds` are of polling runners; runs come at their instant here.
    """

    def __init__(
        self,
        name: str | None = None,
        query_seconds: float | None = None,
        prefetch_seconds: float = 10,
        heartbeat_seconds: float | None = None,
        limit: int | None = None,
        pause_on_shutdown: bool = True,
        webserver: bool = False,
    ) -> None:
        if limit is not None and limit < 1:
            raise InputError(f"The limit of a runner is at least 1, not {limit}.")
        # a script's file is a good name for what it serves
        self.name = Path(name).stem if name is not None else "runner"
        self.limit = limit or LIMIT
        self.pause_on_shutdown = pause_on_shutdown
        self.webserver = webserver
        self.deployment_ids: list[UUID] = []
        self._server: _Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def started(self) -> bool:
        return self._server is not None

    # -- what is served ------------------------------------------------------------------------------------------------

    async def aadd_deployment(self, deployment: "RunnerDeployment") -> UUID:
        """As `add_deployment`, awaited."""
        applied: UUID = await deployment.aapply()
        return self._note(applied)

    @by_colour(aadd_deployment)
    def add_deployment(self, deployment: "RunnerDeployment") -> UUID:
        """Make a deployment, or bring it up to date, and serve it; its id."""
        applied: Any = deployment
        return self._note(applied.apply(_sync=True))

    def _note(self, deployment_id: UUID) -> UUID:
        if deployment_id not in self.deployment_ids:
            self.deployment_ids.append(deployment_id)
        return deployment_id

    async def aadd_flow(self, flow: "Flow[..., Any]", name: str | None = None, **options: Any) -> UUID:
        """As `add_flow`, awaited."""
        return await self.aadd_deployment(await flow.ato_deployment(name or self.name, **options))

    @by_colour(aadd_flow)
    def add_flow(self, flow: "Flow[..., Any]", name: str | None = None, **options: Any) -> UUID:
        """Serve a flow, by a deployment with the options of `flow.to_deployment`; the deployment's id."""
        blocking: Any = self
        served: Any = flow
        made: UUID = blocking.add_deployment(served.to_deployment(name or self.name, _sync=True, **options), _sync=True)
        return made

    # -- running -------------------------------------------------------------------------------------------------------

    async def astart(
        self, run_once: bool = False, webserver: bool | None = None, printer: Callable[[str], object] = lambda _: None
    ) -> None:
        """As `start`, awaited."""
        if not self.deployment_ids:
            raise InputError("There is nothing to run: add deployments or flows to the runner first.")
        self._loop = asyncio.get_running_loop()
        self._server = _Server(self.name, self.deployment_ids, self.limit)
        try:
            await self._server.start(
                run_once=run_once,
                with_healthcheck=self.webserver if webserver is None else webserver,
                printer=printer,
                healthcheck_port=_HEALTH_PORT,
            )
        finally:
            self._server = self._loop = None
            if self.pause_on_shutdown and not run_once:
                await self._pause_schedules()

    @by_colour(astart)
    def start(
        self, run_once: bool = False, webserver: bool | None = None, printer: Callable[[str], object] = lambda _: None
    ) -> None:
        """Run what is due until `stop`, Ctrl-C or SIGTERM; with `run_once` only what is due now."""
        asyncio.run(self.astart(run_once, webserver, printer))

    async def astop(self) -> None:
        """As `stop`, awaited."""
        self._stop()

    @by_colour(astop)
    def stop(self) -> None:
        """Take no more runs; `start` returns when those under way have ended. From any thread."""
        self._stop()

    def _stop(self) -> None:
        server, loop = self._server, self._loop
        if server is None or loop is None:
            raise RuntimeError("The runner has not started yet, or has stopped.")
        loop.call_soon_threadsafe(server.stop)

    async def _pause_schedules(self) -> None:
        for deployment_id in self.deployment_ids:
            try:
                await asend(pause_deployment(deployment_id), retries=min(1, settings().client_max_retries))
            except RiverrunError:
                continue  # deleted meanwhile, or the server is away: then nothing is due either

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._server is not None:
            self._server.stop()
