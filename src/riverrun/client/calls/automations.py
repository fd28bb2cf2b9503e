"""Calls about automations."""

from riverrun.client.call import Call, Id, at, delete, get, patch, post
from riverrun.wire.automations import Automation, AutomationCreate, AutomationPartialUpdate, AutomationUpdate
from riverrun.wire.requests import AutomationsFilterBody


def _noun(automation_id: Id) -> str:
    return f"Automation {str(automation_id)!r}:"


def create_automation(automation: AutomationCreate) -> Call[Automation]:
    return post(at("automations", ""), automation, Automation)


def read_automation(automation_id: Id) -> Call[Automation | None]:
    return get(at("automations", automation_id), Automation, absent_is_none=True)


def read_automations(body: AutomationsFilterBody | None = None) -> Call[list[Automation]]:
    return post(at("automations", "filter"), body or AutomationsFilterBody(), list[Automation])


def read_resource_related_automations(resource_id: str) -> Call[list[Automation]]:
    return get(at("automations", "related-to", resource_id), list[Automation])


def update_automation(automation_id: Id, automation: AutomationUpdate) -> Call[None]:
    return Call("PUT", at("automations", automation_id), None, automation, noun=_noun(automation_id))


def enable_automation(automation_id: Id, enabled: bool) -> Call[None]:
    body = AutomationPartialUpdate(enabled=enabled)
    return patch(at("automations", automation_id), body, noun=_noun(automation_id))


def delete_automation(automation_id: Id) -> Call[None]:
    return delete(at("automations", automation_id), noun=_noun(automation_id))


def delete_resource_owned_automations(resource_id: str) -> Call[None]:
    return delete(at("automations", "owned-by", resource_id))
