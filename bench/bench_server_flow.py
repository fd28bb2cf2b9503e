"""Flows beside a running server: what a call costs, and how long until the server has all of it on its disk."""

from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

SCRIPT = """
import json, statistics, subprocess, sys, time
from riverrun import flow, task
from riverrun.client import journal

@flow
def empty():
    return None

@task
def nothing():
    return None

@flow
def many(number):
    for _ in range(number):
        nothing()

def timed(call, *arguments):
    started = time.perf_counter()
    call(*arguments)
    called = time.perf_counter()
    assert journal.settle(60)
    return called - started, time.perf_counter() - started

server = [sys.executable, "-m", "riverrun", "server"]
subprocess.run([*server, "start", "--background", "--port", "0"], check=True, stdout=sys.stderr)
try:
    timed(empty)
    flows = [timed(empty) for _ in range(int(sys.argv[1]))]
    number = int(sys.argv[2])
    tasks = min(timed(many, number) for _ in range(3))
finally:
    subprocess.run([*server, "stop"], check=True, stdout=sys.stderr)
called, lasting = (statistics.median(each) for each in zip(*flows))
print(json.dumps([called * 1e3, lasting * 1e3, tasks[0] / number * 1e6, number / tasks[1]]))
"""

PEER = """
import json, os, statistics, subprocess, sys, time
from prefect import flow

@flow
def empty():
    return None

def timed(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started

empty()
print(json.dumps(statistics.median(timed(empty) for _ in range(int(sys.argv[1]))) * 1e3))
"""


def figures(options: Options) -> Iterator[Figure]:
    """Medians of 100 flows; the best of three flows of 1,000 tasks. The peer's flow ends when its server has it."""
    flows, tasks = (20, 1000) if options.quick else (100, 1000)
    called, lasting, each, rate = harness.run_script(SCRIPT, flows, tasks, options=options)
    peer = None
    if options.peer is not None:
        peer = harness.run_script(PEER, 5, sdk="prefect", options=options)
    yield Figure("empty flow, call, with a server", called, "ms")
    yield Figure("empty flow, until the server has it", lasting, "ms", budget=8, peer=peer)
    yield Figure("no-op task in a flow, with a server", each, "us", budget=60)
    yield Figure("1,000 task runs, durable at the server", rate, "/s", budget=5_000, at_least=True)


if __name__ == "__main__":
    harness.main(figures)
