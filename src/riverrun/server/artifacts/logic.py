"""What is done with artifacts. A collection is the row of a key that says which artifact is its newest."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import UNSET

from riverrun.base.clock import from_micros
from riverrun.base.errors import ObjectNotFound
from riverrun.base.ids import uuid7
from riverrun.server import notices
from riverrun.server.db import tables as t
from riverrun.server.db.filters import Filters, conditions_for, filters_of
from riverrun.server.db.json_text import from_text, to_text
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.db.where import Condition, Rule, patterned, where
from riverrun.server.http.errors import InvalidRequest
from riverrun.server.http.pages import short
from riverrun.wire.artifacts import Artifact, ArtifactCollection, ArtifactCreate, ArtifactUpdate

table, collections = t.artifact, t.artifact_collection
_KEY = re.compile(r"[a-z0-9-]+")
_FIELDS: Mapping[str, sa.ColumnElement[Any] | Rule] = {
    "id": table.c.id,
    "latest_id": table.c.id,
    "key": patterned(table.c.artifact_key),
    "flow_run_id": table.c.flow_run_id,
    "task_run_id": table.c.task_run_id,
    "type": table.c.type,
}
#: of a collection what the collection is, of the newest artifact the rest
_COLLECTED = (
    sa.select(
        collections.c.id,
        collections.c.created,
        collections.c.updated,
        collections.c.latest_id,
        *(column for column in table.c if column.name not in ("key", "id", "created", "updated", "workspace_id")),
    )
    .select_from(collections)
    .join(table, table.c.id == collections.c.latest_id)
)


# -- reading ----------------------------------------------------------------------------------------------------------------


def find(reader: Reader, artifact_id: UUID) -> Any:
    """The row of an artifact; raises ObjectNotFound."""
    row = reader.row(sa.select(table).where(table.c.workspace_id == reader.workspace, table.c.id == artifact_id))
    if row is None:
        raise ObjectNotFound(f"There is no artifact {artifact_id}.")
    return row


def latest(reader: Reader, key: str) -> Artifact:
    """The newest artifact of a key; raises ObjectNotFound."""
    mine = (collections.c.workspace_id == reader.workspace, collections.c.artifact_key == key)
    row = reader.row(sa.select(table).join(collections, collections.c.latest_id == table.c.id).where(*mine))
    if row is None:
        raise ObjectNotFound(f"There is no artifact with the key {key!r}.")
    return answer(row)


def answer(row: Any) -> Artifact:
    return Artifact(id=row.id, **_told(row))


def page(reader: Reader, body: Any, limit: int) -> list[Artifact]:
    query = sa.select(table).where(table.c.workspace_id == reader.workspace, *_conditions(reader, body))
    return [answer(row) for row in reader.rows(_ordered(query, table, body, limit))]


def latest_page(reader: Reader, body: Any, limit: int) -> list[ArtifactCollection]:
    query = _COLLECTED.where(collections.c.workspace_id == reader.workspace, *_conditions(reader, body))
    rows = reader.rows(_ordered(query, collections, body, limit))
    return [ArtifactCollection(id=row.id, latest_id=row.latest_id, **_told(row)) for row in rows]


def count(reader: Reader, body: Any, *, only_latest: bool = False) -> int:
    rows = sa.select(sa.func.count()).select_from(table)
    if only_latest:
        rows = rows.join(collections, collections.c.latest_id == table.c.id)
    return int(reader.scalar(rows.where(table.c.workspace_id == reader.workspace, *_conditions(reader, body))))


def _told(row: Any) -> dict[str, Any]:
    return {
        "created": from_micros(row.created),
        "updated": from_micros(row.updated),
        "key": row.artifact_key,
        "type": row.type,
        "description": row.description,
        "data": from_text(row.data),
        "metadata_": from_text(row.metadata),
        "flow_run_id": row.flow_run_id,
        "task_run_id": row.task_run_id,
    }


def _ordered(query: sa.Select[Any], of: sa.Table, body: Any, limit: int) -> sa.Select[Any]:
    order = {
        "CREATED_DESC": of.c.created.desc(),
        "UPDATED_DESC": of.c.updated.desc(),
        "ID_DESC": of.c.id.desc(),
        "KEY_DESC": of.c.artifact_key.desc(),
        "KEY_ASC": of.c.artifact_key.asc(),
    }
    return query.order_by(order[body.sort], of.c.key.desc()).limit(limit).offset(body.offset)


def _conditions(reader: Reader, body: Any) -> Sequence[Condition]:
    """What the filters of a body say, those on runs included."""
    found = [where(body.artifacts, _FIELDS)]
    filters = filters_of(body)
    of_flow_runs = Filters(flow_runs=filters.flow_runs, flows=filters.flows, deployments=filters.deployments)
    if not of_flow_runs.only():
        runs = sa.select(t.flow_run.c.id).where(*conditions_for(reader, "flow_run", of_flow_runs))
        found.append(table.c.flow_run_id.in_(runs))
    if not filters.only("flow_runs", "flows", "deployments"):
        tasks = conditions_for(reader, "task_run", Filters(task_runs=filters.task_runs))
        found.append(table.c.task_run_id.in_(sa.select(t.task_run.c.id).where(*tasks)))
    return [condition for condition in found if condition is not None]


# -- changing ---------------------------------------------------------------------------------------------------------------


def create(transaction: Transaction, body: ArtifactCreate) -> Artifact:
    """Keep an artifact; it is the newest of its key."""
    if body.key is not None and not _KEY.fullmatch(body.key):
        raise InvalidRequest(("body", "key"), "An artifact's key has only small letters, digits and dashes.")
    short(body.key, "key")
    artifact_id = uuid7()
    values = {
        "id": artifact_id,
        "workspace_id": transaction.workspace,
        "created": transaction.now,
        "updated": transaction.now,
        "artifact_key": body.key,
        "type": body.type,
        "description": body.description,
        "data": to_text(body.data),
        "metadata": to_text(body.metadata_),
        "flow_run_id": body.flow_run_id,
        "task_run_id": body.task_run_id,
    }
    transaction.execute(sa.insert(table).values(**values))
    row = find(transaction, artifact_id)
    if body.key is not None:
        _collect(transaction, row)
    return answer(row)


def _collect(transaction: Transaction, row: Any) -> None:
    mine = (collections.c.workspace_id == transaction.workspace, collections.c.artifact_key == row.artifact_key)
    now = {"latest_id": row.id, "updated": transaction.now}
    action: notices.Action = "updated"
    if not transaction.execute(sa.update(collections).where(*mine).values(**now)).rowcount:
        action = "created"
        new = {"id": uuid7(), "workspace_id": transaction.workspace, "created": transaction.now, **now}
        transaction.execute(sa.insert(collections).values(artifact_key=row.artifact_key, **new))
    _tell(transaction, action, transaction.scalar(sa.select(collections.c.id).where(*mine)), row)


def update(transaction: Transaction, artifact_id: UUID, body: ArtifactUpdate) -> None:
    """Change what the body says; raises ObjectNotFound."""
    row = find(transaction, artifact_id)
    values: dict[str, Any] = {"updated": transaction.now}
    if body.data is not UNSET:
        values["data"] = to_text(body.data)
    if body.description is not UNSET:
        values["description"] = body.description
    if body.metadata_ is not UNSET:
        values["metadata"] = to_text(body.metadata_)
    transaction.execute(sa.update(table).where(table.c.key == row.key).values(**values))


def delete(transaction: Transaction, artifact_id: UUID) -> None:
    """Remove an artifact; the one before it becomes the newest of its key. Raises ObjectNotFound."""
    row = find(transaction, artifact_id)
    transaction.execute(sa.delete(table).where(table.c.key == row.key))
    if row.artifact_key is not None:
        uncollect(transaction, [row.artifact_key])


def uncollect(transaction: Transaction, keys: Collection[str]) -> None:
    """Let the collections of these keys point to what is left, after artifacts were removed."""
    mine = (collections.c.workspace_id == transaction.workspace, collections.c.artifact_key.in_(keys))
    gone = (
        sa.select(collections)
        .outerjoin(table, table.c.id == collections.c.latest_id)
        .where(*mine, table.c.key.is_(None))
    )
    for collection in transaction.rows(gone):
        left = transaction.row(
            sa.select(table)
            .where(table.c.workspace_id == transaction.workspace, table.c.artifact_key == collection.artifact_key)
            .order_by(table.c.created.desc(), table.c.key.desc())
            .limit(1)
        )
        here = collections.c.key == collection.key
        if left is None:
            transaction.execute(sa.delete(collections).where(here))
            payload = {"key": collection.artifact_key}
            notices.happened(
                transaction, "artifact-collection", "deleted", collection.id, collection.artifact_key, payload
            )
        else:
            values = {"latest_id": left.id, "updated": transaction.now}
            transaction.execute(sa.update(collections).where(here).values(**values))
            _tell(transaction, "updated", collection.id, left)


def _tell(transaction: Transaction, action: notices.Action, collection_id: UUID, row: Any) -> None:
    related = [notices.related("artifact", row.id, "latest")]
    for kind, run_id in (("flow-run", row.flow_run_id), ("task-run", row.task_run_id)):
        if run_id is not None:
            related.append(notices.related(kind, run_id, kind))
    payload = {"key": row.artifact_key, "type": row.type, "description": row.description, "latest_id": str(row.id)}
    notices.happened(transaction, "artifact-collection", action, collection_id, row.artifact_key, payload, related)
