"""Deployments with their schedules, work pools, queues and workers."""

from sqlalchemy import Column, Float, Index, Integer, SmallInteger, Table, Text, UniqueConstraint

from riverrun.server.db.tables.metadata import metadata
from riverrun.server.db.tables.objects import thing
from riverrun.server.db.types import Id, Key, Micros

__all__ = [
    "attempt",
    "deployment",
    "deployment_schedule",
    "deployment_tag",
    "deployment_version",
    "work_pool",
    "work_queue",
    "worker",
]

deployment = thing(
    "deployment",
    Column("flow_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text),
    Column("description", Text),
    Column("paused", SmallInteger, nullable=False),
    Column("concurrency_limit_id", Id, index=True),
    Column("collision_strategy", Text),
    Column("grace_period_seconds", Integer),
    Column("last_polled", Micros),
    Column("work_queue_id", Id, index=True),
    Column("work_queue_name", Text),
    Column("storage_document_id", Id),
    Column("infrastructure_document_id", Id),
    Column("enforce_parameter_schema", SmallInteger, nullable=False),
    Column("path", Text),
    Column("entrypoint", Text),
    Column("tags", Text),
    Column("labels", Text),
    Column("parameters", Text),
    Column("parameter_schema", Text),
    Column("pull_steps", Text),
    Column("job_variables", Text),
    Column("created_by", Text),
    Column("updated_by", Text),
    #: its present `deployment_version.number`; None before it was first kept
    Column("version_number", Integer),
    UniqueConstraint("flow_id", "name"),
    Index(None, "workspace_id", "name"),
)

deployment_schedule = thing(
    "deployment_schedule",
    Column("deployment_id", Id, nullable=False, index=True),
    #: the schedule as it travels, JSON
    Column("schedule", Text, nullable=False),
    Column("active", SmallInteger, nullable=False),
    Column("max_scheduled_runs", Integer),
    Column("parameters", Text),
    Column("slug", Text),
    #: what becomes of instants that were missed: "latest" or "none"; None means that all are made up for
    Column("catch_up", Text),
    #: seconds
    Column("jitter", Float),
    Column("max_late", Float),
    Column("start_time", Micros),
    Column("end_time", Micros),
    #: up to here, included, every instant has its run or was passed over on purpose; None: nothing was made yet
    Column("mark", Micros),
    #: when the scheduler moved the mark
    Column("filled", Micros),
    #: when it has to look again; 0: at once
    Column("next_fill", Micros, index=True),
    UniqueConstraint("deployment_id", "slug"),
)

#: what a deployment was and is: a row for each change of what its runs are made of
deployment_version = Table(
    "deployment_version",
    metadata,
    Column("deployment_id", Id, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("created", Micros, nullable=False),
    Column("workspace_id", SmallInteger, nullable=False),
    #: JSON of `wire.deployments.DeploymentCode`
    Column("document", Text, nullable=False),
)

deployment_tag = Table(
    "deployment_tag",
    metadata,
    Column("workspace_id", SmallInteger, primary_key=True, autoincrement=False),
    Column("tag", Text, primary_key=True),
    Column("deployment_id", Id, primary_key=True),
    sqlite_with_rowid=False,
)

work_pool = thing(
    "work_pool",
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("type", Text, nullable=False),
    Column("base_job_template", Text),
    Column("is_paused", SmallInteger, nullable=False),
    Column("concurrency_limit", Integer),
    Column("default_queue_id", Id),
    Column("storage_configuration", Text),
    UniqueConstraint("workspace_id", "name"),
)

work_queue = thing(
    "work_queue",
    Column("work_pool_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("is_paused", SmallInteger, nullable=False),
    Column("concurrency_limit", Integer),
    Column("priority", Integer, nullable=False),
    Column("last_polled", Micros),
    #: which runs a queue without a pool takes (deprecated by the peer): {"tags", "deployment_ids"}, JSON
    Column("filter", Text),
    UniqueConstraint("work_pool_id", "name"),
)

worker = thing(
    "worker",
    Column("work_pool_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("last_heartbeat", Micros, nullable=False),
    Column("heartbeat_interval_seconds", Float),
    #: the process that beats; None for workers that only send heartbeats
    Column("process_id", Id, index=True),
    UniqueConstraint("work_pool_id", "name"),
)

#: claimed flow runs: which worker process has them, and until when unless it gives a sign of life
attempt = Table(
    "attempt",
    metadata,
    Column("flow_run_key", Key, primary_key=True, autoincrement=False),
    #: rises with every claim of the run (it is the number of the Pending state); who begins the run must know it
    Column("fence", Integer, nullable=False),
    Column("worker_id", Id, nullable=False, index=True),
    #: what the worker calls itself
    Column("worker_name", Text, nullable=False),
    Column("claimed", Micros, nullable=False),
    Column("lease_until", Micros, nullable=False, index=True),
)
