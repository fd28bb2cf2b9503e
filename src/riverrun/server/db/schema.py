"""Bring a store's tables up to date. Alembic is imported only when the version row differs from ours."""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from riverrun.base.errors import UnavailableError
from riverrun.server.db.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

#: the newest revision; a test holds it equal to the head of `migrations/versions`
HEAD = "0003"
MIGRATIONS = Path(__file__).parent / "migrations"
#: gives the revision that a store is at
VERSION = sa.text("SELECT version_num FROM alembic_version")


def version(database: Database) -> str | None:
    """The revision of the store's tables; None where there are none."""
    with database.read() as connection:
        if database.path is not None:
            found = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name='alembic_version'").first()
        else:
            found = connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar()
        if not found:
            return None
        return connection.execute(VERSION).scalar()


def is_current(database: Database) -> bool:
    """Whether the tables are the ones this code knows."""
    if database.path is not None and not database.path.exists():
        return False
    return version(database) == HEAD


def upgrade(database: Database) -> None:
    """Bring the tables to the newest revision, in one transaction. The caller holds the lock on SQLite.

    Raises UnavailableError when a newer riverrun has already changed them.
    """
    if is_current(database):
        return
    from alembic.script import ScriptDirectory

    config = _config()
    exists = database.path is None or database.path.exists()
    current = version(database) if exists else None
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        where = database.url.render_as_string(hide_password=True)
        raise UnavailableError(
            f"The store {where} was made by a newer riverrun (schema {current}, this one knows {HEAD}): upgrade riverrun here."
        )
    _run(database, config, "upgrade", "head")


def downgrade(database: Database, revision: str) -> None:
    """Bring the tables back to an older revision ("base": none at all), in one transaction."""
    _run(database, _config(), "downgrade", revision)


def reset(database: Database) -> None:
    """Remove every table of ours with all that is in it, whatever revision it is of, and make them anew."""
    from riverrun.server.db.tables import metadata

    cascade = " CASCADE" if database.path is None else ""
    with database.engine.begin() as connection:
        for name in ("alembic_version", *metadata.tables):
            connection.exec_driver_sql(f'DROP TABLE IF EXISTS "{name}"{cascade}')
    upgrade(database)


def unknown_revision() -> type[Exception]:
    """What `downgrade` raises for a revision that there is not."""
    from alembic.util import CommandError

    return CommandError


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _run(database: Database, config: "Config", verb: str, revision: str) -> None:
    from alembic import command

    with database.engine.begin() as connection:
        if database.path is None:
            # two replicas that start together: the second waits here, then finds nothing to do
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7274)"))
        config.attributes["connection"] = connection
        getattr(command, verb)(config, revision)
