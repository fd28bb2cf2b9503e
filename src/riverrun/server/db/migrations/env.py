"""Alembic's environment: runs on the connection that `db.schema` hands over, inside its transaction."""

from alembic import context

from riverrun.server.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # both databases change tables inside a transaction; a half-made revision is rolled back
    transactional_ddl=True,
)
context.run_migrations()
