"""What a worker gets with a run: the run, its deployment, and the job configuration to run it by."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.server.claims import attempts
from riverrun.server.claims.configuration import configure
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader
from riverrun.server.deployments import queries as deployments
from riverrun.server.runs.queries import FLOW_RUN
from riverrun.server.runs.render import flow_run_answers_of
from riverrun.wire.claims import Claim, Claims
from riverrun.wire.deployments import DeploymentResponse

if TYPE_CHECKING:
    from riverrun.server.claims.logic import Taken


def answers(reader: Reader, taken: "Sequence[Taken]") -> Claims:
    """The claims of the runs that were taken, in this order."""
    fences = {one.run_id: one.fence for one in taken}
    rows = reader.rows(FLOW_RUN.where(t.flow_run.c.id.in_(fences)))
    runs = {run.id: run for run in flow_run_answers_of(rows, reader.now)}
    found = {run.deployment_id for run in runs.values() if run.deployment_id is not None}
    of_deployments = _deployments(reader, found)
    pools = {row.work_pool_id for row in rows if row.work_pool_id is not None}
    templates = _templates(reader, pools)
    names = _flow_names(reader, {run.flow_id for run in runs.values()})
    claims = []
    for run_id, fence in fences.items():
        run = runs.get(run_id)
        if run is None:
            continue  # deleted meanwhile
        deployment = None if run.deployment_id is None else of_deployments.get(run.deployment_id)
        layers = (None if deployment is None else deployment.job_variables, run.job_variables)
        template = {} if run.work_pool_id is None else templates.get(run.work_pool_id, {})
        claims.append(
            Claim(
                flow_run=run,
                deployment=deployment,
                flow_name=names.get(run.flow_id),
                job_configuration=configure(template, *layers),
                fence=fence,
            )
        )
    return Claims(claims=claims, lease_seconds=attempts.LEASE_SECONDS)


def _deployments(reader: Reader, ids: set[UUID]) -> dict[UUID, DeploymentResponse]:
    if not ids:
        return {}
    return {found.id: found for found in deployments.answers(reader, deployments.by_ids(reader, ids))}


def _templates(reader: Reader, ids: set[UUID]) -> dict[UUID, dict[str, Any]]:
    if not ids:
        return {}
    query = sa.select(t.work_pool.c.id, t.work_pool.c.base_job_template).where(t.work_pool.c.id.in_(ids))
    return {row[0]: msgspec.json.decode(row[1]) if row[1] else {} for row in reader.rows(query)}


def _flow_names(reader: Reader, ids: set[UUID]) -> dict[UUID, str]:
    query = sa.select(t.flow.c.id, t.flow.c.name).where(t.flow.c.id.in_(ids))
    return {row[0]: row[1] for row in reader.rows(query)} if ids else {}
