"""What the server keeps beside the ledger. Safe before the new code is live: it only adds."""

import sqlalchemy as sa
from alembic import op

from riverrun.server.db.types import Id, Key

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _change_the_ledger()
    _create_tables()
    _fill_the_sums()


def _fill_the_sums() -> None:
    """Sum up the runs that are there, by minute and by hour (`server.runs.rollups`)."""
    start_of_flow_run = "coalesce(start_time, expected_start_time)"
    for kind, table, instant, flow in (
        (0, "flow_run", "expected_start_time", "0"),
        (0, "flow_run", "expected_start_time", "flow_key"),
        (2, "flow_run", start_of_flow_run, "0"),
        (2, "flow_run", start_of_flow_run, "flow_key"),
        (1, "task_run", "expected_start_time", "0"),
        (3, "task_run", "start_time", "0"),
    ):
        for level, minutes in ((0, 1), (4, 60)):
            late = "CASE WHEN start_time > expected_start_time THEN start_time - expected_start_time ELSE 0 END"
            # names of this file and numbers only
            op.execute(
                "INSERT INTO run_rollup (workspace_id, kind, flow_key, minute, state_type, state_name, n, run_time, lateness) "
                f"SELECT workspace_id, {kind + level}, {flow}, ({instant} / {minutes * 60_000_000}) * {minutes}, state_type, "
                f"coalesce(state_name, ''), count(*), sum(total_run_time), sum({late}) FROM {table} "
                f"WHERE state_type IS NOT NULL AND {instant} IS NOT NULL AND {flow} IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6"
            )


