"""The schema of a block and its checksum, to the byte as the peer's client computes them: a document that either saves is
found by the other by this checksum.

Pure functions of classes; nothing here speaks to a server.
"""

import collections.abc
import re
import types
import unicodedata
from collections.abc import Callable, Iterator
from html import unescape
from inspect import isclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from riverrun.rules import block_schema
from riverrun.types import SecretDict

_UNIONS = (Union, types.UnionType)


def slugify(text: str) -> str:
    """A name in small letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", unescape(re.sub(r"'+", "-", text))).encode("ascii", "ignore").decode()
    plain = re.sub(r"(?<=\d),(?=\d)", "", plain.lower().replace("'", ""))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def parts_of(annotation: Any) -> tuple[Any, ...]:
    """The types inside a union or a container; none for anything else."""
    origin = get_origin(annotation)
    if origin in _UNIONS:
        return get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        inside = get_args(annotation)
        return inside[:1] if issubclass(origin, collections.abc.Generator) else inside
    return ()


def is_model(annotation: Any, base: type[Any] = BaseModel) -> bool:
    """Whether an annotation is a class below `base`, and not a parametrised one such as `list[str]`."""
    return isclass(annotation) and get_origin(annotation) is None and issubclass(annotation, base)


def classes_in(annotation: Any, base: type[Any]) -> Iterator[Any]:
    """Every class below `base` that an annotation names, in order, with repetitions."""
    if is_model(annotation, base):
        yield annotation
    for part in parts_of(annotation):
        yield from classes_in(part, base)


def annotations_of(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """The fields of a model with their annotations."""
    for name, field in model.model_fields.items():
        if field.annotation is not None:
            yield name, field.annotation


def secret_fields(model: type[BaseModel]) -> list[str]:
    """Paths of the secret fields; `name.*` says that all values below a field are secret."""
    return [path for name, annotation in annotations_of(model) for path in _secrets(name, annotation, (model,))]


def _secrets(path: str, annotation: Any, above: tuple[Any, ...]) -> Iterator[str]:
    inside = parts_of(annotation)
    if inside:
        for part in inside:
            yield from _secrets(path, part, above)
    elif is_model(annotation):
        if annotation not in above:  # a model inside itself ends the path
            for name, part in annotations_of(annotation):
                yield from _secrets(f"{path}.{name}", part, (*above, annotation))
    elif annotation in (SecretStr, SecretBytes, Secret) or get_origin(annotation) is Secret:
        yield path
    elif annotation is SecretDict:
        yield f"{path}.*"


def is_secret_path(paths: list[str], field: str) -> bool:
    """Whether a field, or something in it, is among the paths of secrets."""
    return any(path == field or path.startswith(f"{field}.") for path in paths)


def references(model: type[BaseModel], base: type[Any], refer: Callable[[Any], dict[str, str]]) -> dict[str, Any]:
    """{field: reference to the schema of the block in it}; several blocks that are possible in one field make a list."""
    found: dict[str, Any] = {}
    for name, annotation in annotations_of(model):
        blocks = [refer(block) for block in classes_in(annotation, base)]
        if blocks:
            found[name] = blocks[0] if len(blocks) == 1 else blocks
    return found


def shaped(schema: dict[str, Any], model: type[BaseModel], base: type[Any], *, by_alias: bool) -> dict[str, Any]:
    """pydantic's schema in the shape that blocks have: `definitions`, no `additionalProperties`, positions of fields."""
    if "$defs" in schema:
        schema["definitions"] = schema.pop("$defs")
    schema = block_schema.without_key(schema, "additionalProperties")
    _number(schema, model, by_alias=by_alias)
    if "definitions" in schema:
        blocks: dict[str, Any] = {}
        _collect(model, base, blocks)
        for name, definition in schema["definitions"].items():
            if name in blocks:
                _number(definition, blocks[name], by_alias=by_alias)
    return schema


def _number(schema: dict[str, Any], model: type[BaseModel], *, by_alias: bool) -> None:
    properties = schema.get("properties", {})
    for position, (name, field) in enumerate(model.model_fields.items()):
        key = (field.alias or name) if by_alias else name
        if key in properties:
            properties[key]["position"] = position


def _collect(model: type[BaseModel], base: type[Any], found: dict[str, Any]) -> None:
    for _name, annotation in annotations_of(model):
        for block in classes_in(annotation, base):
            if block.__name__ not in found:
                found[block.__name__] = block
                _collect(block, base, found)


def checksum(schema: dict[str, Any]) -> str:
    """The name of a schema, as a server says it."""
    return block_schema.checksum(schema, _plain)


def _plain(value: Any) -> Any:
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)
