"""What becomes of scheduled runs that have not begun in time.

A run is late 15 seconds after it was due: that is written once, in bulk, as its state's name. Runs of schedules may be discarded
instead (they become Cancelled): when their schedule's `max_late` has passed, and late ones by its `catch_up`: "none" keeps no late
run, "latest" only the latest. A late run of a deployment whose limit is full and which takes no new runs then is cancelled, too.
"""

from collections.abc import Iterator
from functools import partial
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server.concurrency import slots
from riverrun.server.db import tables as t
from riverrun.server.db.json_text import to_text
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.deployments.filling import key_prefix
from riverrun.server.ingest.rows import STATE_COLUMNS
from riverrun.server.outbox import FLOW_RUN_STATE
from riverrun.server.runs import rollups
from riverrun.server.runs.stored import load_flow_run
from riverrun.server.runs.transitions import propose
from riverrun.server.services.contract import Loop
from riverrun.server.services.scheduler import LATE
from riverrun.server.store import Store
from riverrun.wire.journal import FLOW_RUN
from riverrun.wire.states import TYPE_CODES, BaseState, StateDetails, StateType

_SECOND = 1_000_000
_LATE = to_micros(from_micros(0) + LATE)
#: runs that become late, and runs that are cancelled, in one unit
_MARKED, _CANCELLED = 100, 10
#: units of a pass
_UNITS = 50
_RUN, _SCHEDULE = t.flow_run.c, t.deployment_schedule.c
_SCHEDULED = TYPE_CODES[StateType.SCHEDULED]

#: what is past its time and not told to be late: in this form the index has it
_TURNED = (
    sa.select(t.flow_run)
    .where(_RUN.next_scheduled_start_time <= sa.bindparam("before"), _RUN.state_name.is_(None))
    .order_by(_RUN.next_scheduled_start_time)
    .limit(_MARKED)
)
_DISCARDING = sa.select(t.deployment_schedule).where(
    sa.or_(_SCHEDULE.max_late.is_not(None), _SCHEDULE.catch_up.is_not(None))
)


def run_once(store: Store, now: int) -> int:
    """Discard and mark; how many runs."""
    done = 0
    for message, run_ids in store.read_now(lambda reader: list(_discarded(reader, now))):
        done += _cancel_all(store, run_ids, message)
    for limit_id, run_ids in store.read_now(lambda reader: _refusing(reader, now)).items():
        done += store.write_now(partial(_cancel_if_full, limit_id=limit_id, run_ids=run_ids), bulk=True)
    for _ in range(_UNITS):
        marked = store.write_now(partial(_mark, now=now), bulk=True)
        done += marked
        if marked < _MARKED:
            break
    return done


# -- discarding ------------------------------------------------------------------------------------------------------------


def _discarded(reader: Reader, now: int) -> Iterator[tuple[str, list[UUID]]]:
    """The runs that their schedules do not want any more, and why."""
    for schedule in reader.rows(_DISCARDING):
        prefix = key_prefix(schedule.deployment_id, schedule.id)
        query = (
            sa.select(_RUN.id, _RUN.next_scheduled_start_time.label("due"))
            .where(
                _RUN.deployment_id == schedule.deployment_id,
                _RUN.next_scheduled_start_time <= now,
                _RUN.state_type == _SCHEDULED,
                _RUN.run_count == 0,
                sa.or_(_RUN.state_name.is_(None), _RUN.state_name == "Late"),
                _RUN.idempotency_key.startswith(prefix),
            )
            .order_by(_RUN.next_scheduled_start_time)
        )
        rows = reader.rows(query)
        if schedule.max_late is not None:
            limit = now - int(schedule.max_late * _SECOND)
            message = f"Too late: the run had not begun {schedule.max_late:g} s after it was due, as long as its schedule allows."
            yield message, [row.id for row in rows if row.due <= limit]
            rows = [row for row in rows if row.due > limit]
        late = [row.id for row in rows if row.due <= now - _LATE]
        if schedule.catch_up == "none":
            yield "Too late: the run could not begin in time, and its schedule makes up for nothing.", late
        elif schedule.catch_up == "latest":
            # a later one that is due, late or not, takes the place of the late ones
            yield "Too late: the schedule's next run is due, and only the latest is made up for.", late[: len(rows) - 1]


