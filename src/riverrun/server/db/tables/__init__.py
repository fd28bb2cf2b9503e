"""The schema's one truth, as SQLAlchemy Core tables. Queries, ingestion and migrations are held to it by tests.

Every row belongs to a workspace: most say so themselves, states and journal rows through what they hang on.
"""

from riverrun.server.db.tables.concurrency import concurrency_limit, slot, slot_waiter
from riverrun.server.db.tables.events import cache_entry, event, loop, outbox, run_rollup, run_rollup_delta
from riverrun.server.db.tables.metadata import DEFAULT_WORKSPACE, metadata, workspace
from riverrun.server.db.tables.objects import (
    artifact,
    artifact_collection,
    automation,
    block_document,
    block_schema,
    block_type,
    configuration,
    flow_run_input,
    saved_search,
    variable,
)
from riverrun.server.db.tables.runs import (
    NAME_PREFIX,
    flow,
    flow_run,
    flow_run_state,
    flow_run_tag,
    journal_aside,
    journal_lost,
    journal_writer,
    log,
    run_fence,
    task_run,
    task_run_state,
    task_run_tag,
)
from riverrun.server.db.tables.work import (
    deployment,
    deployment_schedule,
    deployment_tag,
    work_pool,
    work_queue,
    worker,
)

__all__ = [
    "DEFAULT_WORKSPACE",
    "NAME_PREFIX",
    "artifact",
    "artifact_collection",
    "automation",
    "block_document",
    "block_schema",
    "block_type",
    "cache_entry",
    "concurrency_limit",
    "configuration",
    "deployment",
    "deployment_schedule",
    "deployment_tag",
    "event",
    "flow",
    "flow_run",
    "flow_run_input",
    "flow_run_state",
    "flow_run_tag",
    "journal_aside",
    "journal_lost",
    "journal_writer",
    "log",
    "loop",
    "metadata",
    "outbox",
    "run_fence",
    "run_rollup",
    "run_rollup_delta",
    "saved_search",
    "slot",
    "slot_waiter",
    "task_run",
    "task_run_state",
    "task_run_tag",
    "variable",
    "work_pool",
    "work_queue",
    "worker",
    "workspace",
]
