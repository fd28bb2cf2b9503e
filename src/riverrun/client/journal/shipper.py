"""Ships the journal of this process to the server, from a thread of its own; nobody waits for it but who asks to.

It reads the spool behind the writer, posts what is new (records of flow runs' states at once, others gathered for a moment)
and frees what the server has acknowledged. While the server is away it tries again for ever, with growing pauses. A record
is sent until it is acknowledged, so the server sees some of them twice and tells them apart by (writer, number).
"""

import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from riverrun.client.journal.batches import MOST_BYTES, MOST_RECORDS, Refusal, expected_by, post_batch
from riverrun.client.journal.line import Line, LineError, Target
from riverrun.client.journal.tail import Tail
from riverrun.client.journal.writer import Journal
from riverrun.wire.journal import LostRecord, encode
from riverrun.wire.presence import Presence
from riverrun.wire.spool import Spool

#: seconds that records wait for company
GATHERING: Final = 0.05
#: the same where a flow run changed its state: a short flow is one request
HURRYING: Final = 0.003
#: seconds between two attempts while the server is away: at most, growing
SHORTEST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
#: seconds between two notes on the disk of what was acknowledged
_BETWEEN_RELEASES: Final = 1.0


class Listener(Protocol):
    """Who wants to know what the server said, and when nothing is to be done."""

    def hear(self, answer: Presence) -> None: ...
    def idle(self) -> None: ...


