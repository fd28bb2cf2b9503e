"""The unmodified Prefect client against riverrun's server and against its own, in one run (needs `--peer`).

1,000 no-op tasks in one flow until all of them are durable; 20 client processes of 100 tasks each; the server's CPU time per
task run of both.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench import harness
from bench.harness import SDK, Figure, Options
from bench.servers import Server, server

CLIENT = """
import json, sys, time
from prefect import flow, task
from prefect.runtime import flow_run

@task
def nothing():
    return None

@flow
def many(number):
    for _ in range(number):
        nothing()
    return str(flow_run.id)

started = time.perf_counter()
run = many(int(sys.argv[1]))
print(json.dumps([run, time.perf_counter() - started]))
"""


def _client(api: str, options: Options, number: int, home: str) -> "subprocess.Popen[str]":
    variables = harness.environment("prefect", home) | {"PREFECT_API_URL": api}
    path = Path(home, "client.py")
    path.write_text(CLIENT, encoding="utf-8")
    assert options.peer is not None
    return subprocess.Popen(
        [options.peer, str(path), str(number)],
        env=variables,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _count(api: str, runs: list[str]) -> int:
    body = {"flow_runs": {"id": {"any_": runs}}, "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    request = urllib.request.Request(
        f"{api}/task_runs/count", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(json.load(answer))


def _clients(one: Server, options: Options, clients: int, tasks: int) -> tuple[float, int, int]:
    """Seconds until every task run is durable, clients that failed, task runs missing after two minutes."""
    homes = [tempfile.mkdtemp(prefix="bench-client-", dir=os.environ.get("BENCH_DIR")) for _ in range(clients)]
    started = time.perf_counter()
    try:
        processes = [_client(one.api, options, tasks, home) for home in homes]
        runs, failed = [], 0
        for process in processes:
            out, _ = process.communicate(timeout=900)
            if process.returncode:
                failed += 1
            else:
                runs.append(json.loads(out.strip().splitlines()[-1])[0])
        wanted, deadline = len(runs) * tasks, time.monotonic() + 120
        while (there := _count(one.api, runs)) < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        return time.perf_counter() - started, failed, wanted - there
    finally:
        for home in homes:
            shutil.rmtree(home, ignore_errors=True)


def _measure(sdk: SDK, options: Options, clients: int, tasks: int) -> tuple[float, float, int]:
    """Seconds, server CPU milliseconds per task run, errors (failed clients and missing task runs)."""
    with server(sdk, options) as one:
        before = one.cpu_seconds()
        seconds, failed, missing = _clients(one, options, clients, tasks)
        return seconds, (one.cpu_seconds() - before) / (clients * tasks) * 1000, failed + missing


def figures(options: Options) -> Iterator[Figure]:
    """Each size once with either server; nothing at all without the peer's Python."""
    if options.peer is None:
        return
    sizes = [(1, 200, None), (5, 40, None)] if options.quick else [(1, 1000, 5.0), (20, 100, 6.0)]
    for clients, tasks, wanted in sizes:
        name = f"Prefect client: {clients} x {tasks} tasks until durable"
        ours, our_cpu, errors = _measure("riverrun", options, clients, tasks)
        theirs, their_cpu, their_errors = _measure("prefect", options, clients, tasks)
        budget = None if wanted is None else theirs / wanted
        note = f"budget: {wanted:g}x faster" if wanted is not None else ""
        yield Figure(name, ours, "s", budget, peer=theirs, note=note)
        yield Figure(
            "  server CPU per task run", our_cpu, "ms", their_cpu / 10, peer=their_cpu, note="budget: 10x less"
        )
        yield Figure("  failed clients and missing task runs", errors, "", 0, peer=their_errors)


if __name__ == "__main__":
    harness.main(figures)
