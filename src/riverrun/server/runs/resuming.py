"""Resuming a paused flow run, with the input that it waits for."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.base.errors import InputError
from riverrun.base.ids import uuid7
from riverrun.server.db import tables as t
from riverrun.server.db.units import Transaction
from riverrun.server.runs.stored import Stored, answer_of, load_flow_run
from riverrun.server.runs.transitions import propose
from riverrun.server.schemas import first_error
from riverrun.wire.states import BaseState, StateDetails, StateType
from riverrun.wire.transitions import OrchestrationResult, ResponseDetails


def resume(
    transaction: Transaction, flow_run_id: UUID, run_input: dict[str, Any] | None
) -> tuple[OrchestrationResult, bool]:
    """Let a paused flow run go on; the answer, and whether a state was written. Raises ObjectNotFound.

    With a keyset in the paused state the input is checked against the schema that the run has left, and kept for it.
    """
    run = load_flow_run(transaction, flow_run_id)
    state = run.state
    if state is None or state.type is not StateType.PAUSED:
        is_what = "has no state" if state is None else f"is {state.name}"
        return _aborted(f"Only a paused flow run can be resumed; this one {is_what}."), False
    keyset = state.state_details.run_input_keyset
    if keyset:
        wrong = _keep_input(transaction, run, keyset, run_input or {})
        if wrong is not None:
            details = ResponseDetails(type="abort_details", reason=f"Reason: {wrong}")
            return OrchestrationResult(state=answer_of(state), status="REJECT", details=details), False
    now = from_micros(transaction.now)
    if state.state_details.pause_reschedule:
        following = BaseState(
            type=StateType.SCHEDULED, name="Resuming", state_details=StateDetails(scheduled_time=now), timestamp=now
        )
    else:
        following = BaseState(type=StateType.RUNNING, timestamp=now)
    return propose(transaction, run, following)


def _aborted(reason: str) -> OrchestrationResult:
    details = ResponseDetails(type="abort_details", reason=reason)
    return OrchestrationResult(state=None, status="ABORT", details=details)


def _keep_input(transaction: Transaction, run: Stored, keyset: dict[str, str], run_input: dict[str, Any]) -> str | None:
    """Store the input under the keyset's response key; why not, when it is wrong."""
    schema_key, response_key = keyset.get("schema"), keyset.get("response")
    if schema_key is None or response_key is None:
        return "the paused state does not say under which keys its input is kept."
    text = transaction.scalar(
        sa.select(t.flow_run_input.c.value).where(
            t.flow_run_input.c.flow_run_id == run.id, t.flow_run_input.c.input_key == schema_key
        )
    )
    if text is None:
        return "the schema of the input that the run waits for is not there."
    try:
        wrong = first_error(msgspec.json.decode(text), run_input)
    except (ValueError, InputError) as error:
        return str(error)
    if wrong is not None:
        return f"the input does not fit the schema: {wrong}"
    mine = (t.flow_run_input.c.flow_run_id == run.id, t.flow_run_input.c.input_key == response_key)
    transaction.execute(sa.delete(t.flow_run_input).where(*mine))
    transaction.execute(
        sa.insert(t.flow_run_input).values(
            id=uuid7(),
            created=transaction.now,
            updated=transaction.now,
            workspace_id=transaction.workspace,
            flow_run_id=run.id,
            input_key=response_key,
            value=msgspec.json.encode(run_input).decode(),
        )
    )
    transaction.wake(f"flow_run_input:{run.id.hex}")
    return None
