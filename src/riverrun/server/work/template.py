"""What a work pool's base job template must be, and what job variables must be by it."""

import re
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.units import Caller, Reader
from riverrun.server.http.errors import HTTPError, InvalidRequest
from riverrun.server.store import Store
from riverrun.server.templates.settle import Request, settle

PLACEHOLDER = re.compile(r"{{\s*([\w.\-\[\]$]+)\s*}}")
#: placeholders that are filled from elsewhere than the variables: blocks, variables, the environment
FOREIGN = ("prefect.blocks.", "prefect.variables.", "$")


def check_template(template: dict[str, Any], *path: str) -> None:
    """Raises InvalidRequest unless the template is empty, or has a configuration whose placeholders its variables declare."""
    where = ("body", *(path or ("base_job_template",)))
    if not template:
        return
    missing = [key for key in ("job_configuration", "variables") if key not in template]
    if missing:
        raise InvalidRequest(
            where,
            f"A base job template has the keys job_configuration and variables; {' and '.join(missing)} is missing.",
        )
    variables = template["variables"]
    if not isinstance(variables, dict) or not isinstance(variables.get("properties", {}), dict):
        raise InvalidRequest((*where, "variables"), "The variables must be a JSON schema of an object with properties.")
    undeclared = sorted(placeholders(template["job_configuration"]) - set(variables.get("properties", {})))
    if undeclared:
        raise InvalidRequest(
            (*where, "job_configuration"),
            f"The job configuration uses variable(s) that the template does not declare: {', '.join(undeclared)}.",
        )


def placeholders(value: Any) -> set[str]:
    """The variables that a part of a template asks for."""
    if isinstance(value, str):
        return {name for name in PLACEHOLDER.findall(value) if not name.startswith(FOREIGN)}
    if isinstance(value, dict):
        return {name for key, part in value.items() for name in placeholders(part) | placeholders(key)}
    if isinstance(value, list):
        return {name for part in value for name in placeholders(part)}
    return set()


# -- defaults and job variables, which are held against the variables' schema ------------------------------------------------


def _defaults(template: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The defaults of the variables, and the names of those that are blocks: a worker puts these in place."""
    properties = template.get("variables", {}).get("properties", {})
    defaults = {
        name: field["default"] for name, field in properties.items() if isinstance(field, dict) and "default" in field
    }
    blocks = {name for name, value in defaults.items() if isinstance(value, dict) and "$ref" in value}
    return defaults, blocks


async def check_defaults(store: Store, caller: Caller, template: dict[str, Any]) -> None:
    """Raises InvalidRequest if a default does not fit its schema, ObjectNotFound if one is a block that is not there."""
    check_template(template)
    if not template.get("variables"):
        return
    defaults, blocks = _defaults(template)
    references = [defaults[name]["$ref"] for name in blocks]
    await store.read(lambda reader: _check_blocks(reader, references), caller)
    plain = {name: value for name, value in defaults.items() if name not in blocks}
    outcome = await settle(Request(value=plain, hydrate=False, schema=template["variables"], required=False))
    said = outcome.schema_error or outcome.problem
    if said is not None:
        raise InvalidRequest(("body", "base_job_template", "variables"), said)


def _check_blocks(reader: Reader, references: list[Any]) -> None:
    for reference in references:
        given = reference.get("block_document_id") if isinstance(reference, dict) else None
        try:
            block_id = UUID(str(given))
        except ValueError:
            raise ObjectNotFound(f"Block not found: {given!r} is not the id of one.") from None
        mine = t.block_document.c.workspace_id == reader.workspace
        if reader.row(sa.select(t.block_document.c.key).where(t.block_document.c.id == block_id, mine)) is None:
            raise ObjectNotFound(f"Block not found: {block_id}.")


async def check_variables(template: dict[str, Any], *layers: dict[str, Any] | None, what: str, required: bool) -> None:
    """Raises an HTTPError (422) if job variables, later layers over earlier ones, do not fit the pool's template."""
    if not template.get("variables"):
        return
    defaults, blocks = _defaults(template)
    schema = template["variables"]
    fitting = await settle(Request(value=defaults, hydrate=False, schema=schema, required=False))
    # what was there before this check was made need not fit; then nothing can be said of what is missing either
    broken = {error.get("property") for error in fitting.errors if isinstance(error, dict)}
    values = {name: value for name, value in defaults.items() if name not in broken | blocks}
    for layer in layers:
        values |= layer or {}
    outcome = await settle(
        Request(
            value=values,
            hydrate=False,
            schema=schema,
            required=required and not broken and not blocks,
            none_with_default=True,
        )
    )
    said = outcome.schema_error or outcome.problem
    if said is not None:
        raise HTTPError(422, f"Error {what}: {said}")
