"""The leases that this process holds: renewed in time by one thread for all of them, given back, or known to be lost.

A lease is renewed when three quarters of it have passed, and tried again until it has ended. Giving back in the background
(`let_go`) never waits and never fails the caller: a lease that is not given back ends by itself.
"""

import atexit
import heapq
import logging
import os
import random
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from uuid import UUID

from riverrun.base.clock import monotonic
from riverrun.base.errors import ConflictError, NotFoundError, RiverrunError
from riverrun.client.calls.concurrency import release_lease, renew_lease
from riverrun.client.http import send
from riverrun.concurrency.turns import pass_on

_RENEWED_AT = 0.75
_LAST_CHANCE_SECONDS = 2.0

_logger = logging.getLogger("riverrun.concurrency")
_telling = threading.Lock()


class Lease:
    """Slots held for `duration` seconds from now, if nobody renews them. `lost` says why they are held no longer."""

    __slots__ = ("context", "duration", "ends", "failures", "held", "id", "lost", "names", "on_lost", "slots", "url")

    def __init__(self, lease_id: UUID, duration: float, url: str, names: list[str], slots: int) -> None:
        self.id = lease_id
        self.names = names
        self.slots = slots
        self.duration = duration
        self.url = url
        self.ends = monotonic() + duration
        self.failures = 0
        self.held = True
        self.lost: Exception | None = None
        #: called in the keeper's thread; must neither block nor raise
        self.on_lost: Callable[[], object] | None = None
        #: settings of who took it: keys, headers
        self.context: Context = copy_context()

    def watch(self, on_lost: Callable[[], object]) -> None:
        """Call this once when the lease is lost, now if it is already."""
        with _telling:
            self.on_lost = on_lost
            lost = self.lost is not None
        if lost:
            on_lost()


class Keeper:
    """The thread that renews leases and gives them back. A forked child holds none of its parent's."""

    def __init__(self) -> None:
        self.begin_empty()

    def begin_empty(self) -> None:
        """Forget all leases, and the thread."""
        global _telling
        _telling = threading.Lock()
        self._due: list[tuple[float, int, Lease]] = []
        self._released: deque[Lease] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._number = 0
        self._busy = False

    def keep(self, lease: Lease) -> None:
        """Renew a lease until it is given back."""
        with self._changed:
            self._plan(lease, lease.duration * _RENEWED_AT)

    def let_go(self, lease: Lease) -> None:
        """Give a lease back soon, in the background."""
        with self._changed:
            lease.held = False
            self._released.append(lease)
            self._wake()

    def give_back(self, lease: Lease) -> None:
        """Give a lease back now; what goes wrong is logged, since the lease then ends by itself."""
        lease.held = False
        if lease.lost is None:
            _give_back(lease)

    def flush(self, timeout: float) -> None:
        """Wait until what was let go is given back, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._released and not self._busy, timeout)

    # -- in the thread, or under the lock

    def _plan(self, lease: Lease, seconds: float) -> None:
        self._number += 1
        heapq.heappush(self._due, (monotonic() + seconds, self._number, lease))
        self._wake()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="riverrun-leases", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                lease = self._next()
                self._busy = True
            if lease.held:
                self._renew(lease)
            elif lease.lost is None:
                _give_back(lease)

    def _next(self) -> Lease:
        """Wait for a lease to be given back or renewed."""
        while True:
            if self._released:
                return self._released.popleft()
            now = monotonic()
            if self._due and self._due[0][0] <= now:
                lease = heapq.heappop(self._due)[2]
                if lease.held:
                    return lease
                continue
            self._changed.wait(self._due[0][0] - now if self._due else None)

    def _renew(self, lease: Lease) -> None:
        asked = monotonic()
        try:
            lease.context.copy().run(send, renew_lease(lease.id, lease.duration), 0, lease.url)
        except (NotFoundError, ConflictError) as error:
            _lose(lease, error)
        except RiverrunError as error:
            lease.failures += 1
            pause = min(2.0**lease.failures, 10.0) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
            if monotonic() + pause >= lease.ends:
                _lose(lease, error)
                return
            _logger.debug("Renewing a concurrency lease failed, trying again in %.1f s: %s", pause, error)
            with self._changed:
                self._plan(lease, pause)
        else:
            lease.failures = 0
            lease.ends = asked + lease.duration
            with self._changed:
                self._plan(lease, lease.duration * _RENEWED_AT)


def _lose(lease: Lease, error: Exception) -> None:
    if not lease.held:
        return
    with _telling:
        lease.lost = error
        on_lost = lease.on_lost
    if on_lost is not None:
        on_lost()


def _give_back(lease: Lease) -> None:
    try:
        lease.context.copy().run(send, release_lease(lease.id), 1, lease.url)
    except NotFoundError:
        pass  # it has ended
    except RiverrunError as error:
        _logger.warning(
            "Concurrency slots could not be given back and stay taken until their lease ends, in at most %d s: %s",
            lease.duration,
            error,
        )
    else:
        pass_on(lease.names, lease.slots)


keeper = Keeper()
os.register_at_fork(after_in_child=keeper.begin_empty)
atexit.register(keeper.flush, _LAST_CHANCE_SECONDS)
