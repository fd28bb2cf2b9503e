"""What becomes of a claimed run whose worker has gone."""

from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.server.claims import attempts
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
from riverrun.server.runs.stored import Stored, load_flow_run
from riverrun.server.runs.transitions import propose
from riverrun.wire.states import TERMINAL_STATES, BaseState, StateDetails, StateType

_WRITER = t.journal_writer.c


def give_up(transaction: Transaction, run_id: UUID, worker: UUID, message: str, *, expired: bool = False) -> bool:
    """End the attempt of a worker at a run: what has not begun waits for the next worker, what runs without a process of its
    own that lives has crashed. With `expired` only if the attempt is. Whether anything was done.
    """
    try:
        run = load_flow_run(transaction, run_id)
    except ObjectNotFound:
        return False
    attempt = attempts.of_run(transaction, run.key)
    if attempt is None or attempt.worker_id != worker or (expired and attempt.lease_until >= transaction.now):
        return False
    said = message.format(name=attempt.worker_name)
    kind = None if run.state is None else run.state.type
    if kind in (StateType.RUNNING, StateType.CANCELLING) and _goes_on(transaction, run):
        # the process that runs it outlives its worker, and has a lease of its own: look again when that has run out
        later = sa.update(t.attempt).where(t.attempt.c.flow_run_key == run.key)
        transaction.execute(later.values(lease_until=transaction.now + attempts.LEASE))
        return False
    attempts.end(transaction, run.key)
    if kind is StateType.PENDING:
        propose(transaction, run, _again(transaction, run, said))
    elif kind is StateType.CANCELLING:
        propose(transaction, run, BaseState(type=StateType.CANCELLED, message=said))
    elif kind is StateType.RUNNING:
        propose(transaction, run, BaseState(type=StateType.CRASHED, message=said))
    return kind not in TERMINAL_STATES


def _again(transaction: Transaction, run: Stored, message: str) -> BaseState:
    """Scheduled for when it was meant to run: it stands where it stood in the order."""
    meant = from_micros(run.ledger.expected_start_time or transaction.now)
    return BaseState(type=StateType.SCHEDULED, message=message, state_details=StateDetails(scheduled_time=meant))


def _goes_on(transaction: Transaction, run: Stored) -> bool:
    """Whether the journal that tells of the run has a lease: its process lives, or `services.leases` will end the run."""
    if run.row.writer_key is None:
        return False
    query = sa.select(_WRITER.lease_until).where(_WRITER.key == run.row.writer_key)
    return transaction.scalar(query) is not None
