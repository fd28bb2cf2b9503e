"""The ledger: flows, runs, their states and tags, logs, journals.

Children refer to their run by its integer key, which only the writer allocates. There are no foreign keys on what grows with
task runs: they would cost a look-up per row, and a record may arrive before the run it speaks of.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
)

from riverrun.server.db.tables.metadata import metadata
from riverrun.server.db.types import Id, Key, Micros

#: how much of a run's name its index holds; PostgreSQL refuses index rows of more than 2,704 bytes
NAME_PREFIX = 100

flow = Table(
    "flow",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("created", Micros, nullable=False),
    Column("workspace_id", SmallInteger, nullable=False),
    Column("id", Id, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    #: the name, or a prefix and digest of a long one (`server.db.names.index_key`)
    Column("name_key", Text, nullable=False),
    #: None: as created
    Column("updated", Micros),
    Column("tags", Text),
    Column("labels", Text),
    UniqueConstraint("workspace_id", "name_key"),
)

flow_run = Table(
    "flow_run",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("flow_key", Key),
    Column("created", Micros, nullable=False),
    #: of the first state; until there is one, `created`, so that every run has its place in the order
    Column("expected_start_time", Micros, nullable=False),
    Column("next_scheduled_start_time", Micros),
    Column("start_time", Micros),
    Column("end_time", Micros),
    Column("total_run_time", Micros, nullable=False),
    Column("state_timestamp", Micros),
    Column("state_seq", Integer, nullable=False),
    Column("run_count", Integer, nullable=False),
    #: the journal that told of the run's creation; lost stretches of it are shown at the run
    Column("writer_key", Integer),
    Column("workspace_id", SmallInteger, nullable=False),
    Column("state_type", SmallInteger),
    #: 1 while the record of its creation has not arrived
    Column("placeholder", SmallInteger, nullable=False),
    Column("resuming", SmallInteger, nullable=False),
    Column("id", Id, nullable=False, unique=True),
    Column("parent_task_run_id", Id),
    Column("deployment_id", Id),
    Column("name", Text),
    Column("state_name", Text),
    Column("flow_version", Text),
    Column("tags", Text),
    Column("policy", Text),
    Column("parameters", Text),
    #: None: at its last state
    Column("updated", Micros),
    Column("work_queue_id", Id),
    Column("infrastructure_document_id", Id),
    Column("auto_scheduled", SmallInteger),
    Column("idempotency_key", Text),
    Column("deployment_version", Text),
    Column("infrastructure_pid", Text),
    Column("context", Text),
    Column("labels", Text),
    Column("created_by", Text),
    Column("job_variables", Text),
    #: the `deployment_version.number` that the run was made of
    Column("deployment_version_number", Integer),
    Index(None, "workspace_id", "expected_start_time"),
    Index(None, "workspace_id", "state_type", "expected_start_time"),
    Index(None, "flow_key", "expected_start_time"),
)


def _partial(name: str, *columns: Any, where: Any, unique: bool = False) -> None:
    """An index of the rows that the condition holds for."""
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


_partial(
    "uq_flow_run_idempotency",
    flow_run.c.flow_key,
    flow_run.c.idempotency_key,
    where=flow_run.c.idempotency_key.is_not(None),
    unique=True,
)
_partial(
    "ix_flow_run_deployment",
    flow_run.c.deployment_id,
    flow_run.c.expected_start_time,
    where=flow_run.c.deployment_id.is_not(None),
)
#: what a work queue has to hand out, and who holds its slots
_partial(
    "ix_flow_run_queue",
    flow_run.c.work_queue_id,
    flow_run.c.state_type,
    flow_run.c.next_scheduled_start_time,
    flow_run.c.key,
    where=flow_run.c.work_queue_id.is_not(None),
)
#: what a deployment has to hand out
_partial(
    "ix_flow_run_due",
    flow_run.c.deployment_id,
    flow_run.c.next_scheduled_start_time,
    flow_run.c.key,
    where=flow_run.c.next_scheduled_start_time.is_not(None),
)
#: who waits for a slot of a deployment, by who came first
_partial(
    "ix_flow_run_awaiting_slot",
    flow_run.c.deployment_id,
    flow_run.c.expected_start_time,
    flow_run.c.key,
    where=flow_run.c.state_name == "AwaitingConcurrencySlot",
)
_partial("ix_flow_run_parent", flow_run.c.parent_task_run_id, where=flow_run.c.parent_task_run_id.is_not(None))
_partial(
    "ix_flow_run_scheduled",
    flow_run.c.workspace_id,
    flow_run.c.next_scheduled_start_time,
    where=flow_run.c.next_scheduled_start_time.is_not(None),
)
#: what may become late
_partial(
    "ix_flow_run_on_time",
    flow_run.c.next_scheduled_start_time,
    where=sa.and_(flow_run.c.next_scheduled_start_time.is_not(None), flow_run.c.state_name.is_(None)),
)
#: the unfinished runs of a process, for its life signs
_partial(
    "ix_flow_run_live",
    flow_run.c.writer_key,
    where=sa.and_(flow_run.c.writer_key.is_not(None), flow_run.c.end_time.is_(None)),
)
Index(
    "ix_flow_run_started",
    flow_run.c.workspace_id,
    func.coalesce(flow_run.c.start_time, flow_run.c.expected_start_time),
)
Index("ix_flow_run_ended", flow_run.c.workspace_id, flow_run.c.end_time)
_partial(
    "ix_flow_run_state_name",
    flow_run.c.workspace_id,
    flow_run.c.state_name,
    flow_run.c.expected_start_time,
    where=flow_run.c.state_name.is_not(None),
)
Index("ix_flow_run_name", flow_run.c.workspace_id, func.substr(flow_run.c.name, 1, NAME_PREFIX))

task_run = Table(
    "task_run",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("flow_run_key", Key),
    Column("created", Micros, nullable=False),
    Column("expected_start_time", Micros, nullable=False),
    Column("next_scheduled_start_time", Micros),
    Column("start_time", Micros),
    Column("end_time", Micros),
    Column("total_run_time", Micros, nullable=False),
    Column("state_timestamp", Micros),
    Column("cache_expiration", Micros),
    Column("state_seq", Integer, nullable=False),
    Column("run_count", Integer, nullable=False),
    Column("flow_run_run_count", Integer, nullable=False),
    Column("workspace_id", SmallInteger, nullable=False),
    Column("state_type", SmallInteger),
    Column("placeholder", SmallInteger, nullable=False),
    Column("resuming", SmallInteger, nullable=False),
    Column("id", Id, nullable=False, unique=True),
    Column("name", Text),
    Column("task_key", Text),
    Column("dynamic_key", Text),
    Column("state_name", Text),
    Column("task_version", Text),
    Column("tags", Text),
    Column("policy", Text),
    Column("cache_key", Text),
    #: msgpack of {parameter: [(input_type, 16-byte id or None, name or type or None)]}
    Column("inputs", LargeBinary),
    Column("labels", Text),
    #: 1 for runs made by a request: subflows' task runs and background tasks
    Column("requested", SmallInteger),
    Index(None, "flow_run_key", "expected_start_time"),
    Index(None, "workspace_id", "expected_start_time"),
    Index(None, "workspace_id", "state_type", "expected_start_time"),
)

#: the natural key of runs made by a request; events may tell of the same run under another id
_partial(
    "uq_task_run_requested",
    func.coalesce(task_run.c.flow_run_key, 0),
    task_run.c.task_key,
    task_run.c.dynamic_key,
    where=task_run.c.requested == 1,
    unique=True,
)
_partial(
    "ix_task_run_scheduled",
    task_run.c.workspace_id,
    task_run.c.next_scheduled_start_time,
    where=task_run.c.next_scheduled_start_time.is_not(None),
)
Index("ix_task_run_started", task_run.c.workspace_id, task_run.c.start_time)
_partial(
    "ix_task_run_state_name",
    task_run.c.workspace_id,
    task_run.c.state_name,
    task_run.c.expected_start_time,
    where=task_run.c.state_name.is_not(None),
)
#: background tasks that wait for a worker
_partial(
    "ix_task_run_waiting",
    task_run.c.workspace_id,
    task_run.c.task_key,
    task_run.c.next_scheduled_start_time,
    where=sa.and_(task_run.c.requested == 1, task_run.c.next_scheduled_start_time.is_not(None)),
)


def _states_of(run: str) -> Table:
    """The states of one kind of run, clustered by run on SQLite; `seq` counts from 1 in the order of entering."""
    return Table(
        f"{run}_state",
        metadata,
        Column("run_key", Key, nullable=False),
        Column("timestamp", Micros, nullable=False),
        #: what was added to the record's own timestamp to keep the states of the run apart; almost always 0
        Column("shift", Micros, nullable=False),
        Column("seq", Integer, nullable=False),
        Column("writer_key", Integer),
        Column("type", SmallInteger, nullable=False),
        Column("id", Id, nullable=False, unique=True),
        Column("name", Text),
        Column("message", Text),
        Column("details", Text),
        Column("data", Text),
        PrimaryKeyConstraint("run_key", "seq"),
        #: states are events, and those are read in the order of time
        Index(None, "timestamp"),
        sqlite_with_rowid=False,
    )


flow_run_state = _states_of("flow_run")
task_run_state = _states_of("task_run")


def _tags_of(run: str) -> Table:
    """Which runs have a tag. The run's row holds the tags too (for reading); this table answers filters."""
    return Table(
        f"{run}_tag",
        metadata,
        Column("workspace_id", SmallInteger, nullable=False),
        Column("tag", Text, nullable=False),
        Column("run_key", Key, nullable=False),
        PrimaryKeyConstraint("workspace_id", "tag", "run_key"),
        sqlite_with_rowid=False,
    )


