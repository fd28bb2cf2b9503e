"""Making runs by request: flow runs of clients, deployments and schedules; task runs of subflows and of background tasks.

What journals and events tell of is made by `server.ingest`.
"""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct, field

from riverrun.base.errors import ObjectAlreadyExists, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.base.names import run_name
from riverrun.rules.bookkeeping import Ledger
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Transaction
from riverrun.server.ingest.rows import LEDGER_COLUMNS, STATE_COLUMNS, inputs_blob
from riverrun.server.runs import rollups
from riverrun.server.runs.stored import (
    TABLES,
    Stored,
    enter_values,
    policy_text,
    proposed_state,
    state_row,
    told,
)
from riverrun.server.runs.transitions import copy_to_parent
from riverrun.wire.flow_runs import FlowRunPolicy
from riverrun.wire.journal import FLOW_RUN, TASK_RUN
from riverrun.wire.runs import RunInput, RunPolicy
from riverrun.wire.states import BaseState, StateType
from riverrun.wire.task_runs import TaskRunCreate, TaskRunPolicy
from riverrun.wire.transitions import StateCreate

_FLOW = sa.select(t.flow.c.key, t.flow.c.id).where(
    t.flow.c.id == sa.bindparam("flow_id"), t.flow.c.workspace_id == sa.bindparam("workspace")
)
_SAME = sa.select(t.flow_run.c.id).where(
    t.flow_run.c.flow_key == sa.bindparam("flow_key"), t.flow_run.c.idempotency_key == sa.bindparam("idempotency_key")
)


class FlowRunFields(Struct, kw_only=True):
    """What a new flow run is made of; names as on the wire."""

    flow_id: UUID
    state: StateCreate | None = None
    name: str | None = None
    flow_version: str | None = None
    parameters: dict[str, Any] = {}
    context: dict[str, Any] = {}
    parent_task_run_id: UUID | None = None
    infrastructure_document_id: UUID | None = None
    empirical_policy: FlowRunPolicy = field(default_factory=FlowRunPolicy)
    tags: list[str] = []
    labels: dict[str, Any] = {}
    idempotency_key: str | None = None
    job_variables: dict[str, Any] | None = None
    deployment_id: UUID | None = None
    deployment_version: str | None = None
    #: of `deployment_version.number`
    deployment_version_number: int | None = None
    work_queue_id: UUID | None = None
    auto_scheduled: bool = False
    #: {"id", "type", "display_value"}
    created_by: dict[str, Any] | None = None


def create_flow_run(transaction: Transaction, fields: FlowRunFields) -> tuple[UUID, bool]:
    """Make a flow run in its first state (Pending unless given); its id, and whether this call made it.

    A known idempotency key of the same flow gives the run that has it. Raises ObjectNotFound for a flow that is not there.
    """
    flow = transaction.row(_FLOW, {"flow_id": fields.flow_id, "workspace": transaction.workspace})
    if flow is None:
        raise ObjectNotFound(f"There is no flow {fields.flow_id}.")
    key = None if fields.idempotency_key is None else index_key(fields.idempotency_key)
    if key is not None:
        known = transaction.scalar(_SAME, {"flow_key": flow.key, "idempotency_key": key})
        if known is not None:
            return known, False
    tags = sorted(set(fields.tags), key=fields.tags.index)
    policy = policy_of(fields.empirical_policy)
    labels = {**fields.labels, "prefect.flow.id": str(fields.flow_id)}
    if fields.deployment_id is not None:
        labels["prefect.deployment.id"] = str(fields.deployment_id)
    values = {
        "flow_key": flow.key,
        "deployment_id": fields.deployment_id,
        "parent_task_run_id": fields.parent_task_run_id,
        "name": fields.name or run_name(),
        "flow_version": fields.flow_version,
        "tags": _text(tags),
        "policy": policy_text(policy),
        "parameters": _text(fields.parameters),
        "work_queue_id": fields.work_queue_id,
        "infrastructure_document_id": fields.infrastructure_document_id,
        "auto_scheduled": 1 if fields.auto_scheduled else None,
        "idempotency_key": key,
        "deployment_version": fields.deployment_version,
        "deployment_version_number": fields.deployment_version_number,
        "context": _text(fields.context),
        "labels": _text(labels),
        "created_by": _text(fields.created_by),
        "job_variables": _text(fields.job_variables),
    }
    state = proposed_state(fields.state or StateCreate(type=StateType.PENDING), transaction.now)
    row = _Row(flow_key=flow.key, parent_task_run_id=fields.parent_task_run_id)
    run = _insert(transaction, FLOW_RUN, uuid7(), values, state, row=row)
    _tag(transaction, t.flow_run_tag, tags, run.key)
    if fields.parent_task_run_id is not None:
        copy_to_parent(transaction, fields.parent_task_run_id, run.id, state)
    if fields.deployment_id is not None:
        transaction.wake("scheduled", f"deployment:{fields.deployment_id.hex}")
    if fields.work_queue_id is not None:
        transaction.wake(f"work_queue:{fields.work_queue_id.hex}")
    return run.id, True


