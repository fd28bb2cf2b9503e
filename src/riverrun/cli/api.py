"""`riverrun api`: any request to the API of a server."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import click

if TYPE_CHECKING:
    import httpx

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_WITH_BODY = {"POST", "PUT", "PATCH"}


@click.command()
@click.argument("method", type=click.Choice(METHODS, case_sensitive=False), metavar="METHOD")
@click.argument("path")
@click.option("-d", "--data", metavar="JSON", help="The body: JSON, @FILE, or - for standard input. Default: {}.")
@click.option("-f", "--field", "fields", multiple=True, metavar="NAME=VALUE", help="A parameter of the query.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME: VALUE", help="A header of the request.")
@click.option("-v", "--verbose", is_flag=True, help="Show the request and the headers of the answer on stderr.")
@click.pass_context
def api(
    ctx: click.Context,
    method: str,
    path: str,
    data: str | None,
    fields: tuple[str, ...],
    headers: tuple[str, ...],
    verbose: bool,
) -> None:
    """Send a request to the API and print the JSON it answers.

    PATH stands below the API's URL: `riverrun api GET /flows/name/etl`, `riverrun api POST /flow_runs/filter -d
    '{"limit": 3}'`. An answer with an error status is printed as well, and ends the command with 1.
    """
    from riverrun.base.errors import HTTPStatusError, ObjectAlreadyExists, ObjectNotFound, RiverrunError
    from riverrun.client.call import NO_BODY, Call, Raw
    from riverrun.client.http import send

    method = method.upper()
    parts = urlsplit(path)
    below = "/" + parts.path.removeprefix("/api/").lstrip("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | _pairs(fields, "=", "--field")
    body: Any = NO_BODY if data is None and method not in _WITH_BODY else _body(data)
    call = Call[Any](method, below, Raw, body, query=query, headers=_pairs(headers, ":", "--header"))
    problem: RiverrunError | None = None
    try:
        response = send(call)
    except HTTPStatusError as error:
        problem, response = error, error.response
    except (ObjectNotFound, ObjectAlreadyExists) as error:
        problem, response = error, getattr(error.http_exc, "response", None)
    if verbose:
        _show(response)
    _print(response)
    if problem is not None:
        click.echo(f"Error: {problem}", err=True)
        ctx.exit(1)


def _body(data: str | None) -> bytes:
    """The body as it is sent; what is no JSON is refused here, where the position can be told."""
    import json

    if data is None:
        return b"{}"
    if data in {"-", "@-"}:
        text = sys.stdin.read()
    elif data.startswith("@"):
        try:
            text = Path(data[1:]).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{data[1:]} cannot be read: {error}", param_hint="--data") from error
    else:
        text = data
    try:
        json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"this is no JSON: {error}", param_hint="--data") from error
    return text.encode()


def _pairs(given: tuple[str, ...], separator: str, option: str) -> dict[str, str]:
    pairs = [each.partition(separator) for each in given]
    for name, found, _ in pairs:
        if not (name.strip() and found):
            raise click.BadParameter(f"{name!r} has no {separator!r}; say NAME{separator}VALUE", param_hint=option)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _show(response: "httpx.Response") -> None:
    click.echo(f"{response.request.method} {response.request.url}", err=True)
    click.echo(f"{response.http_version} {response.status_code} {response.reason_phrase}", err=True)
    for name, value in response.headers.items():
        click.echo(f"{name}: {value}", err=True)


def _print(response: "httpx.Response") -> None:
    """The answer: indented if it is JSON, else as it came; nothing if it is empty."""
    import msgspec

    if not response.content:
        return
    try:
        click.echo(msgspec.json.format(response.content, indent=2))
    except msgspec.MsgspecError:
        click.echo(response.text)
