"""Runs over time: how many were in which state, how long they ran and how late they were, by interval."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.errors import InputError
from riverrun.server.db.filters import Filters
from riverrun.server.db.units import Reader
from riverrun.server.runs.listing import FLOW_RUNS, Kind, conditions
from riverrun.wire.flow_runs import HistoryResponse, HistoryResponseState
from riverrun.wire.states import DEFAULT_NAMES, TERMINAL_STATES, TYPE_CODES, TYPES_BY_CODE, StateType

#: intervals of one answer
MOST = 500
SECOND = 1_000_000
_RUNNING = TYPE_CODES[StateType.RUNNING]
_FINAL = [TYPE_CODES[kind] for kind in TERMINAL_STATES]
_LONGEST = 2**62


def run_time(run: sa.Table, now: int) -> sa.ColumnElement[int]:
    """How long a run has been running, in microseconds."""
    since = sa.case((run.c.state_timestamp < now, now - run.c.state_timestamp), else_=0)
    return run.c.total_run_time + sa.case((run.c.state_type == _RUNNING, since), else_=0)


def lateness(run: sa.Table, now: int) -> sa.ColumnElement[int]:
    """How much later than expected a run started, or that it has not, in microseconds."""
    expected, start = run.c.expected_start_time, run.c.start_time
    waits = sa.and_(start.is_(None), run.c.state_type.not_in(_FINAL), expected < now)
    return sa.case((start > expected, start - expected), (waits, now - expected), else_=0)


def lateness_average(reader: Reader, filters: Filters) -> float | None:
    """The average lateness of flow runs in seconds; None where there are none."""
    run = FLOW_RUNS.table
    average = sa.func.avg(lateness(run, reader.now))
    found = reader.scalar(sa.select(average).where(*conditions(reader, FLOW_RUNS, filters)))
    return None if found is None else float(found) / SECOND


def history(
    reader: Reader, kind: Kind, filters: Filters, start: datetime, end: datetime, seconds: float
) -> list[HistoryResponse]:
    """The runs expected between `start` and `end`, in intervals of so many seconds; raises InputError below one second."""
    if not seconds >= 1:
        raise InputError("History interval must not be less than 1 second.")
    first, interval = to_micros(start), int(min(seconds * SECOND, _LONGEST))
    number = min(-(-(to_micros(end) - first) // interval), MOST)
    if number <= 0:
        return []
    try:
        edges = [from_micros(first + index * interval) for index in range(number + 1)]
    except OverflowError:
        raise InputError("The history ends after the year 9999.") from None
    states: dict[int, list[HistoryResponseState]] = {}
    for row in _buckets(reader, kind, filters, first, interval, number):
        type_ = TYPES_BY_CODE[row.state_type]
        states.setdefault(int(row.bucket), []).append(
            HistoryResponseState(
                state_type=type_,
                state_name=row.state_name or DEFAULT_NAMES[type_],
                count_runs=int(row.n),
                sum_estimated_run_time=float(row.run_time) / SECOND,
                sum_estimated_lateness=float(row.lateness) / SECOND,
            )
        )
    return [
        HistoryResponse(interval_start=edges[index], interval_end=edges[index + 1], states=states.get(index, []))
        for index in range(number)
    ]


def _buckets(reader: Reader, kind: Kind, filters: Filters, first: int, interval: int, number: int) -> list[Any]:
    run = kind.table
    expected = run.c.expected_start_time
    bucket = ((expected - first) // interval).label("bucket")
    query = (
        sa.select(
            bucket,
            run.c.state_type,
            run.c.state_name,
            sa.func.count().label("n"),
            sa.func.sum(run_time(run, reader.now)).label("run_time"),
            sa.func.sum(lateness(run, reader.now)).label("lateness"),
        )
        .where(
            *conditions(reader, kind, filters),
            expected >= first,
            expected < first + number * interval,
            run.c.state_type.is_not(None),
        )
        .group_by(bucket, run.c.state_type, run.c.state_name)
    )
    return reader.rows(query)
