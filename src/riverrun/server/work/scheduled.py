"""Which scheduled runs may be taken now, and who holds the slots: priorities, pauses and limits of pools and queues.

Nothing is reserved here: the rule that lets a run become Pending once decides who gets it.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros, to_micros
from riverrun.server.db import tables as t
from riverrun.server.db.filters import form_of
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Reader
from riverrun.server.runs.queries import FLOW_RUN
from riverrun.server.runs.render import flow_run_answers_of, instant
from riverrun.server.work import queries
from riverrun.wire.concurrency import WorkPoolsConcurrencyStatusBody
from riverrun.wire.flow_runs import FlowRunResponse, FlowRunSlotSummary
from riverrun.wire.requests import WorkPoolsGetScheduledFlowRunsBody
from riverrun.wire.states import DEFAULT_NAMES, TYPE_CODES, TYPES_BY_CODE, StateType
from riverrun.wire.work import (
    WorkerFlowRunResponse,
    WorkPoolConcurrencyStatus,
    WorkQueueConcurrencyStatus,
    WorkQueueConcurrencyStatusDetail,
    WorkQueueHealthPolicy,
    WorkQueueResponse,
    WorkQueueStatusDetail,
)

_RUN = t.flow_run.c
SCHEDULED = TYPE_CODES[StateType.SCHEDULED]
#: a run that waits for its next attempt inside its process is nobody else's
FREE = sa.or_(_RUN.policy.is_(None), _RUN.policy.not_like('%"retry_type":"in_process"%'))


def runs(
    reader: Reader, *conditions: sa.ColumnElement[bool], before: Any, after: Any, limit: int
) -> list[FlowRunResponse]:
    """The scheduled runs for which the conditions hold, by the time they are due."""
    if limit <= 0:
        return []
    due = _RUN.next_scheduled_start_time.is_not(None)  # what the index on deployments holds
    # the workspace is only tested: its index of scheduled runs has those of everybody
    window = [form_of(reader).mine(t.flow_run), _RUN.state_type == SCHEDULED, due, FREE, *conditions]
    if before is not None:
        window.append(_RUN.next_scheduled_start_time <= to_micros(before))
    if after is not None:
        window.append(_RUN.next_scheduled_start_time >= to_micros(after))
    order = (_RUN.next_scheduled_start_time, _RUN.key)
    page = sa.select(_RUN.key).where(*window).order_by(*order).limit(limit).subquery("page")
    rows = reader.rows(FLOW_RUN.join(page, page.c.key == _RUN.key).order_by(*order))
    return flow_run_answers_of(rows, reader.now)


def of_pool(
    reader: Reader, name: str, body: WorkPoolsGetScheduledFlowRunsBody, limit: int
) -> tuple[list[WorkerFlowRunResponse], list[UUID]]:
    """What a worker of the pool may take, by the priority of the queues; and the queues that were asked."""
    pool = queries.pool(reader, name)
    if body.work_queue_names:
        queues = [queries.queue(reader, name, each) for each in dict.fromkeys(body.work_queue_names)]
    else:
        queues = reader.rows(queries.queues(reader, t.work_queue.c.work_pool_id == pool.id))
    asked = [queue.id for queue in queues]
    if pool.is_paused:
        return [], asked
    if pool.concurrency_limit is not None:
        used = queries.pool_slots(reader, [pool.id]).get(pool.id, 0)
        limit = min(limit, pool.concurrency_limit - used)
    limited = queries.queue_slots(reader, [queue.id for queue in queues if queue.concurrency_limit is not None])
    found: list[WorkerFlowRunResponse] = []
    for queue in sorted(queues, key=lambda queue: queue.priority):
        room = limit - len(found)
        if room <= 0:
            break
        if queue.concurrency_limit is not None:
            room = min(room, queue.concurrency_limit - limited.get(queue.id, 0))
        if queue.is_paused:
            continue
        due = runs(
            reader,
            _RUN.work_queue_id == queue.id,
            before=body.scheduled_before,
            after=body.scheduled_after,
            limit=room,
        )
        found += [WorkerFlowRunResponse(work_pool_id=pool.id, work_queue_id=queue.id, flow_run=run) for run in due]
    return found, asked


def of_queue(reader: Reader, queue_id: UUID, before: Any, limit: int) -> list[FlowRunResponse]:
    """What may be taken from one queue."""
    queue = queries.queue_by_id(reader, queue_id)
    if queue.is_paused:
        return []
    matching = _matching(reader, queue)
    if queue.concurrency_limit is not None:
        occupying = sa.select(sa.func.count()).where(*matching, _RUN.state_type.in_(queries.OCCUPYING))
        limit = min(limit, queue.concurrency_limit - int(reader.scalar(occupying)))
    return runs(reader, *matching, before=before, after=None, limit=limit)


def _matching(reader: Reader, queue: Any) -> list[sa.ColumnElement[bool]]:
    """The runs of a queue: those put into it, or for one with a filter (deprecated by the peer) those that the filter finds."""
    if not queue.filter:
        return [_RUN.work_queue_id == queue.id]
    wanted = msgspec.json.decode(queue.filter)
    conditions = [_RUN.workspace_id == reader.workspace, _RUN.deployment_id.is_not(None)]
    if wanted.get("deployment_ids"):
        conditions.append(_RUN.deployment_id.in_([UUID(each) for each in wanted["deployment_ids"]]))
    for tag in wanted.get("tags") or ():
        tagged = t.flow_run_tag.alias()
        conditions.append(
            sa.exists().where(
                tagged.c.workspace_id == reader.workspace, tagged.c.tag == index_key(tag), tagged.c.run_key == _RUN.key
            )
        )
    return conditions


def queues_with_filter_for(reader: Reader, deployment: Any) -> list[WorkQueueResponse]:
    """The queues whose filter would take runs of the deployment."""
    rows = []
    for row in reader.rows(queries.queues(reader, t.work_queue.c.filter.is_not(None))):
        wanted = msgspec.json.decode(row.filter)
        ids = wanted.get("deployment_ids") or [str(deployment.id)]
        if set(wanted.get("tags") or ()) <= set(deployment.tags) and str(deployment.id) in ids:
            rows.append(row)
    return queries.queue_answers(reader, rows)


# -- who holds the slots ----------------------------------------------------------------------------------------------------


def _holders(reader: Reader, queue_id: UUID, limit: int, offset: int = 0) -> list[FlowRunSlotSummary]:
    query = (
        sa.select(_RUN.id, _RUN.name, _RUN.state_type, _RUN.state_name, _RUN.start_time, _RUN.state_timestamp)
        .where(_RUN.work_queue_id == queue_id, _RUN.state_type.in_(queries.OCCUPYING))
        .order_by(_RUN.state_timestamp, _RUN.key)
        .limit(limit)
        .offset(offset)
    )
    return [_summary(row, reader.now) for row in reader.rows(query)]


def _summary(row: Any, now: int) -> FlowRunSlotSummary:
    kind = TYPES_BY_CODE[row.state_type]
    return FlowRunSlotSummary(
        id=row.id,
        name=row.name or "",
        state_type=kind,
        state_name=row.state_name or DEFAULT_NAMES[kind],
        start_time=instant(row.start_time),
        state_timestamp=instant(row.state_timestamp),
        time_in_current_state=None if row.state_timestamp is None else (now - row.state_timestamp) / queries.SECOND,
    )


def pages(count: int, limit: int) -> int:
    return -(-count // limit) if limit else 0


def pool_concurrency(
    reader: Reader, name: str, body: WorkPoolsConcurrencyStatusBody, limit: int
) -> WorkPoolConcurrencyStatus:
    """The slots of a pool with those of its queues; queues come in pages."""
    pool = queries.pool(reader, name)
    mine = queries.queues(reader, t.work_queue.c.work_pool_id == pool.id)
    ordered = mine.order_by(t.work_queue.c.priority, t.work_queue.c.key)
    page: Sequence[Any] = reader.rows(ordered.limit(limit).offset((body.page - 1) * limit))
    used = queries.queue_slots(reader, [queue.id for queue in page])
    count = int(reader.scalar(mine.with_only_columns(sa.func.count())))
    return WorkPoolConcurrencyStatus(
        active_slots=queries.pool_slots(reader, [pool.id]).get(pool.id, 0),
        concurrency_limit=pool.concurrency_limit,
        queues=[
            WorkQueueConcurrencyStatusDetail(
                queue_id=queue.id,
                queue_name=queue.name,
                active_slots=used.get(queue.id, 0),
                concurrency_limit=queue.concurrency_limit,
                flow_runs=_holders(reader, queue.id, body.flow_run_limit) if used.get(queue.id) else [],
                flow_run_count=used.get(queue.id, 0),
            )
            for queue in page
        ],
        count=count,
        limit=limit,
        pages=pages(count, limit),
        page=body.page,
    )


def queue_concurrency(reader: Reader, queue_id: UUID, page: int, limit: int) -> WorkQueueConcurrencyStatus:
    """The slots of a queue with the runs that hold them, in pages."""
    queue = queries.queue_by_id(reader, queue_id)
    used = queries.queue_slots(reader, [queue_id]).get(queue_id, 0)
    return WorkQueueConcurrencyStatus(
        active_slots=used,
        concurrency_limit=queue.concurrency_limit,
        flow_runs=_holders(reader, queue_id, limit, (page - 1) * limit),
        count=used,
        limit=limit,
        pages=pages(used, limit),
        page=page,
    )


def health(reader: Reader, queue_id: UUID) -> WorkQueueStatusDetail:
    """Whether somebody asks for the queue's runs, and none of them is late."""
    queue = queries.queue_by_id(reader, queue_id)
    late = sa.select(sa.func.count()).where(
        _RUN.work_queue_id == queue_id, _RUN.state_type == SCHEDULED, _RUN.state_name == "Late"
    )
    count = int(reader.scalar(late))
    policy = WorkQueueHealthPolicy()
    return WorkQueueStatusDetail(
        healthy=queries.is_recent(queue.last_polled, reader.now) and count <= (policy.maximum_late_runs or 0),
        late_runs_count=count,
        last_polled=None if queue.last_polled is None else from_micros(queue.last_polled),
        health_check_policy=policy,
    )
