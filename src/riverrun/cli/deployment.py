"""`riverrun deployment`: what is deployed, its runs, its versions, and what its schedules will do."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import Cell, exactly_when, print_fields, print_json, print_table, say, when
from riverrun.cli.schedule import schedule, schedule_text
from riverrun.cli.things import as_text, either, parameters_of, show_list

if TYPE_CHECKING:
    from riverrun.wire.deployments import DeploymentResponse, DeploymentVersion
    from riverrun.wire.runs import FlowRun

_PAGE = 200


@click.group(cls=Group)
def deployment() -> None:
    """Look at deployments, run, pause and change them. A deployment is named FLOW/DEPLOYMENT, or by its id."""


deployment.add_command(schedule)


def find(name: str) -> "DeploymentResponse":
    """The deployment of a name or an id."""
    from riverrun.client.calls.deployments import read_deployment, read_deployment_by_name
    from riverrun.client.http import send

    try:
        return send(read_deployment(UUID(name)))
    except ValueError:
        return send(read_deployment_by_name(name))


def _flow_names(found: "list[DeploymentResponse]") -> dict[UUID, str]:
    from riverrun.client.calls.flows import read_flows
    from riverrun.client.http import send
    from riverrun.wire.filters import FlowFilter, FlowFilterId
    from riverrun.wire.requests import FlowsFilterBody

    ids = sorted({each.flow_id for each in found})
    names: dict[UUID, str] = {}
    for start in range(0, len(ids), _PAGE):
        wanted = FlowFilter(id=FlowFilterId(any_=ids[start : start + _PAGE]))
        names |= {each.id: each.name for each in send(read_flows(FlowsFilterBody(flows=wanted, limit=_PAGE)))}
    return names


def _status(found: "DeploymentResponse") -> Cell:
    if found.paused:
        return Cell("paused", "magenta")
    return Cell("ready", "green") if found.status == "READY" else Cell("not ready", "yellow")


@deployment.command()
@click.argument("flow_names", metavar="[FLOW]...", nargs=-1)
@click.option("--by-created", is_flag=True, help="Order by the time of creation instead of by name.")
@json_option
def ls(flow_names: tuple[str, ...], by_created: bool, as_json: bool) -> None:
    """List deployments, of all flows or of some."""
    from riverrun.client.calls.deployments import read_deployments
    from riverrun.client.http import send
    from riverrun.wire.filters import FlowFilter, FlowFilterName
    from riverrun.wire.requests import DeploymentsFilterBody

    flows = FlowFilter(name=FlowFilterName(any_=list(flow_names))) if flow_names else None
    found: list[DeploymentResponse] = []
    while True:
        body = DeploymentsFilterBody(flows=flows, limit=_PAGE, offset=len(found), sort="NAME_ASC")
        page = send(read_deployments(body))
        found += page
        if len(page) < _PAGE:
            break
    names = _flow_names(found)
    if by_created:
        found.sort(key=lambda each: each.created or datetime.max.replace(tzinfo=UTC))
    else:
        found.sort(key=lambda each: (names.get(each.flow_id, ""), each.name))
    show_list(
        found,
        ("ID", "Name", "Status", "Work pool", "Schedules", "Version"),
        lambda each: (
            str(each.id),
            f"{names.get(each.flow_id, '?')}/{each.name}",
            _status(each),
            each.work_pool_name or "-",
            "; ".join(schedule_text(one) for one in each.schedules) or "-",
            each.version or "-",
        ),
        as_json=as_json,
        nothing="No deployments.",
    )


@deployment.command()
@click.argument("name")
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a deployment."""
    found = find(name)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    limit = found.global_concurrency_limit
    strategy = found.concurrency_options.collision_strategy if found.concurrency_options else "ENQUEUE"
    limit_text = "-" if limit is None else f"{limit.limit} ({strategy}, {limit.active_slots} taken)"
    fields = [
        ("ID", str(found.id)),
        ("Name", f"{_flow_names([found]).get(found.flow_id, '?')}/{found.name}"),
        ("Status", _status(found)),
        ("Description", (found.description or "-").partition("\n")[0]),
        ("Version", found.version or "-"),
        ("Entrypoint", found.entrypoint or "-"),
        ("Path", found.path or "-"),
        ("Work pool", found.work_pool_name or "-"),
        ("Work queue", found.work_queue_name or "-"),
        ("Concurrency limit", limit_text),
        ("Tags", ", ".join(found.tags) or "-"),
        ("Created", exactly_when(found.created)),
        ("Updated", exactly_when(found.updated)),
    ]
    fields += [("Schedule", f"{schedule_text(each)}{'' if each.active else ' (paused)'}") for each in found.schedules]
    fields += [("Pull step", as_text(step)) for step in found.pull_steps or ()]
    fields += [(f"Parameter {key}", as_text(value)) for key, value in found.parameters.items()]
    fields += [(f"Job variable {key}", as_text(value)) for key, value in found.job_variables.items()]
    print_fields(fields)


