"""Ends the runs of unmodified Prefect clients whose heartbeats stay out.

Such a client has no lease. It sends an event `prefect.flow-run.heartbeat` when a run starts and then in an interval of its own,
180 seconds unless its user says otherwise. A run that has sent one, and of which nothing is heard for three intervals and a
minute, has Crashed; should its process live after all, its own states are taken as ever. Whoever has never sent one is left in
peace, and after a start or a jump of the clock nobody is judged for as long.
"""

from functools import partial
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.ingest.settle import last_sign
from riverrun.server.runs.stored import load_flow_run
from riverrun.server.runs.transitions import propose
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store
from riverrun.wire.journal import FLOW_RUN
from riverrun.wire.states import TYPE_CODES, BaseState, StateType

_BATCH = 200
_INTERVAL = 30.0
_SECOND = 1_000_000
#: the clients' default
_BEAT = 180 * _SECOND
_MISSED = 3
_SLACK = 60 * _SECOND
#: a run that was heard of so lately is alive, however short its interval
LONGEST = _MISSED * _BEAT + _SLACK
#: a pass that comes so much later than it should tells of a clock that jumped, or a machine that slept
_JUMP = 90 * _SECOND
_RUNNING = (
    sa.select(t.flow_run.c.key, t.flow_run.c.id)
    .where(
        t.flow_run.c.workspace_id == sa.bindparam("workspace"),
        t.flow_run.c.state_type == TYPE_CODES[StateType.RUNNING],
        t.flow_run.c.writer_key.is_(None),
        t.flow_run.c.state_timestamp < sa.bindparam("before"),
    )
    .order_by(t.flow_run.c.expected_start_time)  # as the index has it: few of many runs are running
    .limit(_BATCH)
    .offset(sa.bindparam("passed"))
)
_BEATS = (
    sa.select(t.event.c.occurred, t.event.c.received)
    .where(
        t.event.c.workspace_id == sa.bindparam("workspace"),
        t.event.c.resource_id == sa.bindparam("resource"),
        t.event.c.event == "prefect.flow-run.heartbeat",
    )
    .order_by(t.event.c.occurred.desc())
    .limit(2)
)


class Watch:
    """Passes over running runs; remembers since when it is on watch."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._last = 0

    def run_once(self, store: Store, now: int) -> int:
        """Let the silent runs end; how many."""
        if self._since is None or not 0 <= now - self._last <= _JUMP:
            self._since = now
        self._last = now
        if now - self._since < LONGEST:
            return 0
        passed, ended = 0, 0
        while True:
            rows = store.read_now(partial(_page, passed=passed, before=now - LONGEST))
            for run_id, deadline in rows:
                if deadline is not None and deadline < now:
                    ended += store.write_now(partial(_end, run_id=run_id, now=now), bulk=True)
            passed += len(rows)
            if len(rows) < _BATCH:
                return ended


def _page(reader: Reader, passed: int, before: int) -> list[tuple[UUID, int | None]]:
    """Some running runs, and when the silence of each has lasted too long. One that is missed is met in the next pass."""
    rows = reader.rows(_RUNNING, {"workspace": reader.workspace, "passed": passed, "before": before})
    return [(row.id, _deadline(reader, row.key, row.id)) for row in rows]


def _deadline(reader: Reader, key: int, run_id: UUID) -> int | None:
    """When the silence of a run has lasted too long; None for one that sends no heartbeats."""
    beats = reader.rows(_BEATS, {"workspace": reader.workspace, "resource": f"prefect.flow-run.{run_id}"})
    if not beats:
        return None
    interval = max(_BEAT, beats[0].occurred - beats[1].occurred) if len(beats) > 1 else _BEAT
    row = reader.row(sa.select(t.flow_run.c.key, t.flow_run.c.state_timestamp).where(t.flow_run.c.key == key))
    # the beat by the server's clock, the others by the client's: a wrong one may only make it later
    heard: int = max(beats[0].received, last_sign(reader.connection, FLOW_RUN, row))
    return heard + _MISSED * interval + _SLACK


def _end(transaction: Transaction, run_id: UUID, now: int) -> int:
    """End one run if it is still running and silent."""
    try:
        run = load_flow_run(transaction, run_id)
    except ObjectNotFound:
        return 0
    deadline = _deadline(transaction, run.key, run_id)
    if run.state is None or run.state.type is not StateType.RUNNING or deadline is None or deadline >= now:
        return 0
    message = (
        f"Nothing has been heard of this run for too long: {_MISSED} heartbeats of its process were due by "
        f"{from_micros(deadline):%Y-%m-%d %H:%M:%S} UTC. It was killed, or cannot reach the server."
    )
    _, written = propose(transaction, run, BaseState(type=StateType.CRASHED, message=message))
    return int(written)


LOOP = Loop(
    name="heartbeats",
    doc="Runs of Prefect clients whose heartbeats stay out become Crashed.",
    interval=_INTERVAL,
    run_once=Watch().run_once,
)
