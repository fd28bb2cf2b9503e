"""Reads of logs and of what journals have lost."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from riverrun.base.clock import from_micros
from riverrun.server.db.paging import page_size
from riverrun.server.db.scope import Scope
from riverrun.server.db.searching import terms
from riverrun.server.db.tables import flow_run, journal_lost, journal_writer, log, task_run
from riverrun.server.db.units import Reader
from riverrun.server.db.where import Condition, Rule, is_null, joined, listed, where
from riverrun.wire.filters import LogFilter
from riverrun.wire.logs import Log, LostStretch
from riverrun.wire.requests import LogsFilterBody

#: before every line
FIRST = (-(2**62), 0)
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
    query = _with_ids(page).order_by(*_order(page, newest_first))
    return [_log(row) for row in connection.execute(query)]


def filtered(reader: Reader, body: LogsFilterBody) -> list[Log]:
    """Log lines that pass a filter."""
    limit = page_size(body.limit)
    mine = log.c.workspace_id == reader.workspace
    condition = _condition(reader, body.logs)
    newest_first = body.sort == "TIMESTAMP_DESC"
    page = (
        sa.select(log)
        .where(mine if condition is None else sa.and_(mine, condition))
        .order_by(*_order(log, newest_first))
        .limit(limit)
        .offset(body.offset)
        .subquery("page")
    )
    return [_log(row) for row in reader.rows(_with_ids(page).order_by(*_order(page, newest_first)))]


def by_keys(reader: Reader, stretches: Sequence[tuple[int, int]]) -> list[Log]:
    """The log lines of some stretches of keys, in the order of keys."""
    if not stretches:
        return []
    wanted = sa.or_(*(log.c.key.between(first, last) for first, last in stretches))
    lines = sa.select(log).where(wanted).subquery("lines")
    return [_log(row) for row in reader.rows(_with_ids(lines).order_by(lines.c.key))]


def after(reader: Reader, flow_run_id: UUID, place: tuple[int, int], limit: int) -> tuple[list[Log], tuple[int, int]]:
    """Lines of a flow run behind a place in the order of time, and the place of the last one."""
    query = (
        sa.select(log)
        .where(
            log.c.workspace_id == reader.workspace,
            log.c.flow_run_key == _key_of(flow_run, flow_run_id),
            sa.or_(log.c.timestamp > place[0], sa.and_(log.c.timestamp == place[0], log.c.key > place[1])),
        )
        .order_by(*_order(log, newest_first=False))
        .limit(limit)
        .subquery("page")
    )
    rows = reader.rows(_with_ids(query).order_by(*_order(query, newest_first=False)))
    return [_log(row) for row in rows], (rows[-1].timestamp, rows[-1].key) if rows else place


def _with_ids(lines: sa.Subquery) -> sa.Select[Any]:
    return (
        sa.select(lines, flow_run.c.id.label("flow_run_id"), task_run.c.id.label("task_run_id"))
        .outerjoin_from(lines, flow_run, flow_run.c.key == lines.c.flow_run_key)
        .outerjoin(task_run, task_run.c.key == lines.c.task_run_key)
    )


def _condition(reader: Reader, filter: LogFilter | None) -> Condition | None:
    def of_runs(table: sa.Table, column: sa.ColumnElement[Any]) -> Rule:
        def rule(wanted: Any) -> Condition | None:
            parts: list[Condition | None] = []
            if wanted.any_ is not None:
                # looked up first: one key lets the index of the column give the order
                ids = reader.rows(sa.select(table.c.key).where(table.c.id.in_(listed(wanted.any_))))
                keys = [row.key for row in ids]
                parts.append(column == keys[0] if len(keys) == 1 else column.in_(keys))
            null = getattr(wanted, "is_null_", None)
            if null is not None:
                parts.append(is_null(column, null))
            return joined(parts)

        return rule

    return where(
        filter,
        {
            "level": log.c.level,
            "timestamp": log.c.timestamp,
            "flow_run_id": of_runs(flow_run, log.c.flow_run_key),
            "task_run_id": of_runs(task_run, log.c.task_run_key),
            "text": lambda text: terms(text.query).condition(log.c.message + " " + log.c.name),
        },
    )


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
        # a line never changes, and when it came is not kept
        created=timestamp,
        updated=timestamp,
    )


def _log_id(key: int, timestamp: Any) -> UUID:
    """The id of a line, made of its time and key in the form of a UUIDv7: the same at every read, at no cost in the row."""
    millis = timestamp // 1000 if isinstance(timestamp, int) else 0
    return UUID(int=((millis & (2**48 - 1)) << 80) | (7 << 76) | (2 << 62) | (key & (2**62 - 1)))
