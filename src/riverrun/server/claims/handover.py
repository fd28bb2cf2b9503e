"""What follows when a run that was handed out moves on: its attempt ends, its slots pass to whoever waits for them.

Who waits behind a limit of a pool or queue is still scheduled, and is woken; the first of those who wait for a slot of their
deployment is scheduled anew for the time it was first meant for, so that who came first is served first.
"""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.rules.decision import ACTIVE
from riverrun.server.claims import attempts
from riverrun.server.concurrency import slots
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
from riverrun.server.ingest.unit import Unit
from riverrun.server.runs.stored import Stored, load_flow_run
from riverrun.wire.states import TERMINAL_STATES, TYPES_BY_CODE, BaseState, StateDetails, StateType

#: `runs.transitions.propose`, which is what calls this
Propose = Callable[[Transaction, Stored, BaseState], Any]
AWAITING = "AwaitingConcurrencySlot"
#: the most runs that are scheduled anew at once
_MANY = 100
_RUN = t.flow_run.c
#: as the partial index has it
WAITS = _RUN.state_name == sa.literal_column(f"'{AWAITING}'")
_WAITING = (
    sa.select(_RUN.id)
    .where(
        _RUN.deployment_id == sa.bindparam("deployment_id"),
        WAITS,
        _RUN.next_scheduled_start_time > sa.bindparam("now"),
    )
    .order_by(_RUN.expected_start_time, _RUN.key)
    .limit(sa.bindparam("many"))
    .with_for_update(skip_locked=True)
)
_LIMIT = sa.select(t.deployment.c.concurrency_limit_id).where(t.deployment.c.id == sa.bindparam("deployment_id"))


def entered(transaction: Transaction, run: Stored, before: StateType | None, propose: Propose) -> None:
    """A flow run has entered a state that was proposed."""
    state, row = run.state, run.row
    if state is None or (row.deployment_id is None and row.work_queue_id is None):
        return
    waits_in_process = state.type is StateType.PAUSED and not state.state_details.pause_reschedule
    _moved(transaction, row, before, state.type, waits_in_process or state.name == "AwaitingRetry", propose)


def ingested(transaction: Transaction, unit: Unit, propose: Propose) -> None:
    """Flow runs have entered the states that a journal told of: what they held is given back."""
    left = {
        run.key: run
        for run in unit.flow_runs.values()
        if run.entered and not run.new and run.code is not None and TYPES_BY_CODE[run.code] not in ACTIVE
    }
    if not left:
        return
    query = sa.select(_RUN.key, _RUN.id, _RUN.deployment_id, _RUN.work_queue_id).where(
        _RUN.key.in_(left), sa.or_(_RUN.deployment_id.is_not(None), _RUN.work_queue_id.is_not(None))
    )
    for row in transaction.rows(query.order_by(_RUN.key)):
        run = left[row.key]
        kind = TYPES_BY_CODE[run.code] if run.code is not None else StateType.SCHEDULED
        waits_in_process = kind is StateType.PAUSED or run.state_name == "AwaitingRetry"
        if not waits_in_process:
            slots.release_held_by(transaction, [row.id])
        _moved(transaction, row, StateType.RUNNING, kind, waits_in_process, propose)


def _moved(
    transaction: Transaction,
    row: Any,
    before: StateType | None,
    kind: StateType,
    waits_in_process: bool,
    propose: Propose,
) -> None:
    if kind is StateType.CANCELLING:
        attempt = attempts.of_run(transaction, row.key)
        if attempt is not None:
            transaction.wake(attempts.topic(attempt.worker_id))
    if kind in ACTIVE:
        return
    if not waits_in_process:
        attempts.end(transaction, row.key)
    leaves = before in ACTIVE
    if leaves or kind is StateType.SCHEDULED:
        wake(transaction, row.deployment_id, row.work_queue_id)
    if leaves and row.deployment_id is not None and not waits_in_process:
        promote(transaction, row.deployment_id, propose)


def wake(transaction: Transaction, deployment_id: UUID | None, work_queue_id: UUID | None) -> None:
    """Wake who claims runs of the deployment or the queue: there is one more, or one more slot."""
    if deployment_id is not None:
        transaction.wake(f"deployment:{deployment_id.hex}")
    if work_queue_id is not None:
        transaction.wake(f"work_queue:{work_queue_id.hex}")


def promote(transaction: Transaction, deployment_id: UUID, propose: Propose) -> int:
    """Schedule anew as many of the runs that wait for a slot of the deployment as have one now; how many."""
    values = {"deployment_id": deployment_id, "now": transaction.now, "many": 1}
    if transaction.row(_WAITING, values) is None:
        return 0
    limit_id = transaction.scalar(_LIMIT, {"deployment_id": deployment_id})
    free = _MANY if limit_id is None else slots.free(transaction, limit_id)[1]
    heads: Iterable[Any] = transaction.rows(_WAITING, {**values, "many": min(free, _MANY)}) if free > 0 else ()
    promoted = 0
    for head in heads:
        run = load_flow_run(transaction, head.id)
        if run.state is None or run.state.type in TERMINAL_STATES or run.state.name != AWAITING:
            continue
        meant = from_micros(run.ledger.expected_start_time or transaction.now)
        again = BaseState(
            type=StateType.SCHEDULED,
            message="A concurrency slot of the deployment is free.",
            state_details=StateDetails(scheduled_time=meant),
            timestamp=from_micros(transaction.now),
        )
        propose(transaction, run, again)
        promoted += 1
    return promoted
