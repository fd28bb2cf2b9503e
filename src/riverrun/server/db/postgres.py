"""Dialect verbs for PostgreSQL, on plain psycopg cursors. `sqlite.py` has the same names; one test suite runs through both.

Psycopg is imported by the engine that needs it, never with this module: it may not be installed.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Table, Text

from riverrun.server.db.types import Id

if TYPE_CHECKING:
    import psycopg

    Cursor = psycopg.Cursor[Any]

#: PostgreSQL's texts cannot hold NUL: a visible sign stands for it
NUL_REPLACEMENT = "\u2400"
#: rows up to which one statement is quicker than a copy
_FEW = 20


def require() -> None:
    """Import psycopg, or raise ImportError with what to install."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "A PostgreSQL store needs psycopg 3: install it with `pip install 'riverrun[postgres]'`."
        ) from error


def driver_errors() -> tuple[type[Exception], ...]:
    """The root of what the driver raises."""
    import psycopg

    return (psycopg.Error,)


def is_data_error(error: BaseException) -> bool:
    """Whether the database refused a value or a duplicate: the rows are at fault, others may pass."""
    import psycopg
    from psycopg import errors

    if isinstance(error, psycopg.DataError | psycopg.IntegrityError | errors.ProgramLimitExceeded):
        return True
    # psycopg's own refusal of a value; with an SQLSTATE it would be a missing table or right
    return isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None


def is_transient(error: BaseException, *, new: bool = False) -> bool:
    """Whether the same transaction may pass when it is tried again.

    `new` says that its rows were looked for and not there: then a duplicate was made by another process meanwhile.
    """
    from psycopg import errors

    if new and isinstance(error, errors.UniqueViolation):
        return True
    return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure | errors.LockNotAvailable)


def id_in(raw: bytes) -> UUID:
    """The database's value for a 16-byte id; raises ValueError when it is not one."""
    return UUID(bytes=raw)


def id_out(value: UUID) -> bytes:
    """The 16 bytes of an id read from the database."""
    return value.bytes


def insert(cursor: "Cursor", table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows; a duplicate raises an `is_data_error`."""
    with cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
        write = copy.write_row
        for row in rows:
            write(row)


def insert_missing(cursor: "Cursor", table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert the rows that collide with none that is there."""
    marks = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    cursor.executemany(statement, rows)


def accumulate(
    cursor: "Cursor",
    table: Table,  # noqa: ARG001 - its rows would be waited for
    delta: Table,
    columns: tuple[str, ...],
    keys: int,  # noqa: ARG001
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Add rows to sums: appended to `delta`, from where they are added up later."""
    if len(rows) > _FEW:
        insert(cursor, delta, columns, rows)
        return
    marks = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * len(rows))
    values = [value for row in rows for value in row]
    cursor.execute(f"INSERT INTO {delta.name} ({', '.join(columns)}) VALUES {marks}", values)


@lru_cache(64)
def _update(table: Table, columns: tuple[str, ...]) -> str:
    return f"UPDATE {table.name} SET {', '.join(f'{name}=%s' for name in columns)} WHERE key=%s"


def update(cursor: "Cursor", table: Table, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Set `columns` of many rows; each tuple ends with the row's `key`."""
    cursor.executemany(_update(table, columns), rows)


def select(
    cursor: "Cursor", table: Table, columns: tuple[str, ...], where: str, values: Iterable[Any], lock: bool = False
) -> list[tuple[Any, ...]]:
    """The rows whose column `where` is one of `values`; with `lock` nobody else may change them until the commit."""
    column = table.c[where].type
    kind = "uuid[]" if isinstance(column, Id) else "text[]" if isinstance(column, Text) else "bigint[]"
    statement = f"SELECT {', '.join(columns)} FROM {table.name} WHERE {where} = ANY(%s::{kind})"
    if lock:
        # in one order everywhere, so that two ingesting processes cannot wait for each other
        statement += f" ORDER BY {where} FOR UPDATE"
    return cursor.execute(statement, (list(values),)).fetchall()


def delete(cursor: "Cursor", table: Table, where: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Delete the rows whose columns `where` equal one of the tuples."""
    condition = " AND ".join(f"{name}=%s" for name in where)
    cursor.executemany(f"DELETE FROM {table.name} WHERE {condition}", rows)


def new_keys(cursor: "Cursor", table: Table, count: int) -> Sequence[int]:
    """`count` fresh keys for rows of `table`, rising."""
    rows = cursor.execute(f"SELECT nextval('{table.name}_key_seq') FROM generate_series(1, %s)", (count,)).fetchall()
    return [key for (key,) in rows]
