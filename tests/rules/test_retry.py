"""Delays before retries, jitter, and bookkeeping of retried runs."""

from hypothesis import given
from hypothesis import strategies as st

from riverrun.base.backoff import exponential_backoff, jittered
from riverrun.base.names import run_name
from riverrun.rules.retry import retries_left, retry_delay


def test_delays():
    assert [retry_delay(3, None, n) for n in (1, 2, 9)] == [3, 3, 3]
    assert [retry_delay([1, 2], None, n) for n in (1, 2, 3)] == [1, 2, 2]
    assert retry_delay(None, None, 1) == retry_delay([], 1.0, 1) == 0
    assert retry_delay(-5, None, 1) == 0
    assert (retries_left(1, 1), retries_left(2, 1), retries_left(1, 0)) == (True, False, False)


def test_exponential():
    assert exponential_backoff(10)(4) == [10, 20, 40, 80]
    assert exponential_backoff(10)(0) == []
    assert max(exponential_backoff(10)(5000)) == 604_800


@given(st.floats(0, 1e6), st.floats(0, 10), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_between_the_delay_and_its_factor(delay, factor, chance):
    assert delay <= jittered(delay, factor, lambda: chance) <= delay * (1 + factor) * (1 + 1e-9)


@given(st.lists(st.floats(0, 100), max_size=5) | st.floats(0, 100), st.none() | st.floats(0, 2), st.integers(0, 20))
def test_any_policy_gives_a_delay(delay, factor, count):
    assert retry_delay(delay, factor, count) >= 0


def test_names_are_two_words():
    names = {run_name() for _ in range(200)}
    assert len(names) > 150
    assert all(len(name.split("-")) == 2 for name in names)
    assert all(name.replace("-", "").isalpha() for name in names)
