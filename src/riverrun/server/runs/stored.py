"""One run on its way through a transition: read from the store with its present state, moved on, written back.

Used where a state is proposed or imposed by a request or a service; journals and events come in bulk through `server.ingest`, with
the same book-keeping (`rules.bookkeeping`).
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.rules.bookkeeping import Ledger, enter
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
from riverrun.server.ingest.rows import LEDGER_COLUMNS, STATE_COLUMNS, Place
from riverrun.server.runs import rollups
from riverrun.server.runs.render import state_of
from riverrun.wire.journal import FLOW_RUN, TASK_RUN
from riverrun.wire.runs import RunPolicy
from riverrun.wire.states import DEFAULT_NAMES, TYPE_CODES, TYPES_BY_CODE, BaseState, StateDetails, StateType
from riverrun.wire.transitions import StateCreate, StateDetailsResponse, StateResponse

_json = msgspec.json.encode
_policy = msgspec.json.Decoder(RunPolicy, strict=False).decode
_STATE = ("id", "type", "timestamp", "name", "message", "details", "data")
TABLES = {FLOW_RUN: (t.flow_run, t.flow_run_state), TASK_RUN: (t.task_run, t.task_run_state)}


def _load(run: sa.Table, states: sa.Table, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return (
        sa.select(
            run.c.key,
            run.c.id,
            run.c.created,
            run.c.policy,
            *(run.c[name] for name in LEDGER_COLUMNS),
            *columns,
            *(states.c[name].label(f"s_{name}") for name in _STATE),
        )
        .outerjoin_from(run, states, sa.and_(states.c.run_key == run.c.key, states.c.seq == run.c.state_seq))
        .where(run.c.id == sa.bindparam("run_id"), run.c.workspace_id == sa.bindparam("workspace"))
    )


def _lock(run: sa.Table) -> sa.Select[Any]:
    """Locks a run on PostgreSQL. It must be a statement of its own, before the one that reads: a statement that has waited for
    a lock sees the newest row of the run, but of other tables, its state, only what was there when the statement began.
    """
    return (
        sa.select(run.c.key)
        .where(run.c.id == sa.bindparam("run_id"), run.c.workspace_id == sa.bindparam("workspace"))
        .with_for_update()
    )


_FLOW_RUN = _load(
    t.flow_run,
    t.flow_run_state,
    t.flow_run.c.flow_key,
    t.flow_run.c.deployment_id,
    t.flow_run.c.work_queue_id,
    t.flow_run.c.parent_task_run_id,
    t.flow_run.c.infrastructure_pid,
    t.flow_run.c.writer_key,
)
_TASK_RUN = _load(
    t.task_run,
    t.task_run_state,
    t.task_run.c.flow_run_key,
    sa.select(t.flow_run.c.id)
    .where(t.flow_run.c.key == t.task_run.c.flow_run_key)
    .correlate(t.task_run)
    .scalar_subquery()
    .label("flow_run_id"),
    t.task_run.c.flow_run_run_count,
    t.task_run.c.task_key,
    t.task_run.c.tags,
)


class Stored:
    """A run of the store. `row` has what its kind needs beside the ledger."""

    __slots__ = ("changes", "created", "id", "key", "kind", "ledger", "policy", "row", "seq", "state")

    def __init__(self, kind: int, row: Any) -> None:
        self.kind = kind
        self.row = row
        self.key: int = row.key
        self.id: UUID = row.id
        self.created: int = row.created
        self.seq: int = row.state_seq
        self.policy = _policy(row.policy) if row.policy else RunPolicy(retries=0, retry_delay=0.0)
        #: columns to change beside the ledger
        self.changes: dict[str, Any] = {}
        self.ledger = Ledger(
            state_type=None if row.state_type is None else TYPES_BY_CODE[row.state_type],
            state_timestamp=row.state_timestamp,
            run_count=row.run_count,
            start_time=row.start_time,
            end_time=row.end_time,
            total_run_time=row.total_run_time,
            # before the first state the column only holds the run's place in the order
            expected_start_time=row.expected_start_time if row.state_seq else None,
            next_scheduled_start_time=row.next_scheduled_start_time,
            resuming=bool(row.resuming),
        )
        self.policy.resuming = self.ledger.resuming
        flow_run_id, task_run_id = (row.id, row.parent_task_run_id) if kind == FLOW_RUN else (row.flow_run_id, row.id)
        self.state: BaseState | None = (
            None if row.s_id is None else state_of(row, flow_run_id=flow_run_id, task_run_id=task_run_id)
        )

    def place(self) -> Place | None:
        """Where the run stands in the sums; None before its first state."""
        ledger, state = self.ledger, self.state
        if ledger.state_type is None or ledger.expected_start_time is None:
            return None
        name = None if state is None or state.name == DEFAULT_NAMES[state.type] else state.name
        code = TYPE_CODES[ledger.state_type]
        return ledger.expected_start_time, ledger.start_time, ledger.total_run_time, code, name


_LOCK_FLOW_RUN, _LOCK_TASK_RUN = _lock(t.flow_run), _lock(t.task_run)


def load_flow_run(transaction: Transaction, flow_run_id: UUID) -> Stored:
    """The flow run, locked until the transaction ends; raises ObjectNotFound."""
    values = {"run_id": flow_run_id, "workspace": transaction.workspace}
    if not transaction.is_sqlite:
        transaction.row(_LOCK_FLOW_RUN, values)
    row = transaction.row(_FLOW_RUN, values)
    if row is None:
        raise ObjectNotFound(f"There is no flow run {flow_run_id}.")
    return Stored(FLOW_RUN, row)


def load_task_run(transaction: Transaction, task_run_id: UUID) -> Stored:
    """The task run, locked until the transaction ends; raises ObjectNotFound."""
    values = {"run_id": task_run_id, "workspace": transaction.workspace}
    if not transaction.is_sqlite:
        transaction.row(_LOCK_TASK_RUN, values)
    row = transaction.row(_TASK_RUN, values)
    if row is None:
        raise ObjectNotFound(f"There is no task run {task_run_id}.")
    return Stored(TASK_RUN, row)


def proposed_state(state: StateCreate, now: int) -> BaseState:
    """A proposal as a state: id and timestamp are the server's."""
    return BaseState(
        type=state.type,
        name=state.name,
        message=state.message,
        data=state.data,
        state_details=state.state_details,
        timestamp=from_micros(now),
    )


