"""A proposed state meets the rules: facts are loaded, the pure rules decide, the decision is written, all in one transaction."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros, to_micros
from riverrun.rules import flow_run as flow_rules
from riverrun.rules import task_run as task_rules
from riverrun.rules.decision import Answer, Decision, Effect
from riverrun.server.claims import handover
from riverrun.server.concurrency import slots
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Transaction
from riverrun.server.runs import tag_slots
from riverrun.server.runs.stored import (
    Stored,
    answer_of,
    enter_state,
    load_flow_run,
    load_task_run,
    proposed_state,
    set_policy,
)
from riverrun.wire.states import TERMINAL_STATES, TYPES_BY_CODE, BaseState, StateDetails, StateType
from riverrun.wire.transitions import OrchestrationResult, ResponseDetails, StateCreate

#: clients before this version cannot renew the lease of a deployment's slot
_RENEWS_LEASES = (3, 4, 11)
#: how long a deployment's slot is held for a run that has not started
GRACE_SECONDS = 300
#: how long it is held from one life sign of the run to the next
LEASE_SECONDS = 300
_DETAILS = {
    Answer.ACCEPT: "accept_details",
    Answer.REJECT: "reject_details",
    Answer.WAIT: "wait_details",
    Answer.ABORT: "abort_details",
}
_DEPLOYMENT = sa.select(
    t.deployment.c.concurrency_limit_id, t.deployment.c.collision_strategy, t.deployment.c.grace_period_seconds
).where(t.deployment.c.id == sa.bindparam("deployment_id"))
_RESUMES = sa.update(t.flow_run).where(t.flow_run.c.key == sa.bindparam("run_key")).values(resuming=1)
_CACHED = (
    sa.select(t.task_run_state.c.message, t.task_run_state.c.data)
    .join_from(t.cache_entry, t.task_run_state, t.task_run_state.c.id == t.cache_entry.c.state_id)
    .where(
        t.cache_entry.c.workspace_id == sa.bindparam("workspace"),
        t.cache_entry.c.cache_key == sa.bindparam("cache_key"),
        sa.or_(t.cache_entry.c.expires.is_(None), t.cache_entry.c.expires > sa.bindparam("now")),
    )
    .order_by(t.cache_entry.c.key.desc())
    .limit(1)
)


def set_flow_run_state(
    transaction: Transaction, flow_run_id: UUID, proposal: StateCreate, *, force: bool = False
) -> tuple[OrchestrationResult, bool]:
    """Propose a state for a flow run; the answer, and whether a state was written. Raises ObjectNotFound."""
    run = load_flow_run(transaction, flow_run_id)
    if proposal.type is StateType.RUNNING and run.ledger.state_type in (StateType.SCHEDULED, StateType.PENDING):
        # whoever starts it this way keeps no journal: the run does not live on the lease of one that has told of it before
        run.changes["writer_key"] = None
    return propose(transaction, run, proposed_state(proposal, transaction.now), force=force)


def propose(
    transaction: Transaction, run: Stored, proposed: BaseState, *, force: bool = False
) -> tuple[OrchestrationResult, bool]:
    """The same for a flow run that is loaded."""
    limit = _limit_of(transaction, run)
    facts = _flow_facts(transaction, run, limit)
    decision = flow_rules.decide(facts, proposed, from_micros(transaction.now), force=force)
    state = decision.state
    if state is not None:
        before = run.ledger.state_type
        lease = None if run.state is None else run.state.state_details.deployment_concurrency_lease_id
        _move_slot(transaction, run, decision, limit, lease)
        policy = dict(decision.policy)
        # as the peer counts: a pause that is resumed straight to Running counts as another start
        resumes = policy.pop("resuming", None) if state.type is StateType.RUNNING else None
        set_policy(run, policy)
        enter_state(transaction, run, state)
        if resumes:
            transaction.execute(_RESUMES, {"run_key": run.key})
        if Effect.COPY_TO_PARENT in decision.effects:
            copy_to_parent(transaction, run.row.parent_task_run_id, run.id, state)
        if state.type in (StateType.CRASHED, StateType.CANCELLED):
            slots.release_of_flow_run(transaction, run.key, run.id)
        if state.type in TERMINAL_STATES or state.type in (StateType.CANCELLING, StateType.PAUSED):
            if run.row.writer_key is not None:
                transaction.wake(f"writer:{run.row.writer_key}")
            if state.type is StateType.CANCELLED:
                transaction.wake("flow_runs_cancelled")
        handover.entered(transaction, run, before, propose)
    return result_of(decision, run.state), state is not None


def result_of(decision: Decision, present: BaseState | None) -> OrchestrationResult:
    """A decision as its proposer reads it, with the state that holds now."""
    details = ResponseDetails(type=_DETAILS[decision.answer])  # type: ignore[arg-type]
    if decision.answer is not Answer.ACCEPT:
        details.reason = decision.reason
    if decision.answer is Answer.WAIT:
        details.delay_seconds = round(decision.delay)
    return OrchestrationResult(state=answer_of(present), status=decision.answer.value, details=details)


# -- flow runs --------------------------------------------------------------------------------------------------------------


def _limit_of(transaction: Transaction, run: Stored) -> Any:
    """The row of the deployment's limit, when it has one."""
    if run.row.deployment_id is None:
        return None
    row = transaction.row(_DEPLOYMENT, {"deployment_id": run.row.deployment_id})
    return None if row is None or row.concurrency_limit_id is None else row


