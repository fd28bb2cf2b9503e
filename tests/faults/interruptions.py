"""Run as a process: signals at random instants into flows of every kind, and what is left after each of them.

`python -m tests.faults.interruptions SEED ROUNDS KIND JOURNAL` prints a JSON report. One strike a round, sent by a timer at a random
moment of the scenario's life. After every round: each run on record has its end, the exception outside is the signal's or
the scenario's own, and nothing of the round is left in the process.
"""

import asyncio
import faulthandler
import gc
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from riverrun import flow, task
from riverrun.base.config import settings
from riverrun.base.errors import TerminationSignal
from riverrun.base.interrupts import gate
from riverrun.client import journal
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.futures import wait
from riverrun.transactions import transaction
from riverrun.wire.journal import FlowRunRecord, StateRecord, TaskRunRecord, decode
from riverrun.wire.spool import spools
from riverrun.wire.states import TERMINAL_STATES, TYPE_CODES

FINAL = {TYPE_CODES[kind] for kind in TERMINAL_STATES}
NOT_READY = "NotReady"


class Expected(Exception):
    """What a scenario raises itself."""


def nothing(*_args: object) -> None:
    time.sleep(0)


@task
def leaf(x: int = 0) -> int:
    return x + 1


@task(on_completion=[nothing], on_running=[nothing], log_prints=True)
def middle(x: int = 0) -> int:
    print("in the middle", x)
    return leaf(leaf(x))


@task
def nap(seconds: float = 0.0005) -> float:
    time.sleep(seconds)
    return seconds


@task(retries=3, retry_delay_seconds=0.0005)
def flaky(tries: list[int]) -> int:
    tries.append(1)
    if len(tries) < 3:
        raise Expected
    return len(tries)


@task
def failing() -> None:
    raise Expected


@task(on_rollback=[nothing], on_commit=[nothing])
def undoable(x: int) -> int:
    return x


@task(persist_result=True, result_storage_key="kept-{parameters[x]}", refresh_cache=True)
def kept(x: int) -> int:
    return x


@task(timeout_seconds=5)
def limited(x: int = 0) -> int:
    return leaf(x)


@task
def numbers(n: int) -> Any:
    for x in range(n):
        yield leaf(x)


@flow
def inner(x: int = 1) -> int:
    return middle(x)


@flow(on_completion=[nothing], on_crashed=[nothing], on_failure=[nothing])
def direct() -> int:
    return sum(middle(x) for x in range(3))


@flow
def retried() -> int:
    return flaky([])


@flow(retries=2, retry_delay_seconds=0.0005)
def flow_retried() -> None:
    leaf()
    failing()


@flow
def submitted() -> int:
    first = [nap.submit() for _ in range(4)]
    second = leaf.submit(1, wait_for=first)
    wait(first)
    return int(second.result())


@flow
def mapped() -> list[Any]:
    return middle.map([1, 2, 3, 4]).result()


@flow
def waits_upstream() -> int:
    return leaf(nap.submit())  # type: ignore[arg-type]


@flow
def rolled_back() -> None:
    with transaction():
        undoable(1)
        with transaction():
            undoable(2)
        leaf()
        raise Expected


@flow
def persisted() -> int:
    return kept(1) + kept(2)


@flow
def generators() -> int:
    total = 0
    for a, b in zip(numbers(3), numbers(3), strict=True):
        total += leaf(a + b)
    for first in numbers(3):
        total += first
        break
    return total


@flow
def limits() -> int:
    return limited(limited(1))


@flow(timeout_seconds=5)
def limited_flow() -> int:
    return limited(leaf())


@flow
def subflows() -> int:
    return inner(inner())


@flow
def catches() -> int:
    try:
        failing()
    except Expected:
        pass
    try:
        nap()
    except BaseException:  # noqa: BLE001 - a user who swallows everything
        leaf()
    return leaf()


def alone() -> int:
    return middle(1)


def alone_generator() -> list[int]:
    return list(numbers(3))


@flow
def generator_flow() -> Any:
    yield leaf()
    nap()
    yield leaf()


def consumed_flow() -> list[int]:
    return list(generator_flow())


@task
def task_with_transaction() -> None:
    with transaction():
        undoable(1)
        undoable(2)


SYNC: list[Callable[[], Any]] = [
    direct, retried, flow_retried, submitted, mapped, waits_upstream, rolled_back, persisted, generators, subflows, catches,
    alone, alone_generator, consumed_flow, task_with_transaction,
]  # fmt: skip

#: these use the alarm themselves, so the strike is timed by the process's CPU time
LIMITED: list[Callable[[], Any]] = [limits, limited_flow]


@task
async def aleaf(x: int = 0) -> int:
    await asyncio.sleep(0)
    return x + 1


@task(on_completion=[nothing], log_prints=True)
async def amiddle(x: int = 0) -> int:
    print("in the middle", x)
    return await aleaf(await aleaf(x)) + leaf(x)


