"""`riverrun concurrency-limit`: how many tasks with a tag run at once."""

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import exactly_when, say
from riverrun.cli.things import show_list, show_one


@click.group(cls=Group, name="concurrency-limit")
def concurrency_limit() -> None:
    """Limit how many tasks with a tag run at once."""


@concurrency_limit.command()
@click.argument("tag")
@click.argument("limit", type=click.IntRange(0))
def create(tag: str, limit: int) -> None:
    """Limit a tag, or change its limit."""
    from riverrun.client.calls.concurrency import create_tag_limit
    from riverrun.client.http import send

    send(create_tag_limit(tag, limit))
    say(f"At most {limit} tasks with the tag {tag!r} run at once.")


@concurrency_limit.command()
@click.option("--limit", type=click.IntRange(1, 200), default=15, show_default=True, help="At most this many.")
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="Pass over so many.")
@json_option
def ls(limit: int, offset: int, as_json: bool) -> None:
    """List the limits of tags."""
    from riverrun.client.calls.concurrency import read_tag_limits
    from riverrun.client.http import send

    show_list(
        send(read_tag_limits(limit, offset)),
        ("ID", "Tag", ">Limit", ">Taken"),
        lambda found: (str(found.id), found.tag, str(found.concurrency_limit), str(len(found.active_slots))),
        as_json=as_json,
        nothing="No limits of tags.",
    )


@concurrency_limit.command()
@click.argument("tag")
@json_option
def inspect(tag: str, as_json: bool) -> None:
    """Show the limit of a tag and the task runs that hold its slots."""
    from riverrun.client.calls.concurrency import read_tag_limit
    from riverrun.client.http import send

    show_one(
        send(read_tag_limit(tag)),
        lambda found: [
            ("ID", str(found.id)),
            ("Tag", found.tag),
            ("Limit", str(found.concurrency_limit)),
            ("Taken", str(len(found.active_slots))),
            ("Task runs", ", ".join(map(str, found.active_slots)) or "-"),
            ("Created", exactly_when(found.created)),
            ("Updated", exactly_when(found.updated)),
        ],
        as_json=as_json,
    )


@concurrency_limit.command()
@click.argument("tag")
def reset(tag: str) -> None:
    """Take all slots of a tag away from those who hold them."""
    from riverrun.client.calls.concurrency import reset_tag_limit
    from riverrun.client.http import send

    confirm(f"Free all slots of the tag {tag!r}? Runs that hold them go on.")
    send(reset_tag_limit(tag))
    say(f"All slots of the tag {tag!r} are free.")


@concurrency_limit.command()
@click.argument("tag")
def delete(tag: str) -> None:
    """Delete the limit of a tag."""
    from riverrun.client.calls.concurrency import delete_tag_limit
    from riverrun.client.http import send

    confirm(f"Delete the limit of the tag {tag!r}?")
    send(delete_tag_limit(tag))
    say(f"Deleted the limit of the tag {tag!r}.")
