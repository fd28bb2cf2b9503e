"""What belongs to a cancelled flow run is cancelled with it: its subflow runs and its unfinished task runs."""

from functools import partial
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.runs.stored import enter_state, load_flow_run, load_task_run
from riverrun.server.runs.transitions import propose
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store
from riverrun.wire.states import TERMINAL_STATES, TYPE_CODES, BaseState, StateType

_BATCH = 200
_REASON = "The flow run that this run belongs to was cancelled."
_UNFINISHED = [code for kind, code in TYPE_CODES.items() if kind not in TERMINAL_STATES]
_parent = t.flow_run.alias("parent")
_cancelled = _parent.c.state_type == TYPE_CODES[StateType.CANCELLED]
_SUBFLOWS = (
    sa.select(t.flow_run.c.id)
    .join(t.task_run, t.task_run.c.id == t.flow_run.c.parent_task_run_id)
    .join(_parent, _parent.c.key == t.task_run.c.flow_run_key)
    .where(t.flow_run.c.state_type.in_(_UNFINISHED), t.flow_run.c.parent_task_run_id.is_not(None), _cancelled)
    .limit(_BATCH)
)
_TASK_RUNS = (
    sa.select(t.task_run.c.id)
    .join(_parent, _parent.c.key == t.task_run.c.flow_run_key)
    .where(t.task_run.c.state_type.in_(_UNFINISHED), _cancelled)
    .limit(_BATCH)
)


def run_once(store: Store, now: int) -> int:  # noqa: ARG001 - the contract of loops
    """Cancel what is left of cancelled flow runs, at most a batch of each kind; how many."""

    def left(reader: Reader) -> tuple[list[UUID], list[UUID]]:
        return [row.id for row in reader.rows(_SUBFLOWS)], [row.id for row in reader.rows(_TASK_RUNS)]

    subflows, task_runs = store.read_now(left)
    done = sum(store.write_now(partial(_cancel_flow_run, run_id=run_id), bulk=True) for run_id in subflows)
    if task_runs:
        done += store.write_now(lambda tx: sum(_cancel_task_run(tx, run_id) for run_id in task_runs), bulk=True)
    return done


def _cancel_flow_run(transaction: Transaction, run_id: UUID) -> int:
    try:
        run = load_flow_run(transaction, run_id)
    except ObjectNotFound:
        return 0
    if run.ledger.state_type in TERMINAL_STATES:
        return 0
    _, written = propose(transaction, run, BaseState(type=StateType.CANCELLED, message=_REASON))
    return int(written)


def _cancel_task_run(transaction: Transaction, run_id: UUID) -> int:
    try:
        run = load_task_run(transaction, run_id)
    except ObjectNotFound:
        return 0
    if run.ledger.state_type in TERMINAL_STATES:
        return 0
    enter_state(transaction, run, BaseState(type=StateType.CANCELLED, message=_REASON))
    return 1


LOOP = Loop(
    name="cancellations",
    doc="Cancels subflow runs and task runs of cancelled flow runs.",
    interval=20.0,
    run_once=run_once,
    topics=("flow_runs_cancelled",),
    again=True,
)
