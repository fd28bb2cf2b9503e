"""`riverrun work-pool`: where deployments run, and how much of it at once."""

import json
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import Cell, exactly_when, print_fields, print_json, print_table, say, when
from riverrun.cli.things import show_list

if TYPE_CHECKING:
    from riverrun.client.calls.answers import ScheduledWork
    from riverrun.wire.work import WorkPoolResponse

_COLORS = {"READY": "green", "NOT_READY": "yellow", "PAUSED": "magenta"}


@click.group(cls=Group, name="work-pool")
def work_pool() -> None:
    """Make work pools, limit, pause and look at them."""


def status_cell(status: str | None) -> Cell:
    return Cell((status or "-").replace("_", " ").lower(), _COLORS.get(str(status), "white"))


def limit_text(taken: int | None, limit: int | None) -> str:
    return f"{taken or 0} of {limit}" if limit is not None else f"{taken or 0}"


def _template(file: IO[str] | None) -> dict[str, Any] | None:
    from riverrun.base.errors import InputError

    if file is None:
        return None
    try:
        found = json.load(file)
    except ValueError as error:
        raise InputError(f"{file.name!r} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{file.name!r} must hold a JSON object.")
    return found


def _default_template(kind: str) -> dict[str, Any]:
    """The template of a type of workers: as its class here says, else as the server knows it."""
    from riverrun.base.errors import InputError
    from riverrun.client.calls.work import read_worker_metadata
    from riverrun.client.http import send
    from riverrun.workers.types import worker_class

    try:
        return worker_class(kind, "").get_default_base_job_template()
    except InputError:
        known = {name: facts for types in send(read_worker_metadata()).values() for name, facts in types.items()}
    if kind not in known:
        raise InputError(
            f"Nobody here knows the template of {kind!r} workers: give one with --base-job-template, or choose of"
            f" {', '.join(sorted(known))}."
        )
    found: dict[str, Any] = known[kind]["default_base_job_configuration"]
    return found


@work_pool.command()
@click.argument("name")
@click.option(
    "-t", "--type", "kind", default="process", show_default=True, metavar="TYPE", help="The type of its workers."
)
@click.option("--base-job-template", type=click.File(), metavar="FILE", help="A JSON template of its jobs.")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--concurrency-limit", type=click.IntRange(0), metavar="N", help="Most runs at once.")
@click.option("--paused", is_flag=True, help="Let nothing run yet.")
@click.option("--overwrite", is_flag=True, help="Change the pool if there is one of this name.")
@click.option(
    "--set-as-default", is_flag=True, help="Deploy here where nothing else is said (a setting of the profile)."
)
@json_option
def create(
    name: str,
    *,
    kind: str,
    base_job_template: IO[str] | None,
    description: str | None,
    concurrency_limit: int | None,
    paused: bool,
    overwrite: bool,
    set_as_default: bool,
    as_json: bool,
) -> None:
    """Make a work pool."""
    from riverrun.base.errors import InputError, ObjectAlreadyExists
    from riverrun.client.orchestration.work import create_work_pool
    from riverrun.client.talk import hold
    from riverrun.wire.work import WorkPoolCreate

    body = WorkPoolCreate(
        name=name,
        type=kind,
        description=description,
        base_job_template=_template(base_job_template) or _default_template(kind),
        is_paused=paused,
        concurrency_limit=concurrency_limit,
    )
    try:
        made = hold(create_work_pool(body, overwrite=overwrite))
    except ObjectAlreadyExists:
        raise InputError(f"There is a work pool {name!r} already; --overwrite changes it.") from None
    if set_as_default:
        from riverrun.cli.config import config

        setting = f"RIVERRUN_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME={name}"
        click.get_current_context().invoke(config.commands["set"], settings=(setting,))
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        say(f"Created the {made.type} work pool {name!r} ({made.id}).")
        say(f"A worker for it: riverrun worker start --pool {name}")


@work_pool.command()
@click.option("-v", "--verbose", is_flag=True, help="Show more.")
@json_option
def ls(verbose: bool, as_json: bool) -> None:
    """List the work pools."""
    from riverrun.client.calls.work import read_work_pools
    from riverrun.client.http import send

    found: list[WorkPoolResponse] = []
    while True:
        page = send(read_work_pools(200, len(found)))
        found += page
        if len(page) < 200:
            break
    more = ("Description", "Created") if verbose else ()
    show_list(
        found,
        ("ID", "Name", "Type", "Status", ">Taken", *more),
        lambda each: (
            str(each.id),
            each.name,
            each.type,
            status_cell(each.status),
            limit_text(each.active_slots, each.concurrency_limit),
            *((each.description or "-", when(each.created)) if verbose else ()),
        ),
        as_json=as_json,
        nothing="No work pools.",
    )


