"""Dialect verbs for SQLite, on plain DBAPI cursors. `postgres.py` has the same names; one test suite runs through both.

One process writes at a time (`db.lock`) inside `BEGIN IMMEDIATE`, so nothing here locks rows.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Table

#: SQLite keeps NUL characters in texts
NUL_REPLACEMENT = "\0"

WRITER_CACHE_KIB = 16 * 1024
READER_CACHE_KIB = 2 * 1024
BUSY_TIMEOUT_MS = 30_000
JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024
#: pages of the write-ahead log after which a commit copies them into the database
CHECKPOINT_PAGES = 4000
#: values that one statement looks for
_AT_ONCE = 50


def connect_writer(path: Path) -> sqlite3.Connection:
    """A connection that writes; makes the file (0600) and its directory (0700) where they are missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return _connect(
        str(path),
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        # before the first table, else only a VACUUM could turn it on
        "auto_vacuum=INCREMENTAL",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"journal_size_limit={JOURNAL_SIZE_LIMIT}",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        f"cache_size=-{WRITER_CACHE_KIB}",
    )


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads. On a read-only directory without a write-ahead log the file is taken as unchanging."""
    address = f"file:{quote(str(path))}?mode=ro"
    # the last one reads, and so tells now whether the file can be used
    pragmas = (f"busy_timeout={BUSY_TIMEOUT_MS}", f"cache_size=-{READER_CACHE_KIB}", "query_only=ON", "schema_version")
    try:
        connection = _connect(address, *pragmas)
    except sqlite3.OperationalError:
        if not path.exists() or os.access(path.parent, os.W_OK) or path.with_name(path.name + "-wal").exists():
            raise
        connection = _connect(address + "&immutable=1", *pragmas)
    # a text damaged by hand is shown as far as it goes; the driver's own decoder would fail the page
    connection.text_factory = _decode
    return connection


def _connect(address: str, *pragmas: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address,
        uri=address.startswith("file:"),
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _decode(raw: bytes) -> str:
    return str(raw, "utf-8", "replace")


def driver_errors() -> tuple[type[Exception], ...]:
    """The root of what the driver raises."""
    return (sqlite3.Error,)


def is_data_error(error: BaseException) -> bool:
    """Whether the database refused a value or a duplicate: the rows are at fault, others may pass."""
    return isinstance(
        error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError | sqlite3.ProgrammingError
    )


def is_transient(error: BaseException, *, new: bool = False) -> bool:  # noqa: ARG001 - nobody else writes meanwhile
    """Whether the same transaction may pass when it is tried again."""
    return False


def id_in(raw: bytes) -> bytes:
    """The database's value for a 16-byte id; raises ValueError when it is not one."""
    if len(raw) != 16:
        raise ValueError(f"an id has 16 bytes, not {len(raw)}")
    return raw


def id_out(value: bytes) -> bytes:
    """The 16 bytes of an id read from the database."""
    return value


@lru_cache(64)
def _insert(table: Table, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


@lru_cache(64)
def _update(table: Table, columns: tuple[str, ...]) -> str:
    return f"UPDATE {table.name} SET {', '.join(f'{name}=?' for name in columns)} WHERE key=?"


@lru_cache(64)
def _select(table: Table, columns: tuple[str, ...], where: str, number: int) -> str:
    return f"SELECT {', '.join(columns)} FROM {table.name} WHERE {where} IN ({', '.join('?' * number)})"


def insert(cursor: Any, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows; a duplicate raises an `is_data_error`."""
    cursor.executemany(_insert(table, columns), rows)


def insert_missing(cursor: Any, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert the rows that collide with none that is there."""
    cursor.executemany(_insert(table, columns) + " ON CONFLICT DO NOTHING", rows)


@lru_cache(8)
def _accumulate(table: Table, columns: tuple[str, ...], keys: int) -> str:
    sums = ", ".join(f"{name}={name}+excluded.{name}" for name in columns[keys:])
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(columns[:keys])}) DO UPDATE SET {sums}"


def accumulate(
    cursor: Any,
    table: Table,
    delta: Table,  # noqa: ARG001 - nobody else writes, so that the sums can be changed at once
    columns: tuple[str, ...],
    keys: int,
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Add rows to sums: the first `keys` columns say where, the others are added to what is there."""
    cursor.executemany(_accumulate(table, columns, keys), rows)


def update(cursor: Any, table: Table, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Set `columns` of many rows; each tuple ends with the row's `key`."""
    cursor.executemany(_update(table, columns), rows)


def select(
    cursor: Any,
    table: Table,
    columns: tuple[str, ...],
    where: str,
    values: Iterable[Any],
    lock: bool = False,  # noqa: ARG001 - the transaction has locked the whole file
) -> list[tuple[Any, ...]]:
    """The rows whose column `where` is one of `values`."""
    # statements for one value and for many: the parser sees two texts
    values, rows = list(values), []
    execute = cursor.execute
    many = len(values) - len(values) % _AT_ONCE
    for first in range(0, many, _AT_ONCE):
        rows += execute(_select(table, columns, where, _AT_ONCE), values[first : first + _AT_ONCE]).fetchall()
    statement = _select(table, columns, where, 1)
    for value in values[many:]:
        rows += execute(statement, (value,)).fetchall()
    return rows


def delete(cursor: Any, table: Table, where: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Delete the rows whose columns `where` equal one of the tuples."""
    condition = " AND ".join(f"{name}=?" for name in where)
    cursor.executemany(f"DELETE FROM {table.name} WHERE {condition}", rows)


def new_keys(cursor: Any, table: Table, count: int) -> Sequence[int]:
    """`count` fresh keys for rows of `table`, rising. Nobody else allocates while this transaction writes."""
    (last,) = cursor.execute(f"SELECT coalesce(max(key), 0) FROM {table.name}").fetchone()
    return range(last + 1, last + 1 + count)