def set_policy(run: Stored, changes: dict[str, Any]) -> None:
    """Change fields of the run's policy; `resuming` lives in the ledger."""
    if not changes:
        return
    run.policy = msgspec.structs.replace(run.policy, **changes)
    if "resuming" in changes:
        run.ledger.resuming = bool(changes["resuming"])
    run.changes["policy"] = policy_text(run.policy)


def policy_text(policy: RunPolicy) -> str:
    """A policy as its column holds it, `resuming` left to the ledger. No text at all means no retries: what journals tell."""
    return _json(msgspec.structs.replace(policy, resuming=False, pause_keys=policy.pause_keys or [])).decode()


def enter_state(transaction: Transaction, run: Stored, state: BaseState) -> BaseState:
    """Write `state` as the run's present one, with all that follows from it; returns it as it was written."""
    table, states = TABLES[run.kind]
    verbs, cursor = transaction.verbs, transaction.cursor
    before = run.place()
    values = enter_values(run, state)
    verbs.insert(cursor, states, STATE_COLUMNS, [state_row(verbs, run, state)])
    columns = (*LEDGER_COLUMNS, *run.changes)
    verbs.update(cursor, table, columns, [(*values, *run.changes.values(), run.key)])
    run.changes = {}
    rollups.change(transaction, [(run.kind, run_flow_key(run), before, run.place())])
    told(transaction, run, state)
    return state


def enter_values(run: Stored, state: BaseState) -> tuple[Any, ...]:
    """Move the run's ledger into the state; the values of `LEDGER_COLUMNS`. Completes the state."""
    ledger, details = run.ledger, state.state_details
    scheduled = details.scheduled_time if state.type is StateType.SCHEDULED else None
    timestamp = enter(
        ledger, state.type, to_micros(state.timestamp), None if scheduled is None else to_micros(scheduled)
    )
    state.timestamp = from_micros(timestamp)
    if run.kind == FLOW_RUN:
        details.flow_run_id, details.task_run_id = run.id, run.row.parent_task_run_id
    else:
        details.flow_run_id, details.task_run_id = run.row.flow_run_id, run.id
    run.seq += 1
    run.state = state
    return (
        ledger.expected_start_time,
        ledger.next_scheduled_start_time,
        ledger.start_time,
        ledger.end_time,
        ledger.total_run_time,
        ledger.state_timestamp,
        run.seq,
        ledger.run_count,
        TYPE_CODES[state.type],
        None if state.name == DEFAULT_NAMES[state.type] else state.name,
        1 if ledger.resuming else 0,
    )


def state_row(verbs: Any, run: Stored, state: BaseState) -> tuple[Any, ...]:
    """The row of a state, in the order of `STATE_COLUMNS`."""
    details = msgspec.structs.replace(state.state_details, flow_run_id=None, task_run_id=None)
    text = _json(details).decode()
    return (
        run.key,
        run.seq,
        verbs.id_in(state.id.bytes),
        TYPE_CODES[state.type],
        to_micros(state.timestamp),
        0,
        None,
        None if state.name == DEFAULT_NAMES[state.type] else state.name,
        state.message,
        None if text == "{}" else text,
        None if state.data is None else _json(state.data).decode(),
    )


def run_flow_key(run: Stored) -> int | None:
    return run.row.flow_key if run.kind == FLOW_RUN else None


def told(transaction: Transaction, run: Stored, state: BaseState) -> None:
    """Announce the state, and wake who waits for the run."""
    transaction.announce("F" if run.kind == FLOW_RUN else "T", run.key, run.seq)
    transaction.wake(f"{'flow' if run.kind == FLOW_RUN else 'task'}_run:{run.id.hex}")
    if run.kind == TASK_RUN and state.type is StateType.SCHEDULED and state.state_details.deferred:
        transaction.wake(f"task_key:{run.row.task_key}")


def answer_of(state: BaseState | None) -> StateResponse | None:
    """A state as answers carry it."""
    if state is None:
        return None
    return StateResponse(
        id=state.id,
        type=state.type,
        name=state.name,
        timestamp=state.timestamp,
        message=state.message,
        data=state.data,
        state_details=details_of(state.state_details),
    )


def details_of(details: StateDetails) -> StateDetailsResponse:
    """The details of a state with every field there."""
    return StateDetailsResponse(**{name: getattr(details, name) for name in StateDetails.__struct_fields__})


def later(now: int, seconds: float) -> datetime:
    """The instant so many seconds after `now` (microseconds)."""
    return from_micros(now + int(seconds * 1_000_000))
