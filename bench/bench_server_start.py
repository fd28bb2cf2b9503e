"""A server that has just been started: seconds to its first answer, memory while nobody asks, and what each import costs.

The figures are of whole processes on a new store, with services, as `riverrun server start` makes them.
"""

import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench import harness
from bench.harness import Figure, Options

IMPORTS = """
import json, re, sys, time

def rss():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

figures = []
for name in sys.argv[1:]:
    before, started = rss(), time.perf_counter()
    __import__(name)
    figures.append((name, rss() - before, (time.perf_counter() - started) * 1000))
print(json.dumps([figures, rss()]))
"""
#: in the order in which a start pays for them
MODULES = (
    "click", "msgspec", "sqlalchemy", "riverrun.server.db.engine", "uvicorn", "uvloop", "httptools", "starlette.requests",
    "riverrun.server.db.tables", "riverrun.server.serve", "riverrun.server.health.routes",
)  # fmt: skip


def figures(options: Options) -> Iterator[Figure]:
    """The best of some starts; the memory of the last."""
    starts = [_start("riverrun", sys.executable) for _ in range(2 if options.quick else 5)]
    peer = None if options.peer is None else _start("prefect", options.peer)
    yield Figure(
        "server: start to first answer", min(s for s, _, _ in starts), "s", 1.5, peer=peer[0] if peer else None
    )
    idle = starts[-1][1]
    yield Figure("server: idle memory (RSS)", idle, "MiB", 120, peer=peer[1] if peer else None)
    yield Figure("server: memory after its OpenAPI document", starts[-1][2], "MiB")
    parts, total = harness.run_script(IMPORTS, *MODULES, options=options)
    for name, memory, milliseconds in parts:
        yield Figure(f"  import {name}", memory, "MiB", note=f"{milliseconds:.0f} ms")
    yield Figure("  all imports", total, "MiB")


def _start(sdk: harness.SDK, python: str) -> tuple[float, float, float]:
    """Seconds to the first answer, MiB of memory when idle, and after the OpenAPI document was asked for."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as home:
        port = _free_port()
        started = time.perf_counter()
        process = subprocess.Popen(
            [python, "-m", sdk, "server", "start", "--port", str(port)],
            env=harness.environment(sdk, home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
        )
        try:
            _answer(f"http://127.0.0.1:{port}/api/health", process)
            seconds = time.perf_counter() - started
            time.sleep(3)
            idle = _memory(process.pid)
            path = "/api/openapi.json" if sdk == "riverrun" else "/openapi.json"
            _answer(f"http://127.0.0.1:{port}{path}", process)
            return seconds, idle, _memory(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answer(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                answer.read()
            return
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _memory(pid: int) -> float:
    """The memory of a process and of those it has started."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    pids = [pid, *map(int, children.stdout.split())]
    found = 0.0
    for one in pids:
        try:
            found += int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{one}/status").read_text())[1]) / 1024
        except OSError:
            continue
    return found


if __name__ == "__main__":
    harness.main(figures)
