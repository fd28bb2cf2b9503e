"""Servers as users start them: processes with a home of their own, on a free port, ended by their id."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

START_SECONDS = 45


class Server:
    """A `riverrun server start` in the foreground. `lines` are what it has printed so far."""

    def __init__(self, home: Path, *arguments: str, url: str | None = None, **variables: str) -> None:
        self.home = home
        self.environment = environment(home, url, **variables)
        command = [sys.executable, "-m", "riverrun", "server", "start", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = self.wait_for("riverrun serves ").removeprefix("riverrun serves ").strip()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self._queue.put(line)
        self._queue.put("")

    def wait_for(self, text: str) -> str:
        """The next line that holds the text."""
        while line := self._queue.get(timeout=START_SECONDS):
            if text in line:
                return line
        self._reader.join(5)
        raise AssertionError("the server ended: " + "".join(self.lines))

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api", timeout=10, **options)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


def environment(home: Path, url: str | None = None, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RIVERRUN_", "PREFECT_"))}
    if url is not None:
        variables["RIVERRUN_API_DATABASE_CONNECTION_URL"] = url
    return {**kept, "RIVERRUN_HOME": str(home), **variables}


@contextmanager
def server(home: Path, *arguments: str, url: str | None = None, **variables: str) -> Iterator[Server]:
    """A server that is ended with the block, if the block has not done it."""
    started = Server(home, *arguments, url=url, **variables)
    try:
        yield started
    finally:
        started.close()


def command(
    home: Path, *arguments: str, url: str | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """A command of riverrun, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "riverrun", *arguments],
        env=environment(home, url, **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
    )
