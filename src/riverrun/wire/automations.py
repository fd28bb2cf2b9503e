"""Automations: triggers and the actions they start."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from riverrun.wire.events import ResourceSpecification
from riverrun.wire.model import Model
from riverrun.wire.scalars import Int
from riverrun.wire.states import StateType


class CallWebhook(Struct, Model, kw_only=True):
    type: Literal["call-webhook"] = "call-webhook"
    block_document_id: UUID
    payload: str = ""


class CancelFlowRun(Struct, Model, kw_only=True):
    type: Literal["cancel-flow-run"] = "cancel-flow-run"


class ChangeFlowRunState(Struct, Model, kw_only=True):
    type: Literal["change-flow-run-state"] = "change-flow-run-state"
    name: str | None = None
    state: StateType
    message: str | None = None
    force: bool = False


class EventTrigger(Struct, Model, kw_only=True):
    type: Literal["event"] = "event"
    id: UUID | None = None
    match: dict[str, str | list[str]] | None = None
    match_related: ResourceSpecification | list[dict[str, str | list[str]]] | None = None
    after: list[str] = []
    expect: list[str] = []
    for_each: list[str] = []
    posture: Literal["Reactive", "Proactive"]
    threshold: Int = 1
    within: float = 0.0


class SequenceTrigger(Struct, Model, kw_only=True):
    type: Literal["sequence"] = "sequence"
    id: UUID | None = None
    triggers: list[dict[str, Any]]
    within: float | None


class CompoundTrigger(Struct, Model, kw_only=True):
    type: Literal["compound"] = "compound"
    id: UUID | None = None
    triggers: list[dict[str, Any]]
    within: float | None
    require: Int | Literal["any", "all"]


class DeleteFlowRun(Struct, Model, kw_only=True):
    type: Literal["delete-flow-run"] = "delete-flow-run"


class DoNothing(Struct, Model, kw_only=True):
    type: Literal["do-nothing"] = "do-nothing"


class PauseAutomation(Struct, Model, kw_only=True):
    type: Literal["pause-automation"] = "pause-automation"
    source: Literal["selected", "inferred"] = "selected"
    automation_id: UUID | None = None


class PauseDeployment(Struct, Model, kw_only=True):
    type: Literal["pause-deployment"] = "pause-deployment"
    source: Literal["selected", "inferred"] = "selected"
    deployment_id: UUID | None = None


class PauseWorkPool(Struct, Model, kw_only=True):
    type: Literal["pause-work-pool"] = "pause-work-pool"
    source: Literal["selected", "inferred"] = "selected"
    work_pool_id: UUID | None = None


class PauseWorkQueue(Struct, Model, kw_only=True):
    type: Literal["pause-work-queue"] = "pause-work-queue"
    source: Literal["selected", "inferred"] = "selected"
    work_queue_id: UUID | None = None


class ResumeAutomation(Struct, Model, kw_only=True):
    type: Literal["resume-automation"] = "resume-automation"
    source: Literal["selected", "inferred"] = "selected"
    automation_id: UUID | None = None


class ResumeDeployment(Struct, Model, kw_only=True):
    type: Literal["resume-deployment"] = "resume-deployment"
    source: Literal["selected", "inferred"] = "selected"
    deployment_id: UUID | None = None


class ResumeFlowRun(Struct, Model, kw_only=True):
    type: Literal["resume-flow-run"] = "resume-flow-run"


class ResumeWorkPool(Struct, Model, kw_only=True):
    type: Literal["resume-work-pool"] = "resume-work-pool"
    source: Literal["selected", "inferred"] = "selected"
    work_pool_id: UUID | None = None


class ResumeWorkQueue(Struct, Model, kw_only=True):
    type: Literal["resume-work-queue"] = "resume-work-queue"
    source: Literal["selected", "inferred"] = "selected"
    work_queue_id: UUID | None = None


class RunDeployment(Struct, Model, kw_only=True):
    type: Literal["run-deployment"] = "run-deployment"
    source: Literal["selected", "inferred"] = "selected"
    deployment_id: UUID | None = None
    parameters: dict[str, Any] | None = None
    job_variables: dict[str, Any] | None = None
    schedule_after: float | None = 0.0


class SendNotification(Struct, Model, kw_only=True):
    type: Literal["send-notification"] = "send-notification"
    block_document_id: UUID
    subject: str = "Prefect automated notification"
    body: str


class SuspendFlowRun(Struct, Model, kw_only=True):
    type: Literal["suspend-flow-run"] = "suspend-flow-run"


class Automation(Struct, Model, kw_only=True):
    name: str
    description: str = ""
    enabled: bool = True
    tags: list[str] = []
    trigger: dict[str, Any]
    actions: list[dict[str, Any]]
    actions_on_trigger: list[dict[str, Any]] = []
    actions_on_resolve: list[dict[str, Any]] = []
    id: UUID
    created: datetime | None
    updated: datetime | None


class AutomationCreate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: str = ""
    enabled: bool = True
    tags: list[str] = []
    trigger: dict[str, Any]
    actions: list[dict[str, Any]]
    actions_on_trigger: list[dict[str, Any]] = []
    actions_on_resolve: list[dict[str, Any]] = []
    owner_resource: str | None = None


class AutomationPartialUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    enabled: bool | UnsetType = UNSET


class AutomationUpdate(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    trigger: dict[str, Any]
    actions: list[dict[str, Any]]
    actions_on_trigger: list[dict[str, Any]] | UnsetType = UNSET
    actions_on_resolve: list[dict[str, Any]] | UnsetType = UNSET
