"""The test harness and small helpers for tests, under the peer's module name."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import AsyncMock, MagicMock

from riverrun.base.config import temporary_settings
from riverrun.base.ids import uuid7
from riverrun.client import journal, location
from riverrun.testing.harness import Harness
from riverrun.testing.told import ToldJournal

__all__ = [
    "AsyncMock",
    "Harness",
    "MagicMock",
    "assert_does_not_warn",
    "exceptions_equal",
    "prefect_test_harness",
    "riverrun_test_harness",
]


@contextmanager
def riverrun_test_harness(server_startup_timeout: int | None = None) -> Iterator[Harness]:  # noqa: ARG001 - the peer's parameter
    """Run flows and tasks inside the block without server and disk; gives a `Harness` that shows what happened.

    What needs a server (`get_client`, variables, blocks ...) starts one of the block's own, with an empty store; it is
    told of the runs before it is asked, and ends with the block.

    The journal of the whole process goes to memory and results to a storage in memory that ends with the block. The
    settings of the block hold in the current context: threads that a test starts itself keep the outer ones. Harnesses
    nest; a block sees only what ran in it. Processes started by a flow write to a home of their own, removed at the end.
    """
    from riverrun.storages import InMemoryFileSystem

    name = f"riverrun-test-{uuid7().hex}"
    home = Path(tempfile.gettempdir()) / name
    memory = ToldJournal(home)
    changes = {
        "home": home,
        "test_mode": True,
        "logging_to_api_enabled": True,
        "results_default_storage_block": f"{InMemoryFileSystem.SCHEME}://{name}",
    }
    elsewhere = ["api_url", "api_database_connection_url", "journal_dir", "results_local_storage_path"]
    try:
        with temporary_settings(changes, restore_defaults=elsewhere), journal.use(memory):
            yield Harness(memory)
    finally:
        InMemoryFileSystem._contents.pop(name, None)
        if home.exists():  # only a child process makes it, or a server
            location.stop_server(home)
            shutil.rmtree(home, ignore_errors=True)


prefect_test_harness = riverrun_test_harness


def exceptions_equal(a: BaseException | None, b: BaseException | None) -> bool:
    """Whether two exceptions are of one type and say the same; neither identity nor traceback counts."""
    if a is None or b is None:
        return a is b
    return type(a) is type(b) and str(a) == str(b)


@contextmanager
def assert_does_not_warn(ignore_warnings: list[type[Warning]] | None = None) -> Iterator[None]:
    """Fail with AssertionError when the block warns, except by the categories to ignore."""
    __tracebackhide__ = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for category in ignore_warnings or ():
            warnings.filterwarnings("ignore", category=category)
        try:
            yield
        except Warning as warning:
            raise AssertionError(f"a warning was raised: {warning!r}") from warning
