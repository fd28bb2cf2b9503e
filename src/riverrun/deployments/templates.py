"""`{{ ... }}` in project files and steps: the environment, variables, blocks, and what earlier steps have answered.

    {{ $HOME }}                              an environment variable; empty where there is none
    {{ prefect.variables.bucket }}           a variable of the server (also riverrun.variables)
    {{ prefect.blocks.secret.token }}        what a block holds (also riverrun.blocks), `.field.field` behind it goes deeper
    {{ build.image }}, {{ image }}           the output of the step with that `id`, or of any earlier step

A text that is nothing but a placeholder becomes the value with its type. Other names stay as they are.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from riverrun.base.errors import InputError, ObjectNotFound
from riverrun.client.http import send

_PLACEHOLDER: Final = re.compile(r"\{\{\s*([\w$][\w.\-\[\]$]*)\s*\}\}")
_OURS: Final = re.compile(r"(?:prefect|riverrun)\.(variables|blocks)\.(.+)")

#: a lookup gives this for a name that it does not know
UNKNOWN: Final = object()
Lookup = Callable[[str], Any]


def fill_in(value: Any, *lookups: Lookup) -> Any:
    """A copy of a JSON value with its placeholders replaced by what the first lookup that knows them says."""
    if isinstance(value, str):
        return _fill_text(value, lookups)
    if isinstance(value, Mapping):
        return {_key(key, lookups): fill_in(item, *lookups) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill_in(item, *lookups) for item in value]
    return value


def _key(key: Any, lookups: tuple[Lookup, ...]) -> Any:
    return str(_fill_text(key, lookups)) if isinstance(key, str) else key


def _fill_text(text: str, lookups: tuple[Lookup, ...]) -> Any:
    if "{{" not in text:
        return text
    whole = _PLACEHOLDER.fullmatch(text.strip())
    if whole is not None:
        found = _look_up(whole[1], lookups)
        return text if found is UNKNOWN else found

    def replaced(match: "re.Match[str]") -> str:
        found = _look_up(match[1], lookups)
        return match[0] if found is UNKNOWN else _as_text(found)

    return _PLACEHOLDER.sub(replaced, text)


def _look_up(name: str, lookups: tuple[Lookup, ...]) -> Any:
    for lookup in lookups:
        found = lookup(name)
        if found is not UNKNOWN:
            return found
    return UNKNOWN


def _as_text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


# -- who knows names --------------------------------------------------------------------------------------------------------


def environment(name: str) -> Any:
    """`$NAME`; empty where it is not set, as in a shell."""
    return os.environ.get(name[1:], "") if name.startswith("$") else UNKNOWN


def set_environment(name: str) -> Any:
    """`$NAME` where it is set; what is not stays for whoever comes later."""
    return os.environ.get(name[1:], UNKNOWN) if name.startswith("$") else UNKNOWN


def outputs_of(outputs: Mapping[str, Any]) -> Lookup:
    """Names of what steps have answered, dots going deeper."""
    return lambda name: UNKNOWN if name.startswith("$") else _dig(outputs, name.split("."))


def kept_by_server(name: str) -> Any:
    """Variables and blocks. Raises InputError for one that does not exist."""
    match = _OURS.fullmatch(name)
    if match is None:
        return UNKNOWN
    return _variable(match[2]) if match[1] == "variables" else _block(match[2])


def _variable(path: str) -> Any:
    from riverrun.client.calls.variables import read_variable

    name, *fields = path.split(".")
    found = send(read_variable(name))
    if found is None:
        raise InputError(f"There is no variable {name!r}; `riverrun variable set {name} VALUE` makes it.")
    value = _dig(found.value, fields)
    if value is UNKNOWN:
        raise InputError(f"Variable {name!r} has no {'.'.join(fields)!r}.")
    return value


def _block(path: str) -> Any:
    from riverrun.client.calls.blocks import read_block_document_by_name

    slug, name, *rest = [*path.split("."), ""]
    fields = [part for part in rest if part]
    try:
        document = send(read_block_document_by_name(name, slug))
    except ObjectNotFound:
        raise InputError(
            f"There is no block {name!r} of type {slug!r}; `riverrun block ls` lists those there are."
        ) from None
    data: Any = document.data
    if not fields:
        # a block of one value stands for that value
        return data["value"] if isinstance(data, dict) and "value" in data else data
    found = _dig(data, fields)
    if found is UNKNOWN and isinstance(data, dict) and isinstance(data.get("value"), dict):
        found = _dig(data["value"], fields)
    if found is UNKNOWN:
        raise InputError(f"Block {slug}/{name} has no {'.'.join(fields)!r}.")
    return found


_INDEXED: Final = re.compile(r"([^\[\]]+)((?:\[\d+\])*)")


def _dig(value: Any, path: list[str]) -> Any:
    for part in path:
        match = _INDEXED.fullmatch(part)
        if match is None or not isinstance(value, Mapping) or match[1] not in value:
            return UNKNOWN
        value = value[match[1]]
        for index in re.findall(r"\d+", match[2]):
            if not isinstance(value, list) or int(index) >= len(value):
                return UNKNOWN
            value = value[int(index)]
    return value
