"""A database: where it is, its connections for reading and writing, its dialect's verbs, its lock.

SQLite: WAL with synchronous=FULL, one writing process (`lock`), readers on connections of their own that cannot write.
PostgreSQL: psycopg 3. Nothing here knows tables; `schema.py` brings them up to date.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import QueuePool

from riverrun.base.errors import InputError
from riverrun.server.db import sqlite
from riverrun.server.db.lock import DatabaseLock
from riverrun.server.db.watch import SECONDS, Watchdog

_READERS = 4
#: connections of one process to PostgreSQL, for changes and for what requests read; threads wait for a free one
_POSTGRES_WRITERS = 12
_POSTGRES_READERS = 8
#: the threads that read for requests, less those
_MORE_READERS = 12
#: pages given back after a deletion: 16 MiB, some ten milliseconds of the writer
_VACUUM_PAGES = 4096
_BEGIN = "BEGIN IMMEDIATE"


class Database:
    """An open store. Make it with `open_database`; close it with `close()` or as a context manager."""

    def __init__(self, url: sa.URL, read_only: bool) -> None:
        self.url = url
        self.read_only = read_only
        self.path: Path | None = None
        self.lock: DatabaseLock | None = None
        self.verbs: ModuleType
        self.watchdog = Watchdog()
        if url.get_backend_name() == "sqlite":
            self.path = Path(url.database or "")
            self.lock = DatabaseLock(self.path)
            self.verbs = sqlite
            self._open_sqlite(self.path)
        else:
            from riverrun.server.db import postgres

            postgres.require()
            self.verbs = postgres
            self._open_postgres()

    def _open_sqlite(self, path: Path) -> None:
        self.engine = sa.create_engine(
            "sqlite://", creator=lambda: sqlite.connect_writer(path), poolclass=QueuePool, pool_size=1, max_overflow=0
        )
        # the driver is in autocommit mode; a transaction takes the write lock when it begins, so it cannot fail later
        event.listen(self.engine, "begin", _begin_immediate)
        self.readers = sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite.connect_reader(path),
            poolclass=QueuePool,
            pool_size=_READERS,
            max_overflow=_MORE_READERS,
        )

        self.limited = self.readers

    def _open_postgres(self) -> None:
        # no overflow: connections beyond the pool would be made and closed again with every burst
        self.engine = sa.create_engine(self.url, pool_size=_POSTGRES_WRITERS, max_overflow=0, pool_pre_ping=True)
        self.readers = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        limited = sa.create_engine(self.url, pool_size=_POSTGRES_READERS, max_overflow=0, pool_pre_ping=True)
        event.listen(limited, "connect", _limit)
        self.limited = limited.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What is raised when the store cannot be reached, is full or damaged: the driver's errors, plain or wrapped."""
        return (sa.exc.DatabaseError, *self.verbs.driver_errors())

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reading; every statement sees the store as it is when it starts."""
        with self.readers.connect() as connection:
            yield connection

    @contextmanager
    def read_briefly(self) -> Iterator[sa.Connection]:
        """The same for requests: a statement that takes too long is ended (on SQLite by the `watchdog` that watches it)."""
        with self.limited.connect() as connection:
            yield connection

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """One transaction on the driver's own cursor, for the verbs of the dialect."""
        with self.engine.begin() as connection:
            cursor = connection.connection.cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    def give_back_space(self) -> None:
        """Return some of the pages that deletions have freed to the file system."""
        if self.path is not None:
            raw = self.engine.raw_connection()
            try:
                # `execute` would stop after the first page: the statement gives a row without columns for each
                raw.cursor().executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
            finally:
                raw.close()

    def close(self) -> None:
        """Close every connection and free the lock if it is held."""
        self.watchdog.close()
        self.readers.dispose()
        self.limited.dispose()
        self.engine.dispose()
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _begin_immediate(connection: sa.Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    try:
        raw.execute(_BEGIN)  # SQLAlchemy's own way takes longer than the small transactions themselves
    except sqlite3.Error as error:
        raise sa.exc.DBAPIError.instance(_BEGIN, None, error, sqlite3.Error, dialect=connection.dialect) from error


def _limit(connection: Any, _: object) -> None:
    """Set up a connection that requests read on."""
    before, connection.autocommit = connection.autocommit, True
    # compiling a plan takes longer than what is read here
    connection.execute(f"SET statement_timeout = {int(SECONDS * 1000)}")
    connection.execute("SET jit = off")
    connection.autocommit = before


def parse_url(url: str) -> sa.URL:
    """The SQLAlchemy URL of a store; drivers that people carry over from elsewhere are replaced by ours.

    Raises InputError on anything but a SQLite file or PostgreSQL.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise InputError(
            f"{url!r} is not a database URL; use sqlite:////path/file.db or postgresql://host/name"
        ) from error
    backend = parsed.drivername.partition("+")[0]
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise InputError(f"{url!r} names no file; a store is read by several processes and must be a file")
        return parsed.set(drivername="sqlite", database=str(Path(parsed.database).expanduser()), query={})
    raise InputError(f"{url!r}: a store is SQLite or PostgreSQL, not {backend!r}")


def open_database(url: str | Path, *, read_only: bool = False) -> Database:
    """Open a store by URL or by the path of its SQLite file. Connects lazily; `schema.upgrade` makes the tables."""
    parsed = sa.URL.create("sqlite", database=str(url)) if isinstance(url, Path) else parse_url(url)
    return Database(parsed, read_only)
