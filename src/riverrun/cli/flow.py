"""`riverrun flow`: list flows."""

import click

from riverrun.cli.groups import Group, json_option
from riverrun.cli.output import print_json, print_table, say, when
from riverrun.cli.runs import reading


@click.group(cls=Group)
def flow() -> None:
    """List flows."""


@flow.command()
@click.option("--limit", type=click.IntRange(1), default=15, show_default=True, help="At most this many.")
@json_option
def ls(limit: int, as_json: bool) -> None:
    """List flows, the latest first."""
    with reading() as store:
        flows = store.flows(limit=limit)
    if as_json:
        print_json([found.model_dump(mode="json") for found in flows])
        return
    if not flows:
        say("No flows.")
        return
    print_table(("ID", "Name", "Created"), [(str(found.id), found.name, when(found.created)) for found in flows])
