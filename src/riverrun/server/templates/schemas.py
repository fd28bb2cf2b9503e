"""JSON schemas that values must meet: parameters of deployments, job variables of work pools."""

import copy
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

#: what a strange schema or value may raise inside the validator
_ERRORS = (Unresolvable, ArithmeticError, ValueError, TypeError, LookupError, AttributeError)


class InvalidSchema(ValueError):
    """A schema that cannot be used; says why."""


def _validator(schema: dict[str, Any]) -> Any:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidSchema(f"Invalid schema: {error.message}") from None
    except RecursionError:
        raise InvalidSchema("Invalid schema: it is nested too deeply.") from None
    except _ERRORS as error:
        raise InvalidSchema(f"Invalid schema: {error}") from None
    # a registry of its own: references to elsewhere are never fetched
    return Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def check(schema: dict[str, Any]) -> None:
    """Raises InvalidSchema."""
    _validator(schema)


def errors(
    value: Any, schema: dict[str, Any], *, required: bool = True, none_with_default: bool = False
) -> list[ValidationError]:
    """What is wrong with the value. Raises InvalidSchema.

    Without `required` missing fields are fine. `none_with_default`: an optional field that has a default may be null.
    """
    prepared = prepare(schema, none_with_default=none_with_default)
    validator = _validator(prepared if required else without_required(prepared))
    try:
        return list(validator.iter_errors(value))
    except RecursionError:
        raise InvalidSchema("Invalid schema: unable to validate a schema with circular references.") from None
    except _ERRORS as error:
        raise InvalidSchema(f"Invalid schema: {error}") from None


def said(error: ValidationError) -> str:
    """An error in words, with the place of the value."""
    place = error.json_path.removeprefix("$").removeprefix(".")
    where = f" for field {place!r}" if place else ""
    return f"Validation failed{where}. Failure reason: {error.message[:500]}"


def problem(value: Any, schema: dict[str, Any], **options: bool) -> str | None:
    """The most telling thing that is wrong with the value; None when nothing is. Raises InvalidSchema."""
    from jsonschema.exceptions import best_match

    found = errors(value, schema, **options)
    best = best_match(found) if found else None
    return None if best is None else said(best)


# -- schemas that pydantic 1 made -------------------------------------------------------------------------------------------


def prepare(schema: dict[str, Any], *, none_with_default: bool = False) -> dict[str, Any]:
    """The schema in the dialect of 2020-12, as the peer reads those that pydantic 1 made.

    Optional fields may be null, `items` that are a list mean a tuple, and a block may stand as a reference to one.
    """
    schema = copy.deepcopy(schema)
    definitions = schema.get("definitions")
    for part in (schema, *(definitions.values() if isinstance(definitions, dict) else ())):
        if isinstance(part, dict):
            _prepare_properties(part, none_with_default)
    if isinstance(definitions, dict):
        for definition in list(definitions.values()):
            if isinstance(definition, dict) and "block_type_slug" in definition and "title" in definition:
                definitions[definition["title"]] = {"oneOf": [definition, _REFERENCE]}
    return schema


_REFERENCE = {
    "type": "object",
    "properties": {
        "$ref": {
            "oneOf": [
                {"type": "string", "format": "uuid"},
                {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
            ]
        }
    },
    "required": ["$ref"],
}


def _prepare_properties(schema: dict[str, Any], none_with_default: bool) -> None:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return
    needed = required if isinstance(required, list) else []
    for name, field in properties.items():
        if not isinstance(field, dict):
            continue
        optional = name not in needed and ("default" not in field or none_with_default)
        if optional and field.get("type", "null") != "null":
            field["anyOf"] = [{"type": field.pop("type")}, {"type": "null"}]
        if isinstance(field.get("items"), list) and field["items"] and not field.get("prefixItems"):
            field["prefixItems"] = field.pop("items")
        _prepare_properties(field, none_with_default)


def without_required(schema: Any) -> Any:
    """The schema with no field required."""
    if isinstance(schema, dict):
        return {
            key: without_required(part)
            for key, part in schema.items()
            if not (key == "required" and isinstance(part, list))
        }
    return [without_required(part) for part in schema] if isinstance(schema, list) else schema


# -- what may take long -----------------------------------------------------------------------------------------------------


def is_costly(schema: dict[str, Any]) -> bool:
    """Whether a value could keep the validator busy for long: regular expressions, or references enough to multiply."""
    references = 0
    for key in _keys(schema):
        if key in ("pattern", "patternProperties", "$dynamicRef"):
            return True
        references += key == "$ref"
    return references > 16


def _keys(schema: Any) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


# -- the form in which a page shows errors ----------------------------------------------------------------------------------


def tree(found: list[ValidationError]) -> dict[str, Any]:
    """Errors as nested {"property" | "index", "errors"} objects, by the place of the value."""
    root: list[Any] = []
    for error in found:
        path: list[str | int] = list(error.relative_path)
        if error.validator == "required":
            path.append(error.message.split("'")[1] if "'" in error.message else error.message)
        here = root
        for part in path:
            label = "index" if isinstance(part, int) else "property"
            entry = next((one for one in here if isinstance(one, dict) and one.get(label) == part), None)
            if entry is None:
                entry = {label: part, "errors": []}
                here.append(entry)
            here = entry["errors"]
        here.append(error.message)
    return {"errors": root, "valid": not root}
