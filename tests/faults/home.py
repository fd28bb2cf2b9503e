"""A home of its own for a test, processes that run in it, and the store that remembers them."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from riverrun.base.config import temporary_settings
from riverrun.client.local import LocalStore, open_store


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        return os.environ | {"RIVERRUN_HOME": str(self.path), "RIVERRUN_LOGGING_LEVEL": "INFO"} | variables

    def run(self, *arguments: str, timeout: float = 50, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def script(self, source: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a text as a script."""
        return self.run("-c", textwrap.dedent(source), **variables)

    @contextmanager
    def store(self, *, notes: bool = False) -> Iterator[LocalStore]:
        """The store after everything was ingested; `notes`: it has to tell of something."""
        with temporary_settings({"home": self.path}), open_store(seconds=60) as opened:
            assert bool(opened.notes) == notes, opened.notes
            yield opened


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")
