"""Lists of events in the order of time, over all sources, page by page; and counts."""

import heapq
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import from_micros, to_micros
from riverrun.server.db.units import Caller, Reader
from riverrun.server.events import documents
from riverrun.server.events.match import ID, matches
from riverrun.server.events.sources import FLOW_RUNS, STORED, Search, Source, search
from riverrun.server.store import Store
from riverrun.wire.events import ReceivedEvent
from riverrun.wire.filters import EventFilter
from riverrun.wire.journal import FLOW_RUN, TASK_RUN

#: totals are counted up to so many of each source
MOST_COUNTED = 10_000
#: so many documents are looked at where SQL cannot tell
MOST_SEEN = 20_000
_AT_ONCE = 500

#: (occurred, rank of the source, first key, second key): the order of events
Position = tuple[int, int, int, int]


class Page(Struct, kw_only=True):
    """Some events, how many there are in all (as far as counted), and where the next page begins."""

    events: list[ReceivedEvent]
    total: int
    following: Position | None


def page(reader: Reader, filter: EventFilter, limit: int, after: Position | None = None) -> Page:
    """Events behind a position; newest first unless the filter's order says otherwise."""
    wanted = search(reader, filter)
    events: list[ReceivedEvent] = []
    last: Position | None = None
    more = False
    for position, event in _found(reader, filter, wanted, after):
        if len(events) == limit:
            more = True
            break
        events.append(event)
        last = position
    total = _total(reader, filter, wanted)
    return Page(events=events, total=total, following=last if more else None)


def _found(
    reader: Reader, filter: EventFilter, wanted: Search, after: Position | None
) -> Iterator[tuple[Position, ReceivedEvent]]:
    """The events that match behind a position, in order."""
    distinct = filter.resource is not None and filter.resource.distinct
    seen: set[str | None] = set()
    newest_first = filter.order == "DESC"
    # of each resource the first event counts: which these are is only known from the beginning
    place = None if distinct else after
    looked_at = 0
    while looked_at < MOST_SEEN:
        positions = _positions(reader, wanted, place, _AT_ONCE if not wanted.exact else 64, newest_first=newest_first)
        if not positions:
            return
        for position, event in _documents(reader, positions):
            if not wanted.exact and not matches(filter, event):
                continue
            if distinct:
                resource_id = event.resource.get(ID)
                if resource_id in seen:
                    continue
                seen.add(resource_id)
                if after is not None and (position >= after if newest_first else position <= after):
                    continue
            yield position, event
        place = positions[-1]
        looked_at += len(positions)


def _positions(
    reader: Reader, wanted: Search, after: Position | None, limit: int, *, newest_first: bool
) -> list[Position]:
    parts = []
    for source, conditions in wanted.conditions:
        behind = [] if after is None else [_behind(source, after, newest_first=newest_first)]
        # the second key of stored events is the number 0, by which nothing can be ordered
        order = (source.occurred, *source.keys[: 1 if source.rank == STORED else 2])
        query = (
            sa.select(source.occurred, *source.keys)
            .select_from(source.tables)
            .where(*conditions, *behind)
            .order_by(*((each.desc() for each in order) if newest_first else order))
            .limit(limit)
        )
        parts.append([(row[0], source.rank, row[1], row[2]) for row in reader.rows(query)])
    merged: Iterator[Position] = heapq.merge(*parts, reverse=newest_first)
    return [position for position, _ in zip(merged, range(limit), strict=False)]


def _behind(source: Source, after: Position, *, newest_first: bool) -> sa.ColumnElement[bool]:
    """The rows of a source behind a position."""
    instant, rank, first, second = after
    keys = source.keys

    def past(column: Any, value: int) -> Any:
        return column < value if newest_first else column > value

    if source.rank != rank:
        comes_later = source.rank < rank if newest_first else source.rank > rank
        if comes_later:
            return sa.or_(past(source.occurred, instant), source.occurred == instant)
        return sa.and_(past(source.occurred, instant))
    return sa.or_(
        past(source.occurred, instant),
        sa.and_(
            source.occurred == instant,
            sa.or_(past(keys[0], first), sa.and_(keys[0] == first, past(keys[1], second))),
        ),
    )


def _documents(reader: Reader, positions: list[Position]) -> list[tuple[Position, ReceivedEvent]]:
    stored = documents.stored(reader, [key for _, rank, key, _ in positions if rank == STORED])
    made: dict[tuple[int, int, int], ReceivedEvent] = {(STORED, key, 0): event for key, event in stored.items()}
    for rank in {position[1] for position in positions} - {STORED}:
        kind = FLOW_RUN if rank == FLOW_RUNS else TASK_RUN
        spans = [(key, seq, seq) for _, each, key, seq in positions if each == rank]
        for place, event in documents.of_states(reader, kind, spans).items():
            made[rank, place.run_key, place.seq] = event
    return [(position, made[position[1:]]) for position in positions if position[1:] in made]


