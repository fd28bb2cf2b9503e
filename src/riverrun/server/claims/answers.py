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
from riverrun.server.deployments import versions
from riverrun.server.runs.queries import FLOW_RUN
from riverrun.server.runs.render import flow_run_answers_of
from riverrun.wire.claims import Claim, Claims
from riverrun.wire.deployments import DeploymentResponse

if TYPE_CHECKING:
    from riverrun.server.claims.logic import Taken

# made once: building a statement costs more than asking it
_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_RUNS = FLOW_RUN.where(t.flow_run.c.id.in_(_IDS))
_POOLS = sa.select(t.work_pool.c.id, t.work_pool.c.base_job_template).where(t.work_pool.c.id.in_(_IDS))
_FLOWS = sa.select(t.flow.c.id, t.flow.c.name).where(t.flow.c.id.in_(_IDS))


def answers(reader: Reader, taken: "Sequence[Taken]") -> Claims:
    """The claims of the runs that were taken, in this order."""
    fences = {one.run_id: one.fence for one in taken}
    rows = reader.rows(_RUNS, {"ids": list(fences)})
    runs = {run.id: run for run in flow_run_answers_of(rows, reader.now)}
    of_runs = _deployments(reader, rows)
    pools = {row.work_pool_id for row in rows if row.work_pool_id is not None}
    templates = _templates(reader, pools)
    names = _flow_names(reader, {run.flow_id for run in runs.values()})
    claims = []
    for run_id, fence in fences.items():
        run = runs.get(run_id)
        if run is None:
            continue  # deleted meanwhile
        deployment = of_runs.get(run_id)
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


def _deployments(reader: Reader, runs: Sequence[Any]) -> dict[UUID, DeploymentResponse]:
    """The deployments of runs, by run, each as of the version that the run was made of."""
    ids = {run.deployment_id for run in runs if run.deployment_id is not None}
    present = deployments.by_ids(reader, ids) if ids else []
    newest = {row.id: row.version_number for row in present}
    known = {(answer.id, newest[answer.id]): answer for answer in deployments.answers(reader, present)}
    found = {}
    for run in runs:
        now = (run.deployment_id, newest.get(run.deployment_id))
        if now not in known:
            continue
        made_of = (run.deployment_id, run.deployment_version_number)
        if made_of not in known:
            known[made_of] = versions.as_of(reader, known[now], run.deployment_version_number)
        found[run.id] = known[made_of]
    return found


def _templates(reader: Reader, ids: set[UUID]) -> dict[UUID, dict[str, Any]]:
    if not ids:
        return {}
    found = reader.rows(_POOLS, {"ids": list(ids)})
    return {row[0]: msgspec.json.decode(row[1]) if row[1] else {} for row in found}


def _flow_names(reader: Reader, ids: set[UUID]) -> dict[UUID, str]:
    return {row[0]: row[1] for row in reader.rows(_FLOWS, {"ids": list(ids)})} if ids else {}
