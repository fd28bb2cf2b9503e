"""A migrated store of its own for every test, on SQLite and on PostgreSQL.

The tables are made once per worker and copied: a file, or a template database in a cluster that ends with the worker.
"""

import importlib.util
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database

ROOT = Path(__file__).parents[2]
BACKENDS = [pytest.param("sqlite"), pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The URL of a PostgreSQL server: the one that the environment names, else one of our own."""
    given = os.environ.get("RIVERRUN_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    spec = importlib.util.spec_from_file_location("postgres_for_tests", ROOT / "scripts" / "postgres.py")
    postgres = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(postgres)
    if postgres.find() is None and not os.environ.get("CI"):
        pytest.skip("PostgreSQL is not installed: `python scripts/postgres.py ensure` does it")
    with postgres.cluster() as url:
        yield url


class Databases:
    """Fresh PostgreSQL databases: empty ones, and copies of a migrated one."""

    def __init__(self, url: str) -> None:
        import psycopg

        self.server = psycopg.connect(url, autocommit=True)
        self.url = url
        self.numbers = itertools.count()
        self.prefix = f"t{os.getpid()}_"
        template = self.create()
        with open_database(template) as database:
            schema.upgrade(database)
        self.template = template.partition("?")[0].rpartition("/")[2]

    def create(self, template: str = "template1") -> str:
        name = f"{self.prefix}{next(self.numbers)}"
        self.server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        head, _, query = self.url.partition("?")
        return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")

    def drop(self, url: str) -> None:
        name = url.partition("?")[0].rpartition("/")[2]
        self.server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres_databases(cluster: str) -> Iterator[Databases]:
    databases = Databases(cluster)
    yield databases
    databases.drop(databases.url.replace("/postgres", f"/{databases.template}", 1))
    databases.server.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "riverrun.db"
    with open_database(path) as database:
        schema.upgrade(database)
    return path


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Which database the test's stores are on; `@sqlite_only` keeps a test to one."""
    return request.param


@pytest.fixture
def store_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty store."""
    if backend == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        path = tmp_path / "home" / "riverrun.db"
        path.parent.mkdir(mode=0o700)
        shutil.copy(template, path)
        yield f"sqlite:///{path}"
    else:
        databases = request.getfixturevalue("postgres_databases")
        url = databases.create(databases.template)
        yield url
        databases.drop(url)


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    """A migrated, empty store, open."""
    with open_database(store_url) as opened:
        yield opened


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store without tables."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path}/empty/riverrun.db"
    else:
        databases = request.getfixturevalue("postgres_databases")
        url = databases.create()
        yield url
        databases.drop(url)
