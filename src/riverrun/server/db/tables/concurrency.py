"""Concurrency limits and who holds their slots.

A slot is a row, so that no counter can drift (docs/adr): used slots are the live rows of a limit. Rate limits keep a number
that decays instead.
"""

from sqlalchemy import Column, Float, Index, Integer, SmallInteger, Table, Text, UniqueConstraint

from riverrun.server.db.tables.metadata import metadata
from riverrun.server.db.tables.objects import thing
from riverrun.server.db.types import Id, Key, Micros

concurrency_limit = thing(
    "concurrency_limit",
    Column("name", Text, nullable=False),
    Column("limit", Integer, nullable=False),
    Column("active", SmallInteger, nullable=False),
    Column("slot_decay_per_second", Float, nullable=False),
    #: a rate limit's occupied slots at `occupied_at`
    Column("occupied", Float, nullable=False),
    Column("occupied_at", Micros, nullable=False),
    #: requests refused and not yet served, decaying; and how long a slot is held on average (seconds)
    Column("denied_slots", Float, nullable=False),
    Column("avg_slot_occupancy_seconds", Float, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)

slot = Table(
    "slot",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("limit_key", Key, nullable=False),
    #: the lease it belongs to; slots of one lease live and end together. None: taken without a lease
    Column("lease_id", Id),
    Column("slots", Integer, nullable=False),
    Column("taken", Micros, nullable=False),
    #: None: held until given back
    Column("lease_until", Micros),
    #: flow_run, task_run, deployment ...
    Column("holder_type", Text),
    Column("holder_id", Id),
    Index(None, "limit_key"),
    Index(None, "lease_id"),
    Index(None, "lease_until"),
    Index(None, "holder_id"),
)

#: who asked for slots and found none, in the order of asking; a ticket not renewed in time is void
slot_waiter = Table(
    "slot_waiter",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("limit_key", Key, nullable=False, index=True),
    Column("holder_id", Id, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("requested", Micros, nullable=False),
    Column("ticket_until", Micros, nullable=False),
    UniqueConstraint("limit_key", "holder_id"),
)
