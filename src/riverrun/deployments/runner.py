"""`RunnerDeployment`: a deployment of a flow as it is to be, and how it is told to the server; `deploy` for several."""

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack
from uuid import UUID

import msgspec

from riverrun.base.config import settings
from riverrun.base.errors import HTTPStatusError, InputError, ObjectNotFound, RiverrunError
from riverrun.client.calls import deployments as calls
from riverrun.client.calls import flows as flow_calls
from riverrun.client.calls import work
from riverrun.client.talk import Talk, ask, look_for
from riverrun.deployments.sources import LocalStorage
from riverrun.schedules import collect
from riverrun.utilities.talks import awaiting, talking
from riverrun.wire.deployments import (
    ConcurrencyOptions,
    DeploymentCreate,
    DeploymentScheduleCreate,
    DeploymentScheduleUpdate,
    DeploymentUpdate,
    VersionInfo,
)
from riverrun.wire.flow_runs import FlowCreate

if TYPE_CHECKING:
    from riverrun.flows import Flow

__all__ = ["DeploymentApplyError", "EntrypointType", "RunnerDeployment", "adeploy", "deploy"]


class DeploymentApplyError(RiverrunError, RuntimeError):
    """A deployment could not be made."""

    code = "deployment_not_made"


class EntrypointType(StrEnum):
    """How a deployment names its flow."""

    FILE_PATH = "file_path"
    MODULE_PATH = "module_path"


class DeploymentOptions(TypedDict, total=False):
    """What can be said of a deployment, by `to_deployment`, `serve` and `deploy` alike."""

    #: at most one of these five; the first three may be one or several
    interval: Any
    cron: Any
    rrule: Any
    schedule: Any
    schedules: Any
    paused: bool | None
    #: how many runs may go on at once: a number, or a ConcurrencyLimitConfig with the strategy for one too many
    concurrency_limit: Any
    parameters: dict[str, Any] | None
    description: str | None
    tags: list[str] | None
    version: str | None
    version_type: str | None
    enforce_parameter_schema: bool
    work_pool_name: str | None
    work_queue_name: str | None
    job_variables: dict[str, Any] | None
    entrypoint_type: EntrypointType


_SCHEDULES: Final = ("interval", "cron", "rrule", "schedule", "schedules")


