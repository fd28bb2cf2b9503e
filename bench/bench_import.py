"""What `from riverrun import flow, task` costs: modules, memory, processor time of the whole interpreter."""

from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

SCRIPT = """
import sys, time
from {sdk} import flow, task
spent, modules = time.process_time(), len(sys.modules)
import json, re
status = open("/proc/self/status").read()
memory = int(re.search(r"VmRSS:\\s+(\\d+)", status)[1]) / 1024
print(json.dumps([modules, memory, spent]))
"""


def figures(options: Options) -> Iterator[Figure]:
    """Best of five."""
    ours = measure("riverrun", options, 5)
    theirs = measure("prefect", options, 2) if options.peer else (None, None, None)
    yield Figure("import: modules", ours[0], "", 220, peer=theirs[0])
    yield Figure("import: resident memory", ours[1], "MiB", 35, peer=theirs[1])
    yield Figure("import: processor time, interpreter included", ours[2], "s", 0.10, peer=theirs[2])


def measure(sdk: harness.SDK, options: Options, runs: int) -> tuple[float, float, float]:
    """The smallest of each figure over some runs."""
    rows = [harness.run_script(SCRIPT, sdk=sdk, options=options) for _ in range(runs)]
    modules, memory, spent = zip(*rows, strict=True)
    return min(modules), min(memory), min(spent)


if __name__ == "__main__":
    harness.main(figures)
