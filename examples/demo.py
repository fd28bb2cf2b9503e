"""`make demo`: starts a server, runs the weather example beside it, reads back from the server what happened, then serves the
example on a schedule.

The server and what serves the example stay when the tour is over. Every step is a command that a person could type; each is
shown before it runs. Everything is kept in one folder, so that nothing of the machine's own riverrun is touched. Stops at the
first command that fails, with its exit code.
"""

import argparse
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
RIVERRUN = Path(sys.executable).with_name("riverrun")
DEPLOYMENT = "seattle-weather/every-minute"
FANCY = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def main() -> None:
    """The whole tour."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path(".demo", "output"), help="where chart and table are written"
    )
    parser.add_argument("--port", type=int, default=4200, help="where the server listens; 0: any free port")
    options = parser.parse_args()
    output = options.output.resolve()
    home = Path(os.environ.setdefault("RIVERRUN_HOME", str(Path(".demo", "home").resolve())))
    first = not home.exists()

    heading("A server")
    start_server(options.port)
    api = read("server", "status")["url"]

    heading("A pipeline on four years of Seattle's weather")
    print("Two attempts to read the data fail and are retried, and a file with official normals is missing on purpose:")
    print("its traceback below is the flow learning of it, and doing without.\n")
    started = time.perf_counter()
    show("run", f"{HERE.name}/weather.py:seattle_weather", "--param", f"output={output}", watched=FANCY)
    took = time.perf_counter() - started

    heading("What the server remembers")
    run = latest_flow_run()
    show("flow-run", "ls", "--limit", "5")
    show("flow-run", "inspect", run["name"])
    tasks = read("task-run", "ls", "--flow-run", run["id"], "--limit", "200")
    print_tasks(tasks)
    show("flow-run", "logs", run["name"], "--tail", "--num-logs", "4")

    heading("What the pipeline made")
    print((output / "seattle-weather.md").read_text(encoding="utf-8"))
    print(f"The chart: {output / 'seattle-weather.svg'}")

    heading("On a schedule")
    pid = start_serving(home, output)
    show("deployment", "ls")
    show("deployment", "next", DEPLOYMENT, "--limit", "3")
    show("deployment", "run", DEPLOYMENT, "--watch", "--watch-timeout", "60")

    heading("And now")
    print(f"It took {took:.1f} s, the start of Python and {len(tasks)} task runs included. Try:\n")
    print(f"  export RIVERRUN_HOME={shlex.quote(str(home))} PATH={shlex.quote(str(RIVERRUN.parent))}:$PATH")
    print(f"  riverrun task-run ls --flow-run {run['name']}")
    print(f"  riverrun api GET /flow_runs/{run['id']}")
    print(f"  riverrun run {HERE.name}/weather.py:seattle_weather --param years='[2014, 2015]' --param wet_from=5")
    if first:
        print("  make demo          once more: the usual year now comes from the cache in its first call too")
    print(f"  riverrun deployment next {DEPLOYMENT} --days 1")
    print(f"  kill {pid}; riverrun server stop")
    print(f"\nThe server and the schedule go on; the API is at {api}. Prefect's own client can use it, too:")
    print(f"  export PREFECT_API_URL={api}")
    print("\nThe pipeline is examples/weather.py. README.md goes on from here.")


def heading(text: str) -> None:
    """A title between what is printed."""
    print(f"\n\033[1;36m━━ {text}\033[0m\n" if FANCY else f"\n== {text}\n", flush=True)


def show(*arguments: str, watched: bool = False) -> None:
    """Prints a command and runs it, its output straight to the terminal; `watched`: over a table of its tasks."""
    line = shlex.join(["riverrun", *arguments])
    print(f"\033[1m$ {line}\033[0m" if FANCY else f"$ {line}", flush=True)
    command = [str(RIVERRUN), *arguments]
    if watched:
        from live import run_and_watch

        code = run_and_watch(command, str(HERE.parent))
    else:
        code = subprocess.run(command, cwd=HERE.parent, check=False).returncode
    if code != 0:
        sys.exit(f"demo: `{line}` ended with exit code {code}")
    print(flush=True)


def read(*arguments: str) -> list[dict]:
    """What a command lists, as data."""
    done = subprocess.run(
        [RIVERRUN, *arguments, "--json"], cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def start_server(port: int) -> None:
    """Starts a server in the background, or finds the one that an earlier tour has left."""
    found = subprocess.run([RIVERRUN, "server", "status", "--json"], capture_output=True, text=True, check=False)
    if found.returncode == 0:
        print(f"It runs already: {json.loads(found.stdout)['url']}\n")
        return
    show("server", "start", "--background", "--port", str(port if is_free(port) else 0))


def start_serving(home: Path, output: Path) -> int:
    """Serves the example in the background, unless an earlier tour's process does so still; the process's id."""
    note, log = home / "on_schedule.pid", home / "on_schedule.log"
    if note.exists() and is_serving(int(note.read_text())):
        print(f"It is served already, by process {note.read_text()}.\n")
        return int(note.read_text())
    arguments = [sys.executable, str(HERE / "on_schedule.py"), str(output)]
    print(f"{shlex.join(['python', 'examples/on_schedule.py', str(output)])} &\n")
    with log.open("w") as written:
        serving = subprocess.Popen(
            arguments,
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    note.write_text(str(serving.pid))
    while not any(each["status"] == "READY" for each in read("deployment", "ls")):
        if serving.poll() is not None:
            sys.exit(f"demo: what serves the example has ended: {log.read_text()}")
        time.sleep(0.1)
    return serving.pid


def is_serving(pid: int) -> bool:
    """Whether the process is the one that an earlier tour started."""
    try:
        return b"on_schedule.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def latest_flow_run() -> dict:
    """The run of the pipeline itself: the newest that is not a subflow."""
    return next(run for run in read("flow-run", "ls", "--limit", "50") if not run.get("parent_task_run_id"))


def print_tasks(runs: list[dict]) -> None:
    """One line per task: its runs, their final states, attempts and times."""
    by_task = defaultdict(list)
    for run in sorted(runs, key=lambda run: run["start_time"] or ""):
        by_task[run["task_key"].rpartition(".")[2].rpartition("-")[0] or run["task_key"]].append(run)
    print(f"{'task':<20}{'runs':>5}{'attempts':>10}{'mean time':>12}  states")
    for task, same in by_task.items():
        states = defaultdict(int)
        for run in same:
            states[run["state_name"]] += 1
        attempts = sum(run["run_count"] for run in same)
        mean = sum(seconds(run["total_run_time"]) for run in same) / len(same)
        told = ", ".join(f"{number} {state}" for state, number in states.items())
        print(f"{task:<20}{len(same):>5}{attempts:>10}{mean * 1000:>9.1f} ms  {told}")
    print()


def seconds(duration: float | str) -> float:
    """A duration of the JSON output: a number of seconds, or ISO 8601 as in PT1.5S."""
    if isinstance(duration, str):
        return float(duration.removeprefix("PT").removesuffix("S") or 0)
    return float(duration)


if __name__ == "__main__":
    main()
