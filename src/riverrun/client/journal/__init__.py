"""The journal of this process: everything that runs here and is to be remembered is appended to it.

One writer per process, opened by the first record and known by a random id; a forked child opens its own. Functions here work
on whatever sink is in use: the process's spool on disk, or what `use` put in its place. Where there is a server, `shipping`
sends it what was appended; else whoever reads takes it in (`wire.spool`, `server.ingest`). Must stay light to import.
"""

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from riverrun.base.config import settings
from riverrun.client import presence
from riverrun.client.journal import shipping
from riverrun.client.journal.encoding import encode_anyway
from riverrun.client.journal.writer import Journal, Options
from riverrun.wire.journal import JournalRecord, decode, encode

__all__ = [
    "Journal",
    "MemoryJournal",
    "Options",
    "Sink",
    "append",
    "append_all",
    "close",
    "current_writer",
    "flush",
    "follow_settings",
    "hurry",
    "on_long_chain",
    "open_writer",
    "settle",
    "use",
]


class Sink(Protocol):
    """Where records go. May be called from any thread."""

    def append(self, record: JournalRecord) -> None: ...
    def append_all(self, records: Iterable[JournalRecord]) -> None: ...
    def flush(self, timeout: float | None = None) -> bool: ...


class MemoryJournal:
    """Records in a list, for tests: no disk, no thread.

    They are kept as a reader of the journal would get them. One of the wrong shape, which a reader would have to set
    aside, raises `msgspec.ValidationError` here, so that tests find it.
    """

    def __init__(self) -> None:
        self.records: list[JournalRecord] = []

    def append(self, record: JournalRecord) -> None:
        try:
            payload = encode(record)
        except Exception:  # noqa: BLE001 - what has no form is told by msgspec in many ways; the journal keeps it too
            payload = encode_anyway(record)
        self.records.append(decode(payload))

    def append_all(self, records: Iterable[JournalRecord]) -> None:
        for record in records:
            self.append(record)

    def flush(self, timeout: float | None = None) -> bool:
        return True


def _ingest_in_background() -> object:
    from riverrun.client.local import ingest_in_background

    return ingest_in_background()


#: Called (from a background thread) when the spool grows long and no server takes it over. May be replaced.
on_long_chain: Callable[[], object] = _ingest_in_background

_S = TypeVar("_S", bound=Sink)
_opening = threading.RLock()
_journal: Journal | None = None


class _Process:
    """The sink of a process that has not written yet: opens the journal and puts it in its own place."""

    def append(self, record: JournalRecord) -> None:
        _open().append(record)

    def append_all(self, records: Iterable[JournalRecord]) -> None:
        _open().append_all(records)

    def flush(self, timeout: float | None = None) -> bool:
        return _journal is None or _journal.flush(timeout)


_process: Sink = _Process()
_sink: Sink = _process


def append(record: JournalRecord) -> None:
    """Write a record down. When this returns, a killed process does not lose it.

    Never raises for a value that cannot be encoded (it is replaced by the nearest that can) nor for a disk that is full or
    cannot be written (records wait in memory and are written later).
    """
    _sink.append(record)


def append_all(records: Iterable[JournalRecord]) -> None:
    """Write records down next to each other; otherwise as `append`."""
    _sink.append_all(records)


def flush(timeout: float | None = None) -> bool:
    """Have everything appended so far in the file and synced to the disk.

    Returns False if the disk refuses or takes longer than `timeout` seconds; nothing is lost by that as long as the process lives.
    """
    return _sink.flush(timeout)


def current_writer() -> bytes | None:
    """The 16-byte id of this process's writer, None as long as it has not written."""
    return None if _journal is None else _journal.writer


def open_writer() -> bytes:
    """The id of this process's writer; opens the journal if nothing was written yet."""
    return _open().writer


def follow_settings() -> None:
    """A run begins: write where the settings say by now, and ship it to the server that they name or that has come.

    A journal that was written elsewhere, or shipped to another server, is closed; the next record opens one.
    """
    journal = _journal
    if journal is None:
        return
    if journal.options.directory != settings().journal_dir or shipping.is_elsewhere():
        close()
    elif _sink is journal:
        shipping.ship(journal)


#: a flow run changed its state: the server is to learn it at once
hurry = shipping.hurry


def settle(timeout: float = 1.0) -> bool:
    """Wait until the server knows everything that this process has appended; False if it does not in time.

    True where there is no server. For those who are about to ask the server about runs of this process.
    """
    tell = getattr(_sink, "tell_server", None)  # a journal in memory may have a server of its own to tell
    if tell is not None:
        return bool(tell(timeout))
    _look_for_server()
    return shipping.settle(timeout)


def close() -> None:
    """Write and sync everything and let the spool go. A later record opens a new one, under a new writer id."""
    global _journal, _sink
    with _opening:
        journal, _journal = _journal, None
        if _sink is journal:
            _sink = _process
    if journal is not None:
        journal.close(shipping.close(journal))


@contextlib.contextmanager
def use(sink: _S) -> Iterator[_S]:
    """Send the records of the whole process, all threads, to another sink for a while."""
    global _sink
    former, _sink = _sink, sink
    try:
        yield sink
    finally:
        # The journal that was in use may have been closed, or left behind by a fork, meanwhile.
        _sink = _process if isinstance(former, Journal) and former is not _journal else former


def _open() -> Journal:
    global _journal, _sink
    with _opening:
        if _journal is None:
            now = settings()
            _journal = Journal(
                Options(
                    directory=now.journal_dir,
                    segment_bytes=now.journal_segment_bytes,
                    ingest_bytes=now.journal_ingest_bytes,
                    max_bytes=now.journal_max_bytes,
                    memory_bytes=now.journal_memory_bytes,
                    on_long_chain=_long_chain,
                    on_pass=_look_for_server,
                )
            )
            shipping.ship(_journal)
        if _sink is _process:
            _sink = _journal
        return _journal


def _look_for_server() -> None:
    """From the keeper: a server may have come while a long run goes on."""
    journal = _journal
    if journal is not None and not shipping.is_shipping():
        with _opening:  # modules may be imported for it, so no fork meanwhile
            shipping.ship(journal)


_hook_failed = False


def _long_chain() -> None:
    global _hook_failed
    if shipping.is_shipping():
        return
    try:
        on_long_chain()
    except Exception as error:  # noqa: BLE001 - edge: an ingestion that fails to start must not end the journal's keeper
        if not _hook_failed and sys.stderr is not None:
            _hook_failed = True
            sys.stderr.write(
                f"riverrun could not start the ingestion of its journal in {settings().journal_dir}: "
                f"{type(error).__name__}: {error}. The journal is kept; any riverrun command that reads ingests it.\n"
            )


_holds_opening = False


def _before_fork() -> None:
    global _holds_opening
    # A thread that is opening the journal imports modules for it, and a child that is forked during an import would wait
    # for that module for ever. It is given its time to finish.
    _holds_opening = _opening.acquire(timeout=1)
    presence.before_fork()
    shipping.before_fork()
    if _journal is not None:
        _journal.before_fork()


def _after_fork_in_parent() -> None:
    global _holds_opening
    shipping.after_fork_in_parent()
    if _holds_opening:
        _holds_opening = False
        _opening.release()


def _after_fork_in_child() -> None:
    global _journal, _opening, _sink
    shipping.after_fork_in_child()
    presence.after_fork_in_child()
    journal, _journal, _opening = _journal, None, threading.RLock()
    if journal is not None:
        journal.abandon()
        if _sink is journal:
            _sink = _process


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(close)
