"""Records of the journal: everything a process that runs flows wants remembered.

Compact on purpose (arrays, tags of one byte, raw 16-byte ids, integer microseconds UTC): a million task runs pass through
here. A record names the run it speaks of; the writer and the sequence number are the frame's (`client.journal`), and
ingestion is idempotent by them. Fields are only ever appended, with a default: old spools must stay readable.
"""

from typing import Any

import msgspec
from msgspec import Struct

FLOW_RUN = 0
TASK_RUN = 1


class FlowRunRecord(Struct, array_like=True, tag_field="kind_of", tag=1):
    """A flow run came into being."""

    id: bytes
    flow_name: str
    name: str
    created: int
    flow_version: str | None = None
    #: a JSON document of {parameter: value}; what has no JSON form stands as its repr
    parameters: bytes = b"{}"
    tags: list[str] = []
    #: the task run in the parent flow run that stands for this subflow run
    parent_task_run_id: bytes | None = None
    retries: int = 0
    retry_delay: float = 0.0
    deployment_id: bytes | None = None


class TaskRunRecord(Struct, array_like=True, tag_field="kind_of", tag=2):
    """A task run came into being."""

    id: bytes
    flow_run_id: bytes | None
    task_key: str
    dynamic_key: str
    name: str
    created: int
    task_version: str | None = None
    tags: list[str] = []
    retries: int = 0
    retry_delay: float | list[float] = 0.0
    retry_jitter_factor: float | None = None
    #: {parameter: [(input_type, 16-byte id or None, name or type or None)]}
    inputs: dict[str, list[tuple[str, bytes | None, str | None]]] = {}
    flow_run_run_count: int = 0


class StateRecord(Struct, array_like=True, tag_field="kind_of", tag=3):
    """A run entered a state."""

    kind: int  # FLOW_RUN or TASK_RUN
    run_id: bytes
    id: bytes
    type: int  # wire.states.TYPE_CODES
    timestamp: int
    name: str | None = None  # None: the type's default name
    message: str | None = None
    #: fields of StateDetails that are set, JSON-ready
    details: dict[str, Any] | None = None
    #: result metadata (JSON-ready) when a result was persisted
    data: dict[str, Any] | None = None


class RunUpdateRecord(Struct, array_like=True, tag_field="kind_of", tag=4):
    """Some fields of a run changed after it came into being: name, inputs, cache_key, cache_expiration, parameters."""

    kind: int
    run_id: bytes
    fields: dict[str, Any]


class LogRecord(Struct, array_like=True, tag_field="kind_of", tag=5):
    """A line of a log."""

    flow_run_id: bytes | None
    task_run_id: bytes | None
    timestamp: int
    level: int
    name: str
    message: str


class ArtifactRecord(Struct, array_like=True, tag_field="kind_of", tag=6):
    """An artifact came into being or changed. Of one that is there already only the fields that are not None change."""

    id: bytes
    timestamp: int
    key: str | None = None
    type: str | None = None
    description: str | None = None
    #: a JSON document; None leaves it as it is
    data: bytes | None = None
    flow_run_id: bytes | None = None
    task_run_id: bytes | None = None


class LostRecord(Struct, array_like=True, tag_field="kind_of", tag=9):
    """Records of this writer that could not be kept or read; made by the spool's reader or by a full disk."""

    first: int
    last: int
    why: str


JournalRecord = FlowRunRecord | TaskRunRecord | StateRecord | RunUpdateRecord | LogRecord | ArtifactRecord | LostRecord

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(JournalRecord)

encode = _encoder.encode
encode_into = _encoder.encode_into


def decode(payload: bytes | memoryview) -> JournalRecord:
    """A record from its bytes; raises `msgspec.ValidationError` or `msgspec.DecodeError` on what is not one."""
    record: JournalRecord = _decoder.decode(payload)
    return record
