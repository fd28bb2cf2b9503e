"""What every benchmark shares: a figure beside its budget, the same script run with riverrun and with its peer, the report.

A benchmark is a module `bench_<what>.py` with `figures(options) -> Iterator[Figure]` and, last, `harness.main(figures)`.
What is measured runs in child processes with a home of their own, so that one benchmark leaves nothing for the next.
Scripts are written once: `{sdk}` in their text is `riverrun` or `prefect`. Times are the best of several runs: the machine
is shared, and its noise only ever adds.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
PEER_PYTHON = "BENCH_PEER_PYTHON"

SDK = Literal["riverrun", "prefect"]


@dataclass(frozen=True)
class Figure:
    """One measured value, its budget (the most it may be, or with `at_least` the least), and the peer's value."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    at_least: bool = False
    peer: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """OK, ALARM, or nothing where there is no budget."""
        if self.budget is None:
            return ""
        within = self.value >= self.budget if self.at_least else self.value <= self.budget
        return "OK" if within else "ALARM"

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer."""
        if not self.peer or not self.value:
            return None
        return self.value / self.peer if self.at_least else self.peer / self.value

    def line(self) -> str:
        """The figure as one aligned line."""
        budget = "" if self.budget is None else f"{'>=' if self.at_least else '<='} {number(self.budget)}"
        text = f"{self.name:<52} {number(self.value):>10} {self.unit:<6} {budget:<10} {self.verdict:<5}"
        if self.peer is not None:
            text += f"  peer {number(self.peer):>9}"
            if self.ratio:
                text += f" ({number(self.ratio)}x)"
        return f"{text}  {self.note}".rstrip()


@dataclass(frozen=True)
class Options:
    """How a benchmark is to be run. `peer` is the Python of an environment with the peer, or None."""

    peer: str | None = None
    quick: bool = False


def number(value: float) -> str:
    """Three significant digits, thousands grouped."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine() -> str:
    """The machine in one line: processor, cores, Python."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux: the platform's own word will do
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    return f"{model}, {cores} cores, load {load:.1f}, Python {platform.python_version()}, {platform.system()}"


def run_script(script: str, *arguments: object, sdk: SDK = "riverrun", options: Options | None = None) -> Any:
    """Runs a script in a child process with a fresh home; returns the JSON document of its last line of output.

    `{sdk}` and `{home}` in the script are filled in. Raises RuntimeError with the child's output when it fails.
    """
    python = sys.executable
    if sdk == "prefect":
        if options is None or options.peer is None:
            raise ValueError("no environment with the peer was given")
        python = options.peer
    home = tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR"))
    try:
        source = script.replace("{sdk}", sdk).replace("{home}", home)
        path = Path(home, "script.py")
        path.write_text(source, encoding="utf-8")
        done = subprocess.run(
            [python, str(path), *map(str, arguments)],
            env=environment(sdk, home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if done.returncode != 0:
        raise RuntimeError(f"the script failed with {sdk} (exit {done.returncode}):\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def environment(sdk: SDK, home: str) -> dict[str, str]:
    """The environment of a child: a home of its own, no lines of log on the console, byte code kept as it is for users."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RIVERRUN_", "PREFECT_"))}
    prefix = sdk.upper()
    return {
        **kept,
        f"{prefix}_HOME": home,
        f"{prefix}_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # set, it would make every child compile every module
    }


def best(runs: int, measure: Callable[[], float]) -> float:
    """The smallest of several measurements."""
    return min(measure() for _ in range(runs))


Figures = Callable[[Options], Iterator[Figure]]


def main(figures: Figures) -> None:
    """The command line of one benchmark."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document per figure")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, smaller sizes")
    parser.add_argument(
        "--peer", metavar="PYTHON", default=os.environ.get(PEER_PYTHON), help="also run with the peer there"
    )
    given = parser.parse_args()
    if not given.json:
        print(machine())
    for figure in figures(Options(peer=given.peer, quick=given.quick)):
        print(json.dumps({**asdict(figure), "verdict": figure.verdict}) if given.json else figure.line(), flush=True)