@work_pool.command()
@click.argument("name")
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a work pool: its queues, its workers, its template."""
    from riverrun.client.calls.work import read_work_pool, read_work_queues, read_workers_for_work_pool
    from riverrun.client.http import send

    found = send(read_work_pool(name))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_fields(
        [
            ("ID", str(found.id)),
            ("Name", found.name),
            ("Type", found.type),
            ("Status", status_cell(found.status)),
            ("Description", found.description or "-"),
            ("Runs", limit_text(found.active_slots, found.concurrency_limit)),
            ("Created", exactly_when(found.created)),
            ("Updated", exactly_when(found.updated)),
            ("Variables", ", ".join(found.base_job_template.get("variables", {}).get("properties", {})) or "-"),
        ]
    )
    queues = [
        (each.name, str(each.priority), status_cell(each.status), limit_text(each.active_slots, each.concurrency_limit))
        for each in send(read_work_queues(name))
    ]
    print_table(("Queue", ">Priority", "Status", ">Taken"), queues)
    workers = [
        (
            each.name,
            Cell(each.status.lower(), "green" if each.status == "ONLINE" else "yellow"),
            when(each.last_heartbeat_time),
        )
        for each in send(read_workers_for_work_pool(name))
    ]
    if workers:
        print_table(("Worker", "Status", "Last sign of life"), workers)
    else:
        say(f"No worker has come yet: riverrun worker start --pool {name}")


def _change(name: str, done: str, **fields: Any) -> None:
    from riverrun.client.calls.work import update_work_pool
    from riverrun.client.http import send
    from riverrun.wire.work import WorkPoolUpdate

    send(update_work_pool(name, WorkPoolUpdate(**fields)))
    say(done)


@work_pool.command()
@click.argument("name")
def pause(name: str) -> None:
    """Let nothing more of a work pool begin."""
    _change(name, f"Work pool {name!r} is paused.", is_paused=True)


@work_pool.command()
@click.argument("name")
def resume(name: str) -> None:
    """Let runs of a work pool begin again."""
    _change(name, f"Work pool {name!r} goes on.", is_paused=False)


@work_pool.command()
@click.argument("name")
@click.option("--base-job-template", type=click.File(), metavar="FILE", help="A JSON template of its jobs.")
@click.option("--concurrency-limit", type=click.IntRange(0), metavar="N", help="Most runs at once.")
@click.option("--description", metavar="TEXT", help="What it is for.")
def update(
    name: str, base_job_template: IO[str] | None, concurrency_limit: int | None, description: str | None
) -> None:
    """Change a work pool."""
    from riverrun.base.errors import InputError

    given = {
        "base_job_template": _template(base_job_template),
        "concurrency_limit": concurrency_limit,
        "description": description,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise InputError("Nothing to change: give --base-job-template, --concurrency-limit or --description.")
    _change(name, f"Changed the work pool {name!r}.", **changes)


@work_pool.command(name="set-concurrency-limit")
@click.argument("name")
@click.argument("limit", type=click.IntRange(0))
def set_concurrency_limit(name: str, limit: int) -> None:
    """Let at most LIMIT runs of a work pool go on at once."""
    _change(name, f"At most {limit} runs of work pool {name!r} go on at once.", concurrency_limit=limit)


@work_pool.command(name="clear-concurrency-limit")
@click.argument("name")
def clear_concurrency_limit(name: str) -> None:
    """Take the limit from a work pool."""
    _change(name, f"Work pool {name!r} has no limit.", concurrency_limit=None)


@work_pool.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete a work pool with its queues."""
    from riverrun.client.calls.work import delete_work_pool, read_work_pool
    from riverrun.client.http import send

    send(read_work_pool(name))
    confirm(f"Delete the work pool {name!r}?")
    send(delete_work_pool(name))
    say(f"Deleted the work pool {name!r}.")


@work_pool.command()
@click.argument("name")
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="How far ahead.")
@json_option
def preview(name: str, hours: float, as_json: bool) -> None:
    """Show the runs that a work pool's workers will get."""
    from riverrun.client.calls.work import get_scheduled_flow_runs_for_work_pool, read_work_pool
    from riverrun.client.http import send

    send(read_work_pool(name))
    until = datetime.now(UTC) + timedelta(hours=hours)
    show_runs(send(get_scheduled_flow_runs_for_work_pool(name, scheduled_before=until)), as_json=as_json)


def show_runs(found: "list[ScheduledWork]", *, as_json: bool) -> None:
    """Runs that are to come."""
    show_list(
        [each.flow_run for each in found],
        ("ID", "Name", "State", "Scheduled"),
        lambda run: (str(run.id), run.name, run.state_name or "-", when(run.next_scheduled_start_time)),
        as_json=as_json,
        nothing="Nothing is to come.",
    )


@work_pool.command(name="get-default-base-job-template")
@click.option("-t", "--type", "kind", default="process", show_default=True, metavar="TYPE", help="The type of workers.")
@click.option("-f", "--file", "file", type=click.File("w"), metavar="FILE", help="Write it there.")
def get_default_base_job_template(kind: str, file: IO[str] | None) -> None:
    """Print the template of jobs that work pools of a type have unless another is given."""
    if file is None:
        print_json(_default_template(kind))
    else:
        json.dump(_default_template(kind), file, indent=2)
