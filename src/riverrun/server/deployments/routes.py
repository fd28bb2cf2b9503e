"""Deployments over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from riverrun.rules.schedules import EARLIEST, LATEST
from riverrun.server.db import tables as t
from riverrun.server.db.filters import Filters, filters_of
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.deployments import coming, filling, logic, polls, queries, running, schedules, versions
from riverrun.server.deployments.checks import check_new, check_update
from riverrun.server.http.errors import HTTPError, InvalidRequest
from riverrun.server.http.pages import page
from riverrun.server.http.table import Call, Reply, Routes
from riverrun.server.runs.queries import flow_run_answer
from riverrun.server.work import scheduled
from riverrun.wire.deployments import (
    ComingInstants,
    DeploymentBulkDeleteResponse,
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
from riverrun.wire.flow_runs import FlowRunBulkCreateResponse, FlowRunResponse
from riverrun.wire.requests import (
    DeploymentsBulkDeleteBody,
    DeploymentsCountBody,
    DeploymentsFilterBody,
    DeploymentsGetScheduledFlowRunsBody,
    DeploymentsPaginateBody,
    DeploymentsScheduleBody,
)
from riverrun.wire.scalars import NonNegative
from riverrun.wire.work import WorkQueue

READ, WRITE, RUN = "deployments:read", "deployments:write", "deployments:run"
routes = Routes("/deployments", "Deployments")
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
#: how many instants are made into runs in one unit
_BATCH = 50


@routes.post("/", permission=WRITE, status=201, also=(200,), returns=DeploymentResponse, errors=(404, 409))
async def create_deployment(call: Call, body: DeploymentCreate, raw_body: bytes) -> Reply:
    """Make a deployment, or bring the flow's deployment of this name to what the request says."""
    given = _keys(raw_body).keys()
    await check_new(call, body, given)

    def unit(transaction: Transaction) -> Reply:
        row, is_new = logic.upsert(transaction, body, given)
        return Reply(value=queries.answer(transaction, row), status=201 if is_new else 200)

    return await call.store.write(unit, call.caller)


@routes.patch("/{id}", permission=WRITE, status=204, errors=(400, 404, 409))
async def update_deployment(call: Call, id: UUID, body: DeploymentUpdate) -> None:
    await check_update(call, id, body)
    await call.store.write(lambda transaction: logic.update(transaction, id, body), call.caller)


@routes.get("/name/{flow_name}/{deployment_name}", permission=READ, returns=DeploymentResponse, errors=(404,))
def read_deployment_by_name(reader: Reader, flow_name: str, deployment_name: str) -> DeploymentResponse:
    return queries.answer(reader, queries.by_name(reader, flow_name, deployment_name))


@routes.get("/{id}", permission=READ, returns=DeploymentResponse, errors=(404,))
def read_deployment(reader: Reader, id: UUID) -> DeploymentResponse:
    return queries.answer(reader, queries.find(reader, id))


@routes.post("/filter", permission=READ, returns=list[DeploymentResponse])
def read_deployments(reader: Reader, body: DeploymentsFilterBody) -> list[DeploymentResponse]:
    rows = queries.page(reader, filters_of(body), body.sort, page(body.limit), body.offset)
    return queries.answers(reader, rows)


@routes.post("/paginate", permission=READ, returns=DeploymentPaginationResponse)
def paginate_deployments(reader: Reader, body: DeploymentsPaginateBody) -> DeploymentPaginationResponse:
    limit, filters = page(body.limit), filters_of(body)
    count = queries.count(reader, filters)
    rows = queries.page(reader, filters, body.sort, limit, (body.page - 1) * limit)
    return DeploymentPaginationResponse(
        results=queries.answers(reader, rows),
        count=count,
        limit=limit,
        pages=scheduled.pages(count, limit),
        page=body.page,
    )


@routes.post("/count", permission=READ, returns=int)
def count_deployments(reader: Reader, body: DeploymentsCountBody) -> int:
    return queries.count(reader, filters_of(body))


@routes.delete("/{id}", permission="deployments:delete", status=204, errors=(404,))
def delete_deployment(transaction: Transaction, id: UUID) -> None:
    logic.delete(transaction, id)


