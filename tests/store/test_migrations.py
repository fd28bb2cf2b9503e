"""One line of migrations for both databases: their sum is the schema, and a filled store survives going up again."""

import subprocess
import sys
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from riverrun.base.errors import UnavailableError
from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database
from riverrun.server.db.tables import metadata, run_rollup
from riverrun.server.ingest import ingest_records
from riverrun.server.runs import rollups
from riverrun.server.store import Store
from tests.store.make import contents, items, make_flow_run, make_story, make_task_run

#: SQLite's expression indexes cannot be reflected; `_schema` compares their text
pytestmark = pytest.mark.filterwarnings(
    "ignore:Skipped unsupported reflection:sqlalchemy.exc.SAWarning", "ignore:autogenerate skipping:UserWarning"
)


def _schema(database: Database) -> dict[str, object]:
    """The schema as the database tells it: every table, column, index and constraint, and SQLite's own words."""
    told: dict[str, object] = {}
    with database.engine.connect() as connection:
        inspector = sa.inspect(connection)
        for name in sorted(inspector.get_table_names()):
            if name == "alembic_version":
                continue
            columns = [
                (c["name"], str(c["type"]), c["nullable"], str(c["default"])) for c in inspector.get_columns(name)
            ]
            told[name] = (
                columns,
                inspector.get_pk_constraint(name),
                sorted(map(repr, inspector.get_unique_constraints(name))),
            )
        if database.path is not None:
            rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        else:
            rows = connection.exec_driver_sql(
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
            )
        told["*"] = {
            name: _ordered(" ".join(text.replace('"', "").split()).replace("( ", "(").replace(" )", ")"))
            for name, text in rows
            if "alembic" not in name
        }
    return told


def _ordered(text: str) -> list[str]:
    """A statement with its constraints in one order: theirs is left to chance."""
    head, *constraints = text.removesuffix(")").split(", CONSTRAINT ")
    return [head, *sorted(constraints)]


def test_the_newest_revision_is_the_one_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [schema.HEAD]


def test_the_sum_of_the_migrations_is_the_schema(database: Database, empty_url: str) -> None:
    with open_database(empty_url) as made:
        with made.engine.begin() as connection:
            metadata.create_all(connection)
        assert _schema(database) == _schema(made)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = [
            difference for difference in compare_metadata(context, metadata) if "alembic_version" not in str(difference)
        ]
    assert found == []


def test_down_and_up_on_a_filled_store(database: Database) -> None:
    ingest_records(database, b"w" * 16, items(make_story(tasks=5)))
    before = _schema(database)
    schema.downgrade(database, "base")
    assert schema.version(database) is None
    with database.engine.connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version"}
    schema.upgrade(database)
    assert _schema(database) == before
    assert schema.is_current(database)
    assert ingest_records(database, b"w" * 16, items(make_story(tasks=5))).task_runs == 5


def test_upgrading_a_current_store_changes_nothing(database: Database) -> None:
    ingest_records(database, b"w" * 16, items(make_story(tasks=2)))
    before = contents(database)
    schema.upgrade(database)
    assert contents(database) == before


def test_a_store_of_a_newer_riverrun_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnavailableError, match="newer riverrun"):
        schema.upgrade(database)


def test_a_revision_that_fails_leaves_the_store_as_it_was(empty_url: str) -> None:
    with open_database(empty_url) as database:
        with database.write() as connection:
            connection.execute(sa.text("CREATE TABLE journal_aside (x INTEGER)"))
        with pytest.raises((sa.exc.OperationalError, sa.exc.ProgrammingError)):
            schema.upgrade(database)
        with database.engine.connect() as connection:
            assert set(sa.inspect(connection).get_table_names()) == {"journal_aside"}


def test_alembic_is_not_imported_for_a_current_store(store_url: str) -> None:
    script = (
        "import sys\nfrom riverrun.server.db import schema\nfrom riverrun.server.db.engine import open_database\n"
        "with open_database(sys.argv[1]) as database: schema.upgrade(database)\n"
        "assert 'alembic' not in sys.modules, 'alembic was imported'\n"
    )
    subprocess.run([sys.executable, "-c", script, store_url], check=True)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_sqlite_is_set_up_to_keep_what_it_acknowledges(database: Database) -> None:
    with database.write() as connection:
        told = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("synchronous", "journal_mode", "auto_vacuum", "busy_timeout")
        }
    assert told == {"synchronous": 2, "journal_mode": "wal", "auto_vacuum": 2, "busy_timeout": 30_000}
    with database.read() as connection, pytest.raises(sa.exc.OperationalError, match="readonly"):
        connection.exec_driver_sql("DELETE FROM flow_run")


def test_runs_that_are_there_are_summed_up(database: Database) -> None:
    ingest_records(database, b"s" * 16, items([*make_story(3), make_flow_run(), make_task_run(None)]))
    schema.downgrade(database, "0001")
    schema.upgrade(database)

    def sums() -> list[Any]:
        with database.read() as connection:
            return sorted(connection.execute(sa.select(run_rollup)).all())

    filled = sums()
    store = Store(database)
    store.write_now(rollups.rebuild)
    store.close()
    assert filled == sums() != []
