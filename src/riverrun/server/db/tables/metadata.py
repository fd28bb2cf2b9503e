"""What all tables share: the metadata with its naming convention, the default workspace, the workspaces themselves."""

from sqlalchemy import Column, MetaData, SmallInteger, Table, Text

from riverrun.server.db.types import Id, Micros

#: the workspace of everything while there is no sign-in
DEFAULT_WORKSPACE = 1

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

workspace = Table(
    "workspace",
    metadata,
    Column("key", SmallInteger, primary_key=True, autoincrement=False),
    Column("id", Id, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Micros, nullable=False),
)


def owned() -> Column[int]:
    """The workspace that a row belongs to."""
    return Column("workspace_id", SmallInteger, nullable=False)