@dataclass
class RunnerDeployment:
    """A deployment of a flow that is not yet told to the server. Made by `flow.to_deployment(...)` or the methods here."""

    name: str
    flow_name: str | None = None
    description: str | None = None
    version: str | None = None
    version_type: str | None = None
    tags: list[str] = field(default_factory=list)
    schedules: list[DeploymentScheduleCreate] | None = None
    concurrency_limit: int | None = None
    concurrency_options: ConcurrencyOptions | None = None
    paused: bool | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    entrypoint: str | None = None
    enforce_parameter_schema: bool = True
    storage: Any = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = field(default_factory=dict)
    entrypoint_type: EntrypointType = EntrypointType.FILE_PATH
    #: the directory that the entrypoint is relative to, on this machine
    path: str | None = None
    parameter_openapi_schema: dict[str, Any] = field(default_factory=dict)
    #: the steps that fetch the code; None: those that the storage says
    pull_steps: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.name.endswith(".py"):
            self.name = Path(self.name).stem
        if not self.name or any(letter in self.name for letter in "/%&><"):
            raise InputError(f"{self.name!r} cannot be the name of a deployment: it may not hold any of / % & > <.")
        if not isinstance(self.parameters, dict):
            raise InputError(f"The parameters of deployment {self.name!r} must be a dictionary.")
        self._fix_parameters()

    def _fix_parameters(self) -> None:
        """A frozen parameter allows no other value."""
        from riverrun.utilities.annotations import freeze

        properties = self.parameter_openapi_schema.get("properties", {})
        for name, value in self.parameters.items():
            if isinstance(value, freeze):
                self.parameters = {**self.parameters, name: value.unfreeze()}
                properties.get(name, {}).update(readOnly=True, enum=[value.unfreeze()])

    @property
    def full_name(self) -> str:
        """The flow's name, a slash, and the deployment's."""
        return f"{self.flow_name}/{self.name}"

    # -- making one --------------------------------------------------------------------------------------------------

    @classmethod
    def from_flow(cls, flow: "Flow[..., Any]", name: str, **options: Unpack[DeploymentOptions]) -> "RunnerDeployment":
        """A deployment of a flow. Raises InputError where nobody else could find the flow's code."""
        kind = EntrypointType(options.get("entrypoint_type") or EntrypointType.FILE_PATH)
        storage, entrypoint = flow._storage, flow._entrypoint
        path: str | None = None
        if entrypoint is None:
            from riverrun.deployments.entrypoints import entrypoint_of

            entrypoint, path = entrypoint_of(flow, kind)
        made = cls._made(flow, name, options)
        made.entrypoint, made.path, made.storage, made.entrypoint_type = entrypoint, path, storage, kind
        return made

    @classmethod
    def from_entrypoint(
        cls, entrypoint: str, name: str, flow_name: str | None = None, **options: Unpack[DeploymentOptions]
    ) -> "RunnerDeployment":
        """A deployment of the flow that an entrypoint names on this machine."""
        from riverrun.flows import load_flow_from_entrypoint

        made = cls._made(load_flow_from_entrypoint(entrypoint), name, options)
        made.entrypoint, made.path = entrypoint, str(Path.cwd())
        made.flow_name = flow_name or made.flow_name
        return made

    @classmethod
    def from_storage(
        cls,
        storage: Any,
        entrypoint: str,
        name: str,
        flow_name: str | None = None,
        **options: Unpack[DeploymentOptions],
    ) -> "RunnerDeployment":
        """A deployment of a flow whose code is elsewhere; it is fetched once, to look at the flow."""
        from riverrun.deployments.entrypoints import flow_from_source

        made = cls.from_flow(flow_from_source(storage, entrypoint), name, **options)
        made.flow_name = flow_name or made.flow_name
        return made

    @classmethod
    async def afrom_storage(cls, *arguments: Any, **options: Any) -> "RunnerDeployment":
        """As `from_storage`, awaited."""
        from riverrun.base.loops import in_thread

        return await in_thread(cls.from_storage, *arguments, **options)

    @classmethod
    def _made(cls, flow: "Flow[..., Any]", name: str, options: Any) -> "RunnerDeployment":
        known = {each.name for each in fields(cls)} | {*_SCHEDULES}
        unknown = options.keys() - known
        if unknown:
            raise TypeError(f"A deployment has no option {', '.join(map(repr, sorted(unknown)))}.")
        taken = {key: value for key, value in options.items() if key not in _SCHEDULES and value is not None}
        limit = taken.get("concurrency_limit")
        if limit is not None and not isinstance(limit, int):
            taken["concurrency_limit"] = limit.limit
            grace = getattr(limit, "grace_period_seconds", None)
            taken["concurrency_options"] = ConcurrencyOptions(
                collision_strategy=str(limit.collision_strategy),  # type: ignore[arg-type] # one of its two values
                grace_period_seconds=grace,
            )
        if taken.get("enforce_parameter_schema", True):
            _check_names(flow, taken.get("parameters") or {})
        schedules = collect(**{key: value for key, value in options.items() if key in _SCHEDULES})
        taken = {"description": flow.description, "version": flow.version, **taken}
        schema = flow.parameters.model_dump_for_openapi()
        return cls(name=name, flow_name=flow.name, schedules=schedules, parameter_openapi_schema=schema, **taken)

    # -- telling the server ------------------------------------------------------------------------------------------

    def _talk(
        self,
        schedules: Any = None,
        work_pool_name: str | None = None,
        image: str | None = None,
        version_info: Any = None,
    ) -> Talk[UUID]:
        """Make the deployment, or bring the one of this name to what is said here; its id.

        Raises DeploymentApplyError with what the server says is wrong with it.
        """
        pool = work_pool_name or self.work_pool_name
        if image and not pool:
            raise ValueError("An image can only be given to a deployment with a work pool.")
        if schedules is not None:
            self.schedules = collect(schedules=schedules)
        try:
            flow = yield from ask(flow_calls.create_flow(FlowCreate(name=str(self.flow_name))))
            found = yield from look_for(calls.read_deployment_by_name(self.full_name))
            values = self._values(pool, image, version_info)
            if found is None:
                new = DeploymentCreate(name=self.name, flow_id=flow.id, **values)
                return (yield from ask(calls.create_deployment(new))).id
            if self.schedules is not None:
                values["schedules"] = [_as_update(each) for each in self.schedules]
            yield from ask(calls.update_deployment(found.id, DeploymentUpdate(**values)))
        except (HTTPStatusError, ObjectNotFound) as error:
            raise DeploymentApplyError(f"Deployment {self.full_name!r} could not be made: {error}") from error
        return found.id

    def _values(self, pool: str | None, image: str | None, version_info: Any) -> dict[str, Any]:
        """The fields of the request; what nobody has said anything about is left out."""
        steps = self.pull_steps
        if steps is None and self.storage is not None:
            step = self.storage.to_pull_step()
            steps = step if isinstance(step, list) else [step] if step else []
        elif steps is None and pool is not None and self.path is not None:
            steps = [LocalStorage(self.path).to_pull_step()]
        values: dict[str, Any] = {
            "entrypoint": self.entrypoint,
            "path": None if steps is not None else self.path,
            "pull_steps": steps,
            "parameters": as_json(self.parameters),
            "parameter_openapi_schema": self.parameter_openapi_schema,
            "enforce_parameter_schema": self.enforce_parameter_schema,
            "tags": self.tags,
            "job_variables": {**self.job_variables, **({"image": image} if image else {})},
            "work_pool_name": pool,
            "work_queue_name": self.work_queue_name,
            "concurrency_limit": self.concurrency_limit,
            "concurrency_options": self.concurrency_options,
            "description": self.description,
            "version": self.version,
        }
        if version_info is not None or (self.version and self.version_type):
            values["version_info"] = version_info or VersionInfo(type=str(self.version_type), version=str(self.version))
        if self.schedules is not None:
            values["schedules"] = [
                msgspec.structs.replace(each, parameters=as_json(each.parameters)) for each in self.schedules
            ]
        if self.paused is not None:
            values["paused"] = self.paused
        return values

    apply = talking(_talk)
    aapply = awaiting(_talk)


