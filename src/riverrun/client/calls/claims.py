"""Calls by which workers and runners get their runs."""

from riverrun.client.call import Call, Id, at, get, post
from riverrun.client.calls.answers import ClaimedRuns
from riverrun.wire.claims import (
    DeploymentsClaimBody,
    Why,
    WorkerPresence,
    WorkerPresenceBody,
    WorkPoolClaimBody,
)


def claim_of_work_pool(work_pool_name: str, body: WorkPoolClaimBody) -> Call[ClaimedRuns]:
    """Take runs of a pool; the server waits up to `body.wait` seconds for the first one."""
    return post(at("work_pools", work_pool_name, "claim"), body, ClaimedRuns, noun=f"Work pool {work_pool_name!r}:")


def claim_of_deployments(body: DeploymentsClaimBody) -> Call[ClaimedRuns]:
    """Take runs of deployments; the server waits up to `body.wait` seconds for the first one."""
    return post(at("deployments", "claim"), body, ClaimedRuns)


def worker_presence(body: WorkerPresenceBody) -> Call[WorkerPresence]:
    """A sign of life of a worker's process."""
    return post(at("workers", "presence"), body, WorkerPresence)


def why_flow_run(flow_run_id: Id) -> Call[Why]:
    """Why the run is not running."""
    return get(at("flow_runs", flow_run_id, "why"), Why, noun=f"Flow run {flow_run_id}:")
