"""`riverrun event`: watch what happens, and say that something did."""

import sys
from typing import TYPE_CHECKING, Any

import click

from riverrun.cli.groups import Group
from riverrun.cli.output import plain, say, write

if TYPE_CHECKING:
    from io import TextIOWrapper


@click.group(cls=Group)
def event() -> None:
    """Watch events, and emit them."""


@event.command()
@click.option("--format", "form", type=click.Choice(["json", "text"]), default="json", show_default=True)
@click.option("--output-file", type=click.File("a", encoding="utf-8"), help="Append the events to this file.")
@click.option("--run-once", is_flag=True, help="End after the first event.")
def stream(form: str, output_file: "TextIOWrapper | None", run_once: bool) -> None:
    """Print each event as it comes, one a line, until Ctrl-C."""
    import msgspec

    from riverrun.client.sockets import Subscriber, subscribe_events
    from riverrun.wire.events import ReceivedEvent

    say("Waiting for events. Ctrl-C ends.")
    events: Subscriber[ReceivedEvent] = subscribe_events()
    with events:
        for each in events:
            line = (
                msgspec.json.encode(each).decode()
                if form == "json"
                else f"{each.occurred.isoformat()} {plain(each.event)} {plain(str(each.resource.get('prefect.resource.id')))}"
            )
            if output_file is None:
                write(line)
                sys.stdout.flush()
            else:
                output_file.write(f"{line}\n")
                output_file.flush()
            if run_once:
                return


@event.command()
@click.argument("name")
@click.option(
    "-r", "--resource", "labels", multiple=True, metavar="NAME=VALUE", help="A label of the resource, or JSON."
)
@click.option("--resource-id", metavar="ID", help="The same as --resource prefect.resource.id=ID.")
@click.option("--related", metavar="JSON", help="A related resource, or a list of them.")
@click.option("-p", "--payload", metavar="JSON", help="What more is to be said.")
def emit(name: str, labels: tuple[str, ...], resource_id: str | None, related: str | None, payload: str | None) -> None:
    """Emit an event."""
    from riverrun.base.errors import InputError
    from riverrun.client.calls.events import create_events
    from riverrun.client.http import send
    from riverrun.events import Event

    resource: dict[str, Any] = {}
    for label in labels:
        if label.lstrip().startswith("{"):
            resource |= _json("--resource", label, dict)
        else:
            key, separator, value = label.partition("=")
            if not separator:
                raise InputError(f"--resource {label!r} is neither NAME=VALUE nor a JSON object.")
            resource[key] = value
    if resource_id is not None:
        resource["prefect.resource.id"] = resource_id
    others = _json("--related", related, (dict, list)) if related is not None else []
    try:
        made = Event(
            event=name,
            resource=resource,
            related=others if isinstance(others, list) else [others],
            payload=_json("--payload", payload, dict) if payload is not None else {},
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    send(create_events([made]))
    say(f"Emitted event {made.id}.")


def _json(option: str, text: str, kind: type[Any] | tuple[type[Any], ...]) -> Any:
    import json

    from riverrun.base.errors import InputError

    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{option} is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise InputError(f"{option} must be a JSON {'object' if kind is dict else 'object or a list of them'}.")
    return value
