"""Values of the form {"__prefect_kind": "json" | "jinja" | "workspace_variable" | "none", ...}: put what they stand for in place.

Forms that a page left unfilled ({"__prefect_kind": "json"} without a value) are left out of what surrounds them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

KIND = "__prefect_kind"


class HydrationError(ValueError):
    """A form that stands for nothing; says why."""


class _Nothing:
    """In place of a form that is to be left out."""


_NOTHING = _Nothing()
Render = Callable[[str], str]


def hydrate(value: Any, variables: Mapping[str, Any], render: Render) -> Any:
    """The value with every form replaced; raises HydrationError."""
    result = _walk(value, variables, render)
    return {} if result is _NOTHING else result


def _walk(value: Any, variables: Mapping[str, Any], render: Render) -> Any:
    if isinstance(value, dict):
        if KIND in value:
            return _form(value, variables, render)
        walked = {key: _walk(part, variables, render) for key, part in value.items()}
        return {key: part for key, part in walked.items() if part is not _NOTHING}
    if isinstance(value, list):
        return [part for part in (_walk(each, variables, render) for each in value) if part is not _NOTHING]
    return value


def _form(form: dict[str, Any], variables: Mapping[str, Any], render: Render) -> Any:
    kind = form[KIND]

    def inner(key: str) -> Any:
        """What stands at the key, itself perhaps a form."""
        given = form[key]
        return _walk(given, variables, render) if isinstance(given, dict) else given

    if kind == "none":
        if "value" not in form:
            raise HydrationError("A value of the kind 'none' lacks its 'value'.")
        return _walk(form["value"], variables, render)
    if kind == "json":
        return _json(inner("value")) if "value" in form else _NOTHING
    if kind == "jinja":
        if "template" not in form:
            raise HydrationError("A value of the kind 'jinja' lacks its 'template'.")
        template = inner("template")
        if template is _NOTHING:
            return _NOTHING
        try:
            return render(str(template))
        except ValueError as error:
            raise HydrationError(f"Invalid jinja: {error}") from None
    if kind == "workspace_variable":
        if "variable_name" not in form:
            return _NOTHING
        name = inner("variable_name")
        if not isinstance(name, str) or name not in variables:
            raise HydrationError(f"Variable {name!r} not found in workspace.")
        return variables[name]
    return form.get("value")


def _json(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HydrationError(f"Invalid JSON: {error}") from None


def forms(value: Any) -> Iterator[dict[str, Any]]:
    """All forms in a value, those inside others too."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if KIND in part:
                yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def variable_names(value: Any) -> set[str]:
    """The names of the variables that the forms in a value may ask for."""
    names: set[str] = set()
    for form in forms(value):
        name = form.get("variable_name")
        while isinstance(name, dict):
            name = name.get("value")
        if isinstance(name, str):
            names |= {name}
            # the name may itself be written as JSON
            names |= {name.strip('"')}
    return names
