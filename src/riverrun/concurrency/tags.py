"""Limits of tags: a run of a tagged task takes a slot of `tag:<name>` for each of its tags, where such limits exist.

`take` is a step in the life of a task run: it yields the engine's waits. Which tags have no limits is remembered for some
seconds, so that tagged tasks cost nothing more; without a server there are no limits. While the server is away, runs wait
only for limits that are known to exist.
"""

import logging
import os
import random
from collections.abc import Generator
from threading import Lock
from typing import Any
from uuid import UUID

from riverrun.base.clock import monotonic
from riverrun.base.errors import ServerFailure
from riverrun.client.location import api_url
from riverrun.concurrency.leases import Lease, keeper
from riverrun.concurrency.slots import Attempt, ConcurrencySlotAcquisitionError, Wanted
from riverrun.concurrency.turns import Turn
from riverrun.wire.concurrency import ConcurrencyLeaseHolder

_logger = logging.getLogger("riverrun.concurrency")

LEASE_SECONDS = 60.0
_REMEMBERED_SECONDS = 5.0
_MOST_REMEMBERED = 1000
_AWAY_PAUSE = 2.0

#: names -> until when they are known to have no limits
_unlimited: dict[tuple[str, ...], float] = {}
_asking: dict[tuple[str, ...], Lock] = {}
#: names of which limits have been seen
_limited: set[tuple[str, ...]] = set()


def names_of(tags: list[str]) -> tuple[str, ...]:
    """The names of the limits of tags; none if it is known that none of them is limited, or no server is there."""
    names = tuple(sorted(f"tag:{tag}" for tag in tags))
    if _unlimited.get(names, 0.0) > monotonic():
        return ()
    if api_url() is None:
        _remember(names)
        return ()
    return names


def _remember(names: tuple[str, ...]) -> None:
    if len(_unlimited) >= _MOST_REMEMBERED:
        _unlimited.clear()
        _asking.clear()
    _unlimited[names] = monotonic() + _REMEMBERED_SECONDS


def attempt(names: tuple[str, ...], run_id: UUID) -> Lease | float | None:
    """Ask for slots once: a lease, seconds to wait, or None where there is nothing to take. Blocks for one request."""
    holder = ConcurrencyLeaseHolder(type="task_run", id=run_id)
    asked = Attempt(Wanted(names, 1, lease_duration=LEASE_SECONDS, holder=holder))
    try:
        with _asking.setdefault(names, Lock()):  # one at a time: the server would let them wait for each other anyway
            if _unlimited.get(names, 0.0) > monotonic():  # a neighbour has just learned it
                return None
            delay = asked.run(retries=0)
    except ConcurrencySlotAcquisitionError as error:
        if isinstance(error.__cause__, ServerFailure):  # it is there, but busy
            return random.uniform(0.1, 0.5)  # noqa: S311 - spreads retries, guards nothing
        if names in _limited:
            return _AWAY_PAUSE
        _logger.warning("Whether %s are limited cannot be told, the run goes on: %s", ", ".join(names), error)
        _remember(names)
        return None
    except BaseException:
        asked.abandon()
        raise
    if delay is not None or asked.lease is not None:
        _limited.add(names)
        return delay if asked.lease is None else asked.lease
    _limited.discard(names)
    _remember(names)
    return None


def take(
    names: tuple[str, ...], run_id: UUID, do: Any, wait: Any
) -> Generator[Any, None, Lease | BaseException | None]:
    """Take slots, waiting until they are free; `do` and `wait` are the engine's effects. Gives what struck it, if anything."""
    while True:
        asking = do(attempt, names, run_id)
        yield asking
        if asking.error is not None:
            return asking.error  # type: ignore[no-any-return]
        outcome = asking.value
        if not isinstance(outcome, float):
            return outcome  # type: ignore[no-any-return]
        turn = wait([Turn(names, outcome)])
        yield turn
        if turn.error is not None:
            return turn.error  # type: ignore[no-any-return]


let_go = keeper.let_go
os.register_at_fork(after_in_child=_asking.clear)
