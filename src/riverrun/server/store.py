"""The open store as the server uses it: readers in a pool of threads, the writer, and the hub that commits wake.

Nothing may wait in a reader's thread: long polls, sockets and streams are async and come here for each look.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from riverrun.base.clock import now, to_micros
from riverrun.server.db.engine import Database
from riverrun.server.db.units import SYSTEM, Caller, Reader, Shared, Transaction
from riverrun.server.db.writer import GroupWriter, PooledWriter, Writer
from riverrun.server.hub import Hub

READERS = 16
T = TypeVar("T")


class Store:
    """Reads and writes units. Opened by the composition root; `close` finishes what was acknowledged."""

    def __init__(self, database: Database, hub: Hub | None = None, vault: Any = None) -> None:
        self.database = database
        self.hub = hub or Hub()
        #: numbers for the metrics, by name; changed on the event loop only
        self.counters: Counter[str] = Counter()
        self.shared = Shared(verbs=database.verbs, vault=vault)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="riverrun-reader")
        kind = GroupWriter if database.path is not None else PooledWriter
        self.writer: Writer = kind(database, self.shared, self.hub.notify)

    async def read(self, unit: Callable[[Reader], T], caller: Caller = SYSTEM) -> T:
        """Run a reading unit in the pool, for a request: none of its statements may take long (`db.watch`)."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_briefly, unit, caller)

    def _read_briefly(self, unit: Callable[[Reader], T], caller: Caller) -> T:
        with self.database.read_briefly() as connection:
            reader = Reader(connection, self.shared, caller, to_micros(now()))
            if self.database.path is not None:
                reader.watchdog = self.database.watchdog
            return unit(reader)

    def read_now(self, unit: Callable[[Reader], T], caller: Caller = SYSTEM) -> T:
        """Run a reading unit in this thread."""
        with self.database.read() as connection:
            return unit(Reader(connection, self.shared, caller, to_micros(now())))

    async def write(self, unit: Callable[[Transaction], T], caller: Caller = SYSTEM, *, bulk: bool = False) -> T:
        """Have a writing unit done; returns when it is committed. `bulk` units stand behind all others.

        A unit is done even when nobody waits for it any more.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()

        def done(outcome: "Future[Any]") -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, waiter, outcome)

        self.writer.submit(unit, caller, bulk=bulk).add_done_callback(done)
        return await waiter

    def write_now(self, unit: Callable[[Transaction], T], caller: Caller = SYSTEM, *, bulk: bool = False) -> T:
        """The same for threads; never call it on the event loop or inside a unit."""
        result: T = self.writer.submit(unit, caller, bulk=bulk).result()
        return result

    def waiting(self) -> dict[str, int]:
        """Units that wait for the writer, by queue."""
        return self.writer.waiting()

    def close(self) -> None:
        """Finish what was submitted and let the threads end. The database is its opener's to close."""
        self.writer.close()
        self._readers.shutdown()


def _settle(waiter: "asyncio.Future[Any]", outcome: "Future[Any]") -> None:
    if waiter.done():
        return
    error = outcome.exception()
    if error is None:
        waiter.set_result(outcome.result())
    else:
        waiter.set_exception(error)
