"""Paused flow runs whose time to be resumed has passed fail."""

from functools import partial
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.runs.stored import load_flow_run
from riverrun.server.runs.transitions import propose
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store
from riverrun.wire.states import TYPE_CODES, BaseState, StateDetails, StateType

_BATCH = 200
_details = msgspec.json.Decoder(StateDetails, strict=False).decode
_PAUSED = (
    sa.select(t.flow_run.c.key, t.flow_run.c.id, t.flow_run_state.c.details)
    .join(
        t.flow_run_state,
        sa.and_(t.flow_run_state.c.run_key == t.flow_run.c.key, t.flow_run_state.c.seq == t.flow_run.c.state_seq),
    )
    .where(t.flow_run.c.state_type == TYPE_CODES[StateType.PAUSED], t.flow_run.c.key > sa.bindparam("after"))
    .order_by(t.flow_run.c.key)
    .limit(_BATCH)
)


def run_once(store: Store, now: int) -> int:
    """Fail the runs that nobody has resumed in time; how many."""
    instant, after, failed = from_micros(now), 0, 0
    while True:

        def page(reader: Reader, after: int = after) -> list[tuple[int, UUID, str | None]]:
            return [tuple(row) for row in reader.rows(_PAUSED, {"after": after})]

        rows = store.read_now(page)
        for _, run_id, text in rows:
            timeout = _details(text).pause_timeout if text else None
            if timeout is not None and timeout < instant:
                failed += store.write_now(partial(_fail, run_id=run_id), bulk=True)
        if len(rows) < _BATCH:
            return failed
        after = rows[-1][0]


def _fail(transaction: Transaction, run_id: UUID) -> int:
    """Fail one run if it is still paused and late."""
    try:
        run = load_flow_run(transaction, run_id)
    except ObjectNotFound:
        return 0
    state = run.state
    timeout = None if state is None or state.type is not StateType.PAUSED else state.state_details.pause_timeout
    if timeout is None or timeout >= from_micros(transaction.now):
        return 0
    reason = "The flow run was paused and never resumed in time."
    _, written = propose(transaction, run, BaseState(type=StateType.FAILED, message=reason))
    return int(written)


LOOP = Loop(name="pauses", doc="Fails paused flow runs that nobody resumed in time.", interval=5.0, run_once=run_once)
