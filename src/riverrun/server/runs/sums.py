"""Numbers of runs by interval and state: from the sums where the filters allow it, else from the ledger.

The sums (`rollups`) know minutes, states and flows. Minutes that an interval cuts in two, and sums over runs that are still
under way, are read from the ledger, so that the answer is the same either way.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import to_micros
from riverrun.server.db.filter_fields import in_state, started
from riverrun.server.db.filters import Filters, form_of, named_when_slow, of_flows, says, terms
from riverrun.server.db.units import Reader
from riverrun.server.db.where import Condition
from riverrun.server.runs import rollups
from riverrun.server.runs.listing import FLOW_RUNS, Kind, conditions
from riverrun.server.runs.rollups import BY_MINUTE, EXPECTED, HOUR, HOURLY, MINUTE, STARTED
from riverrun.wire.journal import FLOW_RUN, TASK_RUN
from riverrun.wire.states import TERMINAL_STATES, TYPE_CODES, StateType

_RUNNING = TYPE_CODES[StateType.RUNNING]
_FINAL = sorted(TYPE_CODES[kind] for kind in TERMINAL_STATES)
_UNDER_WAY = sorted(set(TYPE_CODES.values()) - set(_FINAL))
#: microseconds that no instant is away from the epoch
_EVER = 2**60
_FIELDS = {EXPECTED: "expected_start_time", STARTED: "start_time"}


class Grid(Struct, frozen=True):
    """Intervals of time: `number` of them beginning at `first`; so many `parts` of `span` microseconds."""

    first: int = -_EVER
    span: int = 2 * _EVER
    parts: int = 1
    number: int = 1

    def index(self, instant: Any) -> Any:
        """The interval of an instant, for integers and for columns."""
        return ((instant - self.first) * self.parts) // self.span

    def edge(self, index: int) -> int:
        """Where an interval begins."""
        return self.first - (-index * self.span // self.parts)


class Cell(Struct):
    """The runs of one interval in one kind of state; times in microseconds. `state_name` None: the type's own."""

    index: int
    state_type: int
    state_name: str | None
    n: int
    run_time: int = 0
    lateness: int = 0


class _Asked(Struct):
    """What the sums can answer: the axis, the span of time, and the filters without it."""

    axis: int
    low: int
    high: int
    filters: Filters


def run_time(run: sa.Table, now: int) -> sa.ColumnElement[int]:
    """How long a run has been running, in microseconds."""
    since = sa.case((run.c.state_timestamp < now, now - run.c.state_timestamp), else_=0)
    return run.c.total_run_time + sa.case((run.c.state_type == _RUNNING, since), else_=0)


def lateness(run: sa.Table, now: int) -> sa.ColumnElement[int]:
    """How much later than expected a run started, or that it has not, in microseconds."""
    expected, start = run.c.expected_start_time, run.c.start_time
    waits = sa.and_(start.is_(None), run.c.state_type.not_in(_FINAL), expected < now)
    return sa.case((start > expected, start - expected), (waits, now - expected), else_=0)


def cells(reader: Reader, kind: Kind, filters: Filters, axis: int, grid: Grid, *, timed: bool = False) -> list[Cell]:
    """Runs that have a state, by interval on the axis and state; `timed` with their times."""
    with named_when_slow(filters):
        return _cells(_parts(reader, kind, filters, axis, grid, timed=timed))


def _parts(reader: Reader, kind: Kind, filters: Filters, axis: int, grid: Grid, *, timed: bool) -> list[Any]:
    asked = _asked(kind, filters, axis, grid)
    if asked is None:
        return reader.rows(_ledger(reader, kind, conditions(reader, kind, filters), axis, grid, timed=timed))
    if asked.high <= asked.low:
        return []
    hours, minutes = _cut(asked, grid, HOUR), _cut(asked, grid, MINUTE)
    states = _FINAL if timed else None
    parts: list[Any] = []
    for sums in rollups.sources(reader):
        parts += reader.rows(_from_hours(reader, sums, kind, asked, grid, hours, states))
        if hours:
            parts += reader.rows(_from_minutes(reader, sums, kind, asked, grid, hours, minutes, states))
    if minutes:
        parts += reader.rows(_from_ledger(reader, kind, asked, grid, minutes, states, timed=timed))
    if timed:
        under_way = [*_tests(reader, kind, asked), kind.table.c.state_type.in_(_UNDER_WAY)]
        parts += reader.rows(
            _summed(reader, kind, axis, grid, timed=True).where(*under_way, *_within(reader, kind, asked))
        )
    return parts


