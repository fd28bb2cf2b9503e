"""`riverrun variable`: keep named values on the server."""

from typing import TYPE_CHECKING, Any

import click

from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import exactly_when, say, when, write
from riverrun.cli.things import as_text, as_value, show_list, show_one

if TYPE_CHECKING:
    from riverrun.wire.variables import Variable


@click.group(cls=Group)
def variable() -> None:
    """Keep named values on the server."""


@variable.command()
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many.")
@json_option
def ls(limit: int, as_json: bool) -> None:
    """List the variables."""
    from riverrun.client.calls.variables import read_variables
    from riverrun.client.http import send
    from riverrun.wire.requests import VariablesFilterBody

    found = send(read_variables(VariablesFilterBody(limit=limit)))
    columns = ("Name", "Value", "Tags", "Created", "Updated")
    show_list(found, columns, _row, as_json=as_json, nothing="No variables.")


def _row(found: "Variable") -> tuple[str, ...]:
    value = as_text(found.value)
    shown = value if len(value) <= 60 else value[:59] + "…"
    return found.name, shown, ", ".join(found.tags) or "-", when(found.created), when(found.updated)


@variable.command()
@click.argument("name")
def get(name: str) -> None:
    """Print a variable's value: a text as it is, anything else as JSON."""
    write(as_text(_read(name).value))


@variable.command()
@click.argument("name")
@json_option
def inspect(name: str, as_json: bool) -> None:
    """Show a variable with its tags and times."""
    show_one(
        _read(name),
        lambda found: [
            ("ID", str(found.id)),
            ("Name", found.name),
            ("Value", as_text(found.value)),
            ("Tags", ", ".join(found.tags) or "-"),
            ("Created", exactly_when(found.created)),
            ("Updated", exactly_when(found.updated)),
        ],
        as_json=as_json,
    )


@variable.command(name="set")
@click.argument("name")
@click.argument("value")
@click.option("--overwrite/--no-overwrite", default=False, help="Replace the value of a variable that is there.")
@click.option("--tag", "tags", multiple=True, help="A tag of the variable; may be repeated.")
def set_(name: str, value: str, *, overwrite: bool, tags: tuple[str, ...]) -> None:
    """Set a variable. A VALUE that is JSON is kept as such, any other as text."""
    from riverrun.base.errors import InputError, ObjectAlreadyExists
    from riverrun.client.calls.variables import create_variable, update_variable
    from riverrun.client.http import send
    from riverrun.wire.variables import VariableCreate, VariableUpdate

    given: Any = as_value(value)
    try:
        send(create_variable(VariableCreate(name=name, value=given, tags=list(tags))))
    except ObjectAlreadyExists:
        if not overwrite:
            raise InputError(f"There is a variable {name!r} already. --overwrite replaces its value.") from None
        send(update_variable(name, VariableUpdate(value=given, tags=list(tags))))
    say(f"Set variable {name!r}.")


@variable.command()
@click.argument("name")
def unset(name: str) -> None:
    """Delete a variable."""
    from riverrun.client.calls.variables import delete_variable
    from riverrun.client.http import send

    confirm(f"Delete the variable {name!r}?")
    send(delete_variable(name))
    say(f"Deleted variable {name!r}.")


variable.add_command(unset, "delete")


def _read(name: str) -> "Variable":
    from riverrun.base.errors import ObjectNotFound
    from riverrun.client.calls.variables import read_variable
    from riverrun.client.http import send

    found = send(read_variable(name))
    if found is None:
        raise ObjectNotFound(f"There is no variable {name!r}.")
    return found
