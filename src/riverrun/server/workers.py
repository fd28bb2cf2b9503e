"""Several processes that share one listening socket, on PostgreSQL. The parent starts them, replaces those that die, and ends
with them; it serves nothing itself.

A worker holds the reading end of a pipe that nobody writes to: when the parent dies, whatever way, the worker sees its end.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

log = logging.getLogger("riverrun.server.workers")

#: a worker that lives shorter than this is replaced after a pause that doubles
_SHORT_LIFE = 5.0
_LONGEST_PAUSE = 30.0
_STOP_SECONDS = 30.0


def supervise(number: int, listener: socket.socket, arguments: list[str], on_ready: Callable[[], None]) -> None:
    """Run `number` workers until SIGTERM or SIGINT. Workers are `riverrun server start` with `arguments` and the socket."""
    stop = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    reading, writing = os.pipe()
    listener.set_inheritable(True)
    keepers = [
        threading.Thread(target=_keep, args=(listener.fileno(), reading, arguments, stop), name=f"worker {index}")
        for index in range(number)
    ]
    try:
        for keeper in keepers:
            keeper.start()
        on_ready()
        stop.wait()
    finally:
        stop.set()
        os.close(writing)  # tells every worker to stop
        for keeper in keepers:
            keeper.join()
        os.close(reading)
        for number_, handler in previous.items():
            signal.signal(number_, handler)


def _keep(listener: int, pipe: int, arguments: list[str], stop: threading.Event) -> None:
    """Keep one worker alive."""
    command = [sys.executable, "-P", "-m", "riverrun", "server", "start", *arguments]
    command += ["--worker-socket", str(listener), "--worker-parent", str(pipe)]
    pause = 1.0
    while not stop.is_set():
        started = time.monotonic()
        # a session of its own: Ctrl-C reaches the parent alone, which then tells the workers
        worker = subprocess.Popen(command, pass_fds=(listener, pipe), start_new_session=True)
        _wait(worker, stop)
        if stop.is_set():
            return
        pause = 1.0 if time.monotonic() - started > _SHORT_LIFE else min(pause * 2, _LONGEST_PAUSE)
        log.error("Worker %d ended with %d; the next one starts in %g s.", worker.pid, worker.returncode, pause)
        stop.wait(pause)


def _wait(worker: "subprocess.Popen[bytes]", stop: threading.Event) -> None:
    """Wait for a worker's end; once told to stop, for so long only."""
    while worker.poll() is None and not stop.is_set():
        try:
            worker.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    try:
        worker.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
