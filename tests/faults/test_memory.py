"""Memory, threads and descriptors of a process that runs for long: they do not grow with what it ran.

`RIVERRUN_TEST_TASK_RUNS` sets how many task runs.
"""

import json
import os

import pytest

from tests.faults.home import Home, home

__all__ = ["home"]

LONG = """
import asyncio, gc, json, os, sys, threading
from riverrun import flow, task

RUNS = int(sys.argv[1])

@task
def work(x):
    return x

@task(log_prints=True)
def telling(x):
    print("hello")
    return [x]

@task
async def awork(x):
    return x

def look():
    gc.collect()
    # without the pages of the journal's files, which are the system's to keep or to drop
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("RssAnon"))

@flow
def main():
    found = []
    for x in range(RUNS):
        work(x)
        if x % 10 == 0:
            telling(x)
        if x % (RUNS // 10) == 0:
            found.append(look())
    return [*found, look()]

@flow
def small():
    [future.result() for future in work.map(range(5))]

@flow
async def asmall():
    for future in [awork.submit(1) for _ in range(3)]:
        await future

def resources():
    return [look(), threading.active_count(), len(os.listdir("/proc/self/fd"))]

sizes = main()
after = []
for _ in range(5):
    for _ in range(80):
        small()
    for _ in range(20):
        asyncio.run(asmall())
    after.append(resources())
print(json.dumps([sizes, after]))
"""


def run(home: Home, runs: int) -> None:  # noqa: F811
    done = home.run("-c", LONG, str(runs), timeout=600, RIVERRUN_JOURNAL_INGEST_BYTES="4000000")
    assert done.returncode == 0, done.stderr[-3000:]
    sizes, after = json.loads(done.stdout)
    print(sizes, after)
    assert sizes[-1] - sizes[2] < 4, f"MiB: {sizes}"
    assert after[-1][0] - after[0][0] < 4, f"MiB, threads, descriptors: {after}"
    assert after[-1][1] <= after[0][1] + 2 and after[-1][2] <= after[0][2] + 4, after
    ingested = home.run("-m", "riverrun.server.ingest", timeout=600)
    assert ingested.returncode == 0, ingested.stderr
    with home.store() as store:
        assert store.counts() == {"COMPLETED": 1 + 500}
        assert len(store.task_runs(limit=10**7)) == runs + runs // 10 + 400 * 5 + 100 * 3


#: 200000 for a night
TASK_RUNS = int(os.environ.get("RIVERRUN_TEST_TASK_RUNS", "30000"))


@pytest.mark.slow
@pytest.mark.timeout(120 + TASK_RUNS // 200)
def test_nothing_grows(home: Home) -> None:  # noqa: F811
    run(home, TASK_RUNS)