def _refusing(reader: Reader, now: int) -> dict[UUID, list[UUID]]:
    """Some late runs of deployments that take no new run while their limit is full, by the limit."""
    query = (
        sa.select(_RUN.id, t.deployment.c.concurrency_limit_id)
        .join(t.deployment, t.deployment.c.id == _RUN.deployment_id)
        .where(
            _RUN.next_scheduled_start_time <= now - _LATE,
            _RUN.state_name.is_(None),
            t.deployment.c.collision_strategy == "CANCEL_NEW",
            t.deployment.c.concurrency_limit_id.is_not(None),
        )
        .limit(_CANCELLED)
    )
    by_limit: dict[UUID, list[UUID]] = {}
    for row in reader.rows(query):
        by_limit.setdefault(row.concurrency_limit_id, []).append(row.id)
    return by_limit


def _cancel_if_full(transaction: Transaction, limit_id: UUID, run_ids: list[UUID]) -> int:
    most, free = slots.free(transaction, limit_id)
    if free > 0:
        return 0
    return _cancel(
        transaction, run_ids, f"The deployment's concurrency limit of {most} is reached, and it takes no new runs."
    )


def _cancel_all(store: Store, run_ids: list[UUID], message: str) -> int:
    return sum(
        store.write_now(partial(_cancel, run_ids=run_ids[first : first + _CANCELLED], message=message), bulk=True)
        for first in range(0, len(run_ids), _CANCELLED)
    )


def _cancel(transaction: Transaction, run_ids: list[UUID], message: str) -> int:
    done = 0
    for run_id in run_ids:
        try:
            run = load_flow_run(transaction, run_id)
        except ObjectNotFound:
            continue
        if run.ledger.state_type is StateType.SCHEDULED and not run.ledger.run_count:
            done += propose(transaction, run, BaseState(type=StateType.CANCELLED, message=message))[1]
    return done


# -- marking ---------------------------------------------------------------------------------------------------------------


def _mark(transaction: Transaction, now: int) -> int:
    """Tell some runs to be late; how many there were. What their states have is as `propose` would write it."""
    turned = transaction.rows(_TURNED.with_for_update(skip_locked=True), {"before": now - _LATE})
    verbs, cursor = transaction.verbs, transaction.cursor
    states, runs, sums = [], [], {}  # type: ignore[var-annotated]
    for row in turned:
        state = BaseState(
            type=StateType.SCHEDULED,
            name="Late",
            message=f"The run was due at {from_micros(row.next_scheduled_start_time):%Y-%m-%d %H:%M:%S} UTC and has not begun.",
            state_details=StateDetails(scheduled_time=from_micros(row.next_scheduled_start_time)),
        )
        if row.parent_task_run_id is not None:
            propose(transaction, load_flow_run(transaction, row.id), state)  # its parent is told, too
            continue
        seq, at = row.state_seq + 1, max(transaction.now, (row.state_timestamp or 0) + 1)
        details = to_text(state.state_details)
        state_id = verbs.id_in(uuid7().bytes)
        states.append((row.key, seq, state_id, _SCHEDULED, at, 0, None, "Late", state.message, details, None))
        runs.append((seq, at, "Late", row.key))
        place = rollups.place_in(row)
        assert place is not None
        rollups.tally(sums, FLOW_RUN, row.flow_key, place, -1)
        rollups.tally(sums, FLOW_RUN, row.flow_key, (*place[:4], "Late"), 1)
        transaction.announce(FLOW_RUN_STATE, row.key, seq)
        transaction.wake(f"flow_run:{row.id.hex}")
    if states:
        verbs.insert(cursor, t.flow_run_state, STATE_COLUMNS, states)
        verbs.update(cursor, t.flow_run, ("state_seq", "state_timestamp", "state_name"), runs)
        rollups.write(verbs, cursor, rollups.rows_of(sums, transaction.workspace))
    return len(turned)


def next_due(store: Store) -> int | None:
    """When the next run would be late."""
    query = sa.select(sa.func.min(_RUN.next_scheduled_start_time)).where(
        _RUN.next_scheduled_start_time.is_not(None), _RUN.state_name.is_(None)
    )
    found: int | None = store.read_now(lambda reader: reader.scalar(query))
    return None if found is None else found + _LATE


LOOP = Loop(
    name="late_runs",
    doc="Tells runs to be late that have not begun in time, or discards them.",
    interval=5.0,
    run_once=run_once,
    due=next_due,
)
