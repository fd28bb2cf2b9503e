"""The small helpers for tests."""

import warnings

import pytest

from riverrun.testing.utilities import assert_does_not_warn, exceptions_equal


def test_exceptions_equal():
    assert exceptions_equal(ValueError("a"), ValueError("a"))
    assert not exceptions_equal(ValueError("a"), ValueError("b"))
    assert not exceptions_equal(ValueError("a"), TypeError("a"))
    assert exceptions_equal(None, None)
    assert not exceptions_equal(ValueError("a"), None)


def test_assert_does_not_warn():
    with assert_does_not_warn():
        pass
    with pytest.raises(AssertionError, match="a warning was raised: UserWarning"), assert_does_not_warn():
        warnings.warn("x", UserWarning, stacklevel=1)
    with assert_does_not_warn([DeprecationWarning]):
        warnings.warn("x", DeprecationWarning, stacklevel=1)
    with pytest.raises(LookupError), assert_does_not_warn():
        raise LookupError
