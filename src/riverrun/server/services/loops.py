"""Runs the loops: starts and stops them, hands each to one replica (leader rows on PostgreSQL), and keeps how they fare.

A loop that fails is tried again after a second, then two, four ... at most its interval or 30 s; `/ready` says so after three
failures in a row. On SQLite there is one process, so no row is needed.
"""

import asyncio
import logging
import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.clock import from_micros, now, to_micros
from riverrun.base.ids import uuid7
from riverrun.server.db.tables import loop as loop_table
from riverrun.server.db.units import Reader, Transaction
from riverrun.server.services.contract import Loop
from riverrun.server.store import Store

log = logging.getLogger("riverrun.server.services")

#: how long a replica leads without renewing, and how often it renews
LEASE_SECONDS = 10.0
RENEW_SECONDS = 3.0
#: failures in a row after which the server is not ready
FAILURES = 3
#: seconds after the first of them
FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_THREADS = 4
#: seconds from one pass to one that is due by the clock: what falls due meanwhile is done together
_TOGETHER = 0.5

_clock = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)
_here = (loop_table.c.name == sa.bindparam("a_name"), loop_table.c.holder == sa.bindparam("a_holder"))
_lead = (
    sa.update(loop_table)
    .where(
        loop_table.c.name == sa.bindparam("a_name"),
        sa.or_(loop_table.c.holder == sa.bindparam("a_holder"), loop_table.c.lease_until < _clock),
    )
    .values(
        epoch=loop_table.c.epoch + sa.case((loop_table.c.holder == sa.bindparam("a_holder"), 0), else_=1),
        holder=sa.bindparam("a_holder"),
        lease_until=_clock + int(LEASE_SECONDS * 1_000_000),
    )
)
_report = (
    sa.update(loop_table)
    .where(*_here)
    .values(last_ok=sa.bindparam("ok"), failures=sa.bindparam("failed"), error=sa.bindparam("said"))
)
_resign = sa.update(loop_table).where(*_here).values(lease_until=0)


class Health(Struct):
    """How a loop fares: the last pass that went well, failures since then, what the last one said."""

    passes: int = 0
    done: int = 0
    last_ok: int | None = None
    failures: int = 0
    error: str | None = None
    seconds: float = 0.0


