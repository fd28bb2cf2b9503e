"""Schedules that are kept by the server, versions of deployments, claims of workers.

Safe before the new code is live: it adds, and widens two indexes.
"""

import sqlalchemy as sa
from alembic import op

from riverrun.server.db.types import Id, Key

revision = "0003"
down_revision = "0002"

_PARTIAL = sa.text("next_scheduled_start_time IS NOT NULL AND state_name IS NULL")
#: columns that tables of older revisions get, in the order of adding
_ADDED = (
    ("flow_run", "deployment_version_number", sa.Integer),
    ("deployment", "version_number", sa.Integer),
    ("deployment_schedule", "catch_up", sa.Text),
    ("deployment_schedule", "jitter", sa.Float),
    ("deployment_schedule", "max_late", sa.Float),
    ("deployment_schedule", "start_time", sa.BigInteger),
    ("deployment_schedule", "end_time", sa.BigInteger),
    ("deployment_schedule", "mark", sa.BigInteger),
    ("deployment_schedule", "filled", sa.BigInteger),
    ("deployment_schedule", "next_fill", sa.BigInteger),
    ("worker", "process_id", Id),
)
_QUEUED = sa.text("work_queue_id IS NOT NULL")
_DUE = sa.text("next_scheduled_start_time IS NOT NULL")
_AWAITING = sa.text("state_name = 'AwaitingConcurrencySlot'")
#: indexes that hand out runs, before and with this revision: their order is now that of the handing out
_QUEUE = ["work_queue_id", "state_type", "next_scheduled_start_time"]
_DEPLOYMENT = ["deployment_id", "next_scheduled_start_time"]


def upgrade() -> None:
    for table, name, kind in _ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.execute("UPDATE deployment_schedule SET next_fill = 0")
    op.create_index("ix_deployment_schedule_next_fill", "deployment_schedule", ["next_fill"])
    op.create_index(
        "ix_flow_run_on_time",
        "flow_run",
        ["next_scheduled_start_time"],
        sqlite_where=_PARTIAL,
        postgresql_where=_PARTIAL,
    )
    op.create_table(
        "deployment_version",
        sa.Column("deployment_id", Id, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.SmallInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("deployment_id", "number", name="pk_deployment_version"),
    )
    op.create_table(
        "attempt",
        sa.Column("flow_run_key", Key, autoincrement=False, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("worker_id", Id, nullable=False),
        sa.Column("worker_name", sa.Text, nullable=False),
        sa.Column("claimed", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("flow_run_key", name="pk_attempt"),
    )
    op.create_index("ix_attempt_lease_until", "attempt", ["lease_until"])
    op.create_index("ix_attempt_worker_id", "attempt", ["worker_id"])
    op.create_index("ix_worker_process_id", "worker", ["process_id"])
    op.create_index("ix_deployment_concurrency_limit_id", "deployment", ["concurrency_limit_id"])
    _index_handing_out("key")
    awaiting = ["deployment_id", "expected_start_time", "key"]
    _index("ix_flow_run_awaiting_slot", awaiting, _AWAITING)


def _index(name: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, "flow_run", columns, sqlite_where=where, postgresql_where=where)


def _index_handing_out(*last: str) -> None:
    for name, columns, where in (("queue", _QUEUE, _QUEUED), ("due", _DEPLOYMENT, _DUE)):
        op.drop_index(f"ix_flow_run_{name}", table_name="flow_run")
        _index(f"ix_flow_run_{name}", [*columns, *last], where)


def downgrade() -> None:
    op.drop_index("ix_flow_run_awaiting_slot", table_name="flow_run")
    _index_handing_out()
    op.drop_table("attempt")
    op.drop_index("ix_deployment_concurrency_limit_id", table_name="deployment")
    op.drop_index("ix_worker_process_id", table_name="worker")
    op.drop_table("deployment_version")
    op.drop_index("ix_flow_run_on_time", table_name="flow_run")
    op.drop_index("ix_deployment_schedule_next_fill", table_name="deployment_schedule")
    for table, name, _ in reversed(_ADDED):
        op.drop_column(table, name)