@task(retries=3, retry_delay_seconds=0.0005)
async def aflaky(tries: list[int]) -> int:
    tries.append(1)
    if len(tries) < 3:
        raise Expected
    return len(tries)


@task(timeout_seconds=5)
async def alimited() -> int:
    return await aleaf()


@task
async def anumbers(n: int) -> Any:
    for x in range(n):
        yield await aleaf(x)


@flow
async def adirect() -> int:
    return await amiddle(await amiddle(1))


@flow
async def agathered() -> list[int]:
    return list(await asyncio.gather(*(amiddle(x) for x in range(4))))


@flow
async def aretried() -> int:
    return await aflaky([])


@flow
async def asubmitted() -> int:
    futures = [aleaf.submit(x) for x in range(3)]
    return sum([await future for future in futures]) + leaf.submit().result()  # type: ignore[misc]


@flow
async def agenerators() -> int:
    total = 0
    async for x in anumbers(3):
        total += x
    async for first in anumbers(3):
        total += first
        break
    return total


@flow
async def alimits() -> int:
    return await alimited()


@flow
async def asubflows() -> int:
    return await adirect() + direct()


@flow
async def arolled_back() -> None:
    from riverrun.transactions import atransaction

    async with atransaction():
        await aundoable(1)
        await aleaf()
        raise Expected


@task(on_rollback=[nothing])
async def aundoable(x: int) -> int:
    return x


@task(persist_result=True, result_storage_key="akept-{parameters[x]}", refresh_cache=True)
async def akept(x: int) -> int:
    return x


@flow
async def apersisted() -> int:
    return await akept(1)


async def together() -> list[int]:
    return list(await asyncio.gather(adirect(), amiddle(1), asubflows()))


async def awaited_alone() -> int:
    return await amiddle(1)


ASYNC: list[Callable[[], Any]] = [
    adirect, agathered, aretried, asubmitted, agenerators, alimits, asubflows, arolled_back, apersisted, together,
    awaited_alone,
]  # fmt: skip


#: instead of a timer of the system
KILLER = -1


class Struck:
    """SIGTERM's handler: it only notes; what ends the run is riverrun's."""

    count = 0

    def __call__(self, _signum: int, _frame: object) -> None:
        self.count += 1


class Rounds:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.term = Struck()
        self.signal = signal.SIGINT
        self.fired = False
        self.faults: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.durations: dict[str, float] = {}

    def on_timer(self, _signum: int, _frame: object) -> None:
        self.fired = True
        signal.raise_signal(self.signal)

    def unraisable(self, event: Any) -> None:
        # a signal that strikes in a callback of the garbage collector is dropped by Python itself
        if not isinstance(event.exc_value, KeyboardInterrupt | TerminationSignal):
            self.faults.append(f"unraisable: {event.exc_value!r} in {event.object!r}")

    def run(self, call: Callable[[], Any], timer: int, delay: float, *, on_loop: bool) -> BaseException | None:
        self.fired = False
        outcome: BaseException | None = None
        try:
            if timer == KILLER:
                self.killer(call, delay)
            elif on_loop:
                asyncio.run(self.run_on_loop(call, timer, delay))
            else:
                signal.setitimer(timer, delay)
                call()
                signal.setitimer(timer, 0)
        except BaseException as error:  # noqa: BLE001 - the outcome
            outcome = error
        try:
            if timer != KILLER:
                signal.setitimer(timer, 0)
        except BaseException as error:  # noqa: BLE001 - it struck while it was switched off; it strikes only once
            outcome = outcome or error
        return outcome

    def killer(self, call: Callable[[], Any], delay: float) -> None:
        """Strike from another thread, for scenarios that use the timer themselves."""
        over = threading.Event()

        def strike() -> None:
            if not over.wait(delay):
                self.fired = True
                os.kill(os.getpid(), self.signal)
                over.wait()

        thread = threading.Thread(target=strike, daemon=True)
        if delay:
            thread.start()
        try:
            call()
        finally:
            over.set()
            if delay:
                thread.join()

    async def run_on_loop(self, call: Callable[[], Any], timer: int, delay: float) -> None:
        signal.setitimer(timer, delay)
        try:
            await call()
        finally:
            signal.setitimer(timer, 0)  # the making and closing of a loop is not ours to protect

    def check(self, name: str, outcome: BaseException | None, records: list[Any]) -> None:
        kind = type(outcome)
        self.outcomes[f"{'struck' if self.fired else 'missed'} {kind.__name__}"] += 1
        allowed = kind in {type(None), Expected}
        if self.fired:
            allowed = allowed or kind in {KeyboardInterrupt, TerminationSignal, asyncio.CancelledError}
        if not allowed:
            import traceback

            self.fault(name, f"raised {outcome!r}" + "".join(traceback.format_exception(outcome))[-3000:])
        for problem in problems_of(records):
            self.fault(name, problem)
        for attribute in ("depth", "open", "pending", "struck", "tasks"):
            if getattr(gate, attribute):
                self.fault(name, f"gate.{attribute} is {getattr(gate, attribute)!r}")
                setattr(gate, attribute, {"depth": 0, "open": False, "tasks": {}}.get(attribute))
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            self.fault(name, f"SIGINT is handled by {signal.getsignal(signal.SIGINT)}")
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if signal.getsignal(signal.SIGTERM) is not self.term:
            self.fault(name, f"SIGTERM is handled by {signal.getsignal(signal.SIGTERM)}")
            signal.signal(signal.SIGTERM, self.term)
        if FlowRunContext.get() or TaskRunContext.get():
            self.fault(name, "a context is left")

    def fault(self, name: str, text: str) -> None:
        self.faults.append(f"{name} with {self.signal.name}: {text}")