class Services:
    """The loops of this process. `start` and `stop` may be called twice; `stop` returns when every pass has ended."""

    def __init__(self, store: Store, loops: list[Loop]) -> None:
        self.store = store
        self.loops = loops
        self.health = {loop.name: Health() for loop in loops}
        #: whoever leads says so by this name
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid7().hex[-8:]}"
        self._shared = store.database.path is None
        self._led: set[str] = set()
        self._led_until = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._led_changed = asyncio.Event()
        self._threads: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Start every loop, each after a random part of its interval."""
        if self._tasks:
            return
        self._stopping.clear()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="riverrun-loop")
        if self._shared:
            await self.store.write(self._make_rows)
            await self._renew()
            self._tasks.append(asyncio.create_task(self._keep_leading(), name="loops: leader"))
        self._tasks += [asyncio.create_task(self._run(loop), name=f"loops: {loop.name}") for loop in self.loops]

    async def stop(self) -> None:
        """Let every pass under way end, and give the lead away."""
        self._stopping.set()
        tasks, self._tasks = self._tasks, []
        await asyncio.gather(*tasks)
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        led, self._led = self._led, set()
        if led:
            try:
                await self.store.write(partial(self._give_away, led))
            except self.store.database.errors as error:
                log.warning("The lead of the loops was not given away, it ends by itself: %s", error)

    # -- one loop -----------------------------------------------------------------------------------------------------------

    async def _run(self, loop: Loop) -> None:
        pause = random.uniform(0.0, min(loop.interval, 1.0))  # noqa: S311 - so that loops and replicas do not beat as one
        with self.store.hub.listen(*loop.topics) as listener:
            while not await self._stopped(pause, listener if loop.topics else None):
                started = time.monotonic()
                if not self.leads(loop):
                    pause = min(loop.interval, 1.0)
                    continue
                wanted = await self._pass(loop)
                health = self.health[loop.name]
                if health.failures:
                    longest = min(max(1.0, loop.interval), _LONGEST_PAUSE)
                    pause = min(FIRST_PAUSE * 2.0 ** (health.failures - 1), longest)
                else:
                    pause = max(0.0, min(wanted, loop.interval - (time.monotonic() - started)))

    async def _stopped(self, seconds: float, listener: Any) -> bool:
        """Wait for the next pass; True when there is none any more."""
        waits = [asyncio.ensure_future(self._stopping.wait())]
        if listener is not None:
            waits.append(asyncio.ensure_future(listener.wait(seconds)))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return self._stopping.is_set()

    async def _pass(self, loop: Loop) -> float:
        """Do a pass; in how many seconds the loop wants the next one."""
        health = self.health[loop.name]
        started = time.monotonic()
        assert self._threads is not None
        try:
            run = partial(_once, loop, self.store)
            done, wanted = await asyncio.get_running_loop().run_in_executor(self._threads, run)
        except Exception as error:  # the edge of a service: the next pass tries again
            health.failures += 1
            health.error = f"{type(error).__name__}: {error}"[:500]
            level = logging.WARNING if health.failures < FAILURES else logging.ERROR
            # a database that is away says where it is missing by itself; anything else is traced
            trace = None if isinstance(error, sa.exc.OperationalError) else error
            log.log(
                level, "The loop %s failed (%d in a row): %s", loop.name, health.failures, health.error, exc_info=trace
            )
            return loop.interval
        finally:
            health.passes += 1
            health.seconds += time.monotonic() - started
        health.done += done
        health.last_ok, health.failures, health.error = to_micros(now()), 0, None
        return wanted

    # -- who leads ----------------------------------------------------------------------------------------------------------

    def leads(self, loop: Loop) -> bool:
        """Whether this process is to run the loop now."""
        if not self._shared or not loop.one_for_all:
            return True
        return loop.name in self._led and time.monotonic() < self._led_until

    async def _keep_leading(self) -> None:
        while not await self._stopped(RENEW_SECONDS * random.uniform(0.8, 1.0), None):  # noqa: S311
            try:
                await self._renew()
            except Exception as error:  # noqa: BLE001 - the edge of a service; leading ends by itself meanwhile
                log.warning("The lead of the loops could not be renewed: %s", error)

    async def _renew(self) -> None:
        before = time.monotonic()
        self._led = await self.store.write(self._take_lead)
        self._led_until = before + LEASE_SECONDS - 1.0

    def _make_rows(self, transaction: Transaction) -> None:
        rows = [(loop.name, "", 0, 0, 0) for loop in self.loops if loop.one_for_all]
        columns = ("name", "holder", "epoch", "lease_until", "failures")
        if rows:
            transaction.verbs.insert_missing(transaction.cursor, loop_table, columns, rows)

    def _take_lead(self, transaction: Transaction) -> set[str]:
        led = set()
        for loop in self.loops:
            if not loop.one_for_all:
                continue
            values: dict[str, Any] = {"a_name": loop.name, "a_holder": self.holder}
            if transaction.execute(_lead, values).rowcount:
                led.add(loop.name)
                health = self.health[loop.name]
                if health.passes:
                    said = {"ok": health.last_ok, "failed": health.failures, "said": health.error}
                    transaction.execute(_report, values | said)
        return led

    def _give_away(self, led: set[str], transaction: Transaction) -> None:
        for name in led:
            transaction.execute(_resign, {"a_name": name, "a_holder": self.holder})


def _once(loop: Loop, store: Store) -> tuple[int, float]:
    """A pass: how much it did, and in how many seconds the next one is wanted."""
    done = loop.run_once(store, to_micros(now()))
    if loop.again and done > 0:
        return done, 0.0
    due = None if loop.due is None else loop.due(store)
    return done, loop.interval if due is None else max(_TOGETHER, (due - to_micros(now())) / 1_000_000)


def reasons_against(reader: Reader, services: Services | None, loops: list[Loop]) -> list[str]:
    """What is wrong with the loops, in words; of those that other replicas lead the database tells."""
    told: dict[str, tuple[int, str | None]] = {}
    if reader.connection.dialect.name != "sqlite":
        told = {row.name: (row.failures, row.error) for row in reader.rows(sa.select(loop_table))}
    if services is not None:
        led = {loop.name for loop in services.loops if services.leads(loop)}
        told |= {name: (health.failures, health.error) for name, health in services.health.items() if name in led}
    known = {loop.name for loop in loops}
    return [
        f"The loop {name} failed {failures} times in a row: {error}"
        for name, (failures, error) in sorted(told.items())
        if name in known and failures >= FAILURES
    ]


def ago(micros: int | None) -> str | None:
    """An instant for people and documents."""
    return None if micros is None else from_micros(micros).isoformat()
