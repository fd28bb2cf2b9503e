"""What is done with automations: made, changed, deleted, found. The row holds the whole automation as one document."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server import outbox
from riverrun.server.automations import checks
from riverrun.server.db import tables as t
from riverrun.server.db.filter_fields import has_tag
from riverrun.server.db.filters import form_of
from riverrun.server.db.json_text import to_text
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import Condition, is_null, joined, listed, where
from riverrun.server.http.pages import short
from riverrun.wire.automations import Automation, AutomationCreate, AutomationPartialUpdate, AutomationUpdate
from riverrun.wire.filters import AutomationFilter

table = t.automation
_ORDERS = {
    "CREATED_DESC": table.c.created.desc(),
    "UPDATED_DESC": table.c.updated.desc(),
    "NAME_ASC": table.c.name.asc(),
    "NAME_DESC": table.c.name.desc(),
}
_LISTS = ("actions", "actions_on_trigger", "actions_on_resolve")


def _row(reader: Reader, automation_id: UUID, *, lock: bool = False) -> Any:
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id == automation_id)
    row = reader.row(query.with_for_update() if lock else query)
    if row is None:
        raise ObjectNotFound(f"Automation not found: {automation_id}.")
    return row


def _answer(row: Any) -> Automation:
    document = msgspec.json.decode(row.document)
    return Automation(id=row.id, created=from_micros(row.created), updated=from_micros(row.updated), **document)


def read(reader: Reader, automation_id: UUID) -> Automation:
    """One automation; raises ObjectNotFound."""
    return _answer(_row(reader, automation_id))


def page(reader: Reader, filter: AutomationFilter | None, sort: str, limit: int, offset: int) -> list[Automation]:
    query = sa.select(table).where(*_conditions(reader, filter)).order_by(_ORDERS[sort], table.c.key.desc())
    return [_answer(row) for row in reader.rows(query.limit(limit).offset(offset))]


def count(reader: Reader, filter: AutomationFilter | None) -> int:
    return int(reader.scalar(sa.select(sa.func.count()).select_from(table).where(*_conditions(reader, filter))))


def _conditions(reader: Reader, filter: AutomationFilter | None) -> list[Condition]:
    form = form_of(reader)

    def tagged(value: Any) -> Condition | None:
        found = [has_tag(table.c.tags, form, tag) for tag in listed(value.all_ or ())]
        if value.any_ is not None:
            found.append(sa.or_(sa.false(), *(has_tag(table.c.tags, form, tag) for tag in listed(value.any_))))
        if value.is_null_ is not None:
            found.append(is_null(table.c.tags, value.is_null_))
        return joined(found, value.operator)

    fields: Any = {"id": table.c.id, "name": table.c.name, "created": table.c.created, "tags": tagged}
    found = where(filter, fields)
    mine = table.c.workspace_id == reader.workspace
    return [mine] if found is None else [mine, found]


def document_of(body: AutomationCreate | AutomationUpdate, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The document that a body asks for, over the one there was. Raises InvalidRequest."""
    short(body.name, "name")
    given = {
        name: getattr(body, name) for name in AutomationUpdate.__struct_fields__ if getattr(body, name) is not UNSET
    }
    given["trigger"] = checks.trigger(body.trigger)
    for name in _LISTS:
        if name in given:
            given[name] = checks.actions(given[name], name)
    document = {**(before or {}), **given}
    checks.refuse_endless(document)
    return document


def create(transaction: Transaction, body: AutomationCreate, document: dict[str, Any]) -> Automation:
    """Keep a new automation; `document` is the checked one of the body."""
    automation_id = uuid7()
    transaction.execute(
        sa.insert(table).values(
            id=automation_id,
            workspace_id=transaction.workspace,
            created=transaction.now,
            updated=transaction.now,
            owner_resource=None if body.owner_resource is None else index_key(body.owner_resource),
            **_columns(document),
        )
    )
    made = read(transaction, automation_id)
    _tell(transaction, "created", automation_id, body.name)
    return made


def _columns(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": document["name"],
        "enabled": int(document["enabled"]),
        "tags": to_text(document["tags"] or None),
        "document": msgspec.json.encode(document).decode(),
    }


def update(transaction: Transaction, automation_id: UUID, body: AutomationUpdate) -> None:
    """Put what the body says in place; raises ObjectNotFound, InvalidRequest."""
    row = _row(transaction, automation_id, lock=True)
    _replace(transaction, row, document_of(body, msgspec.json.decode(row.document)))


def patch(transaction: Transaction, automation_id: UUID, body: AutomationPartialUpdate) -> None:
    """Switch an automation on or off; raises ObjectNotFound, and InvalidRequest for one that must not be on."""
    row = _row(transaction, automation_id, lock=True)
    if body.enabled is UNSET:
        return
    document = {**msgspec.json.decode(row.document), "enabled": body.enabled}
    checks.refuse_endless(document, ())
    _replace(transaction, row, document)


def _replace(transaction: Transaction, row: Any, document: dict[str, Any]) -> None:
    values = _columns(document)
    transaction.execute(sa.update(table).where(table.c.key == row.key).values(**values, updated=transaction.now))
    _tell(transaction, "updated", row.id, document["name"])


def delete(transaction: Transaction, automation_id: UUID) -> None:
    """Delete an automation; raises ObjectNotFound."""
    row = _row(transaction, automation_id, lock=True)
    transaction.execute(sa.delete(table).where(table.c.key == row.key))
    _tell(transaction, "deleted", row.id, row.name)


def delete_owned(transaction: Transaction, resource_id: str) -> None:
    """Delete the automations that belong to a resource."""
    mine = sa.and_(table.c.workspace_id == transaction.workspace, table.c.owner_resource == index_key(resource_id))
    for row in transaction.rows(sa.select(table).where(mine).with_for_update()):
        delete(transaction, row.id)


def related_to(reader: Reader, resource_id: str) -> list[Automation]:
    """The automations that belong to a resource, or run the deployment that it is."""
    prefix, _, deployment_id = resource_id.rpartition(".")
    either = table.c.owner_resource == index_key(resource_id)
    runs = prefix == "prefect.deployment" and bool(deployment_id)
    if runs:
        # a first choice of rows only: what they run is looked at below
        either = sa.or_(either, table.c.document.contains(deployment_id, autoescape=True))
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, either).order_by(table.c.key)
    return [
        _answer(row)
        for row in reader.rows(query)
        if row.owner_resource == index_key(resource_id) or (runs and deployment_id in _deployments(row))
    ]


def _deployments(row: Any) -> set[str]:
    """The deployments that an automation runs."""
    actions = msgspec.json.decode(row.document)["actions"]
    return {
        action["deployment_id"] for action in actions if action["type"] == "run-deployment" and action["deployment_id"]
    }


def _tell(transaction: Transaction, what: str, automation_id: UUID, name: str) -> None:
    resource = {"prefect.resource.id": f"prefect.automation.{automation_id}", "prefect.resource.name": name}
    outbox.emit(transaction, f"prefect.automation.{what}", resource)
    transaction.wake("automations")
