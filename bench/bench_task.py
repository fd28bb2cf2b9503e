"""A no-op task called in a flow: time of the flow per task, alone and beside one CPU-bound thread, at growing numbers."""

from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

SCRIPT = """
import asyncio, json, sys, threading, time
from {sdk} import flow, task

number, colour, beside = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "busy"

@task
def nothing():
    return None

@task
async def anothing():
    return None

@flow
def many(number):
    for _ in range(min(number, 50)):
        nothing()
    started = time.perf_counter()
    for _ in range(number):
        nothing()
    return (time.perf_counter() - started) / number * 1e6

@flow
async def amany(number):
    for _ in range(min(number, 50)):
        await anothing()
    started = time.perf_counter()
    for _ in range(number):
        await anothing()
    return (time.perf_counter() - started) / number * 1e6

stop = False

def spin():
    value = 0
    while not stop:
        value = (value * 31 + 7) % 1000003

if beside:
    threading.Thread(target=spin, daemon=True).start()
spent = asyncio.run(amany(number)) if colour == "async" else many(number)
stop = True
print(json.dumps(spent))
"""


def figures(options: Options) -> Iterator[Figure]:
    """The middle size best of three; the large one shows that the cost does not grow."""
    sizes = [1_000, 10_000] if options.quick else [1_000, 10_000, 100_000]
    for colour in ("sync", "async"):
        theirs = measure("prefect", options, 200, colour, "alone") if options.peer else None
        for size in sizes:
            runs = 3 if size <= 10_000 else 1
            ours = harness.best(
                runs, lambda size=size, colour=colour: measure("riverrun", options, size, colour, "alone")
            )
            note = "peer: 200 tasks" if theirs else ""
            yield Figure(f"no-op task in a flow, {colour}, {size:,}", ours, "us", 60, peer=theirs, note=note)
        ours = harness.best(3, lambda colour=colour: measure("riverrun", options, 5_000, colour, "busy"))
        theirs = measure("prefect", options, 50, colour, "busy") if options.peer else None
        note = "peer: 50 tasks" if theirs else ""
        yield Figure(f"the same beside a CPU-bound thread, {colour}, 5,000", ours, "us", 180, peer=theirs, note=note)


def measure(sdk: harness.SDK, options: Options, number: int, colour: str, beside: str) -> float:
    """Microseconds per task."""
    return harness.run_script(SCRIPT, number, colour, beside, sdk=sdk, options=options)


if __name__ == "__main__":
    harness.main(figures)