def _flow_facts(transaction: Transaction, run: Stored, limit: Any) -> flow_rules.FlowRunFacts:
    version = transaction.caller.client_version
    facts = flow_rules.FlowRunFacts(
        state=run.state,
        run_count=run.ledger.run_count,
        policy=run.policy,
        deployment_id=run.row.deployment_id,
        has_process=run.row.infrastructure_pid is not None,
        has_parent=run.row.parent_task_run_id is not None,
        renews_lease=version is None or version >= _RENEWS_LEASES or version < (3,),
    )
    if limit is not None:
        most, free = slots.free(transaction, limit.concurrency_limit_id)
        lease = None if run.state is None else run.state.state_details.deployment_concurrency_lease_id
        facts.slots = flow_rules.DeploymentSlots(
            limit=most,
            free=free,
            cancel_new=limit.collision_strategy == "CANCEL_NEW",
            lease_lost=lease is not None and not slots.is_live(transaction, lease),
        )
    return facts


def _move_slot(transaction: Transaction, run: Stored, decision: Decision, limit: Any, lease: UUID | None) -> None:
    """Take, renew or give back the deployment's slot, as decided."""
    details = decision.state.state_details if decision.state is not None else StateDetails()
    if Effect.TAKE_SLOT in decision.effects and limit is not None:
        seconds = limit.grace_period_seconds or GRACE_SECONDS
        details.deployment_concurrency_lease_id = slots.take(
            transaction, limit.concurrency_limit_id, ("flow_run", run.id), seconds
        )
    elif Effect.RENEW_LEASE in decision.effects and lease is not None:
        slots.renew(transaction, lease, LEASE_SECONDS)
    if Effect.RELEASE_SLOT in decision.effects and lease is not None:
        slots.release(transaction, lease)


def copy_to_parent(transaction: Transaction, parent_id: UUID, run_id: UUID, state: BaseState) -> None:
    """The task run in the parent flow run that stands for the subflow run `run_id` enters the same state."""
    if transaction.scalar(sa.select(t.task_run.c.key).where(t.task_run.c.id == parent_id)) is None:
        return  # the parent's own records have not arrived
    parent = load_task_run(transaction, parent_id)
    details = StateDetails(child_flow_run_id=run_id, scheduled_time=state.state_details.scheduled_time)
    mirrored = BaseState(
        type=state.type,
        name=state.name,
        message=state.message,
        data=state.data,
        state_details=details,
        timestamp=state.timestamp,
    )
    enter_state(transaction, parent, mirrored)


# -- task runs --------------------------------------------------------------------------------------------------------------


def set_task_run_state(
    transaction: Transaction, task_run_id: UUID, proposal: StateCreate, *, force: bool = False
) -> tuple[OrchestrationResult, bool]:
    """Propose a state for a task run; the answer, and whether a state was written. Raises ObjectNotFound."""
    run = load_task_run(transaction, task_run_id)
    proposed = proposed_state(proposal, transaction.now)
    facts = _task_facts(transaction, run, proposed)
    decision = task_rules.decide(facts, proposed, from_micros(transaction.now), force=force)
    if decision.state is not None:
        if "run_count" in decision.fields:
            run.ledger.run_count = decision.fields["run_count"]
        if "flow_run_run_count" in decision.fields:
            run.changes["flow_run_run_count"] = decision.fields["flow_run_run_count"]
        if Effect.RELEASE_SLOT in decision.effects:
            slots.release_held_by(transaction, [run.id])
        if Effect.TAKE_SLOT in decision.effects:
            tag_slots.take(transaction, _tags(run), run.id)
        enter_state(transaction, run, decision.state)
        if Effect.INSERT_CACHE_KEY in decision.effects:
            _insert_cache_key(transaction, decision.state)
    return result_of(decision, run.state), decision.state is not None


def _task_facts(transaction: Transaction, run: Stored, proposed: BaseState) -> task_rules.TaskRunFacts:
    facts = task_rules.TaskRunFacts(
        state=run.state,
        run_count=run.ledger.run_count,
        policy=run.policy,
        flow_run_run_count=run.row.flow_run_run_count,
    )
    if run.row.flow_run_key is not None:
        flow_run = transaction.row(
            sa.select(t.flow_run.c.state_type, t.flow_run.c.run_count).where(t.flow_run.c.key == run.row.flow_run_key)
        )
        if flow_run is not None:
            facts.flow_run_count = flow_run.run_count
            facts.flow_state_type = None if flow_run.state_type is None else TYPES_BY_CODE[flow_run.state_type]
    if proposed.type is StateType.RUNNING:
        facts.cached = _cached(transaction, proposed.state_details)
        facts.tag_slots = tag_slots.free(transaction, _tags(run), run.id)
    return facts


def _tags(run: Stored) -> list[str]:
    return msgspec.json.decode(run.row.tags) if run.row.tags else []


def _cached(transaction: Transaction, details: StateDetails) -> BaseState | None:
    if details.cache_key is None or details.refresh_cache:
        return None
    key = index_key(details.cache_key)
    row = transaction.row(_CACHED, {"workspace": transaction.workspace, "cache_key": key, "now": transaction.now})
    if row is None:
        return None
    return BaseState(
        type=StateType.COMPLETED, message=row.message, data=msgspec.json.decode(row.data) if row.data else None
    )


def _insert_cache_key(transaction: Transaction, state: BaseState) -> None:
    details = state.state_details
    assert details.cache_key is not None
    transaction.execute(
        sa.insert(t.cache_entry).values(
            created=transaction.now,
            expires=None if details.cache_expiration is None else to_micros(details.cache_expiration),
            workspace_id=transaction.workspace,
            state_id=state.id,
            cache_key=index_key(details.cache_key),
        )
    )
