"""The runs that schedules make: which instants are missing between two points in time, and the runs for them.

Shared by `POST /deployments/{id}/schedule` and the scheduler. An instant has one run, whoever asks: the idempotency key says
which schedule and instant it belongs to.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, Struct

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.ids import uuid7
from riverrun.base.names import run_name
from riverrun.rules.schedules import instants
from riverrun.server.db import tables as t
from riverrun.server.db.json_text import from_text, to_text
from riverrun.server.db.names import index_key
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.deployments import queries
from riverrun.server.ingest.rows import LEDGER_COLUMNS, STATE_COLUMNS
from riverrun.server.outbox import FLOW_RUN_STATE
from riverrun.server.runs import rollups
from riverrun.server.runs.creation import policy_of
from riverrun.server.runs.stored import policy_text
from riverrun.wire.deployments import DeploymentSchedule
from riverrun.wire.flow_runs import FlowRunPolicy
from riverrun.wire.journal import FLOW_RUN
from riverrun.wire.states import TYPE_CODES, StateDetails, StateType

#: as the peer's `POST /schedule` has it
MIN_RUNS, MAX_RUNS = 3, 100
MIN_TIME, MAX_TIME = timedelta(hours=1), timedelta(days=100)
#: the most runs that one request makes of one schedule
MOST = 1000
AUTO = "auto-scheduled"
#: whoever waits for work looks again at least so often: only what begins before needs to wake them (microseconds)
SOON = 60_000_000

_SCHEDULED = TYPE_CODES[StateType.SCHEDULED]
_POLICY = policy_text(policy_of(FlowRunPolicy()))
_COLUMNS = (
    "key", *LEDGER_COLUMNS, "workspace_id", "id", "placeholder", "created", "flow_key", "deployment_id", "name", "tags",
    "policy", "parameters", "work_queue_id", "infrastructure_document_id", "auto_scheduled", "idempotency_key",
    "deployment_version", "deployment_version_number", "labels", "created_by",
)  # fmt: skip


class Due(Struct):
    """An instant of a schedule of a deployment; the run starts later by the jitter."""

    schedule_id: UUID
    instant: datetime
    starts: datetime
    parameters: dict[str, Any]
    slug: str | None


class Window(Struct, kw_only=True):
    """Between `start` and `end`, as many instants as `min_runs` and `min_time` ask for, and at most `max_runs`."""

    start: datetime
    end: datetime
    min_time: timedelta = MIN_TIME
    min_runs: int = MIN_RUNS
    max_runs: int = MAX_RUNS


def instants_of(schedule: DeploymentSchedule, start: datetime, end: datetime, most: int) -> list[datetime]:
    """The instants of a schedule between its own start and end, too. Raises ScheduleError."""
    if schedule.start is not UNSET:
        start = max(start, schedule.start)
    if schedule.end is not UNSET:
        end = min(end, schedule.end)
    return instants(schedule.schedule, start, end, most)


def due_at(schedule: DeploymentSchedule, instant: datetime) -> Due:
    """The run of an instant. The jitter is the same whenever and wherever it is asked for."""
    starts = instant
    if schedule.jitter is not UNSET:
        digest = hashlib.sha256(schedule.id.bytes + to_micros(instant).to_bytes(8, "big", signed=True)).digest()
        starts += timedelta(seconds=schedule.jitter * int.from_bytes(digest[:4], "big") / 2**32)
    return Due(schedule.id, instant, starts, schedule.parameters, schedule.slug)


def due(reader: Reader, deployment_id: UUID, window: Window) -> list[Due]:
    """The instants of the active schedules of a deployment; none while it is paused. Raises ObjectNotFound."""
    row = queries.find(reader, deployment_id)
    if row.paused:
        return []
    found: list[Due] = []
    for schedule in queries.schedules(reader, [deployment_id]).get(deployment_id, []):
        if schedule.active:
            most = min(window.max_runs, schedule.max_scheduled_runs or window.max_runs, MOST)
            stream = instants_of(schedule, window.start, window.end, most)
            enough = window.start + window.min_time
            # as the peer has it: the first instant at or past the time that is asked for is the last one
            wanted = [
                instant for n, instant in enumerate(stream) if n < window.min_runs or n == 0 or stream[n - 1] < enough
            ]
            found += [due_at(schedule, instant) for instant in wanted]
    return sorted(found, key=lambda one: one.instant)


def window_of(now: int, start: datetime | None, end: datetime | None, **sizes: Any) -> Window:
    """The window of a request; what is left out is as the scheduler has it."""
    start = start or from_micros(now)
    return Window(
        start=start, end=end or start + MAX_TIME, **{name: size for name, size in sizes.items() if size is not None}
    )


def make(transaction: Transaction, deployment_id: UUID, wanted: Sequence[Due]) -> int:
    """Make the runs that are missing; how many were. Raises ObjectNotFound."""
    queries.find(transaction, deployment_id)
    return make_all(transaction, [(deployment_id, one) for one in wanted])


def make_all(transaction: Transaction, wanted: Sequence[tuple[UUID, Due]]) -> int:
    """Make the runs that are missing of instants of many deployments; how many were. Deployments that are gone make none."""
    makers = _makers(transaction, {deployment_id for deployment_id, _ in wanted})
    keyed = {
        (makers[deployment_id].flow_key, run_key(deployment_id, one)): (makers[deployment_id], one)
        for deployment_id, one in wanted
        if deployment_id in makers
    }
    for known in _known(transaction, list(keyed)):
        del keyed[known]
    if not keyed:
        return 0
    verbs, cursor, now = transaction.verbs, transaction.cursor, transaction.now
    runs, states, tags, sums = [], [], [], {}  # type: ignore[var-annotated]
    for key, ((flow_key, text), (maker, one)) in zip(
        verbs.new_keys(cursor, t.flow_run, len(keyed)), keyed.items(), strict=True
    ):
        starts = to_micros(one.starts)
        # as `bookkeeping.enter` moves a new run into Scheduled
        ledger = (starts, starts, None, None, 0, now, 1, 0, _SCHEDULED, None, 0)
        runs.append((key, *ledger, *maker.run(verbs, one, now, text)))
        details = to_text(StateDetails(scheduled_time=one.starts))
        state_id = verbs.id_in(uuid7().bytes)
        states.append((key, 1, state_id, _SCHEDULED, now, 0, None, None, "Flow run scheduled", details, None))
        tags += [(transaction.workspace, index_key(tag), key) for tag in maker.tags]
        rollups.tally(sums, FLOW_RUN, flow_key, rollups.place_of(ledger), 1)
        transaction.announce(FLOW_RUN_STATE, key, 1)
        if starts < now + SOON:
            transaction.wake("scheduled", *maker.topics)
    verbs.insert(cursor, t.flow_run, _COLUMNS, runs)
    verbs.insert(cursor, t.flow_run_state, STATE_COLUMNS, states)
    verbs.insert_missing(cursor, t.flow_run_tag, ("workspace_id", "tag", "run_key"), tags)
    rollups.write(verbs, cursor, rollups.rows_of(sums, transaction.workspace))
    return len(runs)


def run_key(deployment_id: UUID, one: Due) -> str:
    """The idempotency key of the run of an instant."""
    return f"{key_prefix(deployment_id, one.schedule_id)}{one.instant.isoformat()}"


def key_prefix(deployment_id: UUID, schedule_id: UUID) -> str:
    """What the idempotency keys of all runs of a schedule begin with."""
    return f"scheduled {deployment_id} {schedule_id} "


class _Maker:
    """A deployment that runs are made of."""

    def __init__(self, row: Any) -> None:
        self.row = row
        self.flow_key: int = row.flow_key
        self.parameters = from_text(row.parameters, {})
        self.tags = list(dict.fromkeys([AUTO, *from_text(row.tags, [])]))
        own = {"prefect.flow.id": str(row.flow_id), "prefect.deployment.id": str(row.id)}
        self.labels = to_text({**from_text(row.labels, {}), **own})
        self.topics = [f"deployment:{row.id.hex}"]
        if row.work_queue_id is not None:
            self.topics.append(f"work_queue:{row.work_queue_id.hex}")

    def run(self, verbs: Any, one: Due, now: int, key: str) -> tuple[Any, ...]:
        """The values of `_COLUMNS` after those of the ledger."""
        row = self.row
        ids = [
            None if each is None else verbs.id_in(each.bytes)
            for each in (row.id, row.work_queue_id, row.infrastructure_document_id)
        ]
        parameters = {**self.parameters, **one.parameters}
        creator = {"id": str(row.id), "type": "SCHEDULE", "display_value": one.slug}
        return (
            row.workspace_id, verbs.id_in(uuid7().bytes), 0, now, self.flow_key, ids[0], run_name(), to_text(self.tags),
            _POLICY, to_text(parameters or None), ids[1], ids[2], 1, key,
            row.version, row.version_number, self.labels, msgspec.json.encode(creator).decode(),
        )  # fmt: skip


_DEPLOYMENT = t.deployment.c
_MAKERS = sa.select(
    *(
        _DEPLOYMENT[name]
        for name in (
            "id", "workspace_id", "flow_id", "parameters", "tags", "labels", "work_queue_id", "infrastructure_document_id",
            "version", "version_number", "paused",
        )
    ),
    t.flow.c.key.label("flow_key"),
).join_from(t.deployment, t.flow, t.flow.c.id == _DEPLOYMENT.flow_id)  # fmt: skip


def _makers(transaction: Transaction, deployment_ids: set[UUID]) -> dict[UUID, _Maker]:
    mine = _MAKERS.where(_DEPLOYMENT.id.in_(deployment_ids), _DEPLOYMENT.workspace_id == transaction.workspace)
    return {row.id: _Maker(row) for row in transaction.rows(mine) if not row.paused}


def _known(transaction: Transaction, keys: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Which of these flow keys and idempotency keys are taken."""
    by_flow: dict[int, list[str]] = {}
    for flow_key, text in keys:
        by_flow.setdefault(flow_key, []).append(text)
    run = t.flow_run.c
    return [
        (flow_key, row.idempotency_key)
        for flow_key, texts in by_flow.items()
        for row in transaction.rows(
            sa.select(run.idempotency_key).where(run.flow_key == flow_key, run.idempotency_key.in_(texts))
        )
    ]
