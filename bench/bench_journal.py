"""What one record costs the flow's own thread: alone, beside a CPU-bound thread, from four threads; and how fast it is read."""

from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

# Per-record times are taken around each append (the clock's own 0.1 us included), the mean from the whole loop without it.
APPENDS = """
import json, sys, threading, time
from riverrun.base.ids import uuid7_int
from riverrun.client import journal
from riverrun.wire.journal import TASK_RUN, LogRecord, StateRecord, TaskRunRecord

number, mode = int(sys.argv[1]), sys.argv[2]

def identity():
    return uuid7_int().to_bytes(16, "big")

flow_run, run, now = identity(), identity(), time.time_ns() // 1000
inputs = {"item": [("parameter", None, "items")]}
records = [
    TaskRunRecord(run, flow_run, "transform-1a2b3c4d", "17", "transform-17", now, inputs=inputs, flow_run_run_count=1),
    StateRecord(TASK_RUN, run, identity(), 2, now),
    StateRecord(TASK_RUN, run, identity(), 3, now),
    StateRecord(TASK_RUN, run, identity(), 4, now, details={"cache_key": "0123456789abcdef"}),
    LogRecord(flow_run, run, now, 20, "riverrun.task_runs", "Finished in state Completed()"),
]
append, clock, stop = journal.append, time.perf_counter_ns, threading.Event()

def spin():
    value = 0
    while not stop.is_set():
        for _ in range(10_000):
            value += 1

def work(rounds):
    for _ in range(rounds):
        for record in records:
            append(record)

work(200)
if mode == "busy":
    threading.Thread(target=spin, daemon=True).start()
each = []
if mode == "threads":
    threads = [threading.Thread(target=work, args=(number // 4 // len(records),)) for _ in range(4)]
    started = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
else:
    started = time.perf_counter()
    work(number // len(records))
mean = (time.perf_counter() - started) / number * 1e6
if mode != "threads":
    for _ in range(number // len(records)):
        for record in records:
            before = clock()
            append(record)
            each.append(clock() - before)
    each.sort()
stop.set()
tail = each[int(len(each) * 0.999)] / 1000 if each else None
print(json.dumps([mean, tail]))
"""

READS = """
import json, time
from riverrun.base.config import settings
from riverrun.client import journal
from riverrun.wire.journal import TASK_RUN, StateRecord
from riverrun.wire.spool import spools

for number in range(100_000):
    journal.append(StateRecord(TASK_RUN, bytes(16), bytes(16), 3, number))
(spool,) = spools(settings().journal_dir)
started = time.perf_counter()
count = sum(1 for _ in spool.records())
print(json.dumps(count / (time.perf_counter() - started)))
"""

FIRST = """
import json, time
from riverrun.client import journal
from riverrun.wire.journal import TASK_RUN, StateRecord

started = time.perf_counter()
journal.append(StateRecord(TASK_RUN, bytes(16), bytes(16), 3, 0))
print(json.dumps((time.perf_counter() - started) * 1000))
"""


def figures(options: Options) -> Iterator[Figure]:
    """The journal's figures; the peer has nothing to compare."""
    number = 20_000 if options.quick else 200_000
    runs = 1 if options.quick else 3
    alone = min(harness.run_script(APPENDS, number, "alone") for _ in range(runs))
    busy = min(harness.run_script(APPENDS, number, "busy") for _ in range(runs))
    threads = min(harness.run_script(APPENDS, number, "threads") for _ in range(runs))
    yield Figure("journal: append, mean", alone[0], "us", 3)
    yield Figure("journal: append, p99.9", alone[1], "us")
    yield Figure("journal: append beside a CPU-bound thread, mean", busy[0], "us", 9)
    yield Figure("journal: the same over alone", busy[0] / alone[0], "x", 3)
    yield Figure("journal: append beside a CPU-bound thread, p99.9", busy[1], "us")
    yield Figure("journal: append from four threads at once, mean", threads[0], "us")
    yield Figure("journal: first append of a process", harness.best(runs, lambda: harness.run_script(FIRST)), "ms")
    yield Figure("journal: records read back", harness.run_script(READS), "1/s", 100_000, at_least=True)


if __name__ == "__main__":
    harness.main(figures)
