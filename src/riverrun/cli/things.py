"""What the commands about things on a server share: a list as a table or JSON, one thing as fields or JSON."""

from collections.abc import Callable, Sequence
from typing import Any

from riverrun.base.errors import InputError
from riverrun.cli.output import print_fields, print_json, print_table, say


def show_list(
    found: Any,
    columns: Sequence[str],
    row: Callable[[Any], Sequence[str]],
    *,
    as_json: bool,
    nothing: str,
) -> None:
    """A table with a row for each thing of a list, or one JSON document; `nothing` is said where there is none."""
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    elif not found:
        say(nothing)
    else:
        print_table(columns, [row(each) for each in found])


def show_one(found: Any, fields: Callable[[Any], Sequence[tuple[str, str]]], *, as_json: bool) -> None:
    """The fields of a thing, or one JSON document."""
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_fields(fields(found))


def as_text(value: Any) -> str:
    """A JSON value as a text: a string as it is, anything else as JSON."""
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_value(text: str) -> Any:
    """What a text on the command line means: a JSON value, else the text itself."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def either(first: Any, second: Any, names: str) -> None:
    """Refuse unless exactly one of two ways to name a thing was used."""
    if (first is None) == (second is None):
        raise InputError(f"Give either {names}.")


def parameters_of(pairs: Sequence[str], document: str | None, option: str = "--param") -> dict[str, Any]:
    """The values of `NAME=VALUE`, over those of a JSON object (`-`: read from stdin)."""
    import json
    import sys

    values: Any = {}
    if document is not None:
        try:
            values = json.loads(sys.stdin.read() if document == "-" else document)
        except ValueError as error:
            raise InputError(f"--params is not a JSON object: {error}") from None
        if not isinstance(values, dict):
            raise InputError("--params is not a JSON object.")
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{option} {text!r} is not of the form NAME=VALUE.")
        values[name] = as_value(value)
    return dict(values)
