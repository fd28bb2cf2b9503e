"""`serve`: make deployments and run their runs from this process, until it is told to stop."""

import sys
from collections.abc import Sequence
from typing import Any

from riverrun.base.errors import InputError
from riverrun.deployments.runner import RunnerDeployment
from riverrun.utilities.colours import by_colour

__all__ = ["aserve", "serve"]


async def aserve(
    *deployments: RunnerDeployment,
    pause_on_shutdown: bool = True,
    print_starting_message: bool = True,
    limit: int | None = None,
    webserver: bool = False,
) -> None:
    """As `serve`, awaited."""
    runner = _runner(deployments, pause_on_shutdown, limit)
    for each in deployments:
        await runner.aadd_deployment(each)
    if print_starting_message:
        _tell(deployments)
    await runner.astart(webserver=webserver)


@by_colour(aserve)
def serve(
    *deployments: RunnerDeployment,
    pause_on_shutdown: bool = True,
    print_starting_message: bool = True,
    limit: int | None = None,
    webserver: bool = False,
) -> None:
    """Make deployments and run their runs from here, at most `limit` at once, until Ctrl-C or SIGTERM.

    With `pause_on_shutdown` their schedules rest when this ends.

        serve(etl.to_deployment("nightly", cron="0 3 * * *"), report.to_deployment("weekly", interval=604800))
    """
    runner = _runner(deployments, pause_on_shutdown, limit)
    for each in deployments:
        runner.add_deployment(each, _sync=True)
    if print_starting_message:
        _tell(deployments)
    runner.start(webserver=webserver, _sync=True)


def _runner(deployments: Sequence[RunnerDeployment], pause_on_shutdown: bool, limit: int | None) -> Any:
    from riverrun.runner import Runner

    if not deployments:
        raise InputError("There is nothing to serve: give deployments, as in serve(flow.to_deployment('name')).")
    for each in deployments:
        if not isinstance(each, RunnerDeployment):
            raise InputError(f"serve takes deployments, not {each!r}: use flow.to_deployment('name').")
    return Runner(pause_on_shutdown=pause_on_shutdown, limit=limit)


def _tell(deployments: Sequence[RunnerDeployment]) -> None:
    lines = [f"Serving {each.full_name!r}." for each in deployments]
    lines += [f"Have it run now:  riverrun deployment run {deployments[0].full_name!r}", "Ctrl-C stops.", ""]
    sys.stdout.write("\n".join(lines))
    sys.stdout.flush()