def _change_the_ledger() -> None:
    op.add_column("flow", sa.Column("updated", sa.BigInteger, nullable=True))
    op.add_column("flow", sa.Column("tags", sa.Text, nullable=True))
    op.add_column("flow", sa.Column("labels", sa.Text, nullable=True))
    op.add_column("flow_run", sa.Column("updated", sa.BigInteger, nullable=True))
    op.add_column("flow_run", sa.Column("work_queue_id", Id, nullable=True))
    op.add_column("flow_run", sa.Column("infrastructure_document_id", Id, nullable=True))
    op.add_column("flow_run", sa.Column("auto_scheduled", sa.SmallInteger, nullable=True))
    op.add_column("flow_run", sa.Column("idempotency_key", sa.Text, nullable=True))
    op.add_column("flow_run", sa.Column("deployment_version", sa.Text, nullable=True))
    op.add_column("flow_run", sa.Column("infrastructure_pid", sa.Text, nullable=True))
    op.add_column("flow_run", sa.Column("context", sa.Text, nullable=True))
    op.add_column("flow_run", sa.Column("labels", sa.Text, nullable=True))
    op.add_column("flow_run", sa.Column("created_by", sa.Text, nullable=True))
    op.add_column("flow_run", sa.Column("job_variables", sa.Text, nullable=True))
    op.add_column("journal_writer", sa.Column("lease_until", sa.BigInteger, nullable=True))
    op.add_column("journal_writer", sa.Column("process", sa.Text, nullable=True))
    op.add_column("task_run", sa.Column("labels", sa.Text, nullable=True))
    op.add_column("task_run", sa.Column("requested", sa.SmallInteger, nullable=True))
    op.create_index(
        "ix_flow_run_deployment",
        "flow_run",
        ["deployment_id", "expected_start_time"],
        sqlite_where=sa.text("deployment_id IS NOT NULL"),
        postgresql_where=sa.text("deployment_id IS NOT NULL"),
    )
    op.create_index(
        "ix_flow_run_due",
        "flow_run",
        ["deployment_id", "next_scheduled_start_time"],
        sqlite_where=sa.text("next_scheduled_start_time IS NOT NULL"),
        postgresql_where=sa.text("next_scheduled_start_time IS NOT NULL"),
    )
    op.create_index("ix_flow_run_ended", "flow_run", ["workspace_id", "end_time"])
    op.create_index(
        "ix_flow_run_live",
        "flow_run",
        ["writer_key"],
        sqlite_where=sa.text("writer_key IS NOT NULL AND end_time IS NULL"),
        postgresql_where=sa.text("writer_key IS NOT NULL AND end_time IS NULL"),
    )
    op.create_index(
        "ix_flow_run_parent",
        "flow_run",
        ["parent_task_run_id"],
        sqlite_where=sa.text("parent_task_run_id IS NOT NULL"),
        postgresql_where=sa.text("parent_task_run_id IS NOT NULL"),
    )
    op.create_index(
        "ix_flow_run_queue",
        "flow_run",
        ["work_queue_id", "state_type", "next_scheduled_start_time"],
        sqlite_where=sa.text("work_queue_id IS NOT NULL"),
        postgresql_where=sa.text("work_queue_id IS NOT NULL"),
    )
    op.create_index(
        "ix_flow_run_scheduled",
        "flow_run",
        ["workspace_id", "next_scheduled_start_time"],
        sqlite_where=sa.text("next_scheduled_start_time IS NOT NULL"),
        postgresql_where=sa.text("next_scheduled_start_time IS NOT NULL"),
    )
    op.create_index(
        "ix_flow_run_started", "flow_run", ["workspace_id", sa.text("coalesce(start_time, expected_start_time)")]
    )
    op.create_index(
        "ix_flow_run_state_name",
        "flow_run",
        ["workspace_id", "state_name", "expected_start_time"],
        sqlite_where=sa.text("state_name IS NOT NULL"),
        postgresql_where=sa.text("state_name IS NOT NULL"),
    )
    op.create_index(
        "uq_flow_run_idempotency",
        "flow_run",
        ["flow_key", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index("ix_flow_run_state_timestamp", "flow_run_state", ["timestamp"])
    op.create_index("ix_journal_writer_lease_until", "journal_writer", ["lease_until"])
    op.create_index(
        "ix_task_run_scheduled",
        "task_run",
        ["workspace_id", "next_scheduled_start_time"],
        sqlite_where=sa.text("next_scheduled_start_time IS NOT NULL"),
        postgresql_where=sa.text("next_scheduled_start_time IS NOT NULL"),
    )
    op.create_index("ix_task_run_started", "task_run", ["workspace_id", "start_time"])
    op.create_index(
        "ix_task_run_state_name",
        "task_run",
        ["workspace_id", "state_name", "expected_start_time"],
        sqlite_where=sa.text("state_name IS NOT NULL"),
        postgresql_where=sa.text("state_name IS NOT NULL"),
    )
    op.create_index(
        "ix_task_run_waiting",
        "task_run",
        ["workspace_id", "task_key", "next_scheduled_start_time"],
        sqlite_where=sa.text("requested = 1 AND next_scheduled_start_time IS NOT NULL"),
        postgresql_where=sa.text("requested = 1 AND next_scheduled_start_time IS NOT NULL"),
    )
    op.create_index(
        "uq_task_run_requested",
        "task_run",
        [sa.text("coalesce(flow_run_key, 0)"), "task_key", "dynamic_key"],
        unique=True,
        sqlite_where=sa.text("requested = 1"),
        postgresql_where=sa.text("requested = 1"),
    )
    op.create_index("ix_task_run_state_timestamp", "task_run_state", ["timestamp"])


def _create_tables() -> None:
    op.create_table(
        "artifact",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("artifact_key", sa.Text, nullable=True),
        sa.Column("type", sa.Text, nullable=True),
        sa.Column("flow_run_id", Id, nullable=True),
        sa.Column("task_run_id", Id, nullable=True),
        sa.Column("description", sa.Text, nullable=True),
        sa.Column("data", sa.Text, nullable=True),
        sa.Column("metadata", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_artifact"),
        sa.UniqueConstraint("id", name="uq_artifact_id"),
    )
    op.create_index("ix_artifact_flow_run_id", "artifact", ["flow_run_id"])
    op.create_index("ix_artifact_task_run_id", "artifact", ["task_run_id"])
    op.create_index(
        "ix_artifact_workspace_id_artifact_key_created", "artifact", ["workspace_id", "artifact_key", "created"]
    )
    op.create_table(
        "artifact_collection",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("artifact_key", sa.Text, nullable=False),
        sa.Column("latest_id", Id, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_artifact_collection"),
        sa.UniqueConstraint("id", name="uq_artifact_collection_id"),
        sa.UniqueConstraint("workspace_id", "artifact_key", name="uq_artifact_collection_workspace_id_artifact_key"),
    )
    op.create_table(
        "automation",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("enabled", sa.SmallInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("owner_resource", sa.Text, nullable=True),
        sa.Column("tags", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_automation"),
        sa.UniqueConstraint("id", name="uq_automation_id"),
    )
    op.create_index("ix_automation_owner_resource", "automation", ["owner_resource"])
    op.create_index("ix_automation_workspace_id_name", "automation", ["workspace_id", "name"])
    op.create_table(
        "block_document",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=True),
        sa.Column("block_type_id", Id, nullable=False),
        sa.Column("block_schema_id", Id, nullable=False),
        sa.Column("is_anonymous", sa.SmallInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_block_document"),
        sa.UniqueConstraint("block_type_id", "name", name="uq_block_document_block_type_id_name"),
        sa.UniqueConstraint("id", name="uq_block_document_id"),
    )
    op.create_index("ix_block_document_block_schema_id", "block_document", ["block_schema_id"])
    op.create_table(
        "block_schema",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("block_type_id", Id, nullable=False),
        sa.Column("checksum", sa.Text, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("capabilities", sa.Text, nullable=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_block_schema"),
        sa.UniqueConstraint("id", name="uq_block_schema_id"),
        sa.UniqueConstraint(
            "workspace_id", "checksum", "version", name="uq_block_schema_workspace_id_checksum_version"
        ),
    )
    op.create_index("ix_block_schema_block_type_id", "block_schema", ["block_type_id"])
    op.create_table(
        "block_type",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("logo_url", sa.Text, nullable=True),
        sa.Column("documentation_url", sa.Text, nullable=True),
        sa.Column("description", sa.Text, nullable=True),
        sa.Column("code_example", sa.Text, nullable=True),
        sa.Column("is_protected", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_block_type"),
        sa.UniqueConstraint("id", name="uq_block_type_id"),
        sa.UniqueConstraint("workspace_id", "slug", name="uq_block_type_workspace_id_slug"),
    )
    op.create_table(
        "cache_entry",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=True),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("state_id", Id, nullable=False),
        sa.Column("cache_key", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_cache_entry"),
    )
    op.create_index("ix_cache_entry_expires", "cache_entry", ["expires"])
    op.create_index("ix_cache_entry_workspace_id_cache_key", "cache_entry", ["workspace_id", "cache_key"])
    op.create_table(
        "concurrency_limit",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("limit", sa.Integer, nullable=False),
        sa.Column("active", sa.SmallInteger, nullable=False),
        sa.Column("slot_decay_per_second", sa.Float, nullable=False),
        sa.Column("occupied", sa.Float, nullable=False),
        sa.Column("occupied_at", sa.BigInteger, nullable=False),
        sa.Column("denied_slots", sa.Float, nullable=False),
        sa.Column("avg_slot_occupancy_seconds", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_concurrency_limit"),
        sa.UniqueConstraint("id", name="uq_concurrency_limit_id"),
        sa.UniqueConstraint("workspace_id", "name", name="uq_concurrency_limit_workspace_id_name"),
    )
    op.create_table(
        "configuration",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_configuration"),
        sa.UniqueConstraint("id", name="uq_configuration_id"),
        sa.UniqueConstraint("workspace_id", "name", name="uq_configuration_workspace_id_name"),
    )
    op.create_table(
        "deployment",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("flow_id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=True),
        sa.Column("description", sa.Text, nullable=True),
        sa.Column("paused", sa.SmallInteger, nullable=False),
        sa.Column("concurrency_limit_id", Id, nullable=True),
        sa.Column("collision_strategy", sa.Text, nullable=True),
        sa.Column("grace_period_seconds", sa.Integer, nullable=True),
        sa.Column("last_polled", sa.BigInteger, nullable=True),
        sa.Column("work_queue_id", Id, nullable=True),
        sa.Column("work_queue_name", sa.Text, nullable=True),
        sa.Column("storage_document_id", Id, nullable=True),
        sa.Column("infrastructure_document_id", Id, nullable=True),
        sa.Column("enforce_parameter_schema", sa.SmallInteger, nullable=False),
        sa.Column("path", sa.Text, nullable=True),
        sa.Column("entrypoint", sa.Text, nullable=True),
        sa.Column("tags", sa.Text, nullable=True),
        sa.Column("labels", sa.Text, nullable=True),
        sa.Column("parameters", sa.Text, nullable=True),
        sa.Column("parameter_schema", sa.Text, nullable=True),
        sa.Column("pull_steps", sa.Text, nullable=True),
        sa.Column("job_variables", sa.Text, nullable=True),
        sa.Column("created_by", sa.Text, nullable=True),
        sa.Column("updated_by", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_deployment"),
        sa.UniqueConstraint("flow_id", "name", name="uq_deployment_flow_id_name"),
        sa.UniqueConstraint("id", name="uq_deployment_id"),
    )
    op.create_index("ix_deployment_work_queue_id", "deployment", ["work_queue_id"])
    op.create_index("ix_deployment_workspace_id_name", "deployment", ["workspace_id", "name"])
    op.create_table(
        "deployment_schedule",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("deployment_id", Id, nullable=False),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("active", sa.SmallInteger, nullable=False),
        sa.Column("max_scheduled_runs", sa.Integer, nullable=True),
        sa.Column("parameters", sa.Text, nullable=True),
        sa.Column("slug", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_deployment_schedule"),
        sa.UniqueConstraint("deployment_id", "slug", name="uq_deployment_schedule_deployment_id_slug"),
        sa.UniqueConstraint("id", name="uq_deployment_schedule_id"),
    )
    op.create_index("ix_deployment_schedule_deployment_id", "deployment_schedule", ["deployment_id"])
    op.create_table(
        "deployment_tag",
        sa.Column("workspace_id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("tag", sa.Text, nullable=False),
        sa.Column("deployment_id", Id, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "tag", "deployment_id", name="pk_deployment_tag"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "event",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("occurred", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_event"),
        sa.UniqueConstraint("id", name="uq_event_id"),
    )
    op.create_index("ix_event_workspace_id_event_occurred", "event", ["workspace_id", "event", "occurred"])
    op.create_index("ix_event_workspace_id_occurred", "event", ["workspace_id", "occurred"])
    op.create_index("ix_event_workspace_id_resource_id_occurred", "event", ["workspace_id", "resource_id", "occurred"])
    op.create_table(
        "flow_run_input",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("flow_run_id", Id, nullable=False),
        sa.Column("input_key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("sender", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_flow_run_input"),
        sa.UniqueConstraint("flow_run_id", "input_key", name="uq_flow_run_input_flow_run_id_input_key"),
        sa.UniqueConstraint("id", name="uq_flow_run_input_id"),
    )
    op.create_table(
        "loop",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("epoch", Key, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("last_ok", sa.BigInteger, nullable=True),
        sa.Column("failures", Key, nullable=False),
        sa.Column("error", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_loop"),
    )
    op.create_table(
        "outbox",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("xid", Key, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_outbox"),
    )
    op.create_index("ix_outbox_created", "outbox", ["created"])
    op.create_index("ix_outbox_xid_key", "outbox", ["xid", "key"], sqlite_where=sa.text("xid > 0"))
    op.create_table(
        "run_fence",
        sa.Column("key", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("run_key", Key, nullable=False),
        sa.Column("noticed", sa.BigInteger, nullable=False),
        sa.Column("writer_key", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_run_fence"),
        sa.UniqueConstraint("writer_key", "run_key", name="uq_run_fence_writer_key_run_key"),
    )
    op.create_index("ix_run_fence_noticed", "run_fence", ["noticed"])
    op.create_table(
        "run_rollup",
        sa.Column("workspace_id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("flow_key", Key, autoincrement=False, nullable=False),
        sa.Column("minute", Key, autoincrement=False, nullable=False),
        sa.Column("state_type", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("state_name", sa.Text, nullable=False),
        sa.Column("n", Key, nullable=False),
        sa.Column("run_time", Key, nullable=False),
        sa.Column("lateness", Key, nullable=False),
        sa.PrimaryKeyConstraint(
            "workspace_id", "kind", "flow_key", "minute", "state_type", "state_name", name="pk_run_rollup"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_rollup_delta",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("state_type", sa.SmallInteger, nullable=False),
        sa.Column("minute", Key, nullable=False),
        sa.Column("flow_key", Key, nullable=False),
        sa.Column("n", Key, nullable=False),
        sa.Column("state_name", sa.Text, nullable=False),
        sa.Column("run_time", Key, nullable=False),
        sa.Column("lateness", Key, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_run_rollup_delta"),
    )
    op.create_table(
        "saved_search",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("filters", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_saved_search"),
        sa.UniqueConstraint("id", name="uq_saved_search_id"),
        sa.UniqueConstraint("workspace_id", "name", name="uq_saved_search_workspace_id_name"),
    )
    op.create_table(
        "slot",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("limit_key", Key, nullable=False),
        sa.Column("lease_id", Id, nullable=True),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("taken", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=True),
        sa.Column("holder_type", sa.Text, nullable=True),
        sa.Column("holder_id", Id, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_slot"),
    )
    op.create_index("ix_slot_holder_id", "slot", ["holder_id"])
    op.create_index("ix_slot_lease_id", "slot", ["lease_id"])
    op.create_index("ix_slot_lease_until", "slot", ["lease_until"])
    op.create_index("ix_slot_limit_key", "slot", ["limit_key"])
    op.create_table(
        "slot_waiter",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("limit_key", Key, nullable=False),
        sa.Column("holder_id", Id, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("requested", sa.BigInteger, nullable=False),
        sa.Column("ticket_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_slot_waiter"),
        sa.UniqueConstraint("limit_key", "holder_id", name="uq_slot_waiter_limit_key_holder_id"),
    )
    op.create_index("ix_slot_waiter_limit_key", "slot_waiter", ["limit_key"])
    op.create_table(
        "task_delivery",
        sa.Column("run_key", Key, autoincrement=False, nullable=False),
        sa.Column("state_seq", sa.Integer, nullable=False),
        sa.Column("subscription_key", sa.Integer, nullable=False),
        sa.Column("acknowledged", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_key", name="pk_task_delivery"),
    )
    op.create_index("ix_task_delivery_subscription_key", "task_delivery", ["subscription_key"])
    op.create_table(
        "task_subscription",
        sa.Column("key", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("task_keys", sa.Text, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("gone", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_task_subscription"),
    )
    op.create_index("ix_task_subscription_until", "task_subscription", ["until"])
    op.create_table(
        "variable",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("tags", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_variable"),
        sa.UniqueConstraint("id", name="uq_variable_id"),
        sa.UniqueConstraint("workspace_id", "name", name="uq_variable_workspace_id_name"),
    )
    op.create_table(
        "work_pool",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("base_job_template", sa.Text, nullable=True),
        sa.Column("is_paused", sa.SmallInteger, nullable=False),
        sa.Column("concurrency_limit", sa.Integer, nullable=True),
        sa.Column("default_queue_id", Id, nullable=True),
        sa.Column("storage_configuration", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_work_pool"),
        sa.UniqueConstraint("id", name="uq_work_pool_id"),
        sa.UniqueConstraint("workspace_id", "name", name="uq_work_pool_workspace_id_name"),
    )
    op.create_table(
        "work_queue",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("work_pool_id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=True),
        sa.Column("is_paused", sa.SmallInteger, nullable=False),
        sa.Column("concurrency_limit", sa.Integer, nullable=True),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("last_polled", sa.BigInteger, nullable=True),
        sa.Column("filter", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_work_queue"),
        sa.UniqueConstraint("id", name="uq_work_queue_id"),
        sa.UniqueConstraint("work_pool_id", "name", name="uq_work_queue_work_pool_id_name"),
    )
    op.create_table(
        "worker",
        sa.Column("key", Key, autoincrement=True, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("work_pool_id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("last_heartbeat", sa.BigInteger, nullable=False),
        sa.Column("heartbeat_interval_seconds", sa.Float, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_worker"),
        sa.UniqueConstraint("id", name="uq_worker_id"),
        sa.UniqueConstraint("work_pool_id", "name", name="uq_worker_work_pool_id_name"),
    )


def downgrade() -> None:
    op.drop_table("worker")
    op.drop_table("work_queue")
    op.drop_table("work_pool")
    op.drop_table("variable")
    op.drop_table("task_subscription")
    op.drop_table("task_delivery")
    op.drop_table("slot_waiter")
    op.drop_table("slot")
    op.drop_table("saved_search")
    op.drop_table("run_rollup_delta")
    op.drop_table("run_rollup")
    op.drop_table("run_fence")
    op.drop_table("outbox")
    op.drop_table("loop")
    op.drop_table("flow_run_input")
    op.drop_table("event")
    op.drop_table("deployment_tag")
    op.drop_table("deployment_schedule")
    op.drop_table("deployment")
    op.drop_table("configuration")
    op.drop_table("concurrency_limit")
    op.drop_table("cache_entry")
    op.drop_table("block_type")
    op.drop_table("block_schema")
    op.drop_table("block_document")
    op.drop_table("automation")
    op.drop_table("artifact_collection")
    op.drop_table("artifact")
    op.drop_index("ix_task_run_state_timestamp", table_name="task_run_state")
    op.drop_index("uq_task_run_requested", table_name="task_run")
    op.drop_index("ix_task_run_waiting", table_name="task_run")
    op.drop_index("ix_task_run_state_name", table_name="task_run")
    op.drop_index("ix_task_run_started", table_name="task_run")
    op.drop_index("ix_task_run_scheduled", table_name="task_run")
    op.drop_index("ix_journal_writer_lease_until", table_name="journal_writer")
    op.drop_index("ix_flow_run_state_timestamp", table_name="flow_run_state")
    op.drop_index("uq_flow_run_idempotency", table_name="flow_run")
    op.drop_index("ix_flow_run_state_name", table_name="flow_run")
    op.drop_index("ix_flow_run_started", table_name="flow_run")
    op.drop_index("ix_flow_run_scheduled", table_name="flow_run")
    op.drop_index("ix_flow_run_queue", table_name="flow_run")
    op.drop_index("ix_flow_run_parent", table_name="flow_run")
    op.drop_index("ix_flow_run_live", table_name="flow_run")
    op.drop_index("ix_flow_run_ended", table_name="flow_run")
    op.drop_index("ix_flow_run_due", table_name="flow_run")
    op.drop_index("ix_flow_run_deployment", table_name="flow_run")
    op.drop_column("flow", "updated")
    op.drop_column("flow", "tags")
    op.drop_column("flow", "labels")
    op.drop_column("flow_run", "updated")
    op.drop_column("flow_run", "work_queue_id")
    op.drop_column("flow_run", "infrastructure_document_id")
    op.drop_column("flow_run", "auto_scheduled")
    op.drop_column("flow_run", "idempotency_key")
    op.drop_column("flow_run", "deployment_version")
    op.drop_column("flow_run", "infrastructure_pid")
    op.drop_column("flow_run", "context")
    op.drop_column("flow_run", "labels")
    op.drop_column("flow_run", "created_by")
    op.drop_column("flow_run", "job_variables")
    op.drop_column("journal_writer", "lease_until")
    op.drop_column("journal_writer", "process")
    op.drop_column("task_run", "labels")
    op.drop_column("task_run", "requested")
