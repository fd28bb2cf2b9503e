"""The JSON schema of a function's parameters, for forms and for checks by those who cannot import the function.

Imports pydantic when asked for a schema, not before.
"""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

from riverrun.utilities.callables import resolve_annotation
from riverrun.wire.model import Model


class ParameterSchema(Struct, Model, kw_only=True):
    """An object schema: `properties` by parameter, those `required`, and the `definitions` they refer to."""

    title: str = "Parameters"
    type: str = "object"
    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    definitions: dict[str, Any] = field(default_factory=dict)

    def model_dump_for_openapi(self) -> dict[str, Any]:
        """The schema as a dictionary."""
        return self.model_dump(mode="json")


def schema_of(fn: Callable[..., Any]) -> ParameterSchema:
    """The schema of the parameters of `fn`, with descriptions from its docstring.

    An annotation that has no JSON schema, or cannot be resolved, allows anything; a default without a JSON form is left out.
    """
    texts = parameter_docstrings(inspect.getdoc(fn))
    schema = ParameterSchema()
    for position, (name, parameter) in enumerate(inspect.signature(fn).parameters.items()):
        annotation = resolve_annotation(fn, name, parameter.annotation)
        variadic = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        described = {} if variadic else _describe(annotation, parameter.default, schema.definitions)
        described |= {"title": described.get("title", name), "position": position}
        if name in texts:
            described["description"] = texts[name]
        schema.properties[name] = described
        if parameter.default is inspect.Parameter.empty and not variadic:
            schema.required.append(name)
    return schema


def _describe(annotation: Any, default: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    from pydantic import TypeAdapter
    from pydantic.fields import FieldInfo

    if annotation is inspect.Parameter.empty:
        annotation = Any
    if isinstance(default, FieldInfo):
        annotation = typing.Annotated[annotation, default]
        default = default.get_default(call_default_factory=True)
    try:
        described = TypeAdapter[Any](annotation).json_schema(ref_template="#/definitions/{model}")
    except Exception:  # noqa: BLE001 - annotations are the user's; any may fail to become a schema in its own way
        described = {}
    definitions.update(described.pop("$defs", {}))
    if "title" in described and ("properties" in described or "enum" in described):  # a model or enum: name it once
        title = described["title"]
        definitions[title] = described
        described = {"$ref": f"#/definitions/{title}"}
    else:
        described.pop("title", None)
    described.pop("default", None)
    if default is not inspect.Parameter.empty and type(default).__name__ != "PydanticUndefinedType":
        try:
            described["default"] = TypeAdapter(Any).dump_python(default, mode="json")
        except Exception:  # noqa: BLE001 - a user's default may raise anything when it is written
            return described
    return described


_SECTION = re.compile(r"^(args|arguments|parameters|params):\s*$", re.IGNORECASE)
_ITEM = re.compile(r"^(?P<name>\*{0,2}\w+)\s*(\([^)]*\))?\s*:\s*(?P<text>.*)$")
_FIELD = re.compile(r"^:param\s+(?:[^:]*\s)?(?P<name>\w+)\s*:\s*(?P<text>.*)$")


def parameter_docstrings(docstring: str | None) -> dict[str, str]:
    """{parameter: text} from an `Args:` section or from `:param name:` fields."""
    texts: dict[str, list[str]] = {}
    name: str | None = None
    section: int | None = None
    indent = 0
    for line in (docstring or "").expandtabs().splitlines():
        depth = len(line) - len(line.lstrip())
        text = line.strip()
        if match := _FIELD.match(text):
            name, indent = match["name"], depth
            texts[name] = [match["text"]]
        elif _SECTION.match(text):
            section, name = depth, None
        elif not text:
            continue
        elif section is not None and depth <= section:
            section = name = None
        elif section is not None and (name is None or depth <= indent) and (match := _ITEM.match(text)):
            name, indent = match["name"].lstrip("*"), depth
            texts[name] = [match["text"]]
        elif name is not None and depth > indent:
            texts[name].append(text)
        else:
            name = None
    return {name: "\n".join(part for part in parts if part) for name, parts in texts.items()}
