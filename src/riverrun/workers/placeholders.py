"""What the server leaves to the worker in a job configuration: `{{ $NAME }}`, variables and blocks, filled in here."""

import os
import re
from typing import Any, Final

from riverrun.base.errors import InputError

_PLACEHOLDER: Final = re.compile(r"{{\s*(\$\w+|(?:prefect|riverrun)\.(?:blocks|variables)\.[\w.-]+)\s*}}")


def filled(value: Any) -> Any:
    """The value with its placeholders filled in; a text that is one placeholder becomes what it stands for.

    Raises InputError naming the variable or block that is not there. Whatever else is in double braces is dropped: nobody set it.
    """
    if isinstance(value, dict):
        return {name: filled(part) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part) for part in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    whole = _PLACEHOLDER.fullmatch(value.strip())
    if whole is not None:
        return _meaning(whole[1])
    return _PLACEHOLDER.sub(lambda found: str(_meaning(found[1])), value)


def _meaning(name: str) -> Any:
    if name.startswith("$"):
        return os.environ.get(name[1:], "")
    _, kind, rest = name.split(".", 2)
    return _variable(rest) if kind == "variables" else _block(rest)


def _variable(path: str) -> Any:
    from riverrun.variables import Variable

    name, *inner = path.split(".")
    found = Variable.get(name)
    if found is None:
        raise InputError(f"There is no variable {name!r}, which the job configuration names.")
    return _inside(found, inner, f"variable {name!r}")


def _block(path: str) -> Any:
    from riverrun.client.calls.blocks import read_block_document_by_name
    from riverrun.client.http import send

    kind, _, rest = path.partition(".")
    name, *inner = rest.split(".")
    document = send(read_block_document_by_name(name, kind, include_secrets=True))
    data = document.data
    if not inner and set(data) == {"value"}:  # a secret or another block of one value stands for the value
        return data["value"]
    return _inside(data, inner, f"block {kind}/{name}")


def _inside(value: Any, path: list[str], what: str) -> Any:
    for part in path:
        if not isinstance(value, dict) or part not in value:
            raise InputError(f"There is no {part!r} in {what}, which the job configuration names.")
        value = value[part]
    return value