@routes.post("/bulk_delete", permission="deployments:delete", returns=DeploymentBulkDeleteResponse)
def bulk_delete_deployments(transaction: Transaction, body: DeploymentsBulkDeleteBody) -> DeploymentBulkDeleteResponse:
    """Delete what the filter finds, at most `limit` of them."""
    filters = Filters(deployments=body.deployments)
    found = [row.id for row in queries.page(transaction, filters, "NAME_ASC", body.limit, 0)]
    for deployment_id in found:
        logic.delete(transaction, deployment_id)
    return DeploymentBulkDeleteResponse(deleted=found)


@routes.post("/{id}/pause_deployment", permission=WRITE, errors=(404,))
def pause_deployment(transaction: Transaction, id: UUID) -> None:
    """Let the schedules make no more runs; those they made that have not begun are deleted."""
    logic.set_paused(transaction, id, paused=True)


@routes.post("/{id}/resume_deployment", permission=WRITE, errors=(404,))
def resume_deployment(transaction: Transaction, id: UUID) -> None:
    logic.set_paused(transaction, id, paused=False)


@routes.get("/{id}/work_queue_check", permission=READ, returns=list[WorkQueue], errors=(404,))
def work_queue_check(reader: Reader, id: UUID) -> list[Any]:
    """The queues with a filter (deprecated by the peer) that would take runs of the deployment."""
    return scheduled.queues_with_filter_for(reader, queries.answer(reader, queries.find(reader, id)))


# -- versions ---------------------------------------------------------------------------------------------------------------


@routes.get("/{id}/versions", permission=READ, returns=list[DeploymentVersion], errors=(404,))
def read_versions(reader: Reader, id: UUID, limit: int = 200, offset: NonNegative = 0) -> list[DeploymentVersion]:
    """What the deployment was, the newest first; the present is among them."""
    return versions.listing(reader, id, page(limit, "query"), offset)


@routes.post("/{id}/rollback", permission=WRITE, returns=DeploymentResponse, errors=(404, 409))
def roll_back(transaction: Transaction, id: UUID, body: DeploymentRollback) -> DeploymentResponse:
    """Make the deployment once more what it was in a former version; runs that wait keep the version they were made of."""
    logic.roll_back(transaction, id, body.version)
    return queries.answer(transaction, queries.find(transaction, id))


# -- runs -------------------------------------------------------------------------------------------------------------------


@routes.post("/get_scheduled_flow_runs", permission=RUN, returns=list[FlowRunResponse])
async def get_scheduled_flow_runs(call: Call, body: DeploymentsGetScheduledFlowRunsBody) -> list[FlowRunResponse]:
    """What whoever serves these deployments may start. Asking makes them READY."""
    limit = page(body.limit)
    mine = t.flow_run.c.deployment_id.in_(body.deployment_ids[: page(None)])
    found = await call.store.read(
        lambda reader: scheduled.runs(reader, mine, before=body.scheduled_before, after=None, limit=limit), call.caller
    )
    await call.store.write(
        lambda transaction: polls.deployments_asked(transaction, body.deployment_ids[: page(None)]), call.caller
    )
    return found


@routes.post(
    "/{id}/create_flow_run",
    permission=RUN,
    status=201,
    also=(200,),
    returns=FlowRunResponse,
    errors=(400, 404, 409),
)
async def create_flow_run(call: Call, id: UUID, body: DeploymentFlowRunCreate) -> Reply:
    """Make a run of what the deployment says and the request adds; scheduled for now unless it says otherwise."""
    row = await call.store.read(lambda reader: queries.find(reader, id), call.caller)
    prepared = await running.prepare(call.store, call.caller, row, body)

    def unit(transaction: Transaction) -> Reply:
        run_id, is_new = running.make(transaction, prepared)
        return Reply(value=flow_run_answer(transaction, run_id), status=201 if is_new else 200)

    return await call.store.write(unit, call.caller)


@routes.post("/{id}/create_flow_run/bulk", permission=RUN, returns=FlowRunBulkCreateResponse, errors=(400, 404))
async def create_flow_runs(call: Call, id: UUID, body: list[DeploymentFlowRunCreate]) -> FlowRunBulkCreateResponse:
    """Make several runs; the answer tells of each."""
    if len(body) > running.MOST:
        raise HTTPError(400, f"Cannot create more than {running.MOST} flow runs at once; there are {len(body):,}.")
    row = await call.store.read(lambda reader: queries.find(reader, id), call.caller)
    return FlowRunBulkCreateResponse(results=await running.make_many(call.store, call.caller, row, body))


