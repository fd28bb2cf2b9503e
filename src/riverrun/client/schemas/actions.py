"""What is sent to make or change objects, under the module path that users import it from; defined in `wire`."""

from riverrun.wire.artifacts import ArtifactCreate, ArtifactUpdate
from riverrun.wire.blocks import (
    BlockDocumentCreate,
    BlockDocumentUpdate,
    BlockSchemaCreate,
    BlockTypeCreate,
    BlockTypeUpdate,
)
from riverrun.wire.concurrency import ConcurrencyLimitCreate, ConcurrencyLimitV2Create, ConcurrencyLimitV2Update
from riverrun.wire.deployments import (
    DeploymentCreate,
    DeploymentFlowRunCreate,
    DeploymentScheduleCreate,
    DeploymentScheduleUpdate,
    DeploymentUpdate,
)
from riverrun.wire.flow_runs import FlowCreate, FlowRunCreate, FlowRunUpdate, FlowUpdate, LogCreate
from riverrun.wire.searches import SavedSearchCreate
from riverrun.wire.task_runs import TaskRunCreate, TaskRunUpdate
from riverrun.wire.transitions import StateCreate
from riverrun.wire.variables import VariableCreate, VariableUpdate
from riverrun.wire.work import WorkPoolCreate, WorkPoolUpdate, WorkQueueCreate, WorkQueueUpdate

GlobalConcurrencyLimitCreate = ConcurrencyLimitV2Create
GlobalConcurrencyLimitUpdate = ConcurrencyLimitV2Update

__all__ = [
    "ArtifactCreate",
    "ArtifactUpdate",
    "BlockDocumentCreate",
    "BlockDocumentUpdate",
    "BlockSchemaCreate",
    "BlockTypeCreate",
    "BlockTypeUpdate",
    "ConcurrencyLimitCreate",
    "ConcurrencyLimitV2Create",
    "ConcurrencyLimitV2Update",
    "DeploymentCreate",
    "DeploymentFlowRunCreate",
    "DeploymentScheduleCreate",
    "DeploymentScheduleUpdate",
    "DeploymentUpdate",
    "FlowCreate",
    "FlowRunCreate",
    "FlowRunUpdate",
    "FlowUpdate",
    "GlobalConcurrencyLimitCreate",
    "GlobalConcurrencyLimitUpdate",
    "LogCreate",
    "SavedSearchCreate",
    "StateCreate",
    "TaskRunCreate",
    "TaskRunUpdate",
    "VariableCreate",
    "VariableUpdate",
    "WorkPoolCreate",
    "WorkPoolUpdate",
    "WorkQueueCreate",
    "WorkQueueUpdate",
]
