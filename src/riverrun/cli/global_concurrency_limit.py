"""`riverrun global-concurrency-limit` (`gcl`): limits that any code can take slots of."""

from typing import TYPE_CHECKING, Any

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import exactly_when, say
from riverrun.cli.things import show_list, show_one

if TYPE_CHECKING:
    from riverrun.wire.concurrency import ConcurrencyLimitV2Update, GlobalConcurrencyLimitResponse


@click.group(cls=Group, name="global-concurrency-limit")
def global_concurrency_limit() -> None:
    """Limit how much happens at once, or per second."""


@global_concurrency_limit.command()
@click.argument("name")
@click.option("-l", "--limit", type=click.IntRange(0), required=True, help="How many slots there are.")
@click.option("--disable", is_flag=True, help="Do not let it limit anything yet.")
@click.option("--active-slots", type=click.IntRange(0), default=0, help="How many slots are taken already.")
@click.option(
    "--slot-decay-per-second", type=click.FloatRange(0), default=0.0, help="Slots that come back each second."
)
def create(name: str, limit: int, disable: bool, active_slots: int, slot_decay_per_second: float) -> None:
    """Make a limit. With a decay it limits a rate."""
    from riverrun.base.errors import InputError, ObjectAlreadyExists
    from riverrun.client.calls.concurrency import create_limit
    from riverrun.client.http import send
    from riverrun.wire.concurrency import ConcurrencyLimitV2Create

    made = ConcurrencyLimitV2Create(
        name=name,
        limit=limit,
        active=not disable,
        active_slots=active_slots,
        slot_decay_per_second=slot_decay_per_second,
    )
    try:
        found = send(create_limit(made))
    except ObjectAlreadyExists:
        raise InputError(f"There is a limit {name!r} already; `riverrun gcl update {name}` changes it.") from None
    say(f"Created the limit {name!r} ({found.id}).")


@global_concurrency_limit.command()
@json_option
def ls(as_json: bool) -> None:
    """List the limits."""
    from riverrun.client.calls.concurrency import read_limits
    from riverrun.client.http import send

    found: list[GlobalConcurrencyLimitResponse] = []
    while True:
        page = send(read_limits(200, len(found)))
        found += page
        if len(page) < 200:
            break
    columns = ("ID", "Name", "Active", ">Limit", ">Taken", ">Decay per second")
    show_list(found, columns, _row, as_json=as_json, nothing="No limits.")


def _row(found: "GlobalConcurrencyLimitResponse") -> tuple[str, ...]:
    active = "yes" if found.active else "no"
    return (
        str(found.id),
        found.name,
        active,
        str(found.limit),
        str(found.active_slots),
        str(found.slot_decay_per_second),
    )


@global_concurrency_limit.command()
@click.argument("name")
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a limit."""
    from riverrun.client.calls.concurrency import read_limit
    from riverrun.client.http import send

    show_one(
        send(read_limit(name)),
        lambda found: [
            ("ID", str(found.id)),
            ("Name", found.name),
            ("Active", "yes" if found.active else "no"),
            ("Limit", str(found.limit)),
            ("Taken", str(found.active_slots)),
            ("Decay per second", str(found.slot_decay_per_second)),
            ("Created", exactly_when(found.created)),
            ("Updated", exactly_when(found.updated)),
        ],
        as_json=as_json,
    )


@global_concurrency_limit.command()
@click.argument("name")
@click.option("--enable", is_flag=True, help="Let it limit.")
@click.option("--disable", is_flag=True, help="Do not let it limit anything.")
@click.option("-l", "--limit", type=click.IntRange(0), help="How many slots there are.")
@click.option("--active-slots", type=click.IntRange(0), help="How many slots are taken.")
@click.option("--slot-decay-per-second", type=click.FloatRange(0), help="Slots that come back each second.")
def update(
    name: str,
    enable: bool,
    disable: bool,
    limit: int | None,
    active_slots: int | None,
    slot_decay_per_second: float | None,
) -> None:
    """Change a limit."""
    from riverrun.base.errors import InputError
    from riverrun.wire.concurrency import ConcurrencyLimitV2Update

    if enable and disable:
        raise InputError("Give either --enable or --disable.")
    given = {"limit": limit, "active_slots": active_slots, "slot_decay_per_second": slot_decay_per_second}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if enable or disable:
        changes["active"] = enable
    if not changes:
        raise InputError(
            "Nothing to change: give --limit, --active-slots, --slot-decay-per-second, --enable or --disable."
        )
    _change(name, ConcurrencyLimitV2Update(**changes))
    say(f"Changed the limit {name!r}.")


@global_concurrency_limit.command()
@click.argument("name")
def enable(name: str) -> None:
    """Let a limit limit."""
    from riverrun.wire.concurrency import ConcurrencyLimitV2Update

    _change(name, ConcurrencyLimitV2Update(active=True))
    say(f"The limit {name!r} limits.")


@global_concurrency_limit.command()
@click.argument("name")
def disable(name: str) -> None:
    """Let a limit limit nothing."""
    from riverrun.wire.concurrency import ConcurrencyLimitV2Update

    _change(name, ConcurrencyLimitV2Update(active=False))
    say(f"The limit {name!r} limits nothing.")


@global_concurrency_limit.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete a limit."""
    from riverrun.client.calls.concurrency import delete_limit
    from riverrun.client.http import send

    confirm(f"Delete the limit {name!r}?")
    send(delete_limit(name))
    say(f"Deleted the limit {name!r}.")


def _change(name: str, changes: "ConcurrencyLimitV2Update") -> None:
    from riverrun.client.calls.concurrency import update_limit
    from riverrun.client.http import send

    send(update_limit(name, changes))