# -- runs -------------------------------------------------------------------------------------------------------------------


@deployment.command()
@click.argument("name", required=False)
@click.option("--id", "deployment_id", help="The id of the deployment, in the place of its name.")
@click.option(
    "-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; JSON, or text if it is none."
)
@click.option("--params", "params_json", metavar="JSON", help="Parameters as one JSON object; - reads it from stdin.")
@click.option(
    "-jv", "--job-variable", "job_variables", multiple=True, metavar="NAME=VALUE", help="Goes over the deployment's."
)
@click.option("--start-in", metavar="SPAN", help="Start then: 30s, '5 minutes', '1 hour 30 minutes', 2d.")
@click.option("--start-at", metavar="WHEN", help="Start then: 2026-01-31T17:30, 17:30, 5:30pm; this machine's time.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Tag the run.")
@click.option("--flow-run-name", metavar="NAME", help="Name the run.")
@click.option("--watch", is_flag=True, help="Show its states and lines until it ends; exit code 1 unless it completed.")
@click.option("--watch-timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Watch no longer.")
@click.option("--watch-interval", type=float, metavar="SECONDS", hidden=True, help="As in the peer; of no effect.")
@json_option
def run(
    *,
    name: str | None,
    deployment_id: str | None,
    params: tuple[str, ...],
    params_json: str | None,
    job_variables: tuple[str, ...],
    start_in: str | None,
    start_at: str | None,
    tags: tuple[str, ...],
    flow_run_name: str | None,
    watch: bool,
    watch_timeout: float | None,
    watch_interval: float | None,
    as_json: bool,
) -> None:
    """Have a deployment run, by whoever runs it: now, or when --start-in or --start-at say."""
    from riverrun.deployments.flow_runs import run_deployment

    del watch_interval
    either(name, deployment_id, "NAME or --id")
    found = find(name or str(deployment_id))
    parameters = parameters_of(params, params_json)
    _check_names(found, parameters)
    start = _start(start_in, start_at)
    made: FlowRun = run_deployment(
        found.id,
        parameters=parameters,
        scheduled_time=start,
        flow_run_name=flow_run_name,
        timeout=0,
        tags=tags,
        job_variables=parameters_of(job_variables, None, "--job-variable") or None,
        as_subflow=False,
    )
    if as_json:
        made = _awaited(made, watch_timeout) if watch else made
        print_json(made.model_dump(mode="json"))
        completed = not watch or bool(made.state and made.state.is_completed())
    else:
        say(f"Flow run {made.name!r} is made; it starts {'at once' if start is None else when(start)}.")
        say(f"See it with: riverrun flow-run inspect {made.id}")
        completed = True
        if watch:
            from riverrun.cli.watching import watch_flow_run

            completed = watch_flow_run(made.id, watch_timeout).is_completed()
    if not completed:
        raise click.exceptions.Exit(1)


def _awaited(made: "FlowRun", timeout: float | None) -> "FlowRun":
    """The run at its end. Raises FlowRunWaitTimeout."""
    from riverrun.client.talk import hold
    from riverrun.engine.pausing import wait_for_end

    return hold(wait_for_end(made.id, timeout))


def _check_names(found: "DeploymentResponse", parameters: dict[str, Any]) -> None:
    """Refuse parameters that the flow does not have, before there is a run."""
    from riverrun.base.errors import InputError

    schema = found.parameter_openapi_schema or {}
    known = schema.get("properties")
    if not found.enforce_parameter_schema or not known or schema.get("additionalProperties"):
        return
    unknown = sorted(parameters.keys() - known.keys())
    if unknown:
        raise InputError(f"Flow of {found.name!r} has no parameter {', '.join(unknown)}. It has: {', '.join(known)}.")


def _start(start_in: str | None, start_at: str | None) -> datetime | None:
    from riverrun.base.errors import InputError
    from riverrun.cli.times import instant, span

    if start_in is not None and start_at is not None:
        raise InputError("Give either --start-in or --start-at.")
    if start_in is not None:
        return datetime.now(UTC) + span(start_in)
    return None if start_at is None else instant(start_at)


