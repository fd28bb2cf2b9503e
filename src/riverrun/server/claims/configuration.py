"""A pool's job configuration, filled in for one run: the template's defaults, then the job variables of the deployment and of
the run. Placeholders of blocks, variables and the environment stay: the worker fills them in.
"""

from typing import Any

from msgspec import UNSET

from riverrun.server.work.template import FOREIGN, PLACEHOLDER


def configure(template: dict[str, Any], *layers: dict[str, Any] | None) -> dict[str, Any]:
    """The job configuration; later layers of job variables count over earlier ones, environments are merged."""
    configuration = template.get("job_configuration")
    if not isinstance(configuration, dict):
        return {}
    base = dict(configuration)
    given: dict[str, Any] = {}
    for layer in layers:
        given = _laid_over(given, _nested(layer or {}))
    properties = (template.get("variables") or {}).get("properties") or {}
    values = {
        name: field["default"]
        for name, field in properties.items()
        if isinstance(field, dict) and field.get("default") is not None
    }
    defaults = values.get("env")
    if isinstance(defaults, dict) and defaults:
        own = base.get("env")
        base["env"] = {**own, **defaults} if isinstance(own, dict) else defaults
    values |= given
    chosen = values.get("env")
    if isinstance(base.get("env"), dict) and isinstance(chosen, dict):
        base["env"] = {**base["env"], **chosen}
    filled = fill(base, values)
    return filled if isinstance(filled, dict) else {}


def fill(part: Any, values: dict[str, Any]) -> Any:
    """A part of a template with its placeholders filled in.

    A text that is one placeholder becomes its value, and goes where there is none; within a text an unknown one becomes "".
    """
    if isinstance(part, str):
        whole = PLACEHOLDER.fullmatch(part)
        if whole is not None and not whole[1].startswith(FOREIGN):
            return _value(values, whole[1])
        return PLACEHOLDER.sub(lambda match: _text(match[0], match[1], values), part)
    if isinstance(part, dict):
        filled = {key: fill(value, values) for key, value in part.items()}
        return {key: value for key, value in filled.items() if value is not UNSET}
    if isinstance(part, list):
        return [value for value in (fill(each, values) for each in part) if value is not UNSET]
    return part


def _text(whole: str, name: str, values: dict[str, Any]) -> str:
    if name.startswith(FOREIGN):
        return whole
    value = _value(values, name)
    return "" if value is UNSET else str(value)


def _value(values: Any, path: str) -> Any:
    """What stands at a path such as "resources.limits[0]"; UNSET where nothing does."""
    for key in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(values, dict) and key in values:
            values = values[key]
        elif isinstance(values, list) and key.isdecimal() and int(key) < len(values):
            values = values[int(key)]
        else:
            return UNSET
    return values


def _nested(variables: dict[str, Any]) -> dict[str, Any]:
    """Job variables with keys such as "env.NAME" put in their places; what is written out counts over them."""
    nested: dict[str, Any] = {}
    for name, value in variables.items():
        *path, last = name.split(".")
        inner = nested
        for key in path:
            found = inner.get(key)
            inner[key] = inner = dict(found) if isinstance(found, dict) else {}
        if path:
            inner[last] = value
    for name, value in variables.items():
        if "." not in name:
            there = nested.get(name)
            nested[name] = _merged(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return nested


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(under[key], over[key]) for key in under.keys() & over.keys() if _are_objects(under, over, key)}
    return {**under, **over, **both}


def _are_objects(under: dict[str, Any], over: dict[str, Any], key: str) -> bool:
    return isinstance(under[key], dict) and isinstance(over[key], dict)


def _laid_over(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """One layer over another: whole variables are replaced, only environments are merged."""
    merged = {**under, **over}
    if isinstance(under.get("env"), dict) and isinstance(over.get("env"), dict):
        merged["env"] = {**under["env"], **over["env"]}
    return merged
