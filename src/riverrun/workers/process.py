"""The process worker: runs flows as processes of this machine, forked from templates that have the code imported already."""

import asyncio
import builtins
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PositiveInt, field_validator

from riverrun.base.errors import InputError
from riverrun.wire.runs import FlowRun
from riverrun.workers.base import (
    BaseJobConfiguration,
    BaseVariables,
    BaseWorker,
    BaseWorkerResult,
    TaskStatus,
    _Run,
)
from riverrun.workers.crew import GRACE_SECONDS, MOST_STARTING, Crew, Job
from riverrun.workers.links import host

_LIMITS = ("memory_mb", "cpu_seconds", "open_files")


class ProcessJobConfiguration(BaseJobConfiguration):
    """How a run is run as a process."""

    stream_output: bool = Field(default=True, description="Whether the worker shows what the process writes.")
    working_dir: Path | None = Field(
        default=None,
        description="Directory of the process. Unset: where the deployment's code is, else one of its own.",
    )
    cold: bool = Field(default=False, description="Start a new interpreter for each run instead of forking a warm one.")
    grace_seconds: float = Field(
        default=GRACE_SECONDS,
        ge=0,
        description="Seconds that a cancelled run has to end by itself before it is killed.",
    )
    memory_mb: PositiveInt | None = Field(default=None, description="Most address space of the process, in MiB.")
    cpu_seconds: PositiveInt | None = Field(default=None, description="Most processor time of the process.")
    open_files: PositiveInt | None = Field(default=None, description="Most files that the process may have open.")

    @field_validator("working_dir")
    @classmethod
    def _check_working_dir(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()


class ProcessVariables(BaseVariables):
    """What users may set of a process."""

    stream_output: bool = Field(default=True, description="Whether the worker shows what the run's process writes.")
    working_dir: Path | None = Field(
        default=None,
        title="Working Directory",
        description="Directory of the process. Unset: where the deployment's code is, else one of its own.",
    )
    cold: bool = Field(default=False, description="Start a new interpreter for each run instead of forking a warm one.")
    grace_seconds: float = Field(
        default=GRACE_SECONDS,
        ge=0,
        description="Seconds that a cancelled run has to end by itself before it is killed.",
    )
    memory_mb: int | None = Field(default=None, title="Memory", description="Most address space, in MiB.")
    cpu_seconds: int | None = Field(
        default=None, title="Processor Time", description="Most processor time, in seconds."
    )
    open_files: int | None = Field(default=None, title="Open Files", description="Most open files.")


class ProcessWorkerResult(BaseWorkerResult):
    """How a process has ended."""


class ProcessWorker(BaseWorker):
    """Runs flows as processes of this machine."""

    type = "process"
    job_configuration: ClassVar[builtins.type[BaseJobConfiguration]] = ProcessJobConfiguration
    job_configuration_variables: ClassVar[builtins.type[BaseVariables] | None] = ProcessVariables

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._crew: Crew | None = None

    #: whether no other code of this process starts processes
    _own_process = True

    async def setup(self) -> None:
        self._crew = Crew(own_process=self._own_process)
        await super().setup()

    async def teardown(self) -> None:
        await super().teardown()
        if self._crew is not None:
            await self._crew.close()
            self._crew = None

    def _free(self) -> int:
        starting = 0 if self._crew is None else self._crew.starting
        return min(super()._free(), MOST_STARTING - starting)

    async def _run_one(self, run: _Run) -> None:
        configuration = run.configuration = await self._configuration(run.claimed)
        assert self._crew is not None
        await self._crew.run(job_of(run, configuration))

    async def run(
        self, flow_run: FlowRun, configuration: BaseJobConfiguration, task_status: TaskStatus | None = None
    ) -> ProcessWorkerResult:
        """Run a claimed run as a process; its exit status."""
        run, crew = self._runs.get(flow_run.id), self._crew
        if run is None or crew is None:
            raise InputError(f"This worker has not claimed flow run {flow_run.name!r}.")
        status = await crew.run(job_of(run, configuration))
        return ProcessWorkerResult(identifier=f"{host()}:{flow_run.id}", status_code=1 if status is None else status)

    def _cancel(self, run: _Run) -> None:
        run.cancelled = True
        if self._crew is not None and run.claimed.flow_run.id in self._crew:
            self._crew.cancel(run.claimed.flow_run.id)
        else:
            super()._cancel(run)

    def _lose(self, run: _Run) -> None:
        if self._crew is not None and run.claimed.flow_run.id in self._crew:
            self._crew.fence(run.claimed.flow_run.id)
        elif run.task is not None:
            run.task.cancel()

    def _hand_back(self) -> None:
        for run in self._runs.values():
            if run.task is not None and (self._crew is None or not self._crew.has_process(run.claimed.flow_run.id)):
                run.task.cancel()

    def _kill_all(self) -> None:
        if self._crew is not None:
            self._crew.stop_all()

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: BaseJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End the process of a run of this worker, by the id of the run or `host:id`."""
        for run in list(self._runs.values()):
            if infrastructure_pid.rpartition(":")[2] == str(run.claimed.flow_run.id):
                self._cancel(run)
                if run.task is not None:
                    await asyncio.wait([run.task])
                return
        raise InputError(f"{infrastructure_pid!r} is no run of this worker.")


def job_of(run: _Run, configuration: BaseJobConfiguration) -> Job:
    """A run as the crew takes it."""
    assert isinstance(configuration, ProcessJobConfiguration)
    limits = {name: value for name in _LIMITS if (value := getattr(configuration, name)) is not None}
    return Job(
        claimed=run.claimed,
        document=run.document,
        env=configuration.env,
        command=configuration.command or None,
        working_dir=configuration.working_dir,
        stream_output=configuration.stream_output,
        cold=configuration.cold,
        grace_seconds=configuration.grace_seconds,
        limits=limits,
    )
