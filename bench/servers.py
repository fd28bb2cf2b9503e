"""Servers for benchmarks: riverrun's and the peer's, as processes of their own with a home of their own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.harness import SDK, Options, environment

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server: where it is, its process, and how long it took until the first answer (seconds)."""

    api: str
    pid: int
    started_in: float

    def cpu_seconds(self) -> float:
        """What the process and its children have used so far."""
        return sum(_cpu(pid) for pid in _tree(self.pid))


def _tree(pid: int) -> list[int]:
    pids = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += _tree(int(child))
    return pids


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def server(sdk: SDK, options: Options, database_url: str | None = None) -> Iterator[Server]:
    """A server of riverrun or of the peer (`options.peer` is its Python) on a free port."""
    port, home = free_port(), tempfile.mkdtemp(prefix="bench-server-", dir=os.environ.get("BENCH_DIR"))
    python = sys.executable if sdk == "riverrun" else options.peer
    assert python is not None
    extra = [] if sdk == "riverrun" else ["--no-ui"]
    variables = environment(sdk, home)
    if database_url is not None:
        variables[f"{sdk.upper()}_API_DATABASE_CONNECTION_URL"] = database_url
    started = time.perf_counter()
    with Path(home, "server.log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", sdk, "server", "start", "--host", "127.0.0.1", "--port", str(port), *extra],
            env=variables,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        api = f"http://127.0.0.1:{port}/api"
        _wait(f"{api}/health", process, Path(home, "server.log"))
        yield Server(api, process.pid, time.perf_counter() - started)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended (exit {process.returncode}):\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.01)
    raise TimeoutError(f"{url} did not answer in {seconds} s:\n{log.read_text()[-2000:]}")