flow_run_tag = _tags_of("flow_run")
task_run_tag = _tags_of("task_run")

log = Table(
    "log",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("timestamp", Micros, nullable=False),
    Column("flow_run_key", Key),
    Column("task_run_key", Key),
    Column("level", Integer, nullable=False),
    Column("workspace_id", SmallInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index(None, "flow_run_key", "timestamp"),
    Index(None, "workspace_id", "timestamp"),
)
Index(
    "ix_log_task_run_key_timestamp",
    log.c.task_run_key,
    log.c.timestamp,
    sqlite_where=log.c.task_run_key.is_not(None),
    postgresql_where=log.c.task_run_key.is_not(None),
)

journal_writer = Table(
    "journal_writer",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=True),
    #: the first sequence number that has not been ingested
    Column("next_seq", BigInteger, nullable=False),
    Column("first_seen", Micros, nullable=False),
    Column("last_seen", Micros, nullable=False),
    Column("workspace_id", SmallInteger, nullable=False),
    Column("id", Id, nullable=False, unique=True),
    #: until when the process counts as alive; None: it has ended, or has never been connected
    Column("lease_until", Micros, index=True),
    #: JSON of what it says of itself: pid, host
    Column("process", Text),
)

journal_lost = Table(
    "journal_lost",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=True),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("noticed", Micros, nullable=False),
    Column("writer_key", Integer, nullable=False, index=True),
    Column("why", Text, nullable=False),
)

