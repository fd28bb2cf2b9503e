"""A running server over an empty store, on SQLite and on PostgreSQL, in a thread of the test's process.

`api` is a client of a server that the tests of one module share (make your own objects, expect those of others);
`fresh_api` one of a server of the test's own.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from riverrun.server.serve import in_thread
from tests.store.conftest import BACKENDS, cluster, postgres_databases, sqlite_template

__all__ = ["cluster", "postgres_databases", "sqlite_template"]


@contextmanager
def _store(backend: str, request: pytest.FixtureRequest, home: Path) -> Iterator[str]:
    if backend == "sqlite":
        path = home / "riverrun.db"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        databases = request.getfixturevalue("postgres_databases")
        url = databases.create(databases.template)
        yield url
        databases.drop(url)


@pytest.fixture(scope="module", params=BACKENDS)
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the module's server."""
    with _store(request.param, request, tmp_path_factory.mktemp("server")) as url, in_thread(url) as base:
        yield base


@pytest.fixture
def api(server_url: str) -> Iterator[httpx.Client]:
    """A client of the module's server; paths are below /api."""
    with httpx.Client(base_url=f"{server_url}/api", timeout=20) as client:
        yield client


@pytest.fixture(params=BACKENDS)
def fresh_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with _store(request.param, request, tmp_path / "home") as url:
        yield url


@pytest.fixture
def fresh_api(fresh_store_url: str) -> Iterator[httpx.Client]:
    """A client of a server of the test's own."""
    with in_thread(fresh_store_url) as base, httpx.Client(base_url=f"{base}/api", timeout=20) as client:
        yield client
