"""What every test gets: a home of its own for the session, and none of the machine's settings.

Fixtures of one part of the suite belong in that part's own conftest.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

for name in [name for name in os.environ if name.startswith(("RIVERRUN_", "PREFECT_"))]:
    if name != "RIVERRUN_TEST_POSTGRES_URL":  # a server to test on, see tests/store/conftest.py
        del os.environ[name]

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # processes that tests start would compile every module anew

# how long an example takes on a loaded machine says nothing about it
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

_home = tempfile.mkdtemp(prefix="riverrun-tests-")
_owner = os.getpid()
os.environ["RIVERRUN_HOME"] = _home


@atexit.register
def _remove_home() -> None:
    if os.getpid() == _owner:  # not in a forked child
        shutil.rmtree(_home, ignore_errors=True)


#: parts whose tests start processes, servers and databases, which take long while a machine does other things too
PATIENT = {
    "cli",
    "client",
    "contract",
    "demo",
    "faces",
    "faults",
    "journal",
    "meta",
    "peer",
    "server",
    "store",
    "testing",
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give such tests 60 seconds, if they do not say themselves how long they may take."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in PATIENT and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(60))
