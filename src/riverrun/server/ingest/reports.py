"""Events of clients into the store: what they report of task runs goes into the ledger, everything else is stored whole.

A client of the peer's kind orchestrates its task runs itself and reports every state as an event; the event's id is the state's.
Reports may come twice, and out of order: states are kept once and ordered by their time.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import from_micros, to_micros
from riverrun.server.db import tables as t
from riverrun.server.db.names import index_key
from riverrun.server.db.scope import Scope
from riverrun.server.db.units import Transaction
from riverrun.server.ingest import rows as r
from riverrun.server.ingest.clean import clean_rows
from riverrun.server.ingest.fold import Fold
from riverrun.wire.journal import TASK_RUN, StateRecord, TaskRunRecord
from riverrun.wire.runs import RunInput
from riverrun.wire.states import DEFAULT_NAMES, TYPE_CODES, StateType
from riverrun.wire.task_runs import TaskRunPolicy

PREFIX = "prefect.task-run."
#: labels that every task run of a flow run has; they are not kept with it
_INT32_MAX = 2**31 - 1
_STAMPED = frozenset({"prefect.flow.id", "prefect.flow-run.id"})
EVENT_COLUMNS = ("key", "occurred", "received", "workspace_id", "id", "event", "resource_id", "document")


class _State(Struct):
    type: StateType
    name: str | None = None
    message: str | None = None
    state_details: dict[str, Any] | None = None
    data: Any = None


class _TaskRun(Struct):
    task_key: str
    dynamic_key: str
    name: str | None = None
    task_version: str | None = None
    cache_key: str | None = None
    cache_expiration: datetime | None = None
    empirical_policy: TaskRunPolicy | None = None
    tags: list[str] = []
    labels: dict[str, Any] | None = None
    task_inputs: dict[str, list[RunInput]] | None = None
    run_count: int = 0
    flow_run_run_count: int = 0


class _Payload(Struct):
    validated_state: _State
    task_run: _TaskRun


_payload = msgspec.json.Decoder(_Payload, strict=False).decode


class Incoming(Struct):
    """An event as it came: what is needed of it, and its text. `report` is what it says of a task run."""

    id: UUID
    occurred: int
    event: str
    resource_id: str
    document: bytes
    report: "Report | None" = None


class Report(Struct):
    """What an event tells of a task run."""

    created: TaskRunRecord
    state: StateRecord
    told: "Told"


class Told(Struct):
    """What a client says of its task run at the time of a state."""

    run_id: bytes
    timestamp: int
    run_count: int
    record: TaskRunRecord
    cache_key: str | None
    cache_expiration: int | None
    labels: str | None


def report_of(
    event_id: UUID, occurred: int, resource_id: str, related: list[dict[str, str | None]], raw: Any
) -> Report:
    """The report in an event; raises ValueError (msgspec's included) when it is none."""
    run_id = _id_of(resource_id.removeprefix(PREFIX))
    payload = _payload(raw)
    task, state = payload.task_run, payload.validated_state
    created = TaskRunRecord(
        run_id,
        _flow_run_id(related),
        task.task_key,
        task.dynamic_key,
        task.name or f"{task.task_key}-{task.dynamic_key}",
        occurred,
        task.task_version,
        task.tags,
        *_policy(task.empirical_policy),
        {name: [_input(one) for one in given] for name, given in (task.task_inputs or {}).items()},
        min(max(task.flow_run_run_count, 0), _INT32_MAX),
    )
    name = None if state.name == DEFAULT_NAMES[state.type] else state.name
    details = {key: value for key, value in (state.state_details or {}).items() if value and key not in _RUN_IDS}
    code = TYPE_CODES[state.type]
    entered = StateRecord(TASK_RUN, run_id, event_id.bytes, code, occurred, name, state.message, details, state.data)
    labels = {key: value for key, value in (task.labels or {}).items() if key not in _STAMPED}
    expires = None if task.cache_expiration is None else to_micros(task.cache_expiration)
    told = Told(
        run_id, occurred, min(max(task.run_count, 0), _INT32_MAX), created, task.cache_key, expires, r.document(labels)
    )
    return Report(created, entered, told)


_RUN_IDS = frozenset({"flow_run_id", "task_run_id"})


@lru_cache(4096)
def _id_of(text: str) -> bytes:
    """The bytes of an id: of a task run come some reports, of a flow run many."""
    return UUID(text).bytes


def _flow_run_id(related: list[dict[str, str | None]]) -> bytes | None:
    for resource in related:
        if resource.get("prefect.resource.role") == "flow-run":
            return _id_of((resource["prefect.resource.id"] or "").removeprefix("prefect.flow-run."))
    return None


def _policy(policy: TaskRunPolicy | None) -> tuple[int, float | list[float], float | None]:
    if policy is None:
        return 0, 0.0, None
    retries = policy.max_retries if policy.retries is None else policy.retries
    delay = policy.retry_delay_seconds if policy.retry_delay is None else policy.retry_delay
    return retries, delay, policy.retry_jitter_factor


def _input(given: RunInput) -> tuple[str, bytes | None, str | None]:
    name = given.type if given.input_type == "constant" else given.name
    return given.input_type, None if given.id is None else given.id.bytes, name


class Reports(Fold):
    """Events of any number of clients in one transaction: `Reports(...).apply(transaction, events)`."""

    def __init__(self, verbs: ModuleType, scope: Scope, *, careful: bool = False) -> None:
        super().__init__(verbs, scope, careful=careful)
        #: ids of reported runs that are stored under another id
        self.known_as: dict[bytes, bytes] = {}

    def apply(self, transaction: Transaction, events: Sequence[Incoming]) -> None:
        """Store the events; those of task runs as their states."""
        self.transaction = transaction
        self.cursor = transaction.cursor
        reports = sorted((each.report for each in events if each.report is not None), key=_by_time)
        seen: set[bytes] = set()
        for report in reports:
            if report.created.id not in seen:
                seen.add(report.created.id)
                self.note(report.created)
            self.note(report.state)
            self.records.append(report.told)
        self.load_runs()
        self.drop_known_states()
        self.fold(self.records)
        self.write_runs(self.cursor)
        self.tell(transaction)
        self._store([each for each in events if each.report is None])

    def set_aside(self, transaction: Transaction, events: Sequence[Incoming]) -> None:
        """Keep events whole whose report the ledger did not take."""
        self.transaction = transaction
        self.cursor = transaction.cursor
        self._store(events)

    # -- folding ------------------------------------------------------------------------------------------------------------

    def resolve(self, kind: int, missing: list[bytes]) -> list[bytes]:
        """A run that a request made under another id has the same flow run, task and dynamic key: its id counts."""
        if kind != TASK_RUN or not missing:
            return missing
        wanted = {}
        lost = set(missing)
        for record in self.records:
            if record.__class__ is TaskRunRecord and record.id in lost:
                flow_run = self.flow_runs.get(record.flow_run_id) if record.flow_run_id is not None else None
                # a flow run that is new here has no task runs yet
                if record.flow_run_id is None or (flow_run is not None and not flow_run.new):
                    wanted[0 if flow_run is None else flow_run.key, record.task_key, record.dynamic_key] = record.id
        if not wanted:
            return missing
        for row in self._requested(wanted):
            reported = wanted.get((row[-1] or 0, row[-3], row[-2]))
            if reported is not None:
                raw = bytes(self.verbs.id_out(row[1]))
                self.known_as[reported] = raw
                del self.task_runs[reported]
                self.task_runs[raw] = r.Run.stored(row[: len(r.STORED_COLUMNS[TASK_RUN])], raw)
        self._rename()
        return [raw for raw in missing if raw not in self.known_as]

    def _requested(self, wanted: Iterable[tuple[int, str, str]]) -> list[tuple[Any, ...]]:
        """Stored runs that requests made, of the wanted flow runs and dynamic keys."""
        run = t.task_run.c
        columns = (*r.STORED_COLUMNS[TASK_RUN], "task_key", "dynamic_key", "flow_run_key")
        flow_run_keys, task_keys, dynamic_keys = (set(values) for values in zip(*wanted, strict=True))
        # as the unique index has it, which the planner knows by this text
        query = sa.select(*(run[name].label(f"c{at}") for at, name in enumerate(columns))).where(
            sa.func.coalesce(run.flow_run_key, sa.literal_column("0")).in_(flow_run_keys),
            run.task_key.in_(task_keys),
            run.dynamic_key.in_(dynamic_keys),
            run.requested == sa.literal_column("1"),
        )
        id_in = self.verbs.id_in
        rows = self.transaction.rows(query.with_for_update())
        return [(row[0], id_in(row[1].bytes), *row[2:]) for row in rows]

    def _rename(self) -> None:
        for record in self.records:
            if record.__class__ is TaskRunRecord:
                record.id = self.known_as.get(record.id, record.id)
            else:
                record.run_id = self.known_as.get(record.run_id, record.run_id)

    def fold_other(self, record: Told) -> None:
        """What the client says of its run beside the state; an older word does not undo a newer one."""
        run: r.Run = self.task_runs[record.run_id]
        if run.late or run.told_at > record.timestamp:
            return
        run.told_at = record.timestamp
        run.ledger.run_count = record.run_count
        told = record.record
        changes = run.changes
        if run.record is None or run.record.name != told.name:
            changes["name"] = told.name
        if run.record is None or run.record.inputs != told.inputs:
            changes["inputs"] = r.inputs_blob(told.inputs)
        if run.record is None or run.record.flow_run_run_count != told.flow_run_run_count:
            changes["flow_run_run_count"] = told.flow_run_run_count
        if record.cache_key is not None:
            changes["cache_key"], changes["cache_expiration"] = record.cache_key, record.cache_expiration
        if record.labels is not None:
            changes["labels"] = record.labels

    # -- events that are stored whole ---------------------------------------------------------------------------------------

    def _store(self, events: Sequence[Incoming]) -> None:
        fresh = self._unknown(events)
        if not fresh:
            return
        verbs, now = self.verbs, self.noticed
        keys = verbs.new_keys(self.cursor, t.event, len(fresh))
        received = msgspec.json.encode(from_micros(now)).decode()
        rows = [
            (
                key,
                each.occurred,
                now,
                self.workspace,
                verbs.id_in(each.id.bytes),
                index_key(each.event),
                index_key(each.resource_id),
                f'{each.document.decode()[:-1]},"received":{received}}}',
            )
            for key, each in zip(keys, fresh, strict=True)
        ]
        if self.careful:
            rows = clean_rows(t.event, EVENT_COLUMNS, rows, verbs.NUL_REPLACEMENT)
        verbs.insert_missing(self.cursor, t.event, EVENT_COLUMNS, rows)
        for key in keys:
            self.transaction.announce("E", key)

    def _unknown(self, events: Sequence[Incoming]) -> list[Incoming]:
        """The events that are not stored, each once."""
        if not events:
            return []
        by_id = {each.id.bytes: each for each in events}
        found = self.verbs.select(self.cursor, t.event, ("id",), "id", [self.verbs.id_in(raw) for raw in by_id])
        for row in found:
            by_id.pop(bytes(self.verbs.id_out(row[0])), None)
        return list(by_id.values())


def _by_time(report: Report) -> int:
    return report.state.timestamp
