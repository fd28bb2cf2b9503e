"""What is done with deployments: made, changed, paused, deleted."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.errors import ConflictError, ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.concurrency import limits
from riverrun.server.db import tables as t
from riverrun.server.db.json_text import from_text, to_text
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Transaction
from riverrun.server.deployments import queries, schedules, versions
from riverrun.server.deployments.filling import key_prefix
from riverrun.server.deployments.polls import tell
from riverrun.server.runs import retention
from riverrun.server.work import pools, queues
from riverrun.server.work.notices import changed
from riverrun.server.work.queries import find_queue
from riverrun.wire.deployments import DeploymentCode, DeploymentCreate, DeploymentUpdate
from riverrun.wire.states import TYPE_CODES, StateType
from riverrun.wire.work import WorkQueueCreate

table = t.deployment
_RUN = t.flow_run.c
_PLAIN = ("version", "description", "path", "entrypoint", "storage_document_id", "infrastructure_document_id")
_FLAGS = ("paused", "enforce_parameter_schema")
#: fields that are JSON, by column
_JSON = {"parameters": "parameters", "job_variables": "job_variables", "pull_steps": "pull_steps", "tags": "tags"}
_TOLD = (
    "description", "paused", "parameters", "tags", "version", "work_queue_id", "path", "entrypoint", "job_variables",
    "parameter_schema", "enforce_parameter_schema", "concurrency_limit_id",
)  # fmt: skip
_NO_PARAMETERS = {"type": "object", "properties": {}}


def _values(body: DeploymentCreate | DeploymentUpdate, given: Collection[str]) -> dict[str, Any]:
    """The columns that the given fields of a body say."""
    values: dict[str, Any] = {name: getattr(body, name) for name in _PLAIN if name in given}
    for name in _FLAGS:
        if name in given and getattr(body, name) is not None:
            values[name] = int(getattr(body, name))
    for name, column in _JSON.items():
        if name in given:
            value = getattr(body, name)
            values[column] = to_text(value if name == "pull_steps" else value or None)
    if "parameter_openapi_schema" in given:
        schema = body.parameter_openapi_schema
        values["parameter_schema"] = to_text(_NO_PARAMETERS if schema is None else schema)
    if "concurrency_options" in given:
        options = body.concurrency_options
        values["collision_strategy"] = options.collision_strategy if options else None
        values["grace_period_seconds"] = options.grace_period_seconds if options else None
    return values


def upsert(transaction: Transaction, body: DeploymentCreate, given: Collection[str]) -> tuple[Any, bool]:
    """Make a deployment, or bring the flow's deployment of this name to what is given; its row, and whether it is new.

    `given` names the fields that the request has: an existing deployment keeps the others. Its schedules are replaced.
    """
    flow = transaction.row(
        sa.select(t.flow).where(t.flow.c.id == body.flow_id, t.flow.c.workspace_id == transaction.workspace)
    )
    if flow is None:
        raise ConflictError(f"Error creating deployment. There is no flow {body.flow_id}.")
    _check_blocks(transaction, body)
    before = queries.same(transaction, body.flow_id, body.name, lock=True)
    if before is not None:
        versions.keep(transaction, before.id)
    values = _values(body, given)
    values |= _queue(transaction, body.work_pool_name or None, body.work_queue_name or None)
    system = {**from_text(flow.labels, {}), "prefect.flow.id": str(body.flow_id)}
    values["labels"] = to_text({**system, **(body.labels or {})})
    if before is None:
        deployment_id = uuid7()
        own = {"id": deployment_id, "workspace_id": transaction.workspace, "created": transaction.now}
        defaults = {"paused": 0, "enforce_parameter_schema": 1, "flow_id": body.flow_id, "name": body.name}
        transaction.execute(sa.insert(table).values(**own, **{**defaults, **values}, updated=transaction.now))
    else:
        deployment_id = before.id
        transaction.execute(
            sa.update(table).where(table.c.id == deployment_id).values(**values, updated=transaction.now)
        )
        schedules.delete_all(transaction, deployment_id)
        remove_scheduled(transaction, [deployment_id], only_auto=True, only_future=True)
    schedules.create(transaction, deployment_id, body.schedules)
    _limit(transaction, deployment_id, body, given)
    if before is None or "tags" in given:
        _tag(transaction, deployment_id, body.tags)
    versions.keep(transaction, deployment_id)
    row = queries.find(transaction, deployment_id)
    _tell(transaction, row, "created" if before is None else "updated", before)
    return row, before is None


def update(transaction: Transaction, deployment_id: UUID, body: DeploymentUpdate) -> None:
    """Change the fields that the body has; raises ObjectNotFound."""
    before = queries.find(transaction, deployment_id, lock=True)
    versions.keep(transaction, deployment_id)
    given = {name for name in body.__struct_fields__ if getattr(body, name) is not UNSET}
    values = _values(body, given)
    if "work_pool_name" in given and body.work_pool_name is None:
        values |= {"work_queue_id": None, "work_queue_name": None}
    else:
        values |= _queue(transaction, body.work_pool_name or None, body.work_queue_name or None)
    transaction.execute(sa.update(table).where(table.c.id == deployment_id).values(**values, updated=transaction.now))
    schedules.start_again(transaction, deployment_id, afresh=bool(before.paused))
    remove_scheduled(transaction, [deployment_id], only_auto=True, only_future=True)
    if isinstance(body.schedules, list):
        schedules.change(transaction, deployment_id, body.schedules)
    _limit(transaction, deployment_id, body, given)
    if isinstance(body.tags, list):
        _tag(transaction, deployment_id, body.tags)
    versions.keep(transaction, deployment_id)
    _tell(transaction, queries.find(transaction, deployment_id), "updated", before)


def roll_back(transaction: Transaction, deployment_id: UUID, number: int) -> None:
    """Make a deployment once more what it was in a version: that becomes the newest one. Raises ObjectNotFound, ConflictError.

    Schedules that are as they were stay as active as they are; others are active.
    """
    before = queries.find(transaction, deployment_id, lock=True)
    versions.keep(transaction, deployment_id)
    code = versions.find(transaction, deployment_id, number)
    _check_blocks(transaction, code)
    body = DeploymentUpdate(**{name: getattr(code, name) for name in versions.FIELDS})
    values = _values(body, versions.FIELDS)
    transaction.execute(sa.update(table).where(table.c.id == deployment_id).values(**values, updated=transaction.now))
    present = queries.schedules(transaction, [deployment_id]).get(deployment_id, [])
    was = {msgspec.json.encode(versions.schedule_of(each)): each.active for each in present}
    for each in code.schedules:
        each.active = was.get(msgspec.json.encode(each), True)
    schedules.delete_all(transaction, deployment_id)
    remove_scheduled(transaction, [deployment_id], only_auto=True, only_future=True)
    schedules.create(transaction, deployment_id, code.schedules)
    versions.keep(transaction, deployment_id)
    _tell(transaction, queries.find(transaction, deployment_id), "updated", before)


def set_paused(transaction: Transaction, deployment_id: UUID, *, paused: bool) -> None:
    """Pause or resume; a paused deployment loses the runs that its schedules made. Raises ObjectNotFound."""
    before = queries.find(transaction, deployment_id, lock=True)
    transaction.execute(
        sa.update(table).where(table.c.id == deployment_id).values(paused=int(paused), updated=transaction.now)
    )
    schedules.start_again(transaction, deployment_id, afresh=True)
    if paused:
        remove_scheduled(transaction, [deployment_id], only_auto=True)
    _tell(transaction, queries.find(transaction, deployment_id), "updated", before)


def delete(transaction: Transaction, deployment_id: UUID) -> None:
    """Delete a deployment with its schedules, its own limit, and the runs that have not begun. Raises ObjectNotFound.

    Runs that began keep its id: they tell where they came from.
    """
    row = queries.find(transaction, deployment_id, lock=True)
    schedules.delete_all(transaction, deployment_id)
    remove_scheduled(transaction, [deployment_id])
    versions.delete_all(transaction, deployment_id)
    limits.upsert_for_deployment(transaction, deployment_id, None)
    _tag(transaction, deployment_id, [])
    transaction.execute(sa.delete(table).where(table.c.id == deployment_id))
    _tell(transaction, row, "deleted", None)


def remove_scheduled(
    transaction: Transaction,
    deployment_ids: list[UUID],
    *,
    only_auto: bool = False,
    only_future: bool = False,
    schedule_id: UUID | None = None,
) -> None:
    """Delete runs of deployments, or of one schedule, that are scheduled and have never run."""
    conditions = [
        _RUN.deployment_id.in_(deployment_ids),
        _RUN.next_scheduled_start_time.is_not(None),  # what the index holds
        _RUN.state_type == TYPE_CODES[StateType.SCHEDULED],
        _RUN.run_count == 0,
        sa.or_(_RUN.state_name.is_(None), _RUN.state_name != "AwaitingConcurrencySlot"),
    ]
    if only_auto:
        conditions.append(_RUN.auto_scheduled == 1)
    if schedule_id is not None:
        conditions.append(_RUN.idempotency_key.startswith(key_prefix(deployment_ids[0], schedule_id)))
    if only_future:
        conditions.append(_RUN.next_scheduled_start_time > transaction.now)
    while retention.delete_never_run(transaction, conditions):
        pass


def _check_blocks(transaction: Transaction, body: DeploymentCreate | DeploymentCode) -> None:
    for what, block_id in (("infrastructure", body.infrastructure_document_id), ("storage", body.storage_document_id)):
        mine = t.block_document.c.workspace_id == transaction.workspace
        query = sa.select(t.block_document.c.key).where(t.block_document.c.id == block_id, mine)
        if block_id is not None and transaction.row(query) is None:
            raise ConflictError(f"Error creating deployment. Could not find {what} block with id {block_id}.")


def _queue(transaction: Transaction, pool_name: str | None, name: str | None) -> dict[str, Any]:
    """The columns of the queue that these names mean, made if it is missing; none where nothing is named."""
    if pool_name is not None:
        queue_id = queues.id_of(transaction, pool_name, name, make=True)
        return {"work_queue_id": queue_id, "work_queue_name": name or queues.DEFAULT}
    if name is None:
        return {}
    pool = pools.agent_pool(transaction)
    found = find_queue(transaction, pool.name, name)
    if found is None:
        found = queues.create(transaction, pool, WorkQueueCreate(name=name, priority=1))
    return {"work_queue_id": found.id, "work_queue_name": name}


def _limit(
    transaction: Transaction, deployment_id: UUID, body: DeploymentCreate | DeploymentUpdate, given: Collection[str]
) -> None:
    if "global_concurrency_limit_id" not in given and "concurrency_limit" not in given:
        return
    limit_id = body.global_concurrency_limit_id or None
    if isinstance(limit_id, UUID):
        if limits.find(transaction, limit_id) is None:
            raise ObjectNotFound(f"Concurrency limit {limit_id} not found.")
    elif "concurrency_limit" in given:
        limit = body.concurrency_limit
        limit_id = limits.upsert_for_deployment(transaction, deployment_id, limit if isinstance(limit, int) else None)
    transaction.execute(sa.update(table).where(table.c.id == deployment_id).values(concurrency_limit_id=limit_id))


def _tag(transaction: Transaction, deployment_id: UUID, tags: list[str]) -> None:
    tagged = t.deployment_tag
    mine = sa.and_(tagged.c.workspace_id == transaction.workspace, tagged.c.deployment_id == deployment_id)
    transaction.execute(sa.delete(tagged).where(mine))
    id_in = transaction.verbs.id_in(deployment_id.bytes)
    rows = [(transaction.workspace, index_key(tag), id_in) for tag in dict.fromkeys(tags)]
    if rows:
        columns = ("workspace_id", "tag", "deployment_id")
        transaction.verbs.insert_missing(transaction.cursor, tagged, columns, rows)


def _plain(name: str, value: Any) -> Any:
    """A column's value as an event tells it."""
    if name in _FLAGS:
        return bool(value)
    return from_text(value) if name in (*_JSON.values(), "parameter_schema") else value


def _tell(transaction: Transaction, row: Any, what: str, before: Any) -> None:
    transaction.wake("deployments", f"deployment:{row.id.hex}")
    payload: dict[str, Any] = {}
    if before is not None:
        updates = changed(before, {name: getattr(row, name) for name in _TOLD}, _TOLD)
        if not updates:
            return
        updates = {name: {way: _plain(name, value) for way, value in each.items()} for name, each in updates.items()}
        payload = {"updated_fields": list(updates), "updates": updates}
    tell(transaction, row, what, payload)