def problems_of(records: list[Any]) -> list[str]:
    """What is wrong with a set of records when everything has ended."""
    names: dict[bytes, str] = {}
    last: dict[bytes, StateRecord] = {}
    states: list[bytes] = []
    found = []
    for record in records:
        if isinstance(record, FlowRunRecord | TaskRunRecord):
            if record.id in names:
                found.append(f"run {record.name} is there twice")
            names[record.id] = record.name
        elif isinstance(record, StateRecord):
            if record.run_id not in names:
                found.append(f"state {record.type} of a run that is not there")
            before = last.get(record.run_id)
            if before is not None and before.type in FINAL and record.name != "RolledBack":
                found.append(
                    f"run {names.get(record.run_id)} goes on from {before.type} {before.message} to {record.type}"
                )
            last[record.run_id] = record
            states.append(record.id)
    if len(states) != len(set(states)):
        found.append("a state is there twice")
    for run_id, name in names.items():
        end = last.get(run_id)
        if end is None or (end.type not in FINAL and end.name != NOT_READY):
            found.append(f"run {name} ends in {'nothing' if end is None else end.type}")
    return found


def main(seed: int, rounds: int, kind: str, journal_kind: str) -> dict[str, Any]:
    state = Rounds(seed)
    chance = state.chance
    scenarios = {"sync": SYNC, "limited": LIMITED, "async": ASYNC}[kind]
    timer = KILLER if kind == "limited" else signal.ITIMER_REAL
    if timer != KILLER:
        signal.signal(signal.SIGALRM, state.on_timer)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, state.term)
    sys.unraisablehook = state.unraisable
    threads: list[str] = []
    threading.excepthook = lambda args: threads.append(repr(args.exc_value))

    strikes = 0
    for number in range(rounds):
        faulthandler.dump_traceback_later(60, exit=True)
        scenario = scenarios[number % len(scenarios)]
        name = getattr(scenario, "name", None) or scenario.__name__
        sink = journal.MemoryJournal()
        with journal.use(sink) if journal_kind == "memory" else nullcontext():
            usual = state.durations.get(name)
            state.signal = chance.choice([signal.SIGINT, signal.SIGTERM])
            if usual is None or number % 50 < len(scenarios) and number >= 50 and chance.random() < 0.3:
                # a clean round: what came before must not show
                begun = time.perf_counter()
                outcome = state.run(scenario, timer, 0, on_loop=kind == "async")
                if usual is None:
                    state.run(scenario, timer, 0, on_loop=kind == "async")
                    sink.records.clear()
                    begun = time.perf_counter()
                    outcome = state.run(scenario, timer, 0, on_loop=kind == "async")
                    state.durations[name] = time.perf_counter() - begun
            else:
                begun = time.perf_counter()
                outcome = state.run(
                    scenario, timer, max(chance.random() * 1.05 * usual, 0.000_02), on_loop=kind == "async"
                )
                strikes += state.fired
                if not state.fired:  # the machine was slower when the duration was taken
                    state.durations[name] = min(usual, time.perf_counter() - begun)
        settled = time.monotonic() + 5
        while (
            problems_of(sink.records)
            and time.monotonic() < settled
            and kind != "limited"
            and "ends in" in str(problems_of(sink.records))
        ):
            time.sleep(0.002)  # threads of a runner that were given up may still end their runs
        state.check(name, outcome, sink.records)
        if number % 100 == 0:
            gc.collect()
    gc.collect()
    if journal_kind == "disk":
        journal.close()
        spool_records = [decode(payload) for spool in spools(settings().journal_dir) for _, payload in spool.records()]
        assert len(spool_records) > rounds
        state.faults += problems_of(spool_records)
    state.faults += [f"thread: {text}" for text in threads]
    return {
        "strikes": strikes, "outcomes": state.outcomes, "faults": state.faults[:40], "number": len(state.faults),
        "threads": threading.active_count(),
    }  # fmt: skip


if __name__ == "__main__":
    _seed, _rounds, _kind, _journal = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    print(json.dumps(main(_seed, _rounds, _kind, _journal)))
