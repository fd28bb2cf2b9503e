"""The OpenAPI 3.1 document, made from the route table when somebody asks for it first: what it says is what is served.

Slashes stay as declared, schemas forbid what decoding forbids, and every status that a route can answer is listed with its body.
"""

from typing import Any, Literal

import msgspec

from riverrun import __version__
from riverrun.server.http.table import PUBLIC, Parameter, Route

_COMPONENT = "#/components/schemas/"
_DETAIL = {
    "type": "object",
    "title": "Refusal",
    "description": "Why a request was not carried out, in words.",
    "required": ["detail"],
    "properties": {"detail": {}},
}
_INVALID = {
    "type": "object",
    "title": "InvalidRequest",
    "description": "What is wrong with a request, and where.",
    "required": ["exception_message", "exception_detail"],
    "properties": {
        "exception_message": {"type": "string"},
        "exception_detail": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["loc", "msg", "type"],
                "properties": {
                    "loc": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
            },
        },
        "request_body": {},
    },
}
_WORDS = {
    200: "Done",
    201: "Made",
    202: "Taken on",
    204: "Done; there is nothing to say",
    400: "The request makes no sense",
    401: "Credentials are missing or wrong",
    403: "Not allowed",
    404: "There is no such thing",
    405: "Another method is needed",
    409: "In conflict with what is there",
    413: "Too large",
    415: "JSON is what is read here",
    421: "Another host was asked for",
    422: "The request is wrong",
    423: "Taken by others at the moment",
    429: "Too many",
    503: "Not possible at the moment; try again",
}
#: what the edge answers by itself, on any operation and on those with a body
_EVERYWHERE = (400, 401, 403, 421, 503)
_WITH_BODY = (413, 415)


def document_of(state: dict[str, Any]) -> bytes:
    """The encoded document of the running application, made once."""
    made: bytes | None = state.get("openapi")
    if made is None:
        made = state["openapi"] = msgspec.json.encode(document(state["routes"]))
    return made


def document(routes: list[Route]) -> dict[str, Any]:
    """The document of a route table; sockets have no place in it."""
    served = [route for route in routes if route.method != "WEBSOCKET"]
    types = _types_of(served)
    references, schemas = _schemas(types)
    paths: dict[str, Any] = {}
    for route in served:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "riverrun", "version": __version__, "description": "The API of a riverrun server."},
        "paths": paths,
        "components": {
            "schemas": {"Refusal": _DETAIL, "InvalidRequest": _INVALID, **schemas},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "auth_string": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _types_of(routes: list[Route]) -> list[Any]:
    found: dict[int, Any] = {}
    for route in routes:
        for kind in (route.body, route.returns, *(parameter.type for parameter in route.parameters)):
            if kind is not None:
                found.setdefault(id(kind), kind)
    return list(found.values())


def _schemas(types: list[Any]) -> tuple[dict[int, Any], dict[str, Any]]:
    """A schema for each type (by its identity), and the components that they refer to."""
    made, components = msgspec.json.schema_components(types, schema_hook=_hook, ref_template=_COMPONENT + "{name}")
    for schema in (*made, *components.values()):
        _mend(schema)
    return {id(kind): schema for kind, schema in zip(types, made, strict=True)}, components


def _hook(kind: type) -> dict[str, Any]:
    return {"description": kind.__name__}


def _mend(schema: Any) -> None:
    """Durations travel as seconds, not as ISO 8601."""
    if isinstance(schema, dict):
        if schema.get("format") == "duration":
            schema.pop("format")
            schema["type"] = "number"
        for value in schema.values():
            _mend(value)
    elif isinstance(schema, list):
        for value in schema:
            _mend(value)


def _operation(route: Route, schemas: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _identifier(route),
        "tags": [route.tag],
        "summary": route.handler.__name__.replace("_", " ").capitalize(),
        "x-permission": route.permission,
        "responses": _responses(route, schemas),
    }
    if route.handler.__doc__:
        operation["description"] = route.handler.__doc__.strip()
    if route.permission != PUBLIC:
        operation["security"] = [{}, {"key": []}, {"auth_string": []}]
    if route.parameters:
        operation["parameters"] = [_parameter(parameter, schemas) for parameter in route.parameters]
    if route.decode is not None:
        content = {"application/json": {"schema": schemas[id(route.body)]}}
        operation["requestBody"] = {"required": not _may_be_left_out(route.body, schemas), "content": content}
    elif route.takes_raw:
        is_text = route.raw_media_type.startswith("text/")  # which may be empty
        raw = {"schema": {"type": "string"} if is_text else {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": not is_text, "content": {route.raw_media_type: raw}}
    return operation


def _identifier(route: Route) -> str:
    words = [part.strip("{}") for part in route.path.split("/") if part and part != "api"]
    return "_".join([route.method.lower(), *words]).replace("-", "_").replace(".", "_")


def _may_be_left_out(kind: Any, schemas: dict[int, Any]) -> bool:
    """Whether no body at all will do: one without a field set (`bodies.decoder`), or null."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return not any(field.required for field in msgspec.structs.fields(kind))
    schema = schemas[id(kind)]
    return (
        not schema or schema.get("type") == "null" or any(one.get("type") == "null" for one in schema.get("anyOf", ()))
    )


def _parameter(parameter: Parameter, schemas: dict[int, Any]) -> dict[str, Any]:
    schema = schemas[id(parameter.type)]
    default: Any = parameter.default
    if default is not msgspec.NODEFAULT and default is not None:
        schema = {**schema, "default": msgspec.to_builtins(default)}
    where: Literal["path", "query"] = parameter.where
    required = where == "path" or default is msgspec.NODEFAULT
    return {"name": parameter.alias or parameter.name, "in": where, "required": required, "schema": schema}


def _responses(route: Route, schemas: dict[int, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    answer = {} if route.returns is None else schemas[id(route.returns)]
    for status in (route.status, *route.also):
        responses[str(status)] = {"description": _WORDS.get(status, "Done")}
        if status != 204:
            media, schema = (
                ("text/plain", {"type": "string"}) if route.returns is bytes else ("application/json", answer)
            )
            responses[str(status)]["content"] = {media: {"schema": schema}}
    takes_body = route.body is not None or route.takes_raw
    refusals = {*_EVERYWHERE, *route.errors, *(_WITH_BODY if takes_body else ())}
    if takes_body or route.parameters:
        refusals.add(422)
    if any(parameter.where == "path" for parameter in route.parameters):
        refusals.add(404)
    if route.kind == "write":
        refusals.add(409)  # what somebody else has just made
    refusal, invalid = ({"$ref": _COMPONENT + name} for name in ("Refusal", "InvalidRequest"))
    for status in sorted(refusals):
        schema = {"anyOf": [invalid, refusal]} if status == 422 else refusal
        content = {"application/json": {"schema": schema}}
        responses.setdefault(str(status), {"description": _WORDS.get(status, "Refused"), "content": content})
    return responses
