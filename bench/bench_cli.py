"""What a command costs before it does anything, and what one costs that opens the store: processor time of the process."""

from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

SCRIPT = """
import json, resource, subprocess, sys

def spent(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "{sdk}", *command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

command, runs = sys.argv[2:], int(sys.argv[1])
print(json.dumps(min(spent(command) for _ in range(runs))))
"""

#: command -> budget in seconds, or None; `flow-run ls` opens a store that is there and empty
COMMANDS = {"--version": 0.10, "--help": 0.10, "flow-run --help": None, "config view": None, "flow-run ls": None}


def figures(options: Options) -> Iterator[Figure]:
    """Best of five; of the peer, best of two, and nothing that would start its server."""
    for command, budget in COMMANDS.items():
        words = command.split()
        ours = harness.run_script(SCRIPT, 3 if options.quick else 5, *words, options=options)
        theirs = None
        if options.peer and command != "flow-run ls":
            theirs = harness.run_script(SCRIPT, 2, *words, sdk="prefect", options=options)
        yield Figure(f"riverrun {command}: processor time", ours, "s", budget, peer=theirs)


if __name__ == "__main__":
    harness.main(figures)