def count(reader: Reader, kind: Kind, filters: Filters) -> int | None:
    """How many runs the filters leave; None where the sums do not know it."""
    own = _own(kind, filters)
    axis = STARTED if getattr(own, "start_time", None) is not None else EXPECTED
    asked = _asked(kind, filters, axis, Grid())
    if asked is None:
        return None
    number = sum(cell.n for cell in cells(reader, kind, filters, axis, Grid()))
    if getattr(own, "state", None) is None and (axis == EXPECTED or kind is FLOW_RUNS):
        stateless = [*_tests(reader, kind, asked), kind.table.c.state_type.is_(None), *_within(reader, kind, asked)]
        number += reader.scalar(sa.select(sa.func.count()).select_from(kind.table).where(*stateless))
    return number


def _own(kind: Kind, filters: Filters) -> Any:
    return filters.flow_runs if kind is FLOW_RUNS else filters.task_runs


def _asked(kind: Kind, filters: Filters, axis: int, grid: Grid) -> _Asked | None:
    own, field = _own(kind, filters), _FIELDS[axis]
    if not filters.only("flow_runs" if kind is FLOW_RUNS else "task_runs", *(["flows"] if kind is FLOW_RUNS else [])):
        return None
    low, high = grid.first, grid.edge(grid.number)
    if own is not None:
        fields = says(own)
        if not fields <= {"state", field} or (own.operator == "or_" and len(fields) > 1):
            return None
        span = getattr(own, field)
        if getattr(span, "is_null_", None) is not None:
            return None
        if span is not None:
            low = low if span.after_ is None else max(low, to_micros(span.after_))
            high = high if span.before_ is None else min(high, to_micros(span.before_) + 1)
        own = msgspec.structs.replace(own, **{field: None})
    name = "flow_runs" if kind is FLOW_RUNS else "task_runs"
    return _Asked(axis, low, high, msgspec.structs.replace(filters, **{name: own}))


