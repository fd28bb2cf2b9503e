"""When a failed run is tried again. Pure: chance comes in as an argument."""

import random
from collections.abc import Callable, Sequence

from riverrun.base.backoff import jittered


def retries_left(run_count: int, retries: int) -> bool:
    """Whether a run that has been Running `run_count` times may run once more."""
    return run_count <= retries


def retry_delay(
    delay: float | Sequence[float] | None,
    jitter_factor: float | None,
    run_count: int,
    uniform: Callable[[], float] = random.random,
) -> float:
    """Seconds before the next attempt of a run that has been Running `run_count` times.

    Of a list the first delay comes before the first retry and the last one is kept for all retries beyond its end.
    `jitter_factor` makes it up to that part longer.
    """
    if delay is None:
        return 0.0
    if isinstance(delay, int | float):
        base = float(delay)
    elif delay:
        base = float(delay[min(max(run_count, 1), len(delay)) - 1])
    else:
        base = 0.0
    return jittered(base, jitter_factor, uniform) if jitter_factor else max(base, 0.0)
