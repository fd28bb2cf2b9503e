"""Delays that grow, and jitter that keeps many waiters from acting at one instant. Pure; seconds throughout."""

import random
from collections.abc import Callable


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """A callable that gives the delays for a number of retries: factor, 2 factor, 4 factor ...

    Give it as `retry_delay_seconds` of a task. No delay is longer than a week, so that a large number of retries does not
    overflow.
    """

    def delays(retries: int) -> list[float]:
        return [min(backoff_factor * 2.0 ** min(attempt, 64), 604_800.0) for attempt in range(retries)]

    return delays


def jittered(delay: float, factor: float, uniform: Callable[[], float] = random.random) -> float:
    """A delay spread around `delay`, never below it nor above `delay * (1 + factor)`.

    The distribution is exponential in its middle, as arrivals that know nothing of each other are; `uniform` gives numbers
    in [0, 1).
    """
    from math import exp, log1p

    if delay <= 0 or factor <= 0:
        return max(delay, 0.0)
    # Inverse transform of an exponential with mean delay * factor / 2, cut off at delay * factor.
    mean = delay * factor / 2
    cut = 1 - exp(-2.0)
    return delay + min(-mean * log1p(-uniform() * cut), delay * factor)
