"""Claims of workers and runners over HTTP; riverrun's own operations beside the peer's polls."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from riverrun.server.claims import logic
from riverrun.server.claims.sources import Deployments, Pool
from riverrun.server.http.table import Call, Routes
from riverrun.wire.claims import (
    Claims,
    DeploymentsClaimBody,
    WorkerPresence,
    WorkerPresenceBody,
    WorkPoolClaimBody,
)

routes = Routes("", "Claims")


@routes.post("/work_pools/{name}/claim", permission="work_pools:run", returns=Claims, errors=(404,))
async def claim_of_pool(call: Call, name: str, body: WorkPoolClaimBody) -> Claims:
    """Take runs of a pool that are due; waits up to `wait` seconds for the first one."""
    return await _for_the_living(call, logic.claim(call.store, call.caller, body, Pool(name, body.work_queue_names)))


@routes.post("/deployments/claim", permission="deployments:run", returns=Claims)
async def claim_of_deployments(call: Call, body: DeploymentsClaimBody) -> Claims:
    """Take runs of deployments that are due; waits up to `wait` seconds for the first one."""
    return await _for_the_living(call, logic.claim(call.store, call.caller, body, Deployments(body.deployment_ids)))


@routes.post("/workers/presence", permission="work_pools:run", returns=WorkerPresence)
async def worker_presence(call: Call, body: WorkerPresenceBody) -> WorkerPresence:
    """A sign of life of a worker's process; answered when there is something new to tell, or after `wait` seconds."""
    return await logic.presence(call.store, call.caller, body)


async def _for_the_living(call: Call, claim: Coroutine[Any, Any, Claims]) -> Claims:
    """The claim, as long as its client is there: a run that comes for one that has gone would wait for its lease to end."""
    claiming = asyncio.ensure_future(claim)
    leaving = asyncio.ensure_future(
        call.request.receive()
    )  # the body is read: what comes next is the end of the connection
    try:
        await asyncio.wait({claiming, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not claiming.done():
            return Claims(claims=[], lease_seconds=0.0)
        return claiming.result()
    finally:
        leaving.cancel()
        claiming.cancel()
        await asyncio.gather(claiming, leaving, return_exceptions=True)