journal_aside = Table(
    "journal_aside",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=True),
    Column("seq", BigInteger, nullable=False),
    Column("noticed", Micros, nullable=False),
    Column("writer_key", Integer, nullable=False, index=True),
    Column("error", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

#: flow runs that somebody else has claimed: what the old writer tells of their states does not count any more
run_fence = Table(
    "run_fence",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=True),
    Column("run_key", Key, nullable=False),
    Column("noticed", Micros, nullable=False, index=True),
    #: the journal that is shut out
    Column("writer_key", Integer, nullable=False),
    UniqueConstraint("writer_key", "run_key"),
)

#: sockets that take background tasks; one that is silent for long has gone
task_subscription = Table(
    "task_subscription",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=True),
    Column("workspace_id", SmallInteger, nullable=False),
    #: what the worker calls itself
    Column("client_id", Text, nullable=False),
    #: JSON
    Column("task_keys", Text, nullable=False),
    Column("seen", Micros, nullable=False),
    Column("until", Micros, nullable=False, index=True),
    #: 1 when the socket is closed; what it had acknowledged is still its own until `until`
    Column("gone", SmallInteger, nullable=False),
)

#: which task run was handed to whom; it counts while the run is in that state and the subscription lives
task_delivery = Table(
    "task_delivery",
    metadata,
    Column("run_key", Key, primary_key=True, autoincrement=False),
    Column("state_seq", Integer, nullable=False),
    Column("subscription_key", Integer, nullable=False, index=True),
    Column("acknowledged", SmallInteger, nullable=False),
)