def _check_names(flow: "Flow[..., Any]", parameters: dict[str, Any]) -> None:
    known = inspect.signature(flow.fn).parameters.values()
    names = [each.name for each in known]
    unknown = sorted(parameters.keys() - set(names))
    if unknown and not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known):
        raise InputError(
            f"Flow {flow.name!r} has no parameter {', '.join(map(repr, unknown))}. It has: {', '.join(names) or 'none'}."
        )


def _as_update(given: DeploymentScheduleCreate) -> DeploymentScheduleUpdate:
    known = DeploymentScheduleUpdate.__struct_fields__
    return DeploymentScheduleUpdate(**{name: getattr(given, name) for name in given.__struct_fields__ if name in known})


def as_json(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON values; saved blocks are referred to."""
    from pydantic import TypeAdapter

    adapter = TypeAdapter(dict[str, Any])
    dumped: dict[str, Any] = adapter.dump_python(
        parameters, mode="json", context={"serialize_blocks_as_references": True}
    )
    return dumped


# -- several ----------------------------------------------------------------------------------------------------------------


def _deploy(
    *deployments: RunnerDeployment,
    work_pool_name: str | None = None,
    image: Any = None,
    build: bool = True,
    push: bool = True,
    print_next_steps_message: bool = True,
    ignore_warnings: bool = False,
) -> Talk[list[UUID]]:
    """Make deployments whose runs a work pool's workers take; their ids.

    Without `work_pool_name` the setting `deployments_default_work_pool_name` says which pool. `image` goes to the workers as a
    job variable; it is not built here, so that it needs `build=False`. Raises ValueError for a pool that does not exist,
    DeploymentApplyError with what is wrong with which deployment; the others are made.
    """
    name = work_pool_name or settings().deployments_default_work_pool_name
    if not deployments:
        return []
    if not name:
        raise ValueError("Say which work pool is to run this: `work_pool_name`, or RIVERRUN_DEFAULT_WORK_POOL_NAME.")
    pool = yield from look_for(work.read_work_pool(name))
    if pool is None:
        raise ValueError(f"There is no work pool {name!r}; `riverrun work-pool create {name} --type process` makes it.")
    if image and (build or push):
        raise InputError("riverrun builds no images: build and push it yourself, and give build=False and push=False.")
    del ignore_warnings
    for each in deployments:
        if pool.type != "process" and not image and each.storage is None and not each.pull_steps:
            raise ValueError(
                f"Workers of the {pool.type} pool {name!r} cannot see the files of this machine: give an image, or fetch the"
                " code by flow.from_source(...)."
            )
    made: list[UUID] = []
    problems: list[str] = []
    for each in deployments:
        try:
            made.append((yield from each._talk(work_pool_name=name, image=str(image) if image else None)))
        except (DeploymentApplyError, InputError) as error:
            problems.append(str(error))
    if problems:
        raise DeploymentApplyError("\n".join(problems))
    if print_next_steps_message:
        _tell_next_steps(deployments, name)
    return made


def _tell_next_steps(deployments: Iterable[RunnerDeployment], pool: str) -> None:
    lines = [f"Deployed {each.full_name!r} to work pool {pool!r}." for each in deployments]
    lines += [
        "",
        f"A worker runs it:    riverrun worker start --pool {pool}",
        f"Have it run now:     riverrun deployment run {next(iter(deployments)).full_name!r}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _named(name: str, talk: Callable[..., Any]) -> Any:
    talk.__name__ = talk.__qualname__ = name
    return talk


deploy = talking(_named("deploy", _deploy))
adeploy = awaiting(_named("deploy", _deploy))
