"""Runs every benchmark of this folder, each in a process of its own: `make bench`, `make bench PEER=1`.

    python -m bench.run [--peer] [--quick] [--json] [NAME ...]        (NAME: import, task ... of bench_<NAME>.py)

With --peer the peer is installed into .bench-peer first (or taken from the Python that BENCH_PEER_PYTHON names). Exits 1
when a figure is over its budget or a benchmark fails.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench import harness

HERE = Path(__file__).parent
PEER = ["prefect==3.8.8", "fastapi==0.139.2", "sqlalchemy<2.1"]


def peer_python() -> str:
    """The Python of an environment that holds the peer; made when there is none."""
    given = os.environ.get(harness.PEER_PYTHON)
    if given:
        return given
    venv = harness.ROOT / ".bench-peer"
    python = venv / "bin" / "python"
    if not (venv / ".ready").exists():
        print(f"installing {', '.join(PEER)} into {venv.name} ...", file=sys.stderr)
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *PEER], check=True)
        (venv / ".ready").touch()
    return str(python)


def run_one(path: Path, options: list[str]) -> tuple[list[harness.Figure], bool]:
    """The figures of one benchmark and whether it went well. One without the harness prints for itself."""
    kept = "harness.main(" in path.read_text(encoding="utf-8")
    command = [sys.executable, "-m", f"bench.{path.stem}", *([*options, "--json"] if kept else [])]
    figures = []
    with subprocess.Popen(command, cwd=harness.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if kept and line.startswith("{"):
                fields = json.loads(line)
                fields.pop("verdict", None)
                figure = harness.Figure(**fields)
                figures.append(figure)
                print(f"  {figure.line()}", file=sys.stderr if "--json" in sys.argv else sys.stdout, flush=True)
            else:
                print(f"  {line}", end="", flush=True)
    return figures, process.returncode == 0


def main() -> int:
    """Runs what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--peer", action="store_true", help="the peer's figures too, from the same run")
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--json", action="store_true", help="all figures as one JSON document at the end")
    given = parser.parse_args()

    found = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    unknown = [name for name in given.names if name not in found]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(found)}")
    options = (["--quick"] if given.quick else []) + (["--peer", peer_python()] if given.peer else [])

    out = sys.stderr if given.json else sys.stdout
    print(harness.machine(), file=out)
    figures, failed = [], []
    for name in given.names or found:
        print(name, file=out, flush=True)
        some, well = run_one(found[name], options)
        figures += some
        if not well:
            failed.append(name)
    alarms = [figure.name for figure in figures if figure.verdict == "ALARM"]
    print(f"{len(figures)} figures, {len(alarms)} over budget{': ' if alarms else ''}{'; '.join(alarms)}", file=out)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    if given.json:
        print(json.dumps([{**vars(figure), "verdict": figure.verdict} for figure in figures], indent=2))
    return 1 if alarms or failed else 0


if __name__ == "__main__":
    sys.exit(main())
