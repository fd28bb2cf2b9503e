"""Whether and where the journal of this process is shipped: finds the server, keeps the shipper, minds forks.

Nothing here is on the way of an append, and nothing waits for a server but `settle` and `close`.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from riverrun.base.config import settings
from riverrun.client import location
from riverrun.client.journal.line import Target
from riverrun.client.journal.writer import Journal

if TYPE_CHECKING:
    from riverrun.client.journal.shipper import Shipper
    from riverrun.wire.presence import Presence

_importing = threading.Lock()
#: held by who makes the shipper; who finds it held need not
_making = threading.Lock()
_shipper: "Shipper | None" = None
_swept = False


def target() -> Target | None:
    """Where records go now: the configured API, or the server that runs on this machine for this home; None: nowhere."""
    current = settings()
    if current.test_mode and not current.api_url:
        return None
    if current.api_url:
        return Target(
            current.api_url.rstrip("/"), current.api_key, current.api_auth_string, headers=current.client_custom_headers
        )
    found = location.running_server(current.home)
    if found is None:
        return None
    return Target(
        f"{found['url'].rstrip('/')}/api",
        current.api_key,
        current.api_auth_string,
        found=True,
        headers=current.client_custom_headers,
    )


def is_elsewhere() -> bool:
    """Whether the settings name another API than the one that this process's journal is shipped to."""
    shipper = _shipper
    configured = settings().api_url
    if shipper is None or shipper.target.found:
        return shipper is not None and configured is not None
    return configured is None or shipper.target.url != configured.rstrip("/")


def ship(journal: Journal) -> None:
    """Ship this journal if there is a server; looks for one anew each time."""
    if (_shipper is not None and _shipper.journal is journal) or journal.closed:
        return
    where = target()
    if where is None or not _making.acquire(blocking=False):
        return
    try:
        if _shipper is None or _shipper.journal is not journal:
            _make(journal, where)
    finally:
        _making.release()


def _make(journal: Journal, where: Target) -> None:
    global _shipper
    from riverrun.client import presence
    from riverrun.client.journal.shipper import Shipper

    home = settings().home
    _shipper = Shipper(journal, where, _Listener(), _guarded_import)

    def find() -> Target | None:
        """The address of this machine's server may have changed."""
        if not where.found:
            return where
        facts = location.running_server(home)
        return None if facts is None else where._replace(url=f"{facts['url'].rstrip('/')}/api")

    _shipper.find = find
    presence.follow(_shipper)
    _shipper.start()


class _Listener:
    def hear(self, answer: "Presence") -> None:
        from riverrun.client import presence

        presence.obey(answer.cancelling, answer.fenced, answer.suspended)

    def idle(self) -> None:
        from riverrun.client import presence

        presence.begin()
        _ship_what_others_left()


def _ship_what_others_left() -> None:
    """Once in a process: the spools of processes of this machine that ended while the server was away."""
    global _swept
    shipper = _shipper
    if _swept or shipper is None or shipper.target.found:  # this machine's server takes them in by itself
        return
    _swept = True
    _ship_the_dead(shipper)


def _ship_the_dead(shipper: "Shipper") -> threading.Thread | None:
    """Have a thread ship the spools of processes of this home that have ended; None where there are none."""
    from riverrun.client.journal.batches import dead_spools, ship_spool
    from riverrun.client.journal.line import Line
    from riverrun.wire.spool import spools

    found = list(dead_spools(spools(shipper.journal.options.directory), shipper.journal.writer))
    if not found:
        return None

    def run() -> None:
        line = Line(_guarded_import)
        for spool in found:
            if not ship_spool(line, shipper.target, spool):
                break
        line.close()

    thread = threading.Thread(target=run, name="riverrun-shipper-others", daemon=True)
    thread.start()
    return thread


def hurry() -> None:
    """A flow run changed its state: the server learns it at once."""
    if _shipper is not None:
        _shipper.hurry()


def settle(timeout: float) -> bool:
    """Wait until the server has what this process has appended so far. True also where there is no server."""
    return _shipper is None or _shipper.settle(timeout)


def is_shipping() -> bool:
    return _shipper is not None


def close(journal: Journal) -> int:
    """End the shipping of a journal that is not appended to any more; the last record that the server has."""
    global _shipper
    shipper = _shipper
    if shipper is None or shipper.journal is not journal:
        return 0
    _shipper = None
    until = time.monotonic() + settings().journal_exit_seconds
    acknowledged = shipper.finish(until - time.monotonic())
    if shipper.finished and not shipper.target.found:
        # children of a process runner leave their last words behind
        others = _ship_the_dead(shipper)
        if others is not None:
            others.join(max(until - time.monotonic(), 0))
    return acknowledged


@contextlib.contextmanager
def _guarded_import() -> Iterator[None]:
    with _importing:
        yield


# -- forks ----------------------------------------------------------------------------------------------------------------


def before_fork() -> None:
    """Be forked from as few threads as can be, and not while one of ours imports: the child would wait for that module."""
    _importing.acquire(timeout=1)
    if _shipper is not None:
        _shipper.stop(0.2)


def after_fork_in_parent() -> None:
    if _importing.locked():
        _importing.release()
    if _shipper is not None:
        _shipper.start()


def after_fork_in_child() -> None:
    global _importing, _making, _shipper
    _importing, _making = threading.Lock(), threading.Lock()
    _shipper = None
