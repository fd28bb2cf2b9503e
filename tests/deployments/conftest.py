"""A real server in a thread, settings that point to it, and a directory of flows to deploy from."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faces.conftest import cli, server, server_url

__all__ = ["cli", "server", "server_url"]

FLOWS = '''
"""Flows to deploy."""
from riverrun import flow

@flow
def etl(day: str, full: bool = False):
    """Loads a day."""
    return day

@flow(name="Report of all", version="7")
async def report(n: int = 3):
    return n

class Nest:
    @staticmethod
    @flow
    def inner():
        return 1
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with flows in `flows.py`. Modules that are loaded from it are forgotten."""
    here = tmp_path / "project"
    here.mkdir()
    (here / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(here)
    path, modules = list(sys.path), set(sys.modules)
    yield here
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").name in ("flows.py", "lacks.py"):
            del sys.modules[name]


@pytest.fixture
def read(server: httpx.Client) -> Callable[..., Any]:
    """A deployment as the server has it."""

    def read(name: str) -> Any:
        return server.get(f"/deployments/name/{name}").raise_for_status().json()

    return read


@pytest.fixture
def pool(server: httpx.Client, tmp_path: Path) -> str:
    """A process pool of the test's own."""
    name = f"pool-{tmp_path.name}"
    server.post("/work_pools/", json={"name": name, "type": "process"}).raise_for_status()
    return name
