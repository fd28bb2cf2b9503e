"""Calls about deployments, their schedules and their runs."""

from datetime import datetime
from uuid import UUID

from riverrun.base.errors import InputError
from riverrun.client.call import Call, Id, at, delete, get, patch, post
from riverrun.wire.deployments import (
    ComingInstants,
    DeploymentCreate,
    DeploymentFlowRunCreate,
    DeploymentPaginationResponse,
    DeploymentResponse,
    DeploymentRollback,
    DeploymentSchedule,
    DeploymentScheduleCreate,
    DeploymentScheduleUpdate,
    DeploymentUpdate,
    DeploymentVersion,
)
from riverrun.wire.requests import (
    DeploymentsCountBody,
    DeploymentsFilterBody,
    DeploymentsGetScheduledFlowRunsBody,
    DeploymentsPaginateBody,
    DeploymentsScheduleBody,
)
from riverrun.wire.runs import FlowRun


def _deployment(deployment_id: Id, *parts: object) -> str:
    if isinstance(deployment_id, str):
        try:
            deployment_id = UUID(deployment_id)
        except ValueError:
            raise ValueError(
                f"{deployment_id!r} is not the id of a deployment; read_deployment_by_name takes 'flow/deployment'"
            ) from None
    return at("deployments", deployment_id, *parts)


def _noun(deployment_id: Id) -> str:
    return f"Deployment {str(deployment_id)!r}:"


def create_deployment(deployment: DeploymentCreate) -> Call[DeploymentResponse]:
    """Make the deployment, or change the one of its flow that has its name."""
    return post(at("deployments", ""), deployment, DeploymentResponse)


def read_deployment(deployment_id: Id) -> Call[DeploymentResponse]:
    return get(_deployment(deployment_id), DeploymentResponse, noun=_noun(deployment_id))


def read_deployment_by_name(name: str) -> Call[DeploymentResponse]:
    """`name` is `flow/deployment`."""
    flow, slash, deployment = name.partition("/")
    if not (flow and slash and deployment):
        raise InputError(f"A deployment is named by its flow's name and its own, as in 'my-flow/daily'; not {name!r}")
    return get(at("deployments", "name", flow, deployment), DeploymentResponse, noun=_noun(name))


def read_deployments(body: DeploymentsFilterBody | None = None) -> Call[list[DeploymentResponse]]:
    return post(at("deployments", "filter"), body or DeploymentsFilterBody(), list[DeploymentResponse])


def paginate_deployments(body: DeploymentsPaginateBody | None = None) -> Call[DeploymentPaginationResponse]:
    return post(at("deployments", "paginate"), body or DeploymentsPaginateBody(), DeploymentPaginationResponse)


def count_deployments(body: DeploymentsCountBody | None = None) -> Call[int]:
    return post(at("deployments", "count"), body or DeploymentsCountBody(), int)


def update_deployment(deployment_id: Id, deployment: DeploymentUpdate) -> Call[None]:
    return patch(_deployment(deployment_id), deployment, noun=_noun(deployment_id))


def pause_deployment(deployment_id: Id) -> Call[None]:
    return post(_deployment(deployment_id, "pause_deployment"), noun=_noun(deployment_id))


def resume_deployment(deployment_id: Id) -> Call[None]:
    return post(_deployment(deployment_id, "resume_deployment"), noun=_noun(deployment_id))


def delete_deployment(deployment_id: Id) -> Call[None]:
    return delete(_deployment(deployment_id), noun=_noun(deployment_id))


# -- runs -----------------------------------------------------------------------------------------------------------------


def create_flow_run_from_deployment(deployment_id: Id, flow_run: DeploymentFlowRunCreate) -> Call[FlowRun]:
    return post(_deployment(deployment_id, "create_flow_run"), flow_run, FlowRun, noun=_noun(deployment_id))


def schedule_deployment(deployment_id: Id, body: DeploymentsScheduleBody | None = None) -> Call[None]:
    """Make the runs that the deployment's schedules ask for, now."""
    return post(_deployment(deployment_id, "schedule"), body or DeploymentsScheduleBody(), noun=_noun(deployment_id))


def get_scheduled_flow_runs_for_deployments(
    deployment_ids: list[Id], scheduled_before: datetime | None = None, limit: int | None = None
) -> Call[list[FlowRun]]:
    """Runs of the deployments that are due, soonest first. Asking shows the server that somebody serves them."""
    body = DeploymentsGetScheduledFlowRunsBody(
        deployment_ids=deployment_ids,  # type: ignore[arg-type] # text goes the same way as ids
        scheduled_before=scheduled_before,
        limit=limit,
    )
    return post(at("deployments", "get_scheduled_flow_runs"), body, list[FlowRun])


# -- schedules ------------------------------------------------------------------------------------------------------------


def create_deployment_schedules(
    deployment_id: Id, schedules: list[DeploymentScheduleCreate]
) -> Call[list[DeploymentSchedule]]:
    path = _deployment(deployment_id, "schedules")
    return post(path, schedules, list[DeploymentSchedule], noun=_noun(deployment_id))


def read_deployment_schedules(deployment_id: Id) -> Call[list[DeploymentSchedule]]:
    return get(_deployment(deployment_id, "schedules"), list[DeploymentSchedule], noun=_noun(deployment_id))


def update_deployment_schedule(deployment_id: Id, schedule_id: Id, schedule: DeploymentScheduleUpdate) -> Call[None]:
    return patch(_deployment(deployment_id, "schedules", schedule_id), schedule, noun=f"Schedule {schedule_id}:")


def delete_deployment_schedule(deployment_id: Id, schedule_id: Id) -> Call[None]:
    return delete(_deployment(deployment_id, "schedules", schedule_id), noun=f"Schedule {schedule_id}:")


def read_coming_instants(
    deployment_id: Id, until: datetime | None = None, limit: int | None = None
) -> Call[ComingInstants]:
    """What the schedules of the deployment will do until then (a week ahead unless said)."""
    query = {"until": None if until is None else until.isoformat(), "limit": limit}
    return get(_deployment(deployment_id, "next"), ComingInstants, query=query, noun=_noun(deployment_id))


# -- versions -------------------------------------------------------------------------------------------------------------


def read_deployment_versions(deployment_id: Id, limit: int | None = None) -> Call[list[DeploymentVersion]]:
    """What the deployment was, the newest first."""
    path = _deployment(deployment_id, "versions")
    return get(path, list[DeploymentVersion], query={"limit": limit}, noun=_noun(deployment_id))


def roll_back_deployment(deployment_id: Id, version: int) -> Call[DeploymentResponse]:
    """Make the deployment once more what it was in a former version."""
    body = DeploymentRollback(version=version)
    return post(_deployment(deployment_id, "rollback"), body, DeploymentResponse, noun=_noun(deployment_id))
