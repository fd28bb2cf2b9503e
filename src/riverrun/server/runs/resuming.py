"""Resuming a paused flow run, with the input that it waits for."""

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import from_micros
from riverrun.base.ids import uuid7
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.runs import queries
from riverrun.server.runs.stored import Stored, answer_of, load_flow_run
from riverrun.server.runs.transitions import propose
from riverrun.server.templates.settle import Request, settle
from riverrun.wire.states import BaseState, StateDetails, StateType
from riverrun.wire.transitions import OrchestrationResult, ResponseDetails


class Wanted(Struct):
    """The input that a paused run waits for: under which keys it stands, and the schema that it must meet."""

    keyset: dict[str, str]
    schema: dict[str, Any] | None = None
    #: why no input can be taken
    problem: str | None = None


def wanted(reader: Reader, flow_run_id: UUID) -> Wanted | None:
    """What a paused run waits for; None when it waits for no input or is not paused. Raises ObjectNotFound."""
    state = queries.flow_run_answer(reader, flow_run_id).state
    keyset = None if state is None or state.type is not StateType.PAUSED else state.state_details.run_input_keyset
    if not keyset:
        return None
    if "schema" not in keyset or "response" not in keyset:
        return Wanted(keyset, problem="the paused state does not say under which keys its input is kept.")
    text = reader.scalar(
        sa.select(t.flow_run_input.c.value).where(
            t.flow_run_input.c.flow_run_id == flow_run_id, t.flow_run_input.c.input_key == keyset["schema"]
        )
    )
    try:
        schema = None if text is None else msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        return Wanted(keyset, problem=f"the schema of the input cannot be read: {error}")
    if schema is None:
        return Wanted(keyset, problem="the schema of the input that the run waits for is not there.")
    return Wanted(keyset, schema)


async def checked(given: dict[str, Any], want: Wanted, variables: dict[str, Any]) -> tuple[Any, str | None]:
    """The input with its templates filled in, and what is wrong with it."""
    if want.problem is not None:
        return None, want.problem
    outcome = await settle(Request(value=given, variables=variables, schema=want.schema))
    return outcome.value, outcome.form_error or outcome.schema_error or outcome.problem


def resume(
    transaction: Transaction, flow_run_id: UUID, want: Wanted | None, value: Any, problem: str | None
) -> tuple[OrchestrationResult, bool]:
    """Let a paused flow run go on; the answer, and whether a state was written. Raises ObjectNotFound.

    `want`, `value` and `problem` are those of `wanted` and `checked`: the run may have moved since, so its keyset is compared.
    """
    run = load_flow_run(transaction, flow_run_id)
    state = run.state
    if state is None or state.type is not StateType.PAUSED:
        is_what = "has no state" if state is None else f"is {state.name}"
        return _aborted(f"Only a paused flow run can be resumed; this one {is_what}."), False
    keyset = state.state_details.run_input_keyset
    if keyset:
        if want is None or want.keyset != keyset:
            problem = "the run has paused anew meanwhile; look what it waits for now."
        if problem is not None:
            details = ResponseDetails(type="abort_details", reason=f"Reason: {problem}")
            return OrchestrationResult(state=answer_of(state), status="REJECT", details=details), False
        _keep_input(transaction, run, keyset["response"], value)
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


def _keep_input(transaction: Transaction, run: Stored, key: str, value: Any) -> None:
    """Store the input for the run that waits for it."""
    mine = (t.flow_run_input.c.flow_run_id == run.id, t.flow_run_input.c.input_key == key)
    transaction.execute(sa.delete(t.flow_run_input).where(*mine))
    transaction.execute(
        sa.insert(t.flow_run_input).values(
            id=uuid7(),
            created=transaction.now,
            updated=transaction.now,
            workspace_id=transaction.workspace,
            flow_run_id=run.id,
            input_key=key,
            value=msgspec.json.encode(value).decode(),
        )
    )
    transaction.wake(f"flow_run_input:{run.id.hex}")
