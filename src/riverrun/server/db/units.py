"""Units of work: what a request or a service does with the database in one go.

A `Reader` reads; a `Transaction` writes, and is committed whole or not at all. Units are functions of one of the two. They may
run again after a failed commit, so they change nothing but the database: what is to happen afterwards they say to the
transaction (`announce`, `wake`), which does it when the commit has passed.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from riverrun.server.db.scope import LOCAL, Scope
from riverrun.server.db.tables import outbox
from riverrun.server.db.watch import SECONDS, TookTooLongError, Watchdog, was_ended

_encode = msgspec.msgpack.Encoder().encode
#: by whether the store is SQLite, whose commits are in the order of keys; on the driver's cursor, as every change comes by here
_INSERT_OUTBOX = {
    True: f"INSERT INTO {outbox.name} (created, workspace_id, body, xid) VALUES (?, ?, ?, 0)",
    False: (
        f"INSERT INTO {outbox.name} (created, workspace_id, body, xid)"
        " VALUES (%s, %s, %s, pg_current_xact_id()::text::bigint)"
    ),
}
#: topic that wakes who reads the outbox
OUTBOX = "outbox"


class Caller(Struct, frozen=True, kw_only=True):
    """On whose behalf a unit runs. `permissions` None means all of them: the local principal while there is no sign-in."""

    scope: Scope = LOCAL
    name: str = "local"
    permissions: frozenset[str] | None = None
    #: of the client's library, for rules that depend on what it can do; None when it did not say
    client_version: tuple[int, ...] | None = None
    request_id: UUID | None = None

    def may(self, permission: str) -> bool:
        return self.permissions is None or permission in self.permissions


class Shared(Struct, frozen=True, kw_only=True):
    """What every unit of a store has at hand."""

    #: the dialect's verbs (`db.sqlite` or `db.postgres`)
    verbs: ModuleType
    #: seals and opens secrets (`server.vault`)
    vault: Any = None


#: services act for the installation itself
SYSTEM = Caller(name="system")


class Reader:
    """Reads the store for a caller. `now` is the unit's instant in microseconds since the epoch."""

    def __init__(self, connection: sa.Connection, shared: Shared, caller: Caller, now: int) -> None:
        self.connection = connection
        self.shared = shared
        self.verbs = shared.verbs
        self.vault = shared.vault
        self.caller = caller
        self.scope = caller.scope
        self.workspace = caller.scope.workspace_id
        self.now = now
        #: ends statements of requests on SQLite
        self.watchdog: Watchdog | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.connection.dialect.name == "sqlite"

    def rows(self, query: sa.Executable, values: Any = None) -> list[Any]:
        """The rows of a query."""
        found: list[Any] = self._watched(lambda: list(self.connection.execute(query, values).all()))
        return found

    def row(self, query: sa.Executable, values: Any = None) -> Any:
        """The first row of a query, or None."""
        return self._watched(lambda: self.connection.execute(query, values).first())

    def scalar(self, query: sa.Executable, values: Any = None) -> Any:
        """The first value of the first row, or None."""
        return self._watched(lambda: self.connection.execute(query, values).scalar())

    def _watched(self, ask: Callable[[], Any]) -> Any:
        """What is asked for; raises TookTooLongError."""
        try:
            if self.watchdog is None:
                return ask()
            with self.watchdog.watching(self.connection.connection.dbapi_connection):
                return ask()
        except sa.exc.DBAPIError as error:
            if was_ended(error):
                raise TookTooLongError(
                    f"The database was asked for something that takes it longer than {SECONDS:g} seconds, and stopped."
                ) from None
            raise


class Transaction(Reader):
    """Reads and writes the store for a caller, in one transaction."""

    def __init__(self, connection: sa.Connection, cursor: Any, shared: Shared, caller: Caller, now: int) -> None:
        super().__init__(connection, shared, caller, now)
        #: the driver's own cursor in the same transaction, for the verbs of the dialect
        self.cursor = cursor
        self.topics: set[str] = set()
        self._announced: list[Any] = []

    def execute(self, statement: sa.Executable, values: Any = None) -> sa.CursorResult[Any]:
        return self.connection.execute(statement, values)

    def announce(self, *entry: Any) -> None:
        """Put an entry into the outbox (`server.outbox` says which kinds there are)."""
        self._announced.append(entry)

    def wake(self, *topics: str) -> None:
        """Wake who waits for one of the topics (`server.hub`), after the commit."""
        self.topics.update(topics)

    def finish(self) -> None:
        """Write the outbox's row; called by whoever commits."""
        if self._announced:
            body = _encode(self._announced)
            self.cursor.execute(_INSERT_OUTBOX[self.is_sqlite], (self.now, self.workspace, body))
            self.topics.add(OUTBOX)
