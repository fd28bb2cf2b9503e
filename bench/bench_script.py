"""A script with an empty flow and no server: the whole process, from exec to exit."""

import time
from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

SCRIPT = """
from {sdk} import flow

@flow
def nothing():
    pass

nothing()
print("null")
"""


def figures(options: Options) -> Iterator[Figure]:
    """Best of seven; the peer, which starts a server for it, twice."""
    ours = harness.best(7, lambda: timed("riverrun", options))
    theirs = harness.best(2, lambda: timed("prefect", options)) if options.peer else None
    yield Figure("script with an empty flow, whole process", ours, "s", 0.30, peer=theirs)


def timed(sdk: harness.SDK, options: Options) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    harness.run_script(SCRIPT, sdk=sdk, options=options)
    return time.perf_counter() - started


if __name__ == "__main__":
    harness.main(figures)
