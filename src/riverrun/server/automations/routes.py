"""Automations over HTTP, and whether templates for their actions can be used."""

from typing import Any
from uuid import UUID

import msgspec

from riverrun.server.automations import logic
from riverrun.server.db.json_text import from_text
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.deployments import queries as deployments
from riverrun.server.http.pages import page
from riverrun.server.http.table import Call, Reply, Routes
from riverrun.server.templates import jinja
from riverrun.server.work.template import check_variables
from riverrun.wire.automations import Automation, AutomationCreate, AutomationPartialUpdate, AutomationUpdate
from riverrun.wire.requests import AutomationsCountBody, AutomationsFilterBody

READ, WRITE = "automations:read", "automations:write"
_automations = Routes("/automations", "Automations")
_templates = Routes("", "Automations")


@_automations.post("/", permission=WRITE, status=201, returns=Automation, errors=(404,))
async def create_automation(call: Call, body: AutomationCreate) -> Automation:
    """Keep an automation. The answer has the trigger with every field, and with ids of the server's."""
    document = logic.document_of(body)
    await _check_job_variables(call, document["actions"])
    return await call.store.write(lambda transaction: logic.create(transaction, body, document), call.caller)


@_automations.put("/{id}", permission=WRITE, status=204, errors=(404,))
async def update_automation(call: Call, id: UUID, body: AutomationUpdate) -> None:
    await call.store.read(lambda reader: logic.read(reader, id), call.caller)
    await _check_job_variables(call, body.actions)
    await call.store.write(lambda transaction: logic.update(transaction, id, body), call.caller)


@_automations.patch("/{id}", permission=WRITE, status=204, errors=(404,))
def patch_automation(transaction: Transaction, id: UUID, body: AutomationPartialUpdate) -> None:
    """Switch an automation on or off."""
    logic.patch(transaction, id, body)


@_automations.delete("/{id}", permission="automations:delete", status=204, errors=(404,))
def delete_automation(transaction: Transaction, id: UUID) -> None:
    logic.delete(transaction, id)


@_automations.get("/{id}", permission=READ, returns=Automation, errors=(404,))
def read_automation(reader: Reader, id: UUID) -> Automation:
    return logic.read(reader, id)


@_automations.post("/filter", permission=READ, returns=list[Automation])
def read_automations(reader: Reader, body: AutomationsFilterBody) -> list[Automation]:
    return logic.page(reader, body.automations, body.sort, page(body.limit), body.offset)


@_automations.post("/count", permission=READ, returns=int)
def count_automations(reader: Reader, body: AutomationsCountBody) -> int:
    return logic.count(reader, body.automations)


@_automations.get("/related-to/{resource_id}", permission=READ, returns=list[Automation])
def read_related(reader: Reader, resource_id: str) -> list[Automation]:
    """The automations that belong to a resource such as prefect.deployment.<id>, or run the deployment that it is."""
    return logic.related_to(reader, resource_id)


@_automations.delete("/owned-by/{resource_id}", permission="automations:delete", status=202)
def delete_owned(transaction: Transaction, resource_id: str) -> None:
    """Delete the automations that belong to a resource."""
    logic.delete_owned(transaction, resource_id)


async def _check_job_variables(call: Call, actions: list[dict[str, Any]]) -> None:
    """Raises HTTPError (422) where an action would run a deployment with job variables that its pool does not take."""
    for action in actions:
        deployment_id, given = action.get("deployment_id"), action.get("job_variables")
        if action.get("type") != "run-deployment" or not isinstance(given, dict) or deployment_id is None:
            continue
        try:
            wanted = UUID(str(deployment_id))
        except ValueError:
            continue  # said when the action is checked
        row = await call.store.read(lambda reader, wanted=wanted: deployments.find(reader, wanted), call.caller)  # type: ignore[misc]
        template, own = from_text(row.pool_template, {}), from_text(row.job_variables, {})
        await check_variables(template, own, given, what="creating automation", required=True)


# -- templates --------------------------------------------------------------------------------------------------------------


@_templates.post("/templates/validate", permission=READ, status=204, raw_media_type="text/plain")
def validate_template(reader: Reader, raw_body: bytes) -> Reply:
    """Whether a template, the body as it is or as a JSON string, can be used; if not, where and why."""
    return _validated(raw_body)


def _validated(raw_body: bytes) -> Reply:
    try:
        text = msgspec.json.decode(raw_body, type=str)
    except msgspec.MsgspecError:
        text = raw_body.decode("utf-8", "replace")
    try:
        jinja.check(text)
    except jinja.TemplateError as error:
        return Reply(value={"error": {"line": error.line, "message": error.message, "source": text}}, status=422)
    return Reply(status=204)


@_templates.post("/automations/templates/validate", permission=READ, status=204, raw_media_type="text/plain")
def validate_automation_template(reader: Reader, raw_body: bytes) -> Reply:
    """The same under an older name."""
    return _validated(raw_body)


routes = [*_automations, *_templates]
