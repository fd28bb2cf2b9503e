"""Why a flow run is not running: what keeps it, who holds what it waits for, and when it may start.

Reasons are gathered in the order in which they count: the time it is scheduled for, pauses, full limits, nobody who takes it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.server.claims import attempts
from riverrun.server.concurrency import slots
from riverrun.server.db import tables as t
from riverrun.server.db.units import Reader
from riverrun.server.deployments import queries as deployments
from riverrun.server.runs import queries
from riverrun.server.work import queries as work
from riverrun.wire.claims import Holder, Reason, Why
from riverrun.wire.flow_runs import FlowRunResponse
from riverrun.wire.states import TERMINAL_STATES, TYPE_CODES, StateType
from riverrun.wire.transitions import StateResponse

#: holders that are named, and runs ahead that are counted, at most
_NAMED, _COUNTED = 5, 1000
#: runs whose durations tell how long the next will take
_SAMPLES = 20
_SECOND = 1_000_000
#: a run counts as late after so many seconds
_LATE = 15
_RUN = t.flow_run.c
_FULL = ("pool_limit", "queue_limit", "deployment_limit")
#: reasons after which nobody can tell when the run starts
_OPEN_END = ("pool_paused", "queue_paused", "deployment_paused", "no_worker", "nobody_serves", "no_deployment")


def why(reader: Reader, flow_run_id: UUID) -> Why:
    """Why a flow run is not running. Raises ObjectNotFound."""
    run = queries.flow_run_answer(reader, flow_run_id)
    state = run.state
    said = Why(
        flow_run_id=run.id,
        state_type=None if state is None else state.type.value,
        state_name=None if state is None else state.name,
        running=state is not None and state.type is StateType.RUNNING,
        sentence="",
        reasons=[],
    )
    if state is not None and state.type is StateType.SCHEDULED:
        said.reasons = list(_waiting(reader, run, state))
        said.late_seconds = _late(reader, run)
        said.predicted_start = _predicted(reader, run, said.reasons)
    else:
        said.reasons = [_standing(reader, run, state)]
    said.sentence = _sentence(said)
    return said


def _sentence(said: Why) -> str:
    first, *rest = said.reasons
    sentence = first.message
    if said.late_seconds is not None:
        sentence = f"It is late by {_seconds(said.late_seconds)}, because {sentence[0].lower()}{sentence[1:]}"
    if rest:
        sentence += f" (and {len(rest)} more reason{'s' if len(rest) > 1 else ''})"
    return sentence + "."


# -- runs that are not scheduled --------------------------------------------------------------------------------------------


def _standing(reader: Reader, run: FlowRunResponse, state: StateResponse | None) -> Reason:
    """The one reason of a run in any other state."""
    if state is None:
        return Reason(
            kind="no_state", message="It has no state yet: the process that made it has not said what it does"
        )
    since = _at(state.timestamp)
    if state.type in TERMINAL_STATES:
        return Reason(kind="ended", message=f"It has ended: it is {state.name} since {since}", since=state.timestamp)
    if state.type is StateType.RUNNING:
        return Reason(kind="running", message=f"It is running since {since}", since=state.timestamp)
    if state.type is StateType.PAUSED:
        return _paused(state, since)
    attempt = attempts.of_run(reader, _key(reader, run.id))
    by = None if attempt is None else attempt.worker_name
    if state.type is StateType.CANCELLING:
        whose = "its process" if by is None else f"worker {by}"
        message = f"It is being cancelled since {since}: {whose} has not confirmed yet that it has stopped"
        return Reason(kind="cancelling", message=message, name=by, since=state.timestamp)
    if attempt is None:
        message = f"It is {state.name} since {since}: somebody has claimed it and has not begun it yet"
        return Reason(kind="pending", message=message, since=state.timestamp)
    until = from_micros(attempt.lease_until)
    message = f"Worker {by} has claimed it at {since} and has not begun it yet; if the worker is not heard of until "
    message += f"{_at(until)}, the next one gets it"
    return Reason(kind="pending", message=message, name=by, since=state.timestamp, until=until)


def _paused(state: StateResponse, since: str) -> Reason:
    details = state.state_details
    keyset, until = details.run_input_keyset, details.pause_timeout
    what = "It waits for input" if keyset else "It is suspended" if details.pause_reschedule else "It is paused"
    limit = f"; it fails if it is not resumed by {_at(until)}" if until is not None else ""
    kind = "input" if keyset else "suspended" if details.pause_reschedule else "paused"
    return Reason(kind=kind, message=f"{what} since {since}{limit}", since=state.timestamp, until=until)


# -- runs that are scheduled ------------------------------------------------------------------------------------------------


def _waiting(reader: Reader, run: FlowRunResponse, state: StateResponse) -> Iterator[Reason]:
    when = run.next_scheduled_start_time
    ahead = when is not None and when > from_micros(reader.now)
    if state.name == "AwaitingRetry":
        message = f"It waits for its next try, at {_at(when)}" if ahead else "Its next try is about to begin"
        yield Reason(kind="retry", message=message, until=when)
        if run.empirical_policy.retry_type == "in_process":
            return
    elif ahead and state.name != "AwaitingConcurrencySlot":
        yield Reason(kind="scheduled", message=f"It is scheduled for {_at(when)}", until=when)
    blockers = [*_pauses(reader, run), *_limits(reader, run)]
    nobody = _nobody(reader, run)
    if nobody is not None:
        blockers.append(nobody)
    yield from blockers
    if not blockers and not ahead:
        yield _next_in_line(reader, run)
    elif not blockers and state.name == "AwaitingConcurrencySlot":
        yield Reason(
            kind="slot", message="It waits for a slot of its deployment, and one is free: it is about to be taken"
        )


def _pauses(reader: Reader, run: FlowRunResponse) -> Iterator[Reason]:
    if run.work_pool_name is not None and run.work_queue_name is not None:
        pool = work.find_pool(reader, run.work_pool_name)
        if pool is not None and pool.is_paused:
            yield Reason(kind="pool_paused", message=f"The work pool {pool.name!r} is paused", name=pool.name)
        queue = work.find_queue(reader, run.work_pool_name, run.work_queue_name)
        if queue is not None and queue.is_paused:
            message = f"The work queue {queue.name!r} of pool {queue.pool_name!r} is paused"
            yield Reason(kind="queue_paused", message=message, name=queue.name)
    if run.deployment_id is not None and run.auto_scheduled:
        for row in deployments.by_ids(reader, [run.deployment_id]):
            if row.paused:
                message = f"The deployment {row.name!r} is paused, and a schedule made this run"
                yield Reason(kind="deployment_paused", message=message, name=row.name)


def _limits(reader: Reader, run: FlowRunResponse) -> Iterator[Reason]:
    if run.work_queue_id is not None and run.work_pool_name is not None:
        pool = work.find_pool(reader, run.work_pool_name)
        queue = work.find_queue(reader, run.work_pool_name, run.work_queue_name or "")
        mine = sa.select(t.work_queue.c.id).where(t.work_queue.c.work_pool_id == run.work_pool_id)
        for kind, what, row, used, held in (
            ("pool_limit", "work pool", pool, work.pool_slots, _RUN.work_queue_id.in_(mine)),
            ("queue_limit", "work queue", queue, work.queue_slots, _RUN.work_queue_id == run.work_queue_id),
        ):
            limit = None if row is None else row.concurrency_limit
            if limit is not None and used(reader, [row.id]).get(row.id, 0) >= limit:
                yield _full(reader, run, kind, what, row.name, limit, held)
    if run.deployment_id is not None:
        yield from _deployment_limit(reader, run)


def _deployment_limit(reader: Reader, run: FlowRunResponse) -> Iterator[Reason]:
    for row in deployments.by_ids(reader, [run.deployment_id] if run.deployment_id is not None else []):
        limits = t.concurrency_limit
        limit = reader.row(sa.select(limits).where(limits.c.id == row.concurrency_limit_id, limits.c.active != 0))
        if limit is None or slots.in_use(reader, [limit], slots.clock(reader))[limit.key] < limit.limit:
            continue
        holding = slots.holders(reader, [limit.key], "flow_run")[limit.key]
        held = _RUN.id.in_(holding[:_COUNTED])
        yield _full(reader, run, "deployment_limit", "deployment", row.name, limit.limit, held)


def _full(
    reader: Reader, run: FlowRunResponse, kind: str, what: str, name: str, limit: int, held: sa.ColumnElement[bool]
) -> Reason:
    """That a limit is full, with who holds it."""
    holders = _holders(reader, held)
    named = ", ".join(f"{one.name!r} since {_at(one.since)}" for one in holders[:2])
    by = f" (held by {named}{' and others' if len(holders) > 2 else ''})" if holders else ""
    message = f"The limit of {limit} of {what} {name!r} is full{by}"
    return Reason(kind=kind, message=message, name=name, limit=limit, holders=holders, ahead=_ahead(reader, run))


def _holders(reader: Reader, condition: sa.ColumnElement[bool]) -> list[Holder]:
    query = (
        sa.select(_RUN.id, _RUN.name, _RUN.state_timestamp)
        .where(condition, _RUN.state_type.in_(work.OCCUPYING), _RUN.workspace_id == reader.workspace)
        .order_by(_RUN.state_timestamp, _RUN.key)
        .limit(_NAMED)
    )
    return [Holder(id=row.id, name=row.name or "", since=_instant(row.state_timestamp)) for row in reader.rows(query)]


def _nobody(reader: Reader, run: FlowRunResponse) -> Reason | None:
    """That there is nobody who would take the run."""
    if run.work_pool_id is not None and run.work_pool_name is not None:
        pool = work.find_pool(reader, run.work_pool_name)
        polled = run.work_queue_id is not None and work.is_recent(
            reader.scalar(sa.select(t.work_queue.c.last_polled).where(t.work_queue.c.id == run.work_queue_id)),
            reader.now,
        )
        if pool is None or pool.alive or (polled and pool.type == work.AGENT_TYPE):
            return None
        last = reader.row(
            sa.select(t.worker.c.name, t.worker.c.last_heartbeat)
            .where(t.worker.c.work_pool_id == pool.id)
            .order_by(t.worker.c.last_heartbeat.desc())
            .limit(1)
        )
        if last is None:
            seen, since = "none was ever seen", None
        else:
            since = _instant(last.last_heartbeat)
            seen = f"{last.name} was last seen at {_at(since)}"
        message = f"There is no live worker for work pool {pool.name!r} ({seen}); start one with "
        message += f"`riverrun worker start --pool {pool.name!r}`"
        return Reason(kind="no_worker", message=message, name=pool.name, since=since)
    if run.deployment_id is None:
        message = (
            "It belongs to no deployment: only the process that made it, or `riverrun flow-run execute`, starts it"
        )
        return Reason(kind="no_deployment", message=message)
    for row in deployments.by_ids(reader, [run.deployment_id]):
        if work.is_recent(row.last_polled, reader.now):
            return None
        since = _instant(row.last_polled)
        seen = "nobody ever did" if since is None else f"last seen at {_at(since)}"
        message = f"Nobody serves the deployment {row.name!r} ({seen}), and it has no work pool"
        return Reason(kind="nobody_serves", message=message, name=row.name, since=since)
    return Reason(kind="no_deployment", message="Its deployment was deleted, so nobody starts it")


def _next_in_line(reader: Reader, run: FlowRunResponse) -> Reason:
    ahead = _ahead(reader, run)
    before = "" if not ahead else f", after {ahead}{'+' if ahead >= _COUNTED else ''} that came before it"
    message = f"It is due and waits until a worker has room for it{before}"
    return Reason(kind="waiting", message=message, name=run.work_pool_name, ahead=ahead)


def _ahead(reader: Reader, run: FlowRunResponse) -> int:
    """How many runs of the same queue, or deployment, are due before this one."""
    mine = reader.row(sa.select(_RUN.next_scheduled_start_time, _RUN.key).where(_RUN.id == run.id))
    if mine is None or mine.next_scheduled_start_time is None:
        return 0
    by_queue = run.work_queue_id is not None
    place = _RUN.work_queue_id == run.work_queue_id if by_queue else _RUN.deployment_id == run.deployment_id
    before = sa.tuple_(_RUN.next_scheduled_start_time, _RUN.key) < sa.tuple_(*mine)
    scheduled = _RUN.state_type == TYPE_CODES[StateType.SCHEDULED]
    due = _RUN.next_scheduled_start_time.is_not(None)
    some = sa.select(_RUN.key).where(place, scheduled, due, before).limit(_COUNTED).subquery()
    return int(reader.scalar(sa.select(sa.func.count()).select_from(some)))


# -- when ---------------------------------------------------------------------------------------------------------------


def _late(reader: Reader, run: FlowRunResponse) -> float | None:
    when = run.next_scheduled_start_time
    if when is None:
        return None
    seconds = (from_micros(reader.now) - when).total_seconds()
    return seconds if seconds > _LATE else None


def _predicted(reader: Reader, run: FlowRunResponse, reasons: Sequence[Reason]) -> datetime | None:
    """When the run may start: when it is scheduled for, or when the limits before it have let those ahead pass."""
    kinds = {reason.kind for reason in reasons}
    if kinds & set(_OPEN_END):
        return None
    now = from_micros(reader.now)
    when = max(now, run.next_scheduled_start_time or now)
    full = [reason for reason in reasons if reason.kind in _FULL]
    if not full:
        return when
    usual = _usual_duration(reader, run)
    if usual is None:
        return None
    latest = now
    for reason in full:
        rounds = 1 + (reason.ahead or 0) // max(reason.limit or 1, 1)
        begun = min((one.since for one in reason.holders if one.since is not None), default=now)
        first = max(0.0, usual - (now - begun).total_seconds())
        latest = max(latest, from_micros(reader.now + int((first + (rounds - 1) * usual) * _SECOND)))
    return latest if run.state_name == "AwaitingConcurrencySlot" else max(latest, when)


def _usual_duration(reader: Reader, run: FlowRunResponse) -> float | None:
    """How long the last runs of the deployment took, in seconds."""
    last = (
        sa.select(_RUN.total_run_time)
        .where(_RUN.deployment_id == run.deployment_id, _RUN.state_type == TYPE_CODES[StateType.COMPLETED])
        .order_by(_RUN.expected_start_time.desc())
        .limit(_SAMPLES)
    )
    times = [row.total_run_time for row in reader.rows(last)]
    return sum(times) / len(times) / _SECOND if times else None


def _key(reader: Reader, run_id: UUID) -> int:
    return int(reader.scalar(sa.select(_RUN.key).where(_RUN.id == run_id)))


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _at(instant: datetime | None) -> str:
    return "an unknown time" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _seconds(seconds: float) -> str:
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"
