"""The order of a run's states when several journals tell of it. Pure.

Within one journal (writer) the order is the journal's, and a clock that jumps back is corrected; between journals, and for what
no journal tells, it is the clock's. The result is a function of the states alone, so it does not depend on which journal was
ingested first.
"""

from collections.abc import Iterable
from typing import Any

from riverrun.rules.bookkeeping import Ledger, enter
from riverrun.server.ingest.rows import micros
from riverrun.wire.states import TYPES_BY_CODE, StateType


class Entry:
    """One state on its way into the order: where it comes from, what its record said."""

    __slots__ = ("code", "id", "rest", "scheduled", "timestamp", "writer")

    def __init__(
        self, writer: int | None, id: Any, code: int, timestamp: int, scheduled: int | None, rest: tuple[Any, ...]
    ) -> None:
        self.writer = writer
        self.id = id
        self.code = code
        self.timestamp = timestamp
        self.scheduled = scheduled
        #: name, message, details, data
        self.rest = rest


def arrange(entries: Iterable[Entry]) -> list[tuple[int, Entry]]:
    """The states in order, each with the instant it sorts by. Entries of one writer must come in that writer's order."""
    latest: dict[int | None, int] = {}
    placed: list[tuple[int, Any, Entry]] = []
    for entry in entries:
        before = None if entry.writer is None else latest.get(entry.writer)
        instant = entry.timestamp if before is None else max(entry.timestamp, before + 1)
        latest[entry.writer] = instant
        placed.append((instant, bytes(getattr(entry.id, "bytes", entry.id)), entry))
    placed.sort(key=lambda place: place[:2])
    return [(instant, entry) for instant, _, entry in placed]


def refold(run_key: int, entries: Iterable[Entry], resuming: bool) -> tuple[Ledger, list[tuple[Any, ...]], Entry]:
    """Fold all states of a run from the start: its ledger, the rows of its states (`rows.STATE_COLUMNS`) and the last one.

    Whether a former Running state came out of a pause is not kept with the state; such a run counts each of them.
    """
    ledger = Ledger()
    rows: list[tuple[Any, ...]] = []
    last: Entry | None = None
    for seq, (instant, entry) in enumerate(arrange(entries), start=1):
        timestamp = enter(ledger, TYPES_BY_CODE[entry.code], instant, entry.scheduled)
        shift = timestamp - entry.timestamp
        rows.append((run_key, seq, entry.id, entry.code, timestamp, shift, entry.writer, *entry.rest))
        last = entry
    if last is None:
        raise ValueError("a run without states has nothing to fold")
    ledger.resuming = resuming and ledger.end_time is None
    return ledger, rows, last


def scheduled_time(code: int, details: Any) -> int | None:
    """The instant a Scheduled state waits for, from its details."""
    if not details or TYPES_BY_CODE[code] is not StateType.SCHEDULED:
        return None
    return micros(details.get("scheduled_time"))
