"""Schedules that are kept by the server, versions of deployments. Safe before the new code is live: it only adds."""

import sqlalchemy as sa
from alembic import op

from riverrun.server.db.types import Id

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
)


def upgrade() -> None:
    for table, name, kind in _ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=True))
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


def downgrade() -> None:
    op.drop_table("deployment_version")
    op.drop_index("ix_flow_run_on_time", table_name="flow_run")
    op.drop_index("ix_deployment_schedule_next_fill", table_name="deployment_schedule")
    for table, name, _ in reversed(_ADDED):
        op.drop_column(table, name)
