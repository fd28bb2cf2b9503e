"""Takes back what workers have claimed that give no sign of life any more, and passes on slots that nobody has told of.

After a start, and after the clock has jumped or the machine has slept, no worker is judged for one lease: it may not have had
the chance to be heard.
"""

from functools import partial
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.server.claims import handover
from riverrun.server.claims.attempts import LEASE
from riverrun.server.claims.voiding import give_up
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader
from riverrun.server.runs.transitions import propose
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store

_MANY = 200
_INTERVAL = 2.0
#: a pass that comes so much later than it should, or earlier, tells of a clock that jumped (microseconds)
_JUMP = 10_000_000
_A, _RUN = t.attempt.c, t.flow_run.c
_EXPIRED = (
    sa.select(_RUN.id, _A.worker_id, _A.lease_until)
    .join_from(t.attempt, t.flow_run, _RUN.key == _A.flow_run_key)
    .where(_A.lease_until < sa.bindparam("now"))
    .order_by(_A.lease_until)
    .limit(_MANY)
)
_WAITING = (
    sa.select(_RUN.deployment_id)
    .where(handover.WAITS, _RUN.deployment_id.is_not(None), _RUN.next_scheduled_start_time > sa.bindparam("now"))
    .distinct()
    .limit(_MANY)
)


class Sweeper:
    """Passes over expired attempts; remembers since when it is on watch."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._last = 0

    def run_once(self, store: Store, now: int) -> int:
        """Take back what has expired; how many runs."""
        if self._since is None or not 0 <= now - self._last <= _JUMP:
            self._since = now
        self._last = now
        done = _pass_on(store, now)
        if now - self._since < LEASE:
            return done
        for run_id, worker, lease_until in store.read_now(lambda reader: _expired(reader, now)):
            silent = f"{from_micros(lease_until - LEASE):%H:%M:%S} UTC"
            message = f"The worker {{name}} has claimed this run and given no sign of life since {silent}."
            end = partial(give_up, run_id=run_id, worker=worker, message=message, expired=True)
            done += store.write_now(end, bulk=True)
        return done


def _expired(reader: Reader, now: int) -> list[tuple[UUID, UUID, int]]:
    return [tuple(row) for row in reader.rows(_EXPIRED, {"now": now})]


def _pass_on(store: Store, now: int) -> int:
    """Slots that expired, or limits that were raised: whoever waits for them is scheduled anew."""
    waiting = store.read_now(lambda reader: [row[0] for row in reader.rows(_WAITING, {"now": now})])
    done = 0
    for deployment_id in waiting:
        promote = partial(handover.promote, deployment_id=deployment_id, propose=propose)
        done += store.write_now(promote, bulk=True)
    return done


LOOP = Loop(
    name="attempts",
    doc="Runs that were claimed by workers that give no sign of life go to the next worker.",
    interval=_INTERVAL,
    run_once=Sweeper().run_once,
)
