"""`riverrun deploy`: make the deployments of a project file, or one that the command line describes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from riverrun.cli.groups import json_option
from riverrun.cli.output import print_json, say
from riverrun.cli.things import parameters_of

if TYPE_CHECKING:
    from uuid import UUID

    from riverrun.deployments.runner import RunnerDeployment


@click.command()
@click.argument("entrypoint", required=False)
@click.option(
    "-n", "--name", "names", multiple=True, metavar="NAME", help="Of the deployment; FLOW/NAME and * choose of a file."
)
@click.option("--all", "all_", is_flag=True, help="Every deployment of the file.")
@click.option(
    "--prefect-file",
    "--file",
    "file",
    metavar="FILE",
    help="The project file. Default: riverrun.yaml, else prefect.yaml.",
)
@click.option("-p", "--pool", metavar="NAME", help="The work pool that runs it.")
@click.option("-q", "--work-queue", "--queue", "queue", metavar="NAME", help="The work queue.")
@click.option(
    "-jv", "--job-variable", "job_variables", multiple=True, metavar="NAME=VALUE", help="Goes over the pool's."
)
@click.option("--cron", multiple=True, metavar="TEXT", help="Run at the instants of a cron expression.")
@click.option("--interval", multiple=True, type=float, metavar="SECONDS", help="Run every so many seconds.")
@click.option("--anchor-date", metavar="WHEN", help="Where intervals are counted from (ISO 8601).")
@click.option("--rrule", multiple=True, metavar="TEXT", help="Run at the instants of a recurrence rule.")
@click.option("--timezone", metavar="ZONE", help="The time zone of these schedules, such as Europe/Berlin.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; JSON, or text if it is none."
)
@click.option("--params", "params_json", metavar="JSON", help="Parameters as one JSON object.")
@click.option("-t", "--tag", "tags", multiple=True, metavar="TAG", help="Tag the deployment's runs.")
@click.option("-d", "--description", metavar="TEXT", help="What it does. Default: the flow's docstring.")
@click.option("--version", metavar="TEXT", help="The name of this version. Default: a hash of the flow's file.")
@click.option("--version-type", metavar="TYPE", help="What names its versions.")
@click.option("-cl", "--concurrency-limit", type=click.IntRange(1), metavar="N", help="Most runs at once.")
@click.option(
    "--collision-strategy", type=click.Choice(["ENQUEUE", "CANCEL_NEW"]), help="What becomes of a run too many."
)
@click.option(
    "--enforce-parameter-schema/--no-enforce-parameter-schema", default=None, help="Refuse parameters that do not fit."
)
@click.option("--paused", is_flag=True, default=None, help="Let its schedules make no runs yet.")
@click.option("--no-prompt", is_flag=True, hidden=True, help="Nothing is ever asked.")
@json_option
def deploy(
    *, entrypoint: str | None, names: tuple[str, ...], all_: bool, file: str | None, as_json: bool, **given: Any
) -> None:
    """Deploy flows: those of a project file, or that of ENTRYPOINT (FILE:FLOW).

    \b
    riverrun deploy --all
    riverrun deploy etl.py:main -n nightly -p machines --cron '0 3 * * *' --timezone Europe/Berlin
    """
    from riverrun.base.errors import InputError, ScriptError
    from riverrun.deployments.project import make, read_project
    from riverrun.entrypoints import script_traceback

    del given["no_prompt"]
    project = read_project(None if file is None else Path(file))
    said = _said(given)
    if entrypoint is not None:
        said["entrypoint"] = entrypoint
    chosen: list[dict[str, Any]]
    if entrypoint is not None and not (len(names) == 1 and project.has(names[0])):
        if len(names) != 1 or all_:
            raise InputError("Give the deployment of an entrypoint one name, with --name.")
        chosen = [{"name": names[0]}]
    else:
        chosen = project.choose(names, all_=all_)
        if not chosen:
            raise InputError("There is nothing to deploy: give ENTRYPOINT and --name, or write a riverrun.yaml.")
    if said and len(chosen) > 1:
        raise InputError(f"{len(chosen)} deployments are chosen; options other than --name and --all go with one.")
    try:
        made = [make(_merged(each, said), project, say) for each in chosen]
    except ScriptError as error:
        say(script_traceback(error))
        raise click.ClickException(f"{error.path!r} could not be loaded, it raised the error above.") from None
    except ValueError as error:
        raise InputError(str(error)) from None
    _apply(made, as_json=as_json)


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """The options of the command line, as a project file would write them."""
    from riverrun.base.errors import InputError

    said = {
        key: given[key]
        for key in ("description", "version", "version_type", "enforce_parameter_schema", "paused")
        if given[key] is not None
    }
    if given["tags"]:
        said["tags"] = list(given["tags"])
    schedules = [{kind: value} for kind in ("cron", "interval", "rrule") for value in given[kind]]
    shared = {"timezone": given["timezone"]} if given["timezone"] is not None else {}
    for each in schedules:
        each |= shared
        if given["anchor_date"] is not None and "interval" in each:
            each["anchor_date"] = given["anchor_date"]
    if schedules:
        said["schedules"] = schedules
    elif given["timezone"] or given["anchor_date"]:
        raise InputError("--timezone and --anchor-date go with --cron, --interval or --rrule.")
    parameters = parameters_of(given["params"], given["params_json"])
    if parameters:
        said["parameters"] = parameters
    if given["concurrency_limit"] is not None:
        said["concurrency_limit"] = {"limit": given["concurrency_limit"]}
        if given["collision_strategy"]:
            said["concurrency_limit"]["collision_strategy"] = given["collision_strategy"]
    elif given["collision_strategy"]:
        raise InputError("--collision-strategy goes with --concurrency-limit.")
    pool = {"name": given["pool"], "work_queue_name": given["queue"]}
    pool = {key: value for key, value in pool.items() if value is not None}
    variables = parameters_of(given["job_variables"], None, "--job-variable")
    if variables:
        pool["job_variables"] = variables
    if pool:
        said["work_pool"] = pool
    return said


def _merged(file: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """A deployment of the file, the command line going over it."""
    merged = {**file, **said}
    if "schedules" in said:
        merged.pop("schedule", None)
    merged["parameters"] = {**file.get("parameters", {}), **said.get("parameters", {})}
    if "work_pool" in said:
        before, now = file.get("work_pool") or {}, said["work_pool"]
        variables = {**(before.get("job_variables") or {}), **now.get("job_variables", {})}
        merged["work_pool"] = {**before, **now, "job_variables": variables}
    return merged


def _apply(made: "list[RunnerDeployment]", *, as_json: bool) -> None:
    from riverrun.deployments.runner import deploy as apply

    ids: list[UUID] = []
    for each in made:
        try:
            ids += apply(each, work_pool_name=each.work_pool_name, print_next_steps_message=False)
        except ValueError as error:
            raise click.ClickException(f"Deployment {each.full_name!r}: {error}") from None
        if not as_json:
            say(f"Deployed {each.full_name!r} to work pool {each.work_pool_name or 'of the settings'} ({ids[-1]}).")
    if as_json:
        print_json([{"id": str(found), "name": each.full_name} for found, each in zip(ids, made, strict=True)])
    else:
        say(f"Have it run now: riverrun deployment run {made[0].full_name}")
