"""Who writes: on SQLite one thread in groups (one commit for many units), on PostgreSQL a pool with a transaction per unit.

Two queues feed the SQLite writer, so that small requests never stand behind bulk work (SERVER-NOTES 4): a group takes the
waiting interactive units, at most one bulk unit, and closes after some milliseconds. A unit that fails is undone alone
(savepoint); when the failure has ended the transaction, or the commit fails, nothing of the group counts and every unit is run
again alone, once (SERVER-NOTES 3).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from riverrun.base.clock import now, to_micros
from riverrun.base.errors import UnavailableError
from riverrun.server.db.engine import Database
from riverrun.server.db.units import Caller, Shared, Transaction

#: a group takes no further unit after so many seconds of work
_GROUP_SECONDS = 0.005
_TRIES = 5
_POSTGRES_WRITERS = 8

Unit = Callable[[Transaction], Any]


class Writer(Protocol):
    """Runs units; the future is done when the unit's transaction is committed, or with what went wrong."""

    def submit(self, unit: Unit, caller: Caller, *, bulk: bool = False) -> "Future[Any]": ...

    def waiting(self) -> dict[str, int]:
        """Units that wait, by queue."""
        ...

    def close(self) -> None: ...


class _Job:
    __slots__ = ("caller", "error", "future", "result", "topics", "unit")

    def __init__(self, unit: Unit, caller: Caller) -> None:
        self.unit = unit
        self.caller = caller
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.error: BaseException | None = None
        self.topics: Iterable[str] = ()

    def settle(self) -> None:
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class GroupWriter:
    """The one writer of a SQLite store. `notify` is told the topics of what was committed."""

    def __init__(self, database: Database, shared: Shared, notify: Callable[[set[str]], None]) -> None:
        self._database = database
        self._shared = shared
        self._notify = notify
        self._interactive: deque[_Job] = deque()
        self._bulk: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._closing = False
        #: groups committed, and the units in them
        self.groups = 0
        self.units = 0
        self._thread = threading.Thread(target=self._work, name="riverrun-writer", daemon=True)
        self._thread.start()

    def submit(self, unit: Unit, caller: Caller, *, bulk: bool = False) -> "Future[Any]":
        job = _Job(unit, caller)
        with self._ready:
            if self._closing:
                raise UnavailableError("The server is stopping; it takes no more changes.")
            (self._bulk if bulk else self._interactive).append(job)
            self._ready.notify()
        return job.future

    def waiting(self) -> dict[str, int]:
        return {"interactive": len(self._interactive), "bulk": len(self._bulk)}

    def close(self) -> None:
        """Finish what was submitted, then end."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._interactive and not self._bulk:
                    if self._closing:
                        return
                    self._ready.wait()
            done = self._group()
            self.groups += 1
            self.units += len(done)
            topics = {topic for job in done if job.error is None for topic in job.topics}
            for job in done:
                job.settle()
            if topics:
                self._notify(topics)

    def _group(self) -> list[_Job]:
        """Run units until the group is full, then commit; returns them with their outcome."""
        jobs: list[_Job] = []
        deadline = time.monotonic() + _GROUP_SECONDS
        bulk_left = True
        try:
            with self._database.engine.begin() as connection:
                raw: Any = connection.connection
                cursor = raw.cursor()
                while (taken := self._next(bulk=bulk_left)) is not None:
                    job, was_bulk = taken
                    bulk_left = bulk_left and not was_bulk
                    jobs.append(job)
                    self._run(job, connection, cursor)
                    if not raw.in_transaction:
                        raise _GroupLost
                    if time.monotonic() >= deadline:
                        break
                cursor.close()
        except Exception as error:  # noqa: BLE001 - whatever ended the group, each unit is answered for itself below
            if not jobs and (taken := self._next(bulk=True)) is not None:
                jobs.append(taken[0])  # it did not even begin: somebody gets the answer, and the next one a new attempt
            if len(jobs) == 1:
                if jobs[0].error is None:
                    jobs[0].error = error
                return jobs
            for job in jobs:
                self._alone(job)
        return jobs

    def _next(self, *, bulk: bool) -> tuple[_Job, bool] | None:
        with self._ready:
            if self._interactive:
                return self._interactive.popleft(), False
            if bulk and self._bulk:
                return self._bulk.popleft(), True
        return None

    def _run(self, job: _Job, connection: Any, cursor: Any) -> None:
        transaction = Transaction(connection, cursor, self._shared, job.caller, to_micros(now()))
        cursor.execute("SAVEPOINT unit")
        try:
            job.result = job.unit(transaction)
            transaction.finish()
        except Exception as error:  # noqa: BLE001 - the unit's own answer; the next unit goes on
            job.error = error
            if connection.connection.in_transaction:
                cursor.execute("ROLLBACK TO unit")
                cursor.execute("RELEASE unit")
            return
        cursor.execute("RELEASE unit")
        job.error = None
        job.topics = transaction.topics

    def _alone(self, job: _Job) -> None:
        """Run a unit whose group was lost in a transaction of its own."""
        try:
            with self._database.engine.begin() as connection:
                self._run(job, connection, connection.connection.cursor())
                if job.error is not None:
                    raise job.error
        except Exception as error:  # noqa: BLE001 - the unit's own answer
            job.error = error


class _GroupLost(Exception):
    """The database has ended the transaction by itself."""


class PooledWriter:
    """Writes to PostgreSQL: every unit in a transaction of its own, tried again when another one was in its way."""

    def __init__(self, database: Database, shared: Shared, notify: Callable[[set[str]], None]) -> None:
        self._database = database
        self._shared = shared
        self._notify = notify
        self._pool = ThreadPoolExecutor(_POSTGRES_WRITERS, thread_name_prefix="riverrun-writer")
        #: bulk work never takes the last connections
        self._bulk = ThreadPoolExecutor(2, thread_name_prefix="riverrun-bulk")

    def submit(self, unit: Unit, caller: Caller, *, bulk: bool = False) -> "Future[Any]":
        try:
            return (self._bulk if bulk else self._pool).submit(self._run, unit, caller)
        except RuntimeError as error:
            raise UnavailableError("The server is stopping; it takes no more changes.") from error

    def waiting(self) -> dict[str, int]:
        return {"interactive": self._pool._work_queue.qsize(), "bulk": self._bulk._work_queue.qsize()}

    def close(self) -> None:
        """Finish what was submitted, then end."""
        self._pool.shutdown()
        self._bulk.shutdown()

    def _run(self, unit: Unit, caller: Caller) -> Any:
        for tries in range(1, _TRIES + 1):
            try:
                with self._database.engine.begin() as connection:
                    cursor = connection.connection.cursor()
                    transaction = Transaction(connection, cursor, self._shared, caller, to_micros(now()))
                    result = unit(transaction)
                    transaction.finish()
            except Exception as error:
                cause = getattr(error, "orig", None) or error
                if tries == _TRIES or not self._database.verbs.is_transient(cause, new=True):
                    raise
            else:
                if transaction.topics:
                    self._notify(transaction.topics)
                return result
        raise AssertionError("unreachable")
