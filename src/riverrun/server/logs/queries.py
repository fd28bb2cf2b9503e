"""Reads of logs and of what journals have lost."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.server.db.scope import Scope
from riverrun.server.db.tables import flow_run, journal_lost, journal_writer, log, task_run
from riverrun.wire.logs import Log, LostStretch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def logs(
    connection: sa.Connection,
    scope: Scope,
    *,
    flow_run_id: UUID | None = None,
    task_run_id: UUID | None = None,
    min_level: int = 0,
    limit: int = 200,
    offset: int = 0,
    newest_first: bool = False,
) -> list[Log]:
    """Log lines in the order they were written, of a flow run (its task runs' included) or of a task run."""
    conditions = [log.c.workspace_id == scope.workspace_id]
    if flow_run_id is not None:
        conditions.append(log.c.flow_run_key == _key_of(flow_run, flow_run_id))
    if task_run_id is not None:
        conditions.append(log.c.task_run_key == _key_of(task_run, task_run_id))
    if min_level:
        conditions.append(log.c.level >= min_level)
    page = (
        sa.select(log)
        .where(*conditions)
        .order_by(*_order(log, newest_first))
        .limit(limit)
        .offset(offset)
        .subquery("page")
    )
    query = (
        sa.select(page, flow_run.c.id.label("flow_run_id"), task_run.c.id.label("task_run_id"))
        .outerjoin_from(page, flow_run, flow_run.c.key == page.c.flow_run_key)
        .outerjoin(task_run, task_run.c.key == page.c.task_run_key)
        .order_by(*_order(page, newest_first))
    )
    return [_log(row) for row in connection.execute(query)]


def lost_stretches(
    connection: sa.Connection, scope: Scope, *, flow_run_id: UUID | None = None, limit: int = 50, offset: int = 0
) -> list[LostStretch]:
    """Stretches of journals that are known to be lost, newest first; with `flow_run_id` of the journal that the run wrote."""
    query = (
        sa.select(journal_lost, journal_writer.c.id.label("writer"))
        .join_from(journal_lost, journal_writer, journal_writer.c.key == journal_lost.c.writer_key)
        .where(journal_writer.c.workspace_id == scope.workspace_id)
        .order_by(journal_lost.c.noticed.desc(), journal_lost.c.key.desc())
        .limit(limit)
        .offset(offset)
    )
    if flow_run_id is not None:
        writer = sa.select(flow_run.c.writer_key).where(flow_run.c.id == flow_run_id).scalar_subquery()
        query = query.where(journal_lost.c.writer_key == writer)
    return [
        LostStretch(writer=row.writer, first=row.first, last=row.last, why=row.why, noticed=from_micros(row.noticed))
        for row in connection.execute(query)
    ]


def _order(rows: sa.FromClause, newest_first: bool) -> tuple[sa.ColumnElement[Any], ...]:
    if newest_first:
        return rows.c.timestamp.desc(), rows.c.key.desc()
    return rows.c.timestamp, rows.c.key


def _key_of(table: sa.Table, run_id: UUID) -> sa.ScalarSelect[Any]:
    return sa.select(table.c.key).where(table.c.id == run_id).scalar_subquery()


def _log(row: Any) -> Log:
    try:
        timestamp, message = from_micros(row.timestamp), row.message
    except (OverflowError, TypeError) as error:
        timestamp, message = _EPOCH, f"{row.message} [the time of this line cannot be read: {error}]"
    return Log(
        id=_log_id(row.key, row.timestamp),
        name=row.name,
        level=row.level,
        message=message,
        timestamp=timestamp,
        flow_run_id=row.flow_run_id,
        task_run_id=row.task_run_id,
    )


def _log_id(key: int, timestamp: Any) -> UUID:
    """The id of a line, made of its time and key in the form of a UUIDv7: the same at every read, at no cost in the row."""
    millis = timestamp // 1000 if isinstance(timestamp, int) else 0
    return UUID(int=((millis & (2**48 - 1)) << 80) | (7 << 76) | (2 << 62) | (key & (2**62 - 1)))
