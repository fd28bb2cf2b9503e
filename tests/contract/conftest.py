"""Fixtures of the acceptance suite. To run it on the peer (with pytest and pytest-timeout in its environment):

CONTRACT_SDK=prefect python -m pytest -c /dev/null --rootdir=tests/contract --confcutdir=tests/contract tests/contract
"""

import os
import tempfile
from collections.abc import Iterator

import pytest

_home = tempfile.TemporaryDirectory(prefix="contract-")
if os.environ.get("CONTRACT_SDK", "riverrun") == "prefect":
    os.environ["PREFECT_HOME"] = _home.name
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"
else:
    os.environ["RIVERRUN_HOME"] = _home.name

from .sdk import ON_PEER, Colour  # noqa: E402 - the environment comes first


@pytest.fixture(scope="session", autouse=True)
def backend() -> Iterator[None]:
    """The peer needs its server; riverrun needs nothing."""
    if not ON_PEER:
        yield
        return
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)
