"""Rows of runs, states and logs made from journal records: pure, no SQL.

The columns stand in one tuple per table beside the function that fills them. Values are those of the wire, in the database's
own form; nothing is cleaned here (`clean.py` does when a database refuses something).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from riverrun.base.clock import to_micros
from riverrun.rules.bookkeeping import Ledger
from riverrun.wire.journal import FLOW_RUN, TASK_RUN, FlowRunRecord, TaskRunRecord
from riverrun.wire.runs import RunPolicy
from riverrun.wire.states import TYPES_BY_CODE

_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode
_INT32_MAX = 2**31 - 1

#: where a run stands in the sums: expected start, start, total run time, code of its state, name of its state if special
Place = tuple[int, int | None, int, int, str | None]

#: what `enter` moves, in the order of `ledger_values`
LEDGER_COLUMNS = (
    "expected_start_time",
    "next_scheduled_start_time",
    "start_time",
    "end_time",
    "total_run_time",
    "state_timestamp",
    "state_seq",
    "run_count",
    "state_type",
    "state_name",
    "resuming",
)
_STORED = ("key", "id", "placeholder", "created", *LEDGER_COLUMNS)
#: by kind of run, what is read of a stored one; the last is what its roll-up is kept by
STORED_COLUMNS = {FLOW_RUN: (*_STORED, "flow_key"), TASK_RUN: (*_STORED, "flow_run_key")}

TASK_RUN_COLUMNS = (
    "key",
    *LEDGER_COLUMNS,
    "workspace_id",
    "id",
    "placeholder",
    "flow_run_key",
    "created",
    "flow_run_run_count",
    "name",
    "task_key",
    "dynamic_key",
    "task_version",
    "tags",
    "policy",
    "inputs",
    "cache_key",
    "cache_expiration",
    "labels",
)
FLOW_RUN_COLUMNS = (
    "key",
    *LEDGER_COLUMNS,
    "workspace_id",
    "id",
    "placeholder",
    "flow_key",
    "created",
    "writer_key",
    "name",
    "flow_version",
    "tags",
    "policy",
    "parameters",
    "parent_task_run_id",
    "deployment_id",
)
STATE_COLUMNS = (
    "run_key",
    "seq",
    "id",
    "type",
    "timestamp",
    "shift",
    "writer_key",
    "name",
    "message",
    "details",
    "data",
)
LOG_COLUMNS = ("key", "timestamp", "flow_run_key", "task_run_key", "level", "workspace_id", "name", "message")


class Run:
    """A run that records of the unit speak of: its row's key and its ledger while the unit is folded."""

    __slots__ = (
        "appended",
        "changes",
        "code",
        "created",
        "entered",
        "id",
        "key",
        "late",
        "ledger",
        "new",
        "parent",
        "place",
        "placeholder",
        "record",
        "seq",
        "state_name",
        "stored_code",
        "stored_expected",
        "told_at",
        "told_before",
    )

    def __init__(self, key: int, id: bytes) -> None:
        self.key = key
        self.id = id
        self.new = True
        self.placeholder = True
        self.record: Any = None
        self.ledger = Ledger()
        self.seq = 0
        self.code: int | None = None
        self.state_name: str | None = None
        self.created = 0
        #: as the store has it: expected start, code of the state, key of the flow (flow runs) or of the flow run
        self.stored_expected: int | None = None
        self.stored_code: int | None = None
        self.parent: int | None = None
        #: where it stands in the sums of runs (`server.runs.rollups`)
        self.place: Place | None = None
        #: the instant of the newest word of a client about it
        self.told_at = 0
        #: states that were there before this unit
        self.told_before = 0
        #: states entered in this unit; of a stored run also their rows, in case its states must be put in order again
        self.entered = False
        self.appended: list[tuple[Any, ...]] = []
        #: states that are older than one that is stored already
        self.late: list[Any] = []
        #: columns beside the ledger that change
        self.changes: dict[str, Any] = {}

    @classmethod
    def stored(cls, row: tuple[Any, ...], id: bytes) -> "Run":
        """A run from its row, read as its `STORED_COLUMNS`."""
        run = cls(row[0], id)
        run.new = False
        (
            _,
            _,
            placeholder,
            run.created,
            expected,
            following,
            start,
            end,
            total,
            timestamp,
            seq,
            count,
            code,
            name,
            resuming,
            run.parent,
        ) = row
        run.placeholder = bool(placeholder)
        run.seq, run.code, run.state_name = seq, code, name
        run.stored_expected, run.stored_code, run.told_before = expected, code, seq
        run.place = None if code is None else (expected, start, total, code, name)
        run.ledger = Ledger(
            state_type=None if code is None else TYPES_BY_CODE[code],
            state_timestamp=timestamp,
            run_count=count,
            start_time=start,
            end_time=end,
            total_run_time=total,
            # before the first state the column only holds the run's place in the order
            expected_start_time=expected if seq else None,
            next_scheduled_start_time=following,
            resuming=bool(resuming),
        )
        return run

    def place_now(self) -> Place | None:
        """Where the run stands in the sums after this unit; None without a state."""
        if self.code is None:
            return None
        ledger = self.ledger
        expected = ledger.expected_start_time
        name = self.state_name
        return self.created if expected is None else expected, ledger.start_time, ledger.total_run_time, self.code, name

    def ledger_values(self) -> tuple[Any, ...]:
        """The values of `LEDGER_COLUMNS`."""
        ledger = self.ledger
        expected = ledger.expected_start_time
        return (
            self.created if expected is None else expected,
            ledger.next_scheduled_start_time,
            ledger.start_time,
            ledger.end_time,
            ledger.total_run_time,
            ledger.state_timestamp,
            self.seq,
            ledger.run_count,
            self.code,
            self.state_name,
            1 if ledger.resuming else 0,
        )