def _total(reader: Reader, filter: EventFilter, wanted: Search) -> int:
    if not wanted.exact:
        return sum(1 for _ in _found(reader, filter, wanted, None))
    total = 0
    for source, conditions in wanted.conditions:
        some: Any = sa.select(sa.literal_column("1")).select_from(source.tables).where(*conditions).limit(MOST_COUNTED)
        total += reader.scalar(sa.select(sa.func.count()).select_from(some.subquery()))
    return total


async def oldest_first(store: Store, caller: Caller, filter: EventFilter, most: int) -> AsyncIterator[ReceivedEvent]:
    """The oldest `most` events that match, oldest first (in pages: at most `most` and the rest of a page)."""
    ascending = msgspec.structs.replace(filter, order="ASC")
    after: Position | None = None
    sent = 0
    while sent < most:
        found = await store.read(partial(_some, filter=ascending, after=after), caller)
        for event in found.events:
            yield event
        sent += len(found.events)
        if found.following is None:
            return
        after = found.following


def _some(reader: Reader, filter: EventFilter, after: Position | None) -> Page:
    wanted = search(reader, filter)
    events: list[ReceivedEvent] = []
    last: Position | None = None
    for position, event in _found(reader, filter, wanted, after):
        if len(events) == _AT_ONCE:
            return Page(events=events, total=0, following=last)
        events.append(event)
        last = position
    return Page(events=events, total=0, following=None)


class Tally(Struct):
    """How many events have a value, and the first and last instant of them."""

    label: str
    count: int
    first: int
    last: int


def tally(reader: Reader, filter: EventFilter, value_of: str, bucket: int, start: int) -> dict[str, Tally]:
    """Counts of the events that match by their name, their resource, or the bucket (microseconds from `start`) of their time."""
    wanted = search(reader, filter)
    counts: dict[str, Tally] = {}

    def add(value: str, label: str, count: int, first: int, last: int) -> None:
        known = counts.get(value)
        if known is None:
            counts[value] = Tally(label, count, first, last)
            return
        if last >= known.last:
            known.label = label
        known.count += count
        known.first, known.last = min(known.first, first), max(known.last, last)

    if wanted.exact:
        for source, conditions in wanted.conditions:
            for row in reader.rows(_grouped(source, conditions, value_of, bucket, start)):
                value, label = _shown(source, value_of, row.value, row.label)
                add(value, label, row.count, row.first, row.last)
        return counts
    for _, event in _found(reader, filter, wanted, None):
        at = to_micros(event.occurred)
        resource_id = event.resource.get(ID) or ""
        if value_of == "event":
            add(event.event, event.event, 1, at, at)
        elif value_of == "resource":
            add(resource_id, event.resource.get("prefect.resource.name") or resource_id, 1, at, at)
        else:
            add(str((at - start) // bucket), from_micros(at).isoformat(), 1, at, at)
    return counts


def _grouped(
    source: Source, conditions: list[sa.ColumnElement[bool]], value_of: str, bucket: int, start: int
) -> sa.Select[Any]:
    occurred: Any = source.occurred
    columns: dict[str, tuple[Any, Any]] = {
        "event": (source.name, sa.null()),
        "resource": (source.resource, sa.func.max(source.label)),
    }
    # whole numbers are divided without a rest on both databases; events before the start are left out by the range
    value, label = columns.get(value_of, (_bucket(occurred, bucket, start), sa.null()))
    return (
        sa.select(
            value.label("value"),
            label.label("label"),
            sa.func.count().label("count"),
            sa.func.min(occurred).label("first"),
            sa.func.max(occurred).label("last"),
        )
        .select_from(source.tables)
        .where(*conditions)
        # by its label: an expression with parameters would be another one to PostgreSQL
        .group_by("value")
    )


def _bucket(occurred: Any, bucket: int, start: int) -> Any:
    return (occurred - sa.literal_column(str(start), sa.BigInteger)) // sa.literal_column(str(bucket), sa.BigInteger)


def _shown(source: Source, value_of: str, value: Any, label: Any) -> tuple[str, str]:
    text = f"{source.prefix}{value}" if isinstance(value, UUID) else str(value)
    return text, str(label) if value_of == "resource" and label else text


__all__ = ["Page", "Position", "Tally", "oldest_first", "page", "tally"]
