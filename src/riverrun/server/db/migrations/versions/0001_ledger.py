"""The ledger: workspaces, flows, runs, their states and tags, logs, journals.

The first revision; there is nothing to be safe for.
"""

import time
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op

from riverrun.server.db.types import Id, Key

revision = "0001"
down_revision = None

#: the same in every store, so that what names it can move between stores
DEFAULT_WORKSPACE_ID = UUID("01900000-0000-7000-8000-000000000001")


def _column(name: str, kind: Any, required: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=not required)


def _key(kind: Any = Key) -> sa.Column[Any]:
    return sa.Column("key", kind, primary_key=True, autoincrement=True)


def _times() -> list[sa.Column[Any]]:
    return [
        _column("created", sa.BigInteger, True),
        _column("expected_start_time", sa.BigInteger, True),
        _column("next_scheduled_start_time", sa.BigInteger),
        _column("start_time", sa.BigInteger),
        _column("end_time", sa.BigInteger),
        _column("total_run_time", sa.BigInteger, True),
        _column("state_timestamp", sa.BigInteger),
    ]


def upgrade() -> None:
    workspace = op.create_table(
        "workspace",
        sa.Column("key", sa.SmallInteger, primary_key=True, autoincrement=False),
        _column("id", Id, True),
        _column("name", sa.Text, True),
        _column("created", sa.BigInteger, True),
        sa.PrimaryKeyConstraint("key", name="pk_workspace"),
        sa.UniqueConstraint("id", name="uq_workspace_id"),
        sa.UniqueConstraint("name", name="uq_workspace_name"),
    )
    op.bulk_insert(
        workspace,
        [{"key": 1, "id": DEFAULT_WORKSPACE_ID, "name": "default", "created": time.time_ns() // 1000}],
    )
    op.create_table(
        "flow",
        _key(),
        _column("created", sa.BigInteger, True),
        _column("workspace_id", sa.SmallInteger, True),
        _column("id", Id, True),
        _column("name", sa.Text, True),
        _column("name_key", sa.Text, True),
        sa.PrimaryKeyConstraint("key", name="pk_flow"),
        sa.UniqueConstraint("workspace_id", "name_key", name="uq_flow_workspace_id_name_key"),
        sa.UniqueConstraint("id", name="uq_flow_id"),
    )
    _create_flow_run()
    _create_task_run()
    for run in ("flow_run", "task_run"):
        _create_states(run)
        _create_tags(run)
    _create_log()
    _create_journal()


def _create_flow_run() -> None:
    op.create_table(
        "flow_run",
        _key(),
        _column("flow_key", Key),
        *_times(),
        _column("state_seq", sa.Integer, True),
        _column("run_count", sa.Integer, True),
        _column("writer_key", sa.Integer),
        _column("workspace_id", sa.SmallInteger, True),
        _column("state_type", sa.SmallInteger),
        _column("placeholder", sa.SmallInteger, True),
        _column("resuming", sa.SmallInteger, True),
        _column("id", Id, True),
        _column("parent_task_run_id", Id),
        _column("deployment_id", Id),
        _column("name", sa.Text),
        _column("state_name", sa.Text),
        _column("flow_version", sa.Text),
        _column("tags", sa.Text),
        _column("policy", sa.Text),
        _column("parameters", sa.Text),
        sa.PrimaryKeyConstraint("key", name="pk_flow_run"),
        sa.UniqueConstraint("id", name="uq_flow_run_id"),
    )
    _create_indexes("flow_run", ["workspace_id", "expected_start_time"])
    _create_indexes("flow_run", ["workspace_id", "state_type", "expected_start_time"])
    _create_indexes("flow_run", ["flow_key", "expected_start_time"])
    op.create_index("ix_flow_run_name", "flow_run", ["workspace_id", sa.text("substr(name, 1, 100)")])


def _create_task_run() -> None:
    op.create_table(
        "task_run",
        _key(),
        _column("flow_run_key", Key),
        *_times(),
        _column("cache_expiration", sa.BigInteger),
        _column("state_seq", sa.Integer, True),
        _column("run_count", sa.Integer, True),
        _column("flow_run_run_count", sa.Integer, True),
        _column("workspace_id", sa.SmallInteger, True),
        _column("state_type", sa.SmallInteger),
        _column("placeholder", sa.SmallInteger, True),
        _column("resuming", sa.SmallInteger, True),
        _column("id", Id, True),
        _column("name", sa.Text),
        _column("task_key", sa.Text),
        _column("dynamic_key", sa.Text),
        _column("state_name", sa.Text),
        _column("task_version", sa.Text),
        _column("tags", sa.Text),
        _column("policy", sa.Text),
        _column("cache_key", sa.Text),
        _column("inputs", sa.LargeBinary),
        sa.PrimaryKeyConstraint("key", name="pk_task_run"),
        sa.UniqueConstraint("id", name="uq_task_run_id"),
    )
    _create_indexes("task_run", ["flow_run_key", "expected_start_time"])
    _create_indexes("task_run", ["workspace_id", "expected_start_time"])
    _create_indexes("task_run", ["workspace_id", "state_type", "expected_start_time"])


def _create_indexes(table: str, columns: list[str]) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def _create_states(run: str) -> None:
    op.create_table(
        f"{run}_state",
        _column("run_key", Key, True),
        _column("timestamp", sa.BigInteger, True),
        _column("shift", sa.BigInteger, True),
        _column("seq", sa.Integer, True),
        _column("writer_key", sa.Integer),
        _column("type", sa.SmallInteger, True),
        _column("id", Id, True),
        _column("name", sa.Text),
        _column("message", sa.Text),
        _column("details", sa.Text),
        _column("data", sa.Text),
        sa.PrimaryKeyConstraint("run_key", "seq", name=f"pk_{run}_state"),
        sa.UniqueConstraint("id", name=f"uq_{run}_state_id"),
        sqlite_with_rowid=False,
    )


def _create_tags(run: str) -> None:
    op.create_table(
        f"{run}_tag",
        _column("workspace_id", sa.SmallInteger, True),
        _column("tag", sa.Text, True),
        _column("run_key", Key, True),
        sa.PrimaryKeyConstraint("workspace_id", "tag", "run_key", name=f"pk_{run}_tag"),
        sqlite_with_rowid=False,
    )


def _create_log() -> None:
    op.create_table(
        "log",
        _key(),
        _column("timestamp", sa.BigInteger, True),
        _column("flow_run_key", Key),
        _column("task_run_key", Key),
        _column("level", sa.Integer, True),
        _column("workspace_id", sa.SmallInteger, True),
        _column("name", sa.Text, True),
        _column("message", sa.Text, True),
        sa.PrimaryKeyConstraint("key", name="pk_log"),
    )
    _create_indexes("log", ["flow_run_key", "timestamp"])
    _create_indexes("log", ["workspace_id", "timestamp"])
    op.create_index(
        "ix_log_task_run_key_timestamp",
        "log",
        ["task_run_key", "timestamp"],
        sqlite_where=sa.text("task_run_key IS NOT NULL"),
        postgresql_where=sa.text("task_run_key IS NOT NULL"),
    )


def _create_journal() -> None:
    op.create_table(
        "journal_writer",
        _key(sa.Integer()),
        _column("next_seq", sa.BigInteger, True),
        _column("first_seen", sa.BigInteger, True),
        _column("last_seen", sa.BigInteger, True),
        _column("workspace_id", sa.SmallInteger, True),
        _column("id", Id, True),
        sa.PrimaryKeyConstraint("key", name="pk_journal_writer"),
        sa.UniqueConstraint("id", name="uq_journal_writer_id"),
    )
    op.create_table(
        "journal_lost",
        _key(sa.Integer()),
        _column("first", sa.BigInteger, True),
        _column("last", sa.BigInteger, True),
        _column("noticed", sa.BigInteger, True),
        _column("writer_key", sa.Integer, True),
        _column("why", sa.Text, True),
        sa.PrimaryKeyConstraint("key", name="pk_journal_lost"),
    )
    op.create_table(
        "journal_aside",
        _key(sa.Integer()),
        _column("seq", sa.BigInteger, True),
        _column("noticed", sa.BigInteger, True),
        _column("writer_key", sa.Integer, True),
        _column("error", sa.Text, True),
        _column("payload", sa.LargeBinary, True),
        sa.PrimaryKeyConstraint("key", name="pk_journal_aside"),
    )
    _create_indexes("journal_lost", ["writer_key"])
    _create_indexes("journal_aside", ["writer_key"])


def downgrade() -> None:
    for table in (
        "journal_aside",
        "journal_lost",
        "journal_writer",
        "log",
        "task_run_tag",
        "task_run_state",
        "flow_run_tag",
        "flow_run_state",
        "task_run",
        "flow_run",
        "flow",
        "workspace",
    ):
        op.drop_table(table)
