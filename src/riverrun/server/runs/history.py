"""Runs over time: how many were in which state, how long they ran and how late they were, by interval."""

from datetime import datetime

import sqlalchemy as sa

from riverrun.base.clock import from_micros, to_micros
from riverrun.base.errors import InputError
from riverrun.server.db.filters import Filters
from riverrun.server.db.units import Reader
from riverrun.server.runs.listing import FLOW_RUNS, Kind, conditions
from riverrun.server.runs.rollups import EXPECTED
from riverrun.server.runs.sums import Grid, cells, lateness
from riverrun.wire.flow_runs import HistoryResponse, HistoryResponseState
from riverrun.wire.states import DEFAULT_NAMES, TYPES_BY_CODE

#: intervals of one answer
MOST = 500
SECOND = 1_000_000
_LONGEST = 2**62


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
    grid = Grid(first, interval, 1, number)
    for cell in cells(reader, kind, filters, EXPECTED, grid, timed=True):
        type_ = TYPES_BY_CODE[cell.state_type]
        states.setdefault(cell.index, []).append(
            HistoryResponseState(
                state_type=type_,
                state_name=cell.state_name or DEFAULT_NAMES[type_],
                count_runs=cell.n,
                sum_estimated_run_time=cell.run_time / SECOND,
                sum_estimated_lateness=cell.lateness / SECOND,
            )
        )
    for found in states.values():
        found.sort(key=lambda state: (state.state_type.value, state.state_name))
    return [
        HistoryResponse(interval_start=edges[index], interval_end=edges[index + 1], states=states.get(index, []))
        for index in range(number)
    ]
