"""Artifacts of runs that had no server: their records in a journal become rows.

The first record of an artifact makes its row; later ones change the fields that they name. The newest artifact of a key is
known in `artifact_collection`.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table

from riverrun.base.ids import uuid7
from riverrun.server.db import tables
from riverrun.server.ingest.write import Writer
from riverrun.wire.journal import ArtifactRecord

_FIELDS = ("artifact_key", "type", "description", "data", "flow_run_id", "task_run_id")
_COLUMNS = ("created", "updated", "workspace_id", "id", *_FIELDS)
_COLLECTION_COLUMNS = ("created", "updated", "workspace_id", "id", "artifact_key", "latest_id")


def write_artifacts(writer: Writer, records: Iterable[ArtifactRecord]) -> None:
    """Write the artifacts of one unit, in the order of its records."""
    id_in = writer.verbs.id_in
    fresh: dict[Any, dict[str, Any]] = {}
    by_id: dict[Any, list[ArtifactRecord]] = {}
    for record in records:
        by_id.setdefault(id_in(record.id), []).append(record)
    if not by_id:
        return
    found = writer.verbs.select(writer.cursor, tables.artifact, ("id", "key"), "id", list(by_id))
    known: dict[Any, int] = dict(found)
    for artifact_id, told in by_id.items():
        values: dict[str, Any] = {}
        for record in told:
            values |= {name: value for name, value in _values(record, id_in).items() if value is not None}
        values["updated"] = told[-1].timestamp
        if artifact_id in known:
            _update(writer, tables.artifact, tuple(values), (*values.values(), known[artifact_id]))
        else:
            fresh[artifact_id] = {**values, "created": told[0].timestamp}
    rows = [
        (values["created"], values["updated"], writer.workspace, artifact_id, *(values.get(name) for name in _FIELDS))
        for artifact_id, values in fresh.items()
    ]
    writer.insert(tables.artifact, _COLUMNS, rows)
    latest = {
        values["artifact_key"]: (values["created"], artifact_id)
        for artifact_id, values in fresh.items()
        if values.get("artifact_key")
    }
    _collect(writer, latest)


def _values(record: ArtifactRecord, id_in: Any) -> dict[str, Any]:
    return {
        "artifact_key": record.key,
        "type": record.type,
        "description": record.description,
        "data": None if record.data is None else record.data.decode(),
        "flow_run_id": None if record.flow_run_id is None else id_in(record.flow_run_id),
        "task_run_id": None if record.task_run_id is None else id_in(record.task_run_id),
    }


def _collect(writer: Writer, latest: dict[str, tuple[int, Any]]) -> None:
    """Let the collections of these keys point to their newest artifacts."""
    if not latest:
        return
    table = tables.artifact_collection
    columns = ("key", "artifact_key", "latest_id", "workspace_id")
    found = writer.verbs.select(writer.cursor, table, columns, "artifact_key", list(latest))
    there = {name: (key, latest_id) for key, name, latest_id, workspace in found if workspace == writer.workspace}
    ids = [latest_id for _key, latest_id in there.values()]
    made = writer.verbs.select(writer.cursor, tables.artifact, ("id", "created"), "id", ids) if ids else []
    instants: dict[Any, int] = dict(made)
    rows = []
    for name, (created, artifact_id) in latest.items():
        if name not in there:
            collection_id = writer.verbs.id_in(uuid7().bytes)
            rows.append((created, created, writer.workspace, collection_id, name, artifact_id))
        elif instants.get(there[name][1], 0) <= created:
            _update(writer, table, ("latest_id", "updated"), (artifact_id, created, there[name][0]))
    writer.insert(table, _COLLECTION_COLUMNS, rows)


def _update(writer: Writer, table: Table, columns: tuple[str, ...], row: tuple[Any, ...]) -> None:
    writer.verbs.update(writer.cursor, table, columns, writer._clean(table, (*columns, "key"), [row]))
