"""Tools for the tests of users: run flows without disk or server, and look at what happened."""

from riverrun.testing.harness import Harness
from riverrun.testing.utilities import (
    assert_does_not_warn,
    exceptions_equal,
    prefect_test_harness,
    riverrun_test_harness,
)

__all__ = ["Harness", "assert_does_not_warn", "exceptions_equal", "prefect_test_harness", "riverrun_test_harness"]
