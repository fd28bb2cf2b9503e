"""The rows of attempts: which worker's process has a claimed run, under which fence, and until when.

A run has at most one. It is written with the run's Pending state and goes when the run ends, is scheduled anew or is suspended;
a run that waits in its process for its next try keeps it.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.wire.states import TYPE_CODES, TYPES_BY_CODE, StateType

#: how long a claim lasts without a sign of life of its worker
LEASE_SECONDS = 30.0
LEASE = int(LEASE_SECONDS * 1_000_000)
_A, _RUN = t.attempt.c, t.flow_run.c
_OF_RUN = sa.select(t.attempt).where(_A.flow_run_key == sa.bindparam("run_key"))
_VALUES: dict[str, Any] = {
    "fence": sa.bindparam("fence"),
    "worker_id": sa.bindparam("by"),
    "worker_name": sa.bindparam("called"),
    "claimed": sa.bindparam("now"),
    "lease_until": sa.bindparam("lease"),
}
# made once: building a statement costs more than executing it
_TAKE_OVER = sa.update(t.attempt).where(_A.flow_run_key == sa.bindparam("run_key")).values(**_VALUES)
_MAKE = sa.insert(t.attempt).values(flow_run_key=sa.bindparam("run_key"), **_VALUES)
_END = sa.delete(t.attempt).where(_A.flow_run_key == sa.bindparam("run_key")).returning(_A.worker_id)
#: the second for processes that are not the last to hear of it
_CANCELLED = (TYPE_CODES[StateType.CANCELLING], TYPE_CODES[StateType.CANCELLED])


def topic(worker: UUID) -> str:
    """What is woken when there is news for a worker's process."""
    return f"worker:{worker.hex}"


def of_run(reader: Reader, run_key: int) -> Any:
    """The row of a run's attempt, or None."""
    return reader.row(_OF_RUN, {"run_key": run_key})


def give(transaction: Transaction, run_key: int, fence: int, worker: UUID, name: str) -> None:
    """The run is this worker's now. The caller holds the run's lock."""
    lease = transaction.now + LEASE
    values = {"run_key": run_key, "by": worker, "called": name, "fence": fence, "now": transaction.now, "lease": lease}
    if not transaction.execute(_TAKE_OVER, values).rowcount:
        transaction.execute(_MAKE, values)


def end(transaction: Transaction, run_key: int) -> None:
    """The run is nobody's now; its worker looks up."""
    for row in transaction.rows(_END, {"run_key": run_key}):
        transaction.wake(topic(row.worker_id))


def renew(transaction: Transaction, worker: UUID, holding: Collection[UUID] | None) -> None:
    """A sign of life for the runs that a worker's process has; for those of `holding` alone where it says so."""
    mine = _A.worker_id == worker
    if holding is not None:
        # in the order of keys, as every statement that locks several attempts
        keys = sa.select(_RUN.key).where(_RUN.id.in_(holding), _RUN.workspace_id == transaction.workspace)
        mine = sa.and_(mine, _A.flow_run_key.in_(keys))
    transaction.execute(sa.update(t.attempt).where(mine).values(lease_until=transaction.now + LEASE))


def pending(reader: Reader, worker: UUID) -> list[UUID]:
    """The runs that a worker's process has and that have not begun."""
    return [row.id for row in reader.rows(_mine(worker).where(_RUN.state_type == TYPE_CODES[StateType.PENDING]))]


def news(reader: Reader, worker: UUID, holding: Collection[UUID] | None) -> tuple[list[UUID], list[UUID]]:
    """Of a worker's runs those to be cancelled, and those of `holding` that are not its own any more."""
    if holding is None:
        return [row.id for row in reader.rows(_mine(worker).where(_RUN.state_type == _CANCELLED[0]))], []
    query = (
        sa.select(_RUN.id, _RUN.state_type, _A.worker_id)
        .outerjoin_from(t.flow_run, t.attempt, _A.flow_run_key == _RUN.key)
        .where(_RUN.id.in_(holding), _RUN.workspace_id == reader.workspace)
    )
    found = {row.id: row for row in reader.rows(query)} if holding else {}
    cancelling = [run_id for run_id, row in found.items() if row.state_type in _CANCELLED]
    lost = [run_id for run_id in holding if _is_lost(found.get(run_id), worker)]
    return cancelling, lost


def _is_lost(row: Any, worker: UUID) -> bool:
    """Whether a run is gone, or somebody else's, or nobody's and waits for its next worker."""
    if row is None:
        return True
    if row.worker_id is not None:
        return bool(row.worker_id != worker)
    return row.state_type is not None and TYPES_BY_CODE[row.state_type] in (StateType.SCHEDULED, StateType.PENDING)


def _mine(worker: UUID) -> sa.Select[Any]:
    return (
        sa.select(_RUN.id)
        .join_from(t.attempt, t.flow_run, _RUN.key == _A.flow_run_key)
        .where(_A.worker_id == worker)
        .order_by(_RUN.key)
    )
