"""Names of block schemas, and which values of a block are secret: what both towers must say in the same way."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

#: stands for a secret where it is not told
MASK = "********"


def without_key(value: Any, key: str) -> Any:
    """A dictionary of dictionaries without a key at any depth; lists stay as they are."""
    if not isinstance(value, dict):
        return value
    return {name: without_key(part, key) for name, part in value.items() if name != key}


def checksum(schema: dict[str, Any], default: Callable[[Any], Any] | None = None) -> str:
    """The name of a schema: a hash of all that is in it except which fields are secret and the definitions of blocks.

    `default` gives the JSON form of what has none.
    """
    fields = without_key(schema, "secret_fields")
    definitions = fields.pop("definitions", None)
    if isinstance(definitions, dict) and definitions:
        named = {reference.removeprefix("#/definitions/") for reference in references_in([fields, definitions])}
        kept = {
            name: definition
            for name, definition in definitions.items()
            if name in named
            and isinstance(definition, dict)
            and definition
            and definition.get("block_type_slug") is None
        }
        if kept:
            fields["definitions"] = kept
    document = json.dumps([[fields], {}], sort_keys=True, default=default)
    return f"sha256:{hashlib.sha256(document.encode()).hexdigest()}"


def references_in(value: Any) -> Iterator[str]:
    """Every `$ref` in a schema."""
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference
        for part in value.values():
            yield from references_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from references_in(part)


def masked(data: Any, secret_fields: list[str]) -> Any:
    """A block's data with its secrets covered."""
    for field in secret_fields:
        data = _replaced(data, field.split("."), lambda value, _: value if value is None else MASK, None)
    return data


def unmasked(data: Any, secret_fields: list[str], known: Any) -> Any:
    """Data in which covered secrets are those that are known: somebody has sent back what he was shown."""
    for field in secret_fields:
        data = _replaced(
            data, field.split("."), lambda value, old: value if value != MASK or old is None else old, known
        )
    return data


def _replaced(value: Any, path: list[str], replace: Callable[[Any, Any], Any], other: Any) -> Any:
    """The value with what stands at the path replaced; `other` is walked along. `*` stands for everything below."""
    if not path:
        return replace(value, other)
    if isinstance(value, list):
        others = other if isinstance(other, list) else []
        return [
            _replaced(part, path, replace, others[at] if at < len(others) else None) for at, part in enumerate(value)
        ]
    if not isinstance(value, dict):
        return replace(value, other) if path == ["*"] else value
    name, rest = path[0], path[1:]
    beside = other if isinstance(other, dict) else {}
    if name == "*":
        return {
            key: _replaced(part, path if isinstance(part, dict) else [], replace, beside.get(key))
            for key, part in value.items()
        }
    return {
        key: _replaced(part, rest, replace, beside.get(key)) if key == name else part for key, part in value.items()
    }
