"""Memory of a process over a million task runs in a loop: it must be flat.

Counted is what the process holds for itself (RssAnon). Pages of the journal are files that the kernel may drop; they are
shown, without a budget.
"""

from collections.abc import Iterator

from bench import harness
from bench.harness import Figure, Options

SCRIPT = """
import gc, json, re, sys
from {sdk} import flow, task

def memory(kind):
    return int(re.search(kind + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

@task
def nothing(number):
    return number

@flow
def loop(number):
    samples = []
    for index in range(number):
        if index % (number // 10) == 0:
            gc.collect()
            samples.append(memory("RssAnon"))
        nothing(index)
    gc.collect()
    return [*samples, memory("RssAnon")]

print(json.dumps([loop(int(sys.argv[1])), memory("RssFile")]))
"""


def figures(options: Options) -> Iterator[Figure]:
    """One run: growth is counted from the first tenth, when everything is loaded."""
    number = 100_000 if options.quick else 1_000_000
    samples, files = harness.run_script(SCRIPT, number, options=options)
    course = " ".join(f"{sample:.0f}" for sample in samples)
    yield Figure(f"memory grown over {number:,} task runs", max(0.0, samples[-1] - samples[1]), "MiB", 4, note=course)
    yield Figure("memory at the end", samples[-1], "MiB")
    yield Figure("pages of files at the end", files, "MiB")


if __name__ == "__main__":
    harness.main(figures)