def create_task_run(transaction: Transaction, body: TaskRunCreate) -> tuple[UUID, bool]:
    """Make a task run, or find the one of the same natural key; its id, and whether this call made it."""
    flow_run_key = None
    labels = dict(body.labels or {})
    if body.flow_run_id is not None:
        row = transaction.row(
            sa.select(t.flow_run.c.key, t.flow.c.id.label("flow_id"))
            .outerjoin_from(t.flow_run, t.flow, t.flow.c.key == t.flow_run.c.flow_key)
            .where(t.flow_run.c.id == body.flow_run_id, t.flow_run.c.workspace_id == transaction.workspace)
        )
        if row is None:
            raise ObjectNotFound(f"There is no flow run {body.flow_run_id}.")
        flow_run_key = row.key
        labels |= {"prefect.flow.id": str(row.flow_id), "prefect.flow-run.id": str(body.flow_run_id)}
    known = _known_task_run(transaction, body, flow_run_key)
    if known is not None:
        return known, False
    tags = sorted(set(body.tags), key=body.tags.index)
    values = {
        "flow_run_key": flow_run_key,
        "flow_run_run_count": 0,
        "name": body.name or f"{body.task_key}-{body.dynamic_key}",
        "task_key": body.task_key,
        "dynamic_key": body.dynamic_key,
        "task_version": body.task_version,
        "tags": _text(tags),
        "policy": policy_text(policy_of(body.empirical_policy)),
        "inputs": inputs_blob({name: [_input(one) for one in given] for name, given in body.task_inputs.items()}),
        "cache_key": body.cache_key,
        "labels": _text(labels),
        "requested": 1,
    }
    state = proposed_state(body.state or StateCreate(type=StateType.PENDING), transaction.now)
    row = _Row(flow_key=None, task_key=body.task_key, flow_run_id=body.flow_run_id)
    run = _insert(transaction, TASK_RUN, body.id or uuid7(), values, state, row=row)
    _tag(transaction, t.task_run_tag, tags, run.key)
    return run.id, True


def _known_task_run(transaction: Transaction, body: TaskRunCreate, flow_run_key: int | None) -> UUID | None:
    """The task run of this natural key; raises ObjectAlreadyExists where another one has the id."""
    task_run = t.task_run
    mine = task_run.c.workspace_id == transaction.workspace
    # as the unique index has it, which the planner knows by this text
    same = sa.and_(
        sa.func.coalesce(task_run.c.flow_run_key, sa.literal_column("0")) == (flow_run_key or 0),
        task_run.c.task_key == body.task_key,
        task_run.c.dynamic_key == body.dynamic_key,
        task_run.c.requested == sa.literal_column("1"),
    )
    found: UUID | None = transaction.scalar(sa.select(task_run.c.id).where(mine, same))
    if found is not None or body.id is None:
        return found
    # a run that events told of has the id, and no natural key of a request
    holder = transaction.row(sa.select(task_run.c.id, task_run.c.requested).where(mine, task_run.c.id == body.id))
    if holder is not None and holder.requested:
        raise ObjectAlreadyExists(f"The id {body.id} is that of another task run.")
    return None if holder is None else holder.id


class _Row(Struct):
    """What `Stored.row` offers of a run that was just made."""

    flow_key: int | None
    task_key: str | None = None
    flow_run_id: UUID | None = None
    parent_task_run_id: UUID | None = None


def _insert(
    transaction: Transaction, kind: int, run_id: UUID, values: dict[str, Any], state: BaseState, row: _Row
) -> Stored:
    """Insert a run with its first state."""
    table, states = TABLES[kind]
    verbs, cursor = transaction.verbs, transaction.cursor
    (key,) = verbs.new_keys(cursor, table, 1)
    run = _new(kind, key, run_id, transaction.now, row)
    ledger = enter_values(run, state)
    columns = ("key", "id", "workspace_id", "created", "placeholder", *LEDGER_COLUMNS, *values)
    own = (key, verbs.id_in(run_id.bytes), transaction.workspace, transaction.now, 0)
    others = (verbs.id_in(value.bytes) if isinstance(value, UUID) else value for value in values.values())
    verbs.insert(cursor, table, columns, [(*own, *ledger, *others)])
    verbs.insert(cursor, states, STATE_COLUMNS, [state_row(verbs, run, state)])
    rollups.change(transaction, [(kind, row.flow_key, None, rollups.place_of(ledger))])
    told(transaction, run, state)
    return run


def _new(kind: int, key: int, run_id: UUID, now: int, row: _Row) -> Stored:
    run = Stored.__new__(Stored)
    run.kind, run.key, run.id, run.created, run.row = kind, key, run_id, now, row
    run.seq, run.policy, run.changes, run.ledger, run.state = 0, RunPolicy(), {}, Ledger(), None
    return run


def _tag(transaction: Transaction, table: sa.Table, tags: list[str], key: int) -> None:
    rows = [(transaction.workspace, index_key(tag), key) for tag in tags]
    if rows:
        transaction.verbs.insert_missing(transaction.cursor, table, ("workspace_id", "tag", "run_key"), rows)


def _text(value: Any) -> str | None:
    return msgspec.json.encode(value).decode() if value else None


def policy_of(policy: FlowRunPolicy | TaskRunPolicy) -> RunPolicy:
    """The policy of a request; the older fields count where the newer ones are unset."""
    return RunPolicy(
        retries=policy.max_retries or None if policy.retries is None else policy.retries,
        retry_delay=policy.retry_delay_seconds or None if policy.retry_delay is None else policy.retry_delay,
        retry_jitter_factor=getattr(policy, "retry_jitter_factor", None),
        pause_keys=sorted(getattr(policy, "pause_keys", None) or []),
        retry_type=getattr(policy, "retry_type", None),
    )


def _input(given: RunInput) -> tuple[str, bytes | None, str | None]:
    name = given.type if given.input_type == "constant" else given.name
    return given.input_type, None if given.id is None else given.id.bytes, name