class Shipper:
    """The thread that ships one journal. Made and kept by `client.shipping`."""

    def __init__(
        self, journal: Journal, target: Target, listener: Listener, importing: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self.journal = journal
        self.target = target
        #: looks for the server's address anew when it does not answer
        self.find: Callable[[], Target | None] = lambda: self.target
        self._listener = listener
        self._line = Line(importing)
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None
        self._tail: Tail | None = None
        self._told = threading.Condition(threading.Lock())
        self.acked = 0
        self._released_at = 0.0
        self._hurried = False
        #: how many wait in `settle`
        self._waiting = 0
        self._stopping = False
        self._finishing = False
        self.finished = False
        self._limit = MOST_RECORDS
        self._failures = 0
        self._complained = False

    # -- from other threads ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, or go on after `stop`."""
        if self._thread is not None:
            return
        self._stopping = False
        self.journal.on_news = self.look_up
        self._thread = thread = threading.Thread(target=self._run, name="riverrun-shipper", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending: the spool stays for others
            self._thread = None

    def hurry(self) -> None:
        """A flow run changed its state: send now."""
        self._hurried = True
        self.look_up()

    def settle(self, timeout: float) -> bool:
        """Wait until the server has everything appended so far; False if it has not after `timeout` seconds."""
        last = self.journal.settled_seq()
        if self.acked >= last:
            return True
        if timeout <= 0:
            return False
        self._waiting += 1
        try:
            self.look_up()
            with self._told:
                self._told.wait_for(lambda: self.acked >= last or self._thread is None, timeout)
                return self.acked >= last
        finally:
            self._waiting -= 1

    def finish(self, timeout: float) -> int:
        """Ship the rest and tell the server that nothing follows; the last record that it has then."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._finishing = True
            self.look_up()
            if thread.is_alive():
                thread.join(timeout)
        self.stop(0.1)
        return self.acked

    def stop(self, timeout: float) -> None:
        """End the thread; what is not acknowledged stays in the spool."""
        thread, self._thread = self._thread, None
        self._stopping = True
        self.journal.on_news = None
        with self._told:
            self._told.notify_all()
        if thread is None or thread is threading.current_thread():
            return
        self.look_up()
        if thread.is_alive():
            thread.join(timeout)

    def look_up(self) -> None:
        """Look for something to do. Never blocks."""
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it rings already

    # -- the thread --------------------------------------------------------------------------------------------------

    def _mine(self) -> bool:
        return not self._stopping and self._thread is threading.current_thread()

    def _run(self) -> None:
        try:
            while self._mine():
                try:
                    self._pass()
                except (LineError, Refusal):
                    self._pause()
                except Exception:  # noqa: BLE001 - edge of the thread: the journal is shipped whatever happened once
                    self._complain_of_itself()
                    self._pause()
                if self.finished:
                    break
        finally:
            if self._tail is not None:
                self._tail.close()
                self._tail = None
            self._line.close()

    def _pass(self) -> None:
        """Wait for news, gather, ship."""
        if not self._finishing and not self._has_news() and not self._arm():
            self._release()
            self._listener.idle()
            self._bell.acquire()
        if not self._mine():
            return
        if not self._finishing:
            self._gather()
        while self._mine() and (self._has_news() or self._finishing):
            batch = self._read()
            if not batch and not self._finishing:
                return  # what is new waits in memory: the disk takes none
            closing = self._finishing and (not batch or batch[-1][0] >= self.journal.settled_seq())
            if self._ship(batch, closed=closing) and closing:
                self.finished = True
                return
            if batch and len(batch) < self._limit and not self._finishing:
                return

    def _gather(self) -> None:
        until = time.monotonic() + GATHERING
        while not self._finishing and not self._waiting and self._mine():
            if self._hurried:
                self._hurried = False
                until = min(until, time.monotonic() + HURRYING)
            left = until - time.monotonic()
            if left <= 0:
                return
            self._bell.acquire(timeout=left)

    def _has_news(self) -> bool:
        return self.journal.last_seq() > self.acked

    def _arm(self) -> bool:
        """Have the next append ring; True if there is one already."""
        self.journal.ring_at_next()
        return self._has_news()

    def _read(self) -> list[tuple[int, bytes]]:
        tail = self._tail
        if tail is None:
            self.acked = max(self.acked, Spool(self.journal.path).released)
            tail = self._tail = Tail(self.journal.path, self.acked)
        elif tail.last != self.acked:
            tail.go_to(self.acked)
        return tail.read(self.journal.last_seq(), self._limit, MOST_BYTES)

    def _ship(self, batch: list[tuple[int, bytes]], *, closed: bool) -> bool:
        """Post a batch; when it can't be, wait a while. Whether it is acknowledged."""
        try:
            answer = post_batch(self._line, self.target, self.journal.writer, batch, closed=closed)
        except LineError as error:
            self._say_once(f"cannot reach the server at {self.target.url}: {error}")
            self._pause()
        except Refusal as refusal:
            self._take_refusal(refusal, batch)
        else:
            self._failures = 0
            self._complained = False
            self._limit = MOST_RECORDS
            self._acknowledge(max(answer.next_seq - 1, self.acked))
            self._listener.hear(answer)
            return True
        return False

    def _acknowledge(self, upto: int) -> None:
        with self._told:
            self.acked = upto
            self._told.notify_all()
        if time.monotonic() - self._released_at > _BETWEEN_RELEASES:
            self._release()

    def _release(self) -> None:
        """Free the part of the spool that the server has."""
        if self.acked and self._released_at >= 0 and not self._finishing:
            self._released_at = time.monotonic()
            spool = Spool(self.journal.path)
            if self.acked > spool.released:
                with contextlib.suppress(OSError):  # a full disk: freed later
                    spool.release(self.acked)

    def _take_refusal(self, refusal: Refusal, batch: list[tuple[int, bytes]]) -> None:
        """Do what the answer asks for: begin elsewhere, send less, or wait."""
        if refusal.status == 409 and (expected := expected_by(refusal.body)) is not None:
            if self._begin_at(expected):
                return
        elif refusal.status in (413, 422) and len(batch) > 1:
            self._limit = max(len(batch) // 2, 1)
            return
        elif refusal.status in (413, 422) and batch:
            # one record that the server never takes must not keep back those that follow
            seq = batch[0][0]
            lost = [(seq, encode(LostRecord(seq, seq, f"the server refused it: {refusal}")))]
            post_batch(self._line, self.target, self.journal.writer, lost, closed=False)
            self._acknowledge(seq)
            return
        self._say_once(f"has a server at {self.target.url} that does not take its records: {refusal}")
        self._pause()

    def _begin_at(self, expected: int) -> bool:
        """Go on where the server says; False if that makes no difference."""
        if expected == self.acked + 1:
            return False
        first = Spool(self.journal.path).released + 1
        if expected < first:
            # a store that was emptied or put back: what it asks for is freed already
            why = "they were acknowledged by a store that has lost them"
            lost = [(first - 1, encode(LostRecord(expected, first - 1, why)))]
            post_batch(self._line, self.target, self.journal.writer, lost, closed=False)
            expected = first
        self._acknowledge(expected - 1)
        return True

    def _pause(self) -> None:
        """Wait before the next attempt: longer each time, and not in step with others."""
        self._failures += 1
        longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(self._failures, 10))
        until = time.monotonic() + random.uniform(0.05, longest)  # noqa: S311 - spreads, guards nothing
        if self._finishing:
            until = min(until, time.monotonic() + 0.2)
        finishing = self._finishing
        while self._mine() and self._finishing == finishing and (left := until - time.monotonic()) > 0:
            self._bell.acquire(timeout=left)
        found = self.find()
        if found is not None:
            self.target = found
        elif self._finishing and self.target.found:
            self._stopping = True  # this machine's server is gone: whoever reads next takes the spool in

    def _say_once(self, what: str) -> None:
        if self._complained or self._failures < 2:  # a server that starts anew is not worth a word
            return
        self._complained = True
        # OSError, ValueError, AttributeError: stderr is full, closed or not there
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(
                f"riverrun {what}. Flows go on; their records wait in {self.journal.options.directory} and are sent "
                "when it takes them.\n"
            )

    def _complain_of_itself(self) -> None:
        if not self._complained and sys.stderr is not None:
            import traceback

            self._complained = True
            traceback.print_exc()