@routes.post("/{id}/schedule", permission=WRITE, errors=(404,))
async def schedule_deployment(call: Call, id: UUID, body: DeploymentsScheduleBody) -> None:
    """Make the runs of the schedules between two instants; those that are there already stay."""
    for name in ("start_time", "end_time"):
        _check_instant(name, getattr(body, name))
    if body.min_time is not None and not 0 <= body.min_time <= (LATEST - EARLIEST).total_seconds():
        raise InvalidRequest(("body", "min_time"), "min_time is not a sensible number of seconds.")
    min_time = None if body.min_time is None else timedelta(seconds=body.min_time)
    sizes = {"min_time": min_time, "min_runs": body.min_runs, "max_runs": body.max_runs}

    def find(reader: Reader) -> list[filling.Due]:
        start, end = _aware(body.start_time), _aware(body.end_time)
        return filling.due(reader, id, filling.window_of(reader.now, start, end, **sizes))

    wanted = await call.store.read(find, call.caller)
    for first in range(0, len(wanted), _BATCH):
        some = wanted[first : first + _BATCH]
        await call.store.write(lambda tx, some=some: filling.make(tx, id, some), call.caller, bulk=True)  # type: ignore[misc]


def _aware(instant: datetime | None) -> datetime | None:
    return instant.replace(tzinfo=UTC) if instant is not None and instant.tzinfo is None else instant


def _check_instant(name: str, instant: datetime | None, where: str = "body") -> None:
    instant = _aware(instant)
    if instant is not None and not EARLIEST.year < instant.year < LATEST.year:
        raise InvalidRequest(
            (where, name), f"The year {instant.year} is out of range: runs are made after 1970, before 2200."
        )


# -- schedules --------------------------------------------------------------------------------------------------------------


@routes.get("/{id}/schedules", permission=READ, returns=list[DeploymentSchedule], errors=(404,))
def read_schedules(reader: Reader, id: UUID) -> list[DeploymentSchedule]:
    queries.find(reader, id)
    return queries.schedules(reader, [id]).get(id, [])


@routes.post("/{id}/schedules", permission=WRITE, status=201, returns=list[DeploymentSchedule], errors=(404, 409))
async def create_schedules(call: Call, id: UUID, body: list[DeploymentScheduleCreate]) -> list[DeploymentSchedule]:
    await schedules.check(body, listed=True)

    def unit(transaction: Transaction) -> list[DeploymentSchedule]:
        queries.find(transaction, id, lock=True)
        made = schedules.create(transaction, id, body)
        versions.keep(transaction, id)
        by_id = {one.id: one for one in queries.schedules(transaction, [id]).get(id, [])}
        transaction.wake("deployments")
        return [by_id[schedule_id] for schedule_id in made]

    return await call.store.write(unit, call.caller)


@routes.patch("/{id}/schedules/{schedule_id}", permission=WRITE, status=204, errors=(404, 409))
async def update_schedule(call: Call, id: UUID, schedule_id: UUID, body: DeploymentScheduleUpdate) -> None:
    await schedules.check([body])

    def unit(transaction: Transaction) -> None:
        queries.find(transaction, id, lock=True)
        schedules.update(transaction, id, schedule_id, body)
        logic.remove_scheduled(transaction, [id], only_auto=True, only_future=True, schedule_id=schedule_id)
        versions.keep(transaction, id)
        transaction.wake("deployments")

    await call.store.write(unit, call.caller)


@routes.delete("/{id}/schedules/{schedule_id}", permission=WRITE, status=204, errors=(404,))
def delete_schedule(transaction: Transaction, id: UUID, schedule_id: UUID) -> None:
    queries.find(transaction, id, lock=True)
    schedules.delete(transaction, id, schedule_id)
    logic.remove_scheduled(transaction, [id], only_auto=True, schedule_id=schedule_id)
    versions.keep(transaction, id)
    transaction.wake("deployments")


@routes.get("/{id}/next", permission=READ, returns=ComingInstants, errors=(404,))
async def read_coming(call: Call, id: UUID, until: datetime | None = None, limit: int = 200) -> ComingInstants:
    """What the active schedules will do until then (a week ahead unless said), with what changes of clocks do to them."""
    _check_instant("until", until, "query")
    return await coming.instants_until(call.store, call.caller, id, _aware(until), page(limit, "query"))