def document(value: Any) -> str | None:
    """The JSON text of something; None for what is empty."""
    return _json(value).decode() if value else None


def inputs_blob(inputs: Any) -> bytes | None:
    """Task inputs as msgpack; None when there are none."""
    return _msgpack(inputs) if inputs else None


_policies: dict[Any, str | None] = {}


def policy_text(retries: int, delay: float | list[float], jitter: float | None) -> str | None:
    """The retry policy as JSON; None for the default one, no retries."""
    known = (retries, tuple(delay) if isinstance(delay, list) else delay, jitter)
    try:
        return _policies[known]
    except KeyError:
        pass
    text = None
    if retries or delay or jitter is not None:
        text = _json(RunPolicy(retries=retries, retry_delay=delay, retry_jitter_factor=jitter)).decode()
    if len(_policies) < 1000:
        _policies[known] = text
    return text


def task_run_row(run: Run, workspace: int, flow_run_key: int | None, id_in: Callable[[bytes], Any]) -> tuple[Any, ...]:
    """The row of a new task run, in the order of `TASK_RUN_COLUMNS`."""
    record: TaskRunRecord | None = run.record
    head = (run.key, *run.ledger_values(), workspace, id_in(run.id))
    if record is None:
        return (*head, 1, flow_run_key, run.created, 0, *(None,) * 10)
    return (
        *head,
        0,
        flow_run_key,
        record.created,
        min(max(record.flow_run_run_count, 0), _INT32_MAX),
        record.name,
        record.task_key,
        record.dynamic_key,
        record.task_version,
        document(record.tags),
        policy_text(record.retries, record.retry_delay, record.retry_jitter_factor),
        inputs_blob(record.inputs),
        None,
        None,
        None,
    )


def flow_run_row(
    run: Run, workspace: int, flow_key: int | None, writer_key: int | None, id_in: Callable[[bytes], Any]
) -> tuple[Any, ...]:
    """The row of a new flow run, in the order of `FLOW_RUN_COLUMNS`."""
    record: FlowRunRecord | None = run.record
    head = (run.key, *run.ledger_values(), workspace, id_in(run.id))
    if record is None:
        return (*head, 1, None, run.created, None, *(None,) * 7)
    parent, deployment = record.parent_task_run_id, record.deployment_id
    return (
        *head,
        0,
        flow_key,
        record.created,
        writer_key,
        record.name,
        record.flow_version,
        document(record.tags),
        policy_text(record.retries, record.retry_delay, None),
        parameters_text(record.parameters),
        None if parent is None else id_in(parent),
        None if deployment is None else id_in(deployment),
    )


def parameters_text(parameters: Any) -> str | None:
    """Parameters as a JSON text, from a JSON document or from the values; None when there are none."""
    if isinstance(parameters, bytes):
        parameters = parameters.decode()
    if isinstance(parameters, str):
        return None if parameters in ("", "{}") else parameters
    return document(parameters)


def micros(value: Any) -> int | None:
    """Microseconds from what a record may hold as an instant: microseconds, a datetime or its ISO text."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return to_micros(value)


def changes_of(fields: dict[str, Any], task: bool) -> tuple[dict[str, Any], list[str]]:
    """The columns that a RunUpdateRecord's fields change, and the names of fields that this code does not know."""
    known: dict[str, Any] = {}
    unknown: list[str] = []
    for name, value in fields.items():
        if name == "name":
            known["name"] = str(value)
        elif name == "tags":
            known["tags"] = document(list(value))
        elif task and name in ("inputs", "task_inputs"):
            known["inputs"] = inputs_blob(value)
        elif task and name == "cache_key":
            known["cache_key"] = None if value is None else str(value)
        elif task and name == "cache_expiration":
            known["cache_expiration"] = micros(value)
        elif not task and name == "parameters":
            known["parameters"] = parameters_text(value)
        elif not task and name in {"flow_version", "infrastructure_pid"}:
            known[name] = None if value is None else str(value)
        elif name != "resuming":
            unknown.append(name)
    return known, unknown
