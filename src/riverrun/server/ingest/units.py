"""Records into units, units into transactions, and what to do when one fails.

A failing unit is tried again carefully, then in halves, so that the one record that cannot be stored is found and kept aside
while all others pass. Errors of the database itself (full disk, no connection) are not the records' fault and are raised.
"""

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeVar

from riverrun.server.db.engine import Database
from riverrun.server.db.scope import LOCAL, Scope
from riverrun.server.ingest.unit import Counts, Item, Unit

#: about 500 task runs with three states each
UNIT_RECORDS = 2000
UNIT_BYTES = 4 * 1024 * 1024
_TRIES = 5
#: what Python and the codecs raise for a value that has no place in a row
_VALUE_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)

T = TypeVar("T")
#: what to try next: some items, whether carefully, and for items to set aside the error that they met
Attempt = tuple[Sequence[T], bool, Exception | None]


def cut(records: Iterable[Item], most: int = UNIT_RECORDS) -> Iterator[list[Item]]:
    """The records in units of bounded number and size."""
    unit: list[Item] = []
    size = 0
    for item in records:
        unit.append(item)
        size += len(item[1])
        if len(unit) >= most or size >= UNIT_BYTES:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit


def attempts(unit: Sequence[T]) -> Generator[Attempt[T], Exception | None, None]:
    """The attempts that bring a unit into the store, whatever it takes; send the error of each, or None.

    When it ends, every item is stored or was set aside. Who drives it makes each attempt in a transaction of its own.
    """
    if (yield unit, False, None) is None:
        return
    error = yield unit, True, None
    if error is None:
        return
    if len(unit) == 1:
        failed = yield unit, True, error
        if failed is not None:
            raise failed
        return
    half = len(unit) // 2
    yield from attempts(unit[:half])
    yield from attempts(unit[half:])


def drive(unit: Sequence[T], attempt: Callable[[Sequence[T], bool, Exception | None], None], verbs: ModuleType) -> None:
    """Make the attempts of a unit; raises what is not the items' fault."""
    steps = attempts(unit)
    error: Exception | None = None
    step = next(steps)
    while True:
        try:
            attempt(*step)
            error = None
        except Exception as caught:
            if not is_records_fault(verbs, caught):
                raise
            error = caught
        try:
            step = steps.send(error)
        except StopIteration:
            return


async def adrive(
    unit: Sequence[T],
    attempt: Callable[[Sequence[T], bool, Exception | None], Awaitable[None]],
    verbs: ModuleType,
) -> None:
    """`drive` on an event loop."""
    steps = attempts(unit)
    error: Exception | None = None
    step = next(steps)
    while True:
        try:
            await attempt(*step)
            error = None
        except Exception as caught:
            if not is_records_fault(verbs, getattr(caught, "orig", None) or caught):
                raise
            error = caught
        try:
            step = steps.send(error)
        except StopIteration:
            return


def ingest_records(database: Database, writer: bytes, records: Iterable[Item], scope: Scope = LOCAL) -> Counts:
    """Ingest records of one journal in the order of their sequence numbers; what the store has already is passed over."""
    counts = Counts()
    for unit in cut(records):
        counts.add(apply(database, scope, writer, unit))
    return counts


def apply(database: Database, scope: Scope, writer: bytes, unit: Sequence[Item]) -> Counts:
    """Apply one unit, whatever it takes. When it returns, every record of the unit is stored, counted or kept aside."""
    counts = Counts()

    def attempt(items: Sequence[Item], careful: bool, error: Exception | None) -> None:
        counts.add(_attempt(database, scope, writer, items, careful, error))

    drive(unit, attempt, database.verbs)
    return counts


def _attempt(
    database: Database, scope: Scope, writer: bytes, items: Sequence[Item], careful: bool, error: Exception | None
) -> Counts:
    tries = 0
    while True:
        tries += 1
        try:
            with database.cursor() as cursor:
                unit = Unit(database.verbs, scope, writer, items, careful=careful)
                return unit.apply(cursor) if error is None else unit.set_aside(cursor, error)
        except Exception as caught:
            # another process was in the way (a deadlock that PostgreSQL resolved, or it made the same run): the unit passes
            # when tried again
            if tries >= _TRIES or not database.verbs.is_transient(caught, new=careful):
                raise


def is_records_fault(verbs: ModuleType, error: Any) -> bool:
    """Whether the records are at fault and not the database."""
    return isinstance(error, _VALUE_ERRORS) or bool(verbs.is_data_error(error))
