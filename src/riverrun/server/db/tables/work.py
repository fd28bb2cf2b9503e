"""Deployments with their schedules, work pools, queues and workers."""

from sqlalchemy import Column, Float, Index, Integer, SmallInteger, Table, Text, UniqueConstraint

from riverrun.server.db.tables.metadata import metadata
from riverrun.server.db.tables.objects import thing
from riverrun.server.db.types import Id, Micros

__all__ = ["deployment", "deployment_schedule", "deployment_tag", "work_pool", "work_queue", "worker"]

deployment = thing(
    "deployment",
    Column("flow_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text),
    Column("description", Text),
    Column("paused", SmallInteger, nullable=False),
    Column("concurrency_limit_id", Id),
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
    UniqueConstraint("deployment_id", "slug"),
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
    UniqueConstraint("work_pool_id", "name"),
)
