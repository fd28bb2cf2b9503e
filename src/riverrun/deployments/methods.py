"""What flows can do about deployments: the methods of `Flow`, loaded with it and therefore light."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast
from uuid import UUID

from riverrun.utilities.colours import by_colour

if TYPE_CHECKING:
    from riverrun.deployments.runner import DeploymentOptions, RunnerDeployment
    from riverrun.flows import Flow


async def _ato_deployment(self: Any, name: str, **options: Any) -> "RunnerDeployment":
    return _to_deployment(self, name, options)


def _to_deployment(flow: Any, name: str, options: Any) -> "RunnerDeployment":
    from riverrun.deployments.runner import RunnerDeployment

    return RunnerDeployment.from_flow(flow, name, **options)


def _to_serve(flow: Any, name: str | None, options: Any) -> "RunnerDeployment":
    """A deployment to be served: its limit has another name, and it goes on though it was paused when a server stopped."""
    if "global_limit" in options:
        options["concurrency_limit"] = options.pop("global_limit")
    options["paused"] = bool(options.get("paused"))
    return _to_deployment(flow, name or flow.name, options)


async def _aserve(
    self: Any,
    name: str | None = None,
    *,
    limit: int | None = None,
    pause_on_shutdown: bool = True,
    print_starting_message: bool = True,
    webserver: bool = False,
    **options: Any,
) -> None:
    from riverrun.deployments.serving import aserve

    await aserve(
        _to_serve(self, name, options),
        limit=limit,
        pause_on_shutdown=pause_on_shutdown,
        print_starting_message=print_starting_message,
        webserver=webserver,
    )


async def _adeploy(
    self: Any,
    name: str,
    work_pool_name: str | None = None,
    image: Any = None,
    build: bool = True,
    push: bool = True,
    print_next_steps: bool = True,
    ignore_warnings: bool = False,
    **options: Any,
) -> UUID:
    from riverrun.deployments.runner import adeploy

    made: list[UUID] = await adeploy(
        _to_deployment(self, name, options),
        work_pool_name=work_pool_name,
        image=image,
        build=build,
        push=push,
        print_next_steps_message=print_next_steps,
        ignore_warnings=ignore_warnings,
    )
    return made[0]


async def _afrom_source(source: Any, entrypoint: str) -> "Flow[..., Any]":
    from riverrun.base.loops import in_thread
    from riverrun.deployments.entrypoints import flow_from_source

    return await in_thread(flow_from_source, source, entrypoint)


class Deployable:
    """The part of a flow that is about deployments. Methods block in sync code and are awaited in async code."""

    #: of a flow whose code was fetched: where from, and its entrypoint there
    _storage: Any = None
    _entrypoint: str | None = None

    @by_colour(_ato_deployment)
    def to_deployment(self, name: str, **options: "Unpack[DeploymentOptions]") -> "RunnerDeployment":
        """A deployment of this flow, to be served or deployed together with others.

        Options: `interval`, `cron`, `rrule`, `schedule` or `schedules` (riverrun.schedules), `parameters`, `paused`, `tags`,
        `description`, `version`, `concurrency_limit`, `enforce_parameter_schema`, `work_pool_name`, `work_queue_name`,
        `job_variables`, `entrypoint_type`. Raises InputError or ValueError for what cannot be.
        """
        return _to_deployment(self, name, options)

    @by_colour(_aserve)
    def serve(
        self,
        name: str | None = None,
        *,
        limit: int | None = None,
        pause_on_shutdown: bool = True,
        print_starting_message: bool = True,
        webserver: bool = False,
        **options: Any,
    ) -> None:
        """Make a deployment of this flow and run its runs from here, until Ctrl-C or SIGTERM.

        At most `limit` of them go on at once; `global_limit` holds over all who serve it. With `pause_on_shutdown` its schedules
        rest when this ends. The other options are those of `to_deployment`.
        """
        from riverrun.deployments.serving import serve

        cast("Any", serve).sync(
            _to_serve(self, name, options),
            limit=limit,
            pause_on_shutdown=pause_on_shutdown,
            print_starting_message=print_starting_message,
            webserver=webserver,
        )

    @by_colour(_adeploy)
    def deploy(
        self,
        name: str,
        work_pool_name: str | None = None,
        image: Any = None,
        build: bool = True,
        push: bool = True,
        print_next_steps: bool = True,
        ignore_warnings: bool = False,
        **options: Any,
    ) -> UUID:
        """Make a deployment of this flow whose runs the workers of a pool take; its id. See `riverrun.deploy`.

        The other options are those of `to_deployment`.
        """
        from riverrun.deployments.runner import deploy

        made: list[UUID] = cast("Any", deploy).sync(
            _to_deployment(self, name, options),
            work_pool_name=work_pool_name,
            image=image,
            build=build,
            push=push,
            print_next_steps_message=print_next_steps,
            ignore_warnings=ignore_warnings,
        )
        return made[0]

    @staticmethod
    @by_colour(_afrom_source)
    def from_source(source: "str | Path | Any", entrypoint: str) -> "Flow[..., Any]":
        """The flow of an entrypoint in code that is elsewhere: a git address, a path, an fsspec URL, a storage or a block.

        Whoever runs a deployment of it fetches the code from there.
        """
        from riverrun.deployments.entrypoints import flow_from_source

        return flow_from_source(source, entrypoint)

    ato_deployment = _ato_deployment
    aserve = _aserve
    adeploy = _adeploy
    afrom_source = staticmethod(_afrom_source)
