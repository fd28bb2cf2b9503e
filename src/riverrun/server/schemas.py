"""Values against JSON schemas, as parameters, job variables and inputs of runs are checked. Never fetches anything."""

from collections.abc import Iterator
from typing import Any

from riverrun.base.errors import InputError


def errors(schema: Any, value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Path and sentence of everything that does not fit. Raises InputError for a schema that is none itself.

    References are resolved inside the schema only: the server asks no other host for a part of one.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InputError(f"The schema is not a JSON schema: {error.message}") from None
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        for error in validator.iter_errors(value):
            yield tuple(error.absolute_path), error.message
    except (Unresolvable, RecursionError) as error:
        raise InputError(f"The schema cannot be used: {error}") from None


def first_error(schema: Any, value: Any) -> str | None:
    """The first thing that does not fit, with its path; None when the value fits."""
    for path, message in errors(schema, value):
        where = ".".join(map(str, path))
        return f"{where}: {message}" if where else message
    return None
