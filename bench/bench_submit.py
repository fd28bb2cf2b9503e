"""Many tasks at once on threads: sleepers submitted together, async ones too, and a large map until all of it is durable."""

from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

SLEEPERS = """
import asyncio, json, sys, time
from {sdk} import flow, task
from {sdk}.task_runners import ThreadPoolTaskRunner

@task
def sleeper():
    time.sleep(0.2)

@task
async def asleeper():
    await asyncio.sleep(0.2)

@flow(task_runner=ThreadPoolTaskRunner(max_workers=1000))
def together(number, what):
    started = time.perf_counter()
    futures = [what.submit() for _ in range(number)]
    for future in futures:
        future.result()
    return time.perf_counter() - started

spent = together(int(sys.argv[1]), asleeper if sys.argv[2] == "async" else sleeper)
print(json.dumps(spent))
"""

# the flow's own time, and the time until a reader finds every task run completed in the store
MAP = """
import json, sys, time
from riverrun import flow, task
from riverrun.client.local import open_store
from riverrun.wire.states import StateType

@task
def nothing(item):
    return item

@flow
def mapped(number):
    nothing.map(range(number)).wait()

number = int(sys.argv[1])
started = time.perf_counter()
mapped(number)
flow_time = time.perf_counter() - started
with open_store(seconds=60) as store:
    run = store.flow_runs(limit=1)[0]
    last = store.task_runs(flow_run_id=run.id, state_types=[StateType.COMPLETED], limit=1, offset=number - 1)
assert len(last) == 1, "not all task runs are in the store"
print(json.dumps([flow_time, time.perf_counter() - started]))
"""


def figures(options: Options) -> Iterator[Figure]:
    """Best of three; the peer once, and only the sizes it finishes in reasonable time."""
    for number, colour, budget in ((100, "sync", 0.25), (1_000, "sync", 0.50), (1_000, "async", 0.50)):
        ours = harness.best(3, lambda n=number, c=colour: harness.run_script(SLEEPERS, n, c, options=options))
        theirs = None
        if options.peer and number == 100:
            theirs = harness.run_script(SLEEPERS, number, colour, sdk="prefect", options=options)
        yield Figure(f"{number:,} {colour} tasks sleeping 0.2 s, submitted together", ours, "s", budget, peer=theirs)
    size = 10_000
    rows = [harness.run_script(MAP, size, options=options) for _ in range(2 if options.quick else 3)]
    in_flow, durable = min(rows, key=lambda row: row[1])
    yield Figure(f"map of a no-op over {size:,}: the flow", in_flow, "s")
    yield Figure(f"map of a no-op over {size:,}: all durable in the store", durable, "s", 2.0)


if __name__ == "__main__":
    harness.main(figures)