def _cut(asked: _Asked, grid: Grid, length: int) -> list[int]:
    """The hours or minutes (by their first minute) that the edges of intervals cut in two."""
    edges = [asked.low, asked.high, *(grid.edge(index) for index in range(1, grid.number))]
    bounded = (edge for edge in edges if edge % length and asked.low <= edge <= asked.high)
    return sorted({edge // length * (length // MINUTE) for edge in bounded if abs(edge) < _EVER})


def _instant(kind: Kind, axis: int) -> sa.ColumnElement[Any]:
    run = kind.table
    if axis == EXPECTED:
        return run.c.expected_start_time
    return started(run) if kind is FLOW_RUNS else run.c.start_time


def _tests(reader: Reader, kind: Kind, asked: _Asked) -> list[Condition]:
    form = form_of(reader)
    tests = (condition for _, condition in terms(form, kind.entity, kind.table, asked.filters))
    return [form.driving().mine(kind.table), *tests]


def _within(reader: Reader, kind: Kind, asked: _Asked) -> list[Condition]:
    """The span of time, as a test: what finds the rows is something rarer."""
    instant = form_of(reader).column(_instant(kind, asked.axis))
    return [instant >= asked.low, instant < asked.high]


def _from_sums(
    reader: Reader, sums: sa.FromClause, kind: Kind, asked: _Asked, grid: Grid, level: int, states: list[int] | None
) -> tuple[sa.Select[Any], list[Condition]]:
    """A query that adds the sums up by interval, and the conditions for those that are asked for."""
    form, own = form_of(reader), _own(kind, asked.filters)
    flows = of_flows(form.driving(), sums, asked.filters)
    wanted = [
        sums.c.workspace_id == reader.workspace,
        sums.c.kind == (FLOW_RUN if kind is FLOW_RUNS else TASK_RUN) + asked.axis + level,
        sums.c.flow_key == 0 if flows is None else flows,
    ]
    in_states = None if own is None or own.state is None else in_state(sums, form, own.state)
    if in_states is not None:
        wanted.append(in_states)
    if states is not None:
        wanted.append(form.column(sums.c.state_type).in_(states))
    keys = (grid.index(sums.c.minute * MINUTE).label("index"), sums.c.state_type, sums.c.state_name)
    totals = (sa.func.sum(sums.c[name]).label(name) for name in ("n", "run_time", "lateness"))
    return sa.select(*keys, *totals).group_by(*keys), wanted


def _from_hours(
    reader: Reader,
    sums: sa.FromClause,
    kind: Kind,
    asked: _Asked,
    grid: Grid,
    cut: list[int],
    states: list[int] | None,
) -> sa.Select[Any]:
    """The hours that no edge cuts."""
    query, wanted = _from_sums(reader, sums, kind, asked, grid, HOURLY, states)
    low, high = -(-asked.low // HOUR) * 60, asked.high // HOUR * 60
    whole = [sums.c.minute >= low, sums.c.minute < high, *([sums.c.minute.not_in(cut)] if cut else [])]
    return query.where(*wanted, *whole)


def _from_minutes(
    reader: Reader,
    sums: sa.FromClause,
    kind: Kind,
    asked: _Asked,
    grid: Grid,
    hours: list[int],
    cut: list[int],
    states: list[int] | None,
) -> sa.Select[Any]:
    """Of the hours that are cut, the minutes that are not."""
    query, wanted = _from_sums(reader, sums, kind, asked, grid, BY_MINUTE, states)
    minute, begin = sums.c.minute, _begins(hours)
    wanted += [minute >= begin.c.low, minute < begin.c.low + 60]
    tested = form_of(reader).column(minute)
    wanted += [tested >= -(-asked.low // MINUTE), tested < asked.high // MINUTE, *([tested.not_in(cut)] if cut else [])]
    return query.select_from(begin.outerjoin(sums, sa.and_(*wanted)))


def _from_ledger(
    reader: Reader, kind: Kind, asked: _Asked, grid: Grid, cut: list[int], states: list[int] | None, *, timed: bool
) -> sa.Select[Any]:
    """The runs of the minutes that are cut."""
    run, instant, begin = kind.table, _instant(kind, asked.axis), _begins([minute * MINUTE for minute in cut])
    wanted = [*_tests(reader, kind, asked), *_within(reader, kind, asked)]
    wanted += [instant >= begin.c.low, instant < begin.c.low + MINUTE]
    if states is not None:
        wanted.append(form_of(reader).column(run.c.state_type).in_(states))
    return _summed(reader, kind, asked.axis, grid, timed=timed).select_from(begin.outerjoin(run, sa.and_(*wanted)))


def _begins(values: list[int]) -> sa.CTE:
    """Some beginnings as a table, to which others are joined: by an outer join, for SQLite would turn an inner one round."""
    return sa.values(sa.column("low", sa.BigInteger), name="begin").data([(value,) for value in values]).cte("begin")


def _ledger(
    reader: Reader, kind: Kind, wanted: Iterable[Condition], axis: int, grid: Grid, *, timed: bool
) -> sa.Select[Any]:
    """The runs that are wanted, from the ledger."""
    instant = _instant(kind, axis)
    bounds = [instant >= grid.first, instant < grid.edge(grid.number)]
    return _summed(reader, kind, axis, grid, timed=timed).where(*wanted, *bounds)


def _summed(reader: Reader, kind: Kind, axis: int, grid: Grid, *, timed: bool) -> sa.Select[Any]:
    run = kind.table
    columns: list[sa.ColumnElement[Any]] = [sa.func.count(run.c.key).label("n")]
    if timed:
        columns.append(sa.func.sum(run_time(run, reader.now)).label("run_time"))
        columns.append(sa.func.sum(lateness(run, reader.now)).label("lateness"))
    keys = (grid.index(_instant(kind, axis)).label("index"), run.c.state_type, run.c.state_name)
    return sa.select(*keys, *columns).group_by(*keys)


def _cells(rows: Iterable[Any]) -> list[Cell]:
    found: dict[tuple[int, int, str | None], Cell] = {}
    for row in rows:
        if row.state_type is None:
            continue
        key = (int(row.index), row.state_type, row.state_name)
        cell = found.setdefault(key, Cell(*key, 0))
        cell.n += int(row.n)
        cell.run_time += int(getattr(row, "run_time", 0))
        cell.lateness += int(getattr(row, "lateness", 0))
    return [cell for cell in found.values() if cell.n]
