"""`riverrun schedule` (and `riverrun deployment schedule`): when deployments run."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import print_json, say
from riverrun.cli.things import as_text, show_list

if TYPE_CHECKING:
    from riverrun.wire.deployments import DeploymentResponse, DeploymentSchedule, DeploymentScheduleCreate


@click.group(cls=Group)
def schedule() -> None:
    """Say when deployments run."""


def schedule_text(found: "DeploymentSchedule | DeploymentScheduleCreate") -> str:
    """A schedule in a few words."""
    rule = found.schedule
    if isinstance(rule.seconds, int | float):
        text = f"every {rule.seconds:g} s"
    else:
        text = f"cron {rule.cron}" if isinstance(rule.cron, str) else f"rrule {rule.rrule}"
    return f"{text} ({rule.timezone})" if isinstance(rule.timezone, str) and rule.timezone != "UTC" else text


def _find(name: str) -> "DeploymentResponse":
    from riverrun.cli.deployment import find

    return find(name)


@schedule.command()
@click.argument("name")
@click.option("--interval", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Every so many seconds.")
@click.option("--anchor-date", metavar="WHEN", help="Where the interval is counted from (ISO 8601).")
@click.option("--cron", metavar="TEXT", help="A cron expression of 5 fields, or 6 with seconds at the end.")
@click.option(
    "--day-or/--no-day-or", "--day_or/--no-day_or", default=True, help="A day matches by month or week, not by both."
)
@click.option("--rrule", metavar="TEXT", help="An iCalendar recurrence rule.")
@click.option("--timezone", metavar="ZONE", help="An IANA time zone such as Europe/Berlin.")
@click.option("--active/--no-active", default=True, help="Whether it makes runs.")
@click.option("--slug", metavar="NAME", help="Its name within the deployment.")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of its runs.")
@click.option(
    "--catch-up", type=click.Choice(["all", "latest", "none"]), default="all", help="What becomes of missed instants."
)
@click.option(
    "--max-late", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Discard what begins later."
)
@click.option(
    "--jitter", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Move each run by up to so much."
)
@click.option("--start", metavar="WHEN", help="Nothing before then (ISO 8601).")
@click.option("--end", metavar="WHEN", help="Nothing after then (ISO 8601).")
@click.option("--replace", is_flag=True, help="In the place of all schedules that there are.")
@click.option("-y", "--accept-yes", is_flag=True, help="Do not ask.")
@json_option
def create(name: str, *, replace: bool, accept_yes: bool, params: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Add a schedule to a deployment."""
    from riverrun.base.errors import InputError
    from riverrun.cli.things import parameters_of
    from riverrun.client.calls.deployments import create_deployment_schedules, delete_deployment_schedule
    from riverrun.client.http import send
    from riverrun.schedules import as_create

    kinds = [kind for kind in ("interval", "cron", "rrule") if given[kind] is not None]
    if len(kinds) != 1:
        raise InputError(f"Give exactly one of --interval, --cron and --rrule, not {' and '.join(kinds) or 'none'}.")
    try:
        made = as_create({**given, "parameters": parameters_of(params, None)})
    except ValueError as error:
        raise InputError(str(error)) from None
    found = _find(name)
    if replace and found.schedules and not accept_yes:
        confirm(f"Replace {len(found.schedules)} schedules of {name!r}?")
    for old in found.schedules if replace else ():
        send(delete_deployment_schedule(found.id, old.id))
    new = send(create_deployment_schedules(found.id, [made]))[0]
    if as_json:
        print_json(new.model_dump(mode="json"))
    else:
        say(f"Deployment {name!r} runs {schedule_text(new)} ({new.id}).")


@schedule.command()
@click.argument("name")
@json_option
def ls(name: str, as_json: bool) -> None:
    """List the schedules of a deployment."""
    show_list(
        _find(name).schedules,
        ("ID", "Schedule", "Slug", "Active", "Parameters"),
        lambda each: (
            str(each.id),
            schedule_text(each),
            each.slug or "-",
            "yes" if each.active else "no",
            as_text(each.parameters) if each.parameters else "-",
        ),
        as_json=as_json,
        nothing="No schedules.",
    )


def _chosen(name: str, reference: str | None, *, all_: bool) -> "tuple[DeploymentResponse, list[DeploymentSchedule]]":
    """The schedule of an id or a slug, or all of them."""
    from riverrun.base.errors import InputError, NotFoundError

    if (reference is None) == (not all_):
        raise InputError("Give either the id (or slug) of a schedule or --all.")
    found = _find(name)
    chosen = [each for each in found.schedules if all_ or reference in (str(each.id), each.slug)]
    if not chosen and not all_:
        raise NotFoundError(
            f"Deployment {name!r} has no schedule {reference!r}; `riverrun schedule ls {name}` lists those it has."
        )
    return found, chosen


def _set_active(name: str, reference: str | None, *, all_: bool, active: bool) -> None:
    from riverrun.client.calls.deployments import update_deployment_schedule
    from riverrun.client.http import send
    from riverrun.wire.deployments import DeploymentScheduleUpdate

    found, chosen = _chosen(name, reference, all_=all_)
    for each in chosen:
        send(update_deployment_schedule(found.id, each.id, DeploymentScheduleUpdate(active=active)))
        say(f"Schedule {schedule_text(each)} of {name!r} {'makes runs' if active else 'is paused'}.")


_reference = click.argument("reference", metavar="[ID|SLUG]", required=False)


@schedule.command()
@click.argument("name")
@_reference
@click.option("--all", "all_", is_flag=True, help="All schedules of the deployment.")
def pause(name: str, reference: str | None, all_: bool) -> None:
    """Let a schedule rest."""
    _set_active(name, reference, all_=all_, active=False)


@schedule.command()
@click.argument("name")
@_reference
@click.option("--all", "all_", is_flag=True, help="All schedules of the deployment.")
def resume(name: str, reference: str | None, all_: bool) -> None:
    """Let a schedule make runs again."""
    _set_active(name, reference, all_=all_, active=True)


@schedule.command()
@click.argument("name")
@click.argument("reference", metavar="ID|SLUG")
@click.option("-y", "--assume-yes", is_flag=True, help="Do not ask.")
def delete(name: str, reference: str, assume_yes: bool) -> None:
    """Take a schedule from a deployment."""
    found, chosen = _chosen(name, reference, all_=False)
    _delete(name, found.id, chosen, ask=not assume_yes)


@schedule.command()
@click.argument("name")
@click.option("-y", "--assume-yes", is_flag=True, help="Do not ask.")
def clear(name: str, assume_yes: bool) -> None:
    """Take all schedules from a deployment."""
    found, chosen = _chosen(name, None, all_=True)
    _delete(name, found.id, chosen, ask=not assume_yes)


def _delete(name: str, deployment_id: UUID, chosen: "list[DeploymentSchedule]", *, ask: bool) -> None:
    from riverrun.client.calls.deployments import delete_deployment_schedule
    from riverrun.client.http import send

    if ask:
        confirm(f"Delete {', '.join(schedule_text(each) for each in chosen) or 'nothing'} of {name!r}?")
    for each in chosen:
        send(delete_deployment_schedule(deployment_id, each.id))
        say(f"Deleted schedule {schedule_text(each)} of {name!r}.")
