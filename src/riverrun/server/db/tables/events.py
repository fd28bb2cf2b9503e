"""Events and the outbox.

The events of runs are views of state rows (SERVER-NOTES 7): only what the ledger lacks is stored. The outbox names, in the order
of commits, what happened; streams and automations build the documents from it.
"""

from typing import Any

from sqlalchemy import Column, Index, LargeBinary, SmallInteger, Table, Text, UniqueConstraint, text

from riverrun.server.db.tables.metadata import metadata
from riverrun.server.db.types import Id, Key, Micros

event = Table(
    "event",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("occurred", Micros, nullable=False),
    Column("received", Micros, nullable=False),
    Column("workspace_id", SmallInteger, nullable=False),
    Column("id", Id, nullable=False),
    Column("event", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    #: the whole event as it travels, JSON
    Column("document", Text, nullable=False),
    UniqueConstraint("id"),
    Index(None, "workspace_id", "occurred"),
    Index(None, "workspace_id", "event", "occurred"),
    Index(None, "workspace_id", "resource_id", "occurred"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("created", Micros, nullable=False, index=True),
    Column("workspace_id", SmallInteger, nullable=False),
    #: msgpack of the list of things that one transaction did (`server.outbox`)
    Column("body", LargeBinary, nullable=False),
    #: PostgreSQL: the number of the transaction, for reading in the order of commits; SQLite: 0, keys have that order
    Column("xid", Key, nullable=False),
    #: of no use to SQLite, whose numbers are all 0: there it stays empty
    Index(None, "xid", "key", sqlite_where=text("xid > 0")),
)

#: results of tasks by cache key, for runs whose states are proposed to the server
cache_entry = Table(
    "cache_entry",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("created", Micros, nullable=False),
    Column("expires", Micros, index=True),
    Column("workspace_id", SmallInteger, nullable=False),
    Column("state_id", Id, nullable=False),
    #: the cache key, or a prefix and digest of a long one (`server.db.names.index_key`)
    Column("cache_key", Text, nullable=False),
    Index(None, "workspace_id", "cache_key"),
)

#: a loop that runs on one replica at a time, and how its passes went
loop = Table(
    "loop",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", Key, nullable=False),
    Column("lease_until", Micros, nullable=False),
    Column("last_ok", Micros),
    Column("failures", Key, nullable=False),
    Column("error", Text),
)


def _sums() -> list[Column[Any]]:
    return [
        #: of runs that have ended, in microseconds
        Column("run_time", Key, nullable=False),
        Column("lateness", Key, nullable=False),
    ]


#: how many runs of a kind are in a state, by minute and hour; kept in step with the ledger (`server.runs.rollups`)
run_rollup = Table(
    "run_rollup",
    metadata,
    Column("workspace_id", SmallInteger, primary_key=True, autoincrement=False),
    #: wire.journal.FLOW_RUN or TASK_RUN, plus `rollups.STARTED`, plus `rollups.HOURLY`
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    #: 0: of all flows
    Column("flow_key", Key, primary_key=True, autoincrement=False),
    #: the minute, or the first one of the hour
    Column("minute", Key, primary_key=True, autoincrement=False),
    Column("state_type", SmallInteger, primary_key=True, autoincrement=False),
    #: empty where it is the type's own
    Column("state_name", Text, primary_key=True),
    Column("n", Key, nullable=False),
    *_sums(),
    sqlite_with_rowid=False,
)

#: changes to the sums that are not added up yet (PostgreSQL)
run_rollup_delta = Table(
    "run_rollup_delta",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    *(Column(name, SmallInteger, nullable=False) for name in ("workspace_id", "kind", "state_type")),
    *(Column(name, Key, nullable=False) for name in ("minute", "flow_key", "n")),
    Column("state_name", Text, nullable=False),
    *_sums(),
)
