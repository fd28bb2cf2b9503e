"""What people keep beside runs: variables, artifacts, blocks, inputs, saved searches, automations, server configuration."""

from sqlalchemy import Column, Index, LargeBinary, SmallInteger, Table, Text, UniqueConstraint
from sqlalchemy.schema import SchemaItem

from riverrun.server.db.tables.metadata import metadata, owned
from riverrun.server.db.types import Id, Key, Micros


def thing(name: str, *columns: SchemaItem) -> Table:
    """A table of things with an id, a time of creation and one of the last change."""
    return Table(
        name,
        metadata,
        Column("key", Key, primary_key=True, autoincrement=True),
        Column("created", Micros, nullable=False),
        Column("updated", Micros, nullable=False),
        owned(),
        Column("id", Id, nullable=False, unique=True),
        *columns,
    )


variable = thing(
    "variable",
    Column("name", Text, nullable=False),
    #: sealed JSON (`server.vault`)
    Column("value", LargeBinary, nullable=False),
    Column("tags", Text),
    UniqueConstraint("workspace_id", "name"),
)

artifact = thing(
    "artifact",
    Column("artifact_key", Text),
    Column("type", Text),
    Column("flow_run_id", Id),
    Column("task_run_id", Id),
    Column("description", Text),
    Column("data", Text),
    Column("metadata", Text),
    Index(None, "workspace_id", "artifact_key", "created"),
    Index(None, "flow_run_id"),
    Index(None, "task_run_id"),
)

#: the newest artifact of each key
artifact_collection = thing(
    "artifact_collection",
    Column("artifact_key", Text, nullable=False),
    Column("latest_id", Id, nullable=False),
    UniqueConstraint("workspace_id", "artifact_key"),
)

block_type = thing(
    "block_type",
    Column("name", Text, nullable=False),
    Column("slug", Text, nullable=False),
    Column("logo_url", Text),
    Column("documentation_url", Text),
    Column("description", Text),
    Column("code_example", Text),
    Column("is_protected", SmallInteger, nullable=False),
    UniqueConstraint("workspace_id", "slug"),
)

block_schema = thing(
    "block_schema",
    Column("block_type_id", Id, nullable=False, index=True),
    Column("checksum", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("capabilities", Text),
    Column("version", Text, nullable=False),
    UniqueConstraint("workspace_id", "checksum", "version"),
)

block_document = thing(
    "block_document",
    Column("name", Text),
    Column("block_type_id", Id, nullable=False),
    Column("block_schema_id", Id, nullable=False, index=True),
    Column("is_anonymous", SmallInteger, nullable=False),
    #: sealed JSON (`server.vault`); nested blocks stand as {"$ref": {"block_document_id": ...}}
    Column("data", LargeBinary, nullable=False),
    UniqueConstraint("block_type_id", "name"),
)

flow_run_input = thing(
    "flow_run_input",
    Column("flow_run_id", Id, nullable=False),
    Column("input_key", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("sender", Text),
    UniqueConstraint("flow_run_id", "input_key"),
)

saved_search = thing(
    "saved_search",
    Column("name", Text, nullable=False),
    Column("filters", Text, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)

automation = thing(
    "automation",
    Column("name", Text, nullable=False),
    Column("enabled", SmallInteger, nullable=False),
    #: the whole automation as JSON, as it travels
    Column("document", Text, nullable=False),
    #: the resource that the automation belongs to (`server.db.names.index_key`)
    Column("owner_resource", Text, index=True),
    Column("tags", Text),
    Index(None, "workspace_id", "name"),
)

#: small facts of the installation by name, as JSON
configuration = thing(
    "configuration",
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)
