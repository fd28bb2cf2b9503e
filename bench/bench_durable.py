"""From a flow's tasks to rows that last: task runs taken into SQLite per second, and the bytes each takes there."""

from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

SCRIPT = """
import json, os, sqlite3, sys, time
from pathlib import Path
from riverrun import flow, task
from riverrun.client.local import open_store

@task
def nothing():
    return None

@flow
def many(number):
    for _ in range(number):
        nothing()

number = int(sys.argv[1])
with open_store():
    pass  # the tables are made beforehand: what is timed is ingestion
started = time.perf_counter()
many(number)
in_flow = time.perf_counter() - started
started = time.perf_counter()
with open_store(seconds=60) as store:
    run = store.flow_runs(limit=1)[0]
    assert len(store.task_runs(flow_run_id=run.id, limit=1, offset=number - 1)) == 1
    spent = time.perf_counter() - started
    states = [state.name for state in store.task_run_states(store.task_runs(flow_run_id=run.id, limit=1)[0].id)]
assert len(states) == 3, states
database = sqlite3.connect(Path("{home}", "riverrun.db"))
database.execute("pragma wal_checkpoint(truncate)")
database.close()
print(json.dumps([number / spent, number / (spent + in_flow), Path("{home}", "riverrun.db").stat().st_size / number]))
"""

# the peer acknowledges through its own server: the rate at which a flow's tasks become countable there
PEER = """
import asyncio, json, sys, time
from prefect import flow, get_client, task
from prefect.client.schemas.filters import FlowRunFilter
from prefect.context import get_run_context

@task
def nothing():
    return None

async def count(run_id):
    async with get_client() as client:
        body = {"flow_runs": {"id": {"any_": [str(run_id)]}}, "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        return (await client.request("POST", "/task_runs/count", json=body)).json()

@flow
def many(number):
    started = time.perf_counter()
    for _ in range(number):
        nothing()
    run_id = get_run_context().flow_run.id
    while time.perf_counter() - started < 120:
        if asyncio.run(count(run_id)) >= number:
            break
        time.sleep(0.2)
    else:
        raise TimeoutError("not all task runs arrived")
    return number / (time.perf_counter() - started)

print(json.dumps(many(int(sys.argv[1]))))
"""


def figures(options: Options) -> Iterator[Figure]:
    """Best of three of 20,000 task runs; the peer once with 200."""
    number = 5_000 if options.quick else 20_000
    rows = [harness.run_script(SCRIPT, number, options=options) for _ in range(2 if options.quick else 3)]
    rates, whole, sizes = zip(*rows, strict=True)
    theirs = harness.run_script(PEER, 200, sdk="prefect", options=options) if options.peer else None
    note = "peer: 200 tasks, running and arriving" if theirs else ""
    yield Figure("task runs ingested into SQLite, 3 states each", max(rates), "1/s", 10_000, at_least=True)
    yield Figure(
        "task runs run and ingested, one after the other", max(whole), "1/s", at_least=True, peer=theirs, note=note
    )
    yield Figure("bytes in the store per task run", min(sizes), "B", 1_000)


if __name__ == "__main__":
    harness.main(figures)
