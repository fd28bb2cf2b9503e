"""`riverrun work-queue`: what of a work pool comes first, and how much of it at once."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import exactly_when, say, when
from riverrun.cli.things import show_list, show_one
from riverrun.cli.work_pool import limit_text, show_runs, status_cell

if TYPE_CHECKING:
    from riverrun.wire.work import WorkQueueResponse

_pool = click.option("-p", "--pool", metavar="NAME", help="The work pool that it belongs to.")


@click.group(cls=Group, name="work-queue")
def work_queue() -> None:
    """Make work queues, limit, pause and look at them. A queue is named by its name and --pool, or by its id."""


def _find(name: str, pool: str | None) -> "WorkQueueResponse":
    from riverrun.client.calls.work import read_work_queue, read_work_queue_by_name
    from riverrun.client.http import send

    if pool is None:
        try:
            return send(read_work_queue(UUID(name)))
        except ValueError:
            pass
    return send(read_work_queue_by_name(name, pool))


@work_queue.command()
@click.argument("name")
@_pool
@click.option("-l", "--limit", type=click.IntRange(0), metavar="N", help="Most runs at once.")
@click.option("-q", "--priority", type=click.IntRange(1), metavar="N", help="1 comes first.")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@json_option
def create(
    name: str, *, pool: str | None, limit: int | None, priority: int | None, description: str, as_json: bool
) -> None:
    """Make a work queue."""
    from riverrun.base.errors import InputError, ObjectAlreadyExists
    from riverrun.cli.output import print_json
    from riverrun.client.calls.work import create_work_queue
    from riverrun.client.http import send
    from riverrun.wire.work import WorkQueueCreate

    body = WorkQueueCreate(name=name, concurrency_limit=limit, priority=priority, description=description)
    try:
        made = send(create_work_queue(body, pool))
    except ObjectAlreadyExists:
        raise InputError(f"There is a work queue {name!r} in that pool already.") from None
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        say(
            f"Created the work queue {name!r} of pool {made.work_pool_name!r} with priority {made.priority} ({made.id})."
        )


@work_queue.command()
@_pool
@click.option("-m", "--match", metavar="PREFIX", help="Only queues whose names begin so.")
@json_option
def ls(pool: str | None, match: str | None, as_json: bool) -> None:
    """List work queues, of all pools or of one."""
    from riverrun.client.calls.work import read_work_queues
    from riverrun.client.http import send

    found: list[WorkQueueResponse] = []
    while True:
        page = send(read_work_queues(pool, limit=200, offset=len(found)))
        found += page
        if len(page) < 200:
            break
    show_list(
        [each for each in found if each.name.startswith(match or "")],
        ("ID", "Pool", "Name", ">Priority", "Status", ">Taken"),
        lambda each: (
            str(each.id),
            each.work_pool_name or "-",
            each.name,
            str(each.priority),
            status_cell(each.status),
            limit_text(each.active_slots, each.concurrency_limit),
        ),
        as_json=as_json,
        nothing="No work queues.",
    )


@work_queue.command()
@click.argument("name")
@_pool
@json_option
def inspect(name: str, pool: str | None, as_json: bool) -> None:
    """Show a work queue."""
    show_one(
        _find(name, pool),
        lambda found: [
            ("ID", str(found.id)),
            ("Name", found.name),
            ("Pool", found.work_pool_name or "-"),
            ("Priority", str(found.priority)),
            ("Status", status_cell(found.status)),
            ("Description", found.description or "-"),
            ("Runs", limit_text(found.active_slots, found.concurrency_limit)),
            ("Last polled", when(found.last_polled)),
            ("Created", exactly_when(found.created)),
            ("Updated", exactly_when(found.updated)),
        ],
        as_json=as_json,
    )


def _change(name: str, pool: str | None, done: str, **fields: Any) -> None:
    from riverrun.client.calls.work import update_work_queue
    from riverrun.client.http import send
    from riverrun.wire.work import WorkQueueUpdate

    send(update_work_queue(_find(name, pool).id, WorkQueueUpdate(**fields)))
    say(done)


@work_queue.command()
@click.argument("name")
@_pool
def pause(name: str, pool: str | None) -> None:
    """Let nothing more of a work queue begin."""
    _change(name, pool, f"Work queue {name!r} is paused.", is_paused=True)


@work_queue.command()
@click.argument("name")
@_pool
def resume(name: str, pool: str | None) -> None:
    """Let runs of a work queue begin again."""
    _change(name, pool, f"Work queue {name!r} goes on.", is_paused=False)


@work_queue.command(name="set-concurrency-limit")
@click.argument("name")
@click.argument("limit", type=click.IntRange(0))
@_pool
def set_concurrency_limit(name: str, limit: int, pool: str | None) -> None:
    """Let at most LIMIT runs of a work queue go on at once."""
    _change(name, pool, f"At most {limit} runs of work queue {name!r} go on at once.", concurrency_limit=limit)


@work_queue.command(name="clear-concurrency-limit")
@click.argument("name")
@_pool
def clear_concurrency_limit(name: str, pool: str | None) -> None:
    """Take the limit from a work queue."""
    _change(name, pool, f"Work queue {name!r} has no limit.", concurrency_limit=None)


@work_queue.command()
@click.argument("name")
@_pool
def delete(name: str, pool: str | None) -> None:
    """Delete a work queue."""
    from riverrun.client.calls.work import delete_work_queue_by_id
    from riverrun.client.http import send

    found = _find(name, pool)
    confirm(f"Delete the work queue {found.name!r} of pool {found.work_pool_name!r}?")
    send(delete_work_queue_by_id(found.id))
    say(f"Deleted the work queue {found.name!r}.")


@work_queue.command()
@click.argument("name")
@_pool
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="How far ahead.")
@json_option
def preview(name: str, pool: str | None, hours: float, as_json: bool) -> None:
    """Show the runs of a work queue that workers will get."""
    from riverrun.client.calls.work import get_scheduled_flow_runs_for_work_pool
    from riverrun.client.http import send

    found = _find(name, pool)
    until = datetime.now(UTC) + timedelta(hours=hours)
    call = get_scheduled_flow_runs_for_work_pool(str(found.work_pool_name), [found.name], scheduled_before=until)
    show_runs(send(call), as_json=as_json)
