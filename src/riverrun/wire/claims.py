"""How workers and runners get their runs from the server: claims, attempts, life signs. None of it is the peer's."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from riverrun.wire.deployments import DeploymentResponse
from riverrun.wire.flow_runs import FlowRunResponse
from riverrun.wire.model import Model
from riverrun.wire.presence import MAX_WAIT
from riverrun.wire.scalars import Int

#: the most runs that one claim gives, and the most deployments or runs that one request names
MOST_CLAIMS = 200
MOST_NAMED = 1000
Wait = Annotated[float, Meta(ge=0, le=MAX_WAIT)]
Ids = Annotated[list[UUID], Meta(max_length=MOST_NAMED)]


class ClaimBody(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    """Who claims, how many runs, and how long to wait for the first of them."""

    #: the process that will keep the runs' attempts alive
    worker: UUID
    #: what it calls itself
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    limit: Annotated[int, Meta(ge=1, le=MOST_CLAIMS)] = 1
    wait: Wait = 0.0


class WorkPoolClaimBody(ClaimBody, kw_only=True, forbid_unknown_fields=True):
    """Runs of a work pool; of some of its queues where these are named."""

    work_queue_names: Annotated[list[str], Meta(max_length=MOST_NAMED)] | None = None


class DeploymentsClaimBody(ClaimBody, kw_only=True, forbid_unknown_fields=True):
    """Runs of these deployments, whatever their queues."""

    deployment_ids: Ids


class Claim(Struct, Model, kw_only=True):
    """A run that is the worker's now."""

    flow_run: FlowRunResponse
    #: as of the version that the run was made for; None for a run without one
    deployment: DeploymentResponse | None = None
    flow_name: str | None = None
    #: the pool's job configuration, filled in with the job variables of the deployment and the run; blocks, variables and the
    #: environment are the worker's to fill in
    job_configuration: dict[str, Any] = {}
    #: who begins the run has to say it
    fence: Int


class Claims(Struct, Model, kw_only=True):
    """What a claim gave, and how long it lasts without a sign of life."""

    claims: list[Claim]
    lease_seconds: float


class WorkerPresenceBody(Struct, Model, kw_only=True, forbid_unknown_fields=True):
    """A sign of life of a worker's process, which waits for news."""

    worker: UUID
    wait: Wait = 0.0
    #: the runs that the process knows it has: claims whose answer was lost are not renewed. None: all it has claimed are
    holding: Ids | None = None
    #: what the process was told of before; only something new is answered at once
    known: Ids = []
    #: the process takes no more runs: what it has not begun goes back at once
    leaving: bool = False


class WorkerPresence(Struct, Model, kw_only=True):
    """What a worker's process has to know: runs to be cancelled, and runs that are not its own any more."""

    lease_seconds: float
    cancelling: list[UUID]
    lost: list[UUID]


class Holder(Struct, Model, kw_only=True):
    """A run that has a slot."""

    id: UUID
    name: str
    since: datetime | None = None


class Reason(Struct, Model, kw_only=True):
    """One thing that keeps a run from running. `kind` says what; the other fields belong to some kinds."""

    kind: str
    message: str
    #: of what is named: a pool, queue, deployment, limit or worker
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    holders: list[Holder] = []
    #: how many runs stand before this one
    ahead: int | None = None


class Why(Struct, Model, kw_only=True):
    """Why a run is not running, in one sentence and as data; the first reason is the one that counts most."""

    flow_run_id: UUID
    state_type: str | None
    state_name: str | None
    running: bool
    sentence: str
    reasons: list[Reason]
    late_seconds: float | None = None
    predicted_start: datetime | None = None
