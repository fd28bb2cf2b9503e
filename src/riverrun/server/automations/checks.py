"""What triggers and actions must be: from the JSON of a request to the JSON that is kept, with every field there."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from riverrun.base.ids import uuid7
from riverrun.server.http.bodies import located
from riverrun.server.http.errors import InvalidRequest
from riverrun.server.templates import hydration, jinja
from riverrun.wire import automations as wire

_TRIGGERS: dict[str, type[Struct]] = {
    "event": wire.EventTrigger,
    "compound": wire.CompoundTrigger,
    "sequence": wire.SequenceTrigger,
}
_ACTIONS: dict[str, type[Struct]] = {
    msgspec.structs.fields(kind)[0].default: kind
    for kind in (
        wire.CallWebhook, wire.CancelFlowRun, wire.ChangeFlowRunState, wire.DeleteFlowRun, wire.DoNothing, wire.PauseAutomation,
        wire.PauseDeployment, wire.PauseWorkPool, wire.PauseWorkQueue, wire.ResumeAutomation, wire.ResumeDeployment,
        wire.ResumeFlowRun, wire.ResumeWorkPool, wire.ResumeWorkQueue, wire.RunDeployment, wire.SendNotification,
        wire.SuspendFlowRun,
    )
}  # fmt: skip
#: fields of actions that are templates
_TEMPLATES = ("payload", "subject", "body")
_SELECTED = ("deployment_id", "work_pool_id", "work_queue_id", "automation_id")
_MIN_PROACTIVE = 10.0
#: triggers inside triggers, and actions, of one automation
MOST = 100
#: every run passes these, so a run that they start would start the next
_ENDLESS = {f"prefect.flow-run.{name}" for name in ("Scheduled", "Pending", "Running", "*")}
_EVERY_RUN = {"prefect.flow-run.*", "*"}
Place = tuple[str | int, ...]


def _decoded(value: Any, kind: type[Struct], at: Place) -> dict[str, Any]:
    try:
        made = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        message, loc = located(str(error))
        raise InvalidRequest((*at, *loc), message) from None
    found: dict[str, Any] = msgspec.to_builtins(made)
    return found


def _kind(value: Any, kinds: dict[str, type[Struct]], default: str | None, what: str, at: Place) -> type[Struct]:
    if not isinstance(value, dict):
        raise InvalidRequest(at, f"A {what} is an object.")
    name = value.get("type", default)
    if not isinstance(name, str) or name not in kinds:
        raise InvalidRequest((*at, "type"), f"{name!r} is not a type of {what}; there are {', '.join(sorted(kinds))}.")
    return kinds[name]


# -- triggers ---------------------------------------------------------------------------------------------------------------


def trigger(value: Any, at: Place = ("body", "trigger")) -> dict[str, Any]:
    """The trigger as it is kept: with ids of its own, whatever the request says. Raises InvalidRequest."""
    made = _trigger(value, at)
    if sum(1 for _ in _triggers(made)) > MOST:
        raise InvalidRequest(at, f"The trigger has more than {MOST} triggers inside.")
    return made


def _trigger(value: Any, at: Place) -> dict[str, Any]:
    default = "event"
    if isinstance(value, dict) and "triggers" in value:
        default = "compound" if "require" in value else "sequence"
    made = _decoded(value, _kind(value, _TRIGGERS, default, "trigger", at), at)
    made["id"] = str(uuid7())
    within = made["within"]
    if within is not None and not 0 <= within <= 1e10:
        raise InvalidRequest((*at, "within"), "within must be greater than or equal to 0 seconds.")
    if made["type"] == "event":
        return _event_trigger(made, at)
    made["triggers"] = [_trigger(part, (*at, "triggers", place)) for place, part in enumerate(made["triggers"])]
    require = made.get("require")
    if isinstance(require, int) and not 1 <= require <= len(made["triggers"]):
        raise InvalidRequest(
            (*at, "require"), f"require must be at least 1 and at most the number of triggers, {len(made['triggers'])}."
        )
    return made


def _event_trigger(made: dict[str, Any], at: Place) -> dict[str, Any]:
    if made["posture"] == "Proactive":
        made["within"] = made["within"] or _MIN_PROACTIVE
        if made["within"] < _MIN_PROACTIVE:
            raise InvalidRequest(
                (*at, "within"),
                "within must be greater than or equal to 10 seconds for a trigger that waits for absence.",
            )
    for name in ("after", "expect", "for_each"):
        made[name] = sorted(set(made[name]))
    for name in ("match", "match_related"):
        made[name] = made[name] or {}
    return made


def _triggers(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield made
    for part in made.get("triggers", ()):
        yield from _triggers(part)


# -- actions ----------------------------------------------------------------------------------------------------------------


def actions(value: list[Any], field: str = "actions") -> list[dict[str, Any]]:
    """The actions as they are kept. Raises InvalidRequest."""
    if len(value) > MOST:
        raise InvalidRequest(("body", field), f"There are {len(value)} actions; an automation has at most {MOST}.")
    return [_action(one, ("body", field, place)) for place, one in enumerate(value)]


def _action(value: Any, at: Place) -> dict[str, Any]:
    kind = _kind(value, _ACTIONS, None, "action", at)
    if kind is wire.CallWebhook and not isinstance(value.get("payload", ""), str):
        # older pages send an object
        payload = value["payload"]
        value = {**value, "payload": "" if payload is None else msgspec.json.encode(payload).decode()}
    made = _decoded(value, kind, at)
    for name in _SELECTED:
        if name in made and (made["source"] == "selected") != (made[name] is not None):
            says = (
                "required when the source is 'selected'" if made[name] is None else "not allowed when it is 'inferred'"
            )
            raise InvalidRequest((*at, name), f"{name} is {says}.")
    for name in _TEMPLATES:
        if made.get(name):
            _check_template(made[name], (*at, name))
    for form in hydration.forms(made.get("parameters") or {}):
        if form[hydration.KIND] == "jinja" and isinstance(form.get("template"), str):
            _check_template(form["template"], (*at, "parameters"))
    return made


def _check_template(text: str, at: Place) -> None:
    try:
        jinja.check(text)
    except jinja.TemplateError as error:
        raise InvalidRequest(at, f"{at[-1]!r} is not a valid template: {error}") from None


# -- the whole --------------------------------------------------------------------------------------------------------------


def refuse_endless(document: dict[str, Any], at: Place = ("body",)) -> None:
    """Raises InvalidRequest for an enabled automation whose runs would start it again, without end."""
    made = document["trigger"]
    if not document["enabled"] or made["type"] != "event" or made["posture"] != "Reactive":
        return
    if not _ENDLESS & set(made["expect"]):
        return
    related = made["match_related"] if isinstance(made["match_related"], list) else [made["match_related"]]
    for action in document["actions"]:
        if action["type"] != "run-deployment":
            continue
        if action["source"] == "inferred":
            raise InvalidRequest(
                at,
                "Running an inferred deployment whenever one of its runs changes its state would never end: choose a "
                "deployment, and narrow down by match or match_related which runs trigger the automation.",
            )
        if _is_wide(made["match"]) and any(_is_wide(one) for one in related):
            raise InvalidRequest(
                at,
                "The runs of the selected deployment would trigger the automation again: narrow down by match or match_related "
                "which runs trigger it.",
            )


def _is_wide(match: dict[str, Any]) -> bool:
    """Whether labels match every flow run."""
    if not match:
        return True
    if set(match) != {"prefect.resource.id"}:
        return False
    wanted = match["prefect.resource.id"]
    return bool(_EVERY_RUN & set(wanted if isinstance(wanted, list) else [wanted]))
