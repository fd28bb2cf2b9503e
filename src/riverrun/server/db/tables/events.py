"""Events and the outbox.

The events of runs are views of state rows (SERVER-NOTES 7): only what the ledger lacks is stored. The outbox names, in the order
of commits, what happened; streams and automations build the documents from it.
"""

from sqlalchemy import Column, Index, LargeBinary, SmallInteger, Table, Text, UniqueConstraint

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
    Index(None, "xid", "key"),
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

#: how many runs of a kind are in a state, by the minute of their expected start; kept in step with the ledger
run_rollup = Table(
    "run_rollup",
    metadata,
    Column("workspace_id", SmallInteger, primary_key=True, autoincrement=False),
    #: wire.journal.FLOW_RUN or TASK_RUN
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("minute", Key, primary_key=True, autoincrement=False),
    Column("state_type", SmallInteger, primary_key=True, autoincrement=False),
    Column("flow_key", Key, primary_key=True, autoincrement=False),
    Column("n", Key, nullable=False),
    sqlite_with_rowid=False,
)
