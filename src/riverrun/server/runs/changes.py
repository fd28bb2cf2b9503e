"""Changing fields of runs, and taking runs over: everything but their states."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.errors import ObjectNotFound
from riverrun.base.names import run_name
from riverrun.rules.decision import abort
from riverrun.server.claims import attempts
from riverrun.server.concurrency import slots
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Transaction
from riverrun.server.ingest.claims import claim
from riverrun.server.runs.creation import policy_of
from riverrun.server.runs.stored import load_flow_run, policy_text
from riverrun.server.runs.transitions import propose, result_of
from riverrun.wire.flow_runs import FlowRunUpdate
from riverrun.wire.states import BaseState, StateDetails, StateType
from riverrun.wire.task_runs import TaskRunUpdate
from riverrun.wire.transitions import OrchestrationResult


def update_flow_run(transaction: Transaction, flow_run_id: UUID, body: FlowRunUpdate) -> None:
    """Change the fields that the body has; raises ObjectNotFound."""
    run = load_flow_run(transaction, flow_run_id)
    values: dict[str, Any] = {"updated": transaction.now}
    for name in ("name", "flow_version", "infrastructure_pid"):
        value = getattr(body, name)
        if value is not UNSET and not (name == "name" and value is None):
            values[name] = value or run_name() if name == "name" else value
    for name in ("parameters", "job_variables"):
        value = getattr(body, name)
        if value is not UNSET:
            values[name] = _text(value)
    if body.empirical_policy is not UNSET:
        policy = policy_of(body.empirical_policy)
        values["policy"] = policy_text(policy)
        values["resuming"] = 1 if body.empirical_policy.resuming else 0
    if body.tags is not UNSET:
        values["tags"] = _text(_retag(transaction, t.flow_run_tag, run.key, body.tags))
    transaction.execute(sa.update(t.flow_run).where(t.flow_run.c.key == run.key).values(**values))
    transaction.wake(f"flow_run:{flow_run_id.hex}")


def update_labels(transaction: Transaction, flow_run_id: UUID, labels: dict[str, Any]) -> None:
    """Add labels, or change those that are there; raises ObjectNotFound."""
    mine = sa.and_(t.flow_run.c.id == flow_run_id, t.flow_run.c.workspace_id == transaction.workspace)
    row = transaction.row(sa.select(t.flow_run.c.key, t.flow_run.c.labels).where(mine).with_for_update())
    if row is None:
        raise ObjectNotFound(f"There is no flow run {flow_run_id}.")
    merged = {**(msgspec.json.decode(row.labels) if row.labels else {}), **labels}
    transaction.execute(
        sa.update(t.flow_run).where(t.flow_run.c.key == row.key).values(labels=_text(merged), updated=transaction.now)
    )


def update_task_run(transaction: Transaction, task_run_id: UUID, body: TaskRunUpdate) -> None:
    """Change the fields that the body has; raises ObjectNotFound."""
    mine = sa.and_(t.task_run.c.id == task_run_id, t.task_run.c.workspace_id == transaction.workspace)
    if transaction.scalar(sa.select(t.task_run.c.key).where(mine)) is None:
        raise ObjectNotFound(f"There is no task run {task_run_id}.")
    if body.name is not UNSET and body.name is not None:
        transaction.execute(sa.update(t.task_run).where(mine).values(name=body.name))


def begin(
    transaction: Transaction, flow_run_id: UUID, writer: UUID, transition_id: UUID, fence: int | None = None
) -> tuple[OrchestrationResult, bool]:
    """Let the process that writes the journal `writer` start a run that it was handed.

    Only one process gets it: the rules let nobody start a run that is running or has ended, and nobody may who comes with the
    fence of a claim that counts no more. From here on the run lives on the writer's lease, and what a former writer says of it
    does not count.
    """
    run = load_flow_run(transaction, flow_run_id)
    if fence is not None:
        attempt = attempts.of_run(transaction, run.key)
        if attempt is None or attempt.fence != fence:
            by = "" if attempt is None else f": {attempt.worker_name} has it now"
            reason = f"The claim by which this run was handed out counts no more{by}."
            return result_of(abort(reason), run.state), False
    state = BaseState(type=StateType.RUNNING, state_details=StateDetails(transition_id=transition_id))
    result, written = propose(transaction, run, state)
    # the same request once more, after its answer was lost
    repeated = run.state is not None and run.state.state_details.transition_id == transition_id
    if written or repeated:
        key = claim(transaction, run.key, run.row.writer_key, writer)
        transaction.execute(sa.update(t.flow_run).where(t.flow_run.c.key == run.key).values(writer_key=key))
        lease = None if run.state is None else run.state.state_details.deployment_concurrency_lease_id
        if lease is not None:
            slots.keep(transaction, lease)
    return result, written


def _retag(transaction: Transaction, table: sa.Table, key: int, tags: list[str]) -> list[str]:
    wanted = sorted(set(tags), key=tags.index)
    transaction.execute(sa.delete(table).where(table.c.workspace_id == transaction.workspace, table.c.run_key == key))
    rows = [(transaction.workspace, index_key(tag), key) for tag in wanted]
    if rows:
        transaction.verbs.insert_missing(transaction.cursor, table, ("workspace_id", "tag", "run_key"), rows)
    return wanted


def _text(value: Any) -> str | None:
    return msgspec.json.encode(value).decode() if value else None
