"""Records into units, units into transactions, and what to do when one fails.

A failing unit is tried again carefully, then in halves, so that the one record that cannot be stored is found and kept aside
while all others pass. Errors of the database itself (full disk, no connection) are not the records' fault and are raised.
"""

from collections.abc import Iterable, Iterator, Sequence

from riverrun.server.db.engine import Database
from riverrun.server.db.scope import LOCAL, Scope
from riverrun.server.ingest.unit import Counts, Item, Unit

#: about 500 task runs with three states each
UNIT_RECORDS = 2000
UNIT_BYTES = 4 * 1024 * 1024
_TRIES = 5
#: what Python and the codecs raise for a value that has no place in a row
_VALUE_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)


def cut(records: Iterable[Item]) -> Iterator[list[Item]]:
    """The records in units of bounded number and size."""
    unit: list[Item] = []
    size = 0
    for item in records:
        unit.append(item)
        size += len(item[1])
        if len(unit) >= UNIT_RECORDS or size >= UNIT_BYTES:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit


def ingest_records(database: Database, writer: bytes, records: Iterable[Item], scope: Scope = LOCAL) -> Counts:
    """Ingest records of one journal in the order of their sequence numbers; what the store has already is passed over."""
    counts = Counts()
    for unit in cut(records):
        counts.add(apply(database, scope, writer, unit))
    return counts


def apply(database: Database, scope: Scope, writer: bytes, unit: Sequence[Item]) -> Counts:
    """Apply one unit, whatever it takes. When it returns, every record of the unit is stored, counted or kept aside."""
    try:
        return _attempt(database, scope, writer, unit, careful=False)
    except Exception as error:
        if not _is_records_fault(database, error):
            raise
    try:
        return _attempt(database, scope, writer, unit, careful=True)
    except Exception as error:
        if not _is_records_fault(database, error):
            raise
        if len(unit) == 1:
            with database.cursor() as cursor:
                return Unit(database.verbs, scope, writer, unit, careful=True).set_aside(cursor, error)
    half = len(unit) // 2
    counts = apply(database, scope, writer, unit[:half])
    counts.add(apply(database, scope, writer, unit[half:]))
    return counts


def _attempt(database: Database, scope: Scope, writer: bytes, unit: Sequence[Item], *, careful: bool) -> Counts:
    tries = 0
    while True:
        tries += 1
        try:
            with database.cursor() as cursor:
                return Unit(database.verbs, scope, writer, unit, careful=careful).apply(cursor)
        except Exception as error:
            # another process was in the way (a deadlock that PostgreSQL resolved, or it made the same run): the unit passes
            # when tried again
            if tries >= _TRIES or not database.verbs.is_transient(error, new=careful):
                raise


def _is_records_fault(database: Database, error: Exception) -> bool:
    return isinstance(error, _VALUE_ERRORS) or bool(database.verbs.is_data_error(error))