# -- changing ---------------------------------------------------------------------------------------------------------------


@deployment.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="Delete every deployment.")
def delete(names: tuple[str, ...], all_: bool) -> None:
    """Delete deployments, with those of their runs that have not begun."""
    from riverrun.client.calls.deployments import delete_deployment, read_deployments
    from riverrun.client.http import send

    either(names or None, all_ or None, "names or --all")
    if all_:
        confirm("Delete all deployments?")
        while found := send(read_deployments()):
            for each in found:
                send(delete_deployment(each.id))
                say(f"Deleted deployment {each.name!r}.")
        return
    chosen = {each.id: name for each, name in ((find(name), name) for name in names)}
    confirm(f"Delete {', '.join(map(repr, chosen.values()))}?")
    for deployment_id, name in chosen.items():
        send(delete_deployment(deployment_id))
        say(f"Deleted deployment {name!r}.")


@deployment.command()
@click.argument("name")
def pause(name: str) -> None:
    """Let the schedules of a deployment rest."""
    from riverrun.client.calls.deployments import pause_deployment
    from riverrun.client.http import send

    send(pause_deployment(find(name).id))
    say(f"Deployment {name!r} is paused: its schedules make no runs.")


@deployment.command()
@click.argument("name")
def resume(name: str) -> None:
    """Let the schedules of a deployment make runs again."""
    from riverrun.client.calls.deployments import resume_deployment
    from riverrun.client.http import send

    send(resume_deployment(find(name).id))
    say(f"Deployment {name!r} goes on.")


# -- versions ---------------------------------------------------------------------------------------------------------------


@deployment.command()
@click.argument("name")
@json_option
def versions(name: str, as_json: bool) -> None:
    """List what a deployment was, the newest first."""
    from riverrun.client.calls.deployments import read_deployment_versions
    from riverrun.client.http import send

    show_list(
        send(read_deployment_versions(find(name).id)),
        (">Number", "Version", "Entrypoint", "Schedules", "Since", "Current"),
        _version_row,
        as_json=as_json,
        nothing="No versions.",
    )


def _version_row(found: "DeploymentVersion") -> tuple[str, ...]:
    return (
        str(found.number),
        found.version or "-",
        found.entrypoint or "-",
        "; ".join(schedule_text(each) for each in found.schedules) or "-",
        when(found.created),
        "yes" if found.current else "",
    )


@deployment.command()
@click.argument("name")
@click.option(
    "--to",
    "number",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="The version to go back to. Default: the one before.",
)
@json_option
def rollback(name: str, number: int | None, as_json: bool) -> None:
    """Make a deployment what it was in an earlier version: its code, parameters, schedules. Runs that wait keep theirs."""
    from riverrun.base.errors import InputError
    from riverrun.client.calls.deployments import read_deployment_versions, roll_back_deployment
    from riverrun.client.http import send

    found = find(name)
    if number is None:
        earlier = [each for each in send(read_deployment_versions(found.id)) if not each.current]
        if not earlier:
            raise InputError(f"Deployment {name!r} has no earlier version.")
        number = earlier[0].number
    now = send(roll_back_deployment(found.id, number))
    if as_json:
        print_json(now.model_dump(mode="json"))
    else:
        say(f"Deployment {name!r} is once more what it was in version {number}: {now.version or 'without a name'}.")


@deployment.command(name="next")
@click.argument("name")
@click.option("--days", type=click.FloatRange(0, min_open=True), default=7.0, show_default=True, help="How far ahead.")
@click.option("--limit", type=click.IntRange(1, 200), default=200, show_default=True, help="At most so many instants.")
@json_option
def next_(name: str, days: float, limit: int, as_json: bool) -> None:
    """Show when a deployment will run, and what changes of the clock do to that."""
    from riverrun.client.calls.deployments import read_coming_instants
    from riverrun.client.http import send

    coming = send(read_coming_instants(find(name).id, datetime.now(UTC) + timedelta(days=days), limit))
    if as_json:
        print_json(coming.model_dump(mode="json"))
        return
    if coming.paused:
        say(f"Deployment {name!r} is paused: nothing of this happens until it is resumed.")
    if not coming.instants:
        say("Nothing is to come.")
        return
    rows = [
        (each.instant.isoformat(), each.local, each.slug or str(each.schedule_id), each.note or "")
        for each in coming.instants
    ]
    print_table(("Instant", "Local time", "Schedule", "Note"), rows)
    if coming.more:
        say("There are more.")
