"""What is looked at before a deployment is made or changed, and may take a process of its own to find out."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from riverrun.server.db.json_text import from_text
from riverrun.server.db.units import Reader
from riverrun.server.deployments import queries, schedules
from riverrun.server.deployments.running import settled_parameters
from riverrun.server.http.errors import HTTPError, InvalidRequest
from riverrun.server.http.pages import short
from riverrun.server.http.table import Call
from riverrun.server.templates.settle import Request, settle
from riverrun.server.work import queries as work
from riverrun.server.work.template import check_variables
from riverrun.wire.deployments import DeploymentCreate, DeploymentUpdate

#: bytes as JSON
MAX_PARAMETERS = 512 * 1024


async def check_new(call: Call, body: DeploymentCreate, given: Collection[str]) -> None:
    """Raises what is wrong with a deployment that is to be made; `given` names the fields that the request has."""
    short(body.name, "name")
    _check_limits(body)
    _check_size(body.parameters)
    if "enforce_parameter_schema" in given and body.enforce_parameter_schema:
        await _check_parameters(body)
    await schedules.check(body.schedules, "schedules", listed=True)
    if body.work_pool_name:
        template = await _template(call, body.work_pool_name)
        await check_variables(template, body.job_variables, what="creating deployment", required=False)


async def check_update(call: Call, deployment_id: UUID, body: DeploymentUpdate) -> None:
    """Raises what is wrong with a change; parameters in the body are settled."""
    _check_limits(body)
    _check_size(body.parameters)
    if isinstance(body.schedules, list):
        await schedules.check(body.schedules, "schedules", listed=True)
    row = await call.store.read(lambda reader: queries.find(reader, deployment_id), call.caller)
    if body.work_pool_name:
        template = await _template(call, body.work_pool_name)
        if body.job_variables:
            await _check_job_variables(template, body.job_variables)
    if body.parameters is UNSET and body.parameter_openapi_schema is UNSET and body.enforce_parameter_schema is UNSET:
        return
    schema = body.parameter_openapi_schema or from_text(row.parameter_schema, {})
    enforce = (
        row.enforce_parameter_schema
        if body.enforce_parameter_schema in (None, UNSET)
        else body.enforce_parameter_schema
    )
    settled = await settled_parameters(
        call.store,
        call.caller,
        (body.parameters or {}) if body.parameters is not UNSET else from_text(row.parameters, {}),
        schema=schema,
        enforce=bool(enforce),
        what="deployment",
        required=False,
    )
    if isinstance(body.parameters, dict):
        body.parameters = settled


def _check_limits(body: DeploymentCreate | DeploymentUpdate) -> None:
    if body.concurrency_limit and body.global_concurrency_limit_id:
        raise InvalidRequest(
            ("body",), "Give concurrency_limit or global_concurrency_limit_id: a deployment has one concurrency limit."
        )


def _check_size(parameters: Any) -> None:
    if isinstance(parameters, dict) and len(msgspec.json.encode(parameters)) > MAX_PARAMETERS:
        raise InvalidRequest(
            ("body", "parameters"),
            f"The parameters are larger than {MAX_PARAMETERS:,} bytes; pass a reference to the data.",
        )


async def _check_parameters(body: DeploymentCreate) -> None:
    """The parameters of a new deployment as far as they are there; what runs add is not known yet."""
    outcome = await settle(
        Request(value=body.parameters, hydrate=False, schema=body.parameter_openapi_schema or {}, required=False)
    )
    if outcome.schema_error is not None:
        raise InvalidRequest(("body", "parameter_openapi_schema"), outcome.schema_error)
    if outcome.problem is not None:
        raise InvalidRequest(("body", "parameters"), outcome.problem)


async def _check_job_variables(template: dict[str, Any], given: dict[str, Any]) -> None:
    try:
        await check_variables(template, given, what="updating deployment", required=False)
    except HTTPError as error:
        # the status that clients of the peer know for it
        raise HTTPError(409, error.detail) from None


async def _template(call: Call, pool_name: str) -> dict[str, Any]:
    def unit(reader: Reader) -> dict[str, Any]:
        return work.template_of(work.pool(reader, pool_name))

    return await call.store.read(unit, call.caller)
