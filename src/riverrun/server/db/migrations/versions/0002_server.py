"""What the server keeps beside the ledger. Safe before the new code is live: it only adds."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from riverrun.server.db.tables import metadata

revision = "0002"
down_revision = "0001"

FIRST = {
    "workspace", "flow", "flow_run", "flow_run_state", "flow_run_tag", "task_run", "task_run_state", "task_run_tag", "log",
    "journal_writer", "journal_lost", "journal_aside",
}  # fmt: skip


def _added() -> list[tuple[sa.Table, list[sa.Column[Any]], list[sa.Index]]]:
    inspector = sa.inspect(op.get_bind())
    added = []
    for name in sorted(FIRST):
        table = metadata.tables[name]
        there = {column["name"] for column in inspector.get_columns(name)}
        if op.get_bind().dialect.name == "sqlite":
            rows = op.get_bind().exec_driver_sql("SELECT name FROM sqlite_master WHERE type='index'")
        else:
            rows = op.get_bind().exec_driver_sql("SELECT indexname FROM pg_indexes")
        indexes = {row[0] for row in rows}
        added.append(
            (
                table,
                [column for column in table.columns if column.name not in there],
                [index for index in table.indexes if index.name not in indexes],
            )
        )
    return added


def upgrade() -> None:
    bind = op.get_bind()
    for table, columns, indexes in _added():
        for column in columns:
            op.add_column(table.name, sa.Column(column.name, column.type, nullable=column.nullable))
        for index in indexes:
            index.create(bind)
    for table in metadata.sorted_tables:
        if table.name not in FIRST:
            table.create(bind)


def downgrade() -> None:
    raise NotImplementedError
