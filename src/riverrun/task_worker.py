"""Task workers: processes that run tasks which others put in the background by `task.delay(...)`.

The server hands over one run at a time through a socket; a run that is not acknowledged goes to another worker. What happens
in a run is recorded by this process's journal, as with every task.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from riverrun.base.clock import now
from riverrun.base.config import settings
from riverrun.base.errors import InputError, RiverrunError, TerminationSignal
from riverrun.base.pool import WorkerPool
from riverrun.client import journal, sockets
from riverrun.client.location import ensure_api_url
from riverrun.engine import record
from riverrun.engine.background import read_parameters
from riverrun.logging import get_logger
from riverrun.states import Crashed
from riverrun.task_engine import run_task_async, run_task_sync
from riverrun.tasks import Task
from riverrun.utilities.colours import by_colour
from riverrun.wire.runs import TaskRun
from riverrun.wire.states import StateType

__all__ = ["StopTaskWorker", "TaskWorker", "aserve", "serve"]

_PATH = "/task_runs/subscriptions/scheduled"
#: seconds between two looks whether the worker is to stop
_LOOK = 0.5
#: the same for a coroutine, which shall not hold a thread
_GLANCE = 0.05
_LONGEST_PAUSE = 10.0


class StopTaskWorker(Exception):
    """Raised to stop a task worker."""


class TaskWorker:
    """Serves tasks: takes their scheduled runs from the server and runs up to `limit` at once (None: no bound)."""

    def __init__(self, *tasks: Task[..., Any], limit: int | None = 10) -> None:
        if not tasks:
            raise InputError("A task worker needs at least one task to serve.")
        for task in tasks:
            if not isinstance(task, Task):
                raise InputError(f"A task worker serves tasks; {task!r} is none. Decorate it with @task.")
        # results have to be kept: whoever asked for them is another process
        self.tasks = [task.with_options(persist_result=True) for task in tasks]
        self._by_key = {task.task_key: task for task in self.tasks}
        self.limit = limit
        self.started_at: datetime | None = None
        self.in_flight_task_runs: dict[str, dict[UUID, datetime]] = {key: {} for key in self._by_key}
        self.finished_task_runs: dict[str, int] = dict.fromkeys(self._by_key, 0)
        self._free = threading.Semaphore(limit) if limit else None
        self._pool = WorkerPool(limit, "riverrun-task-worker")
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._runs: dict[UUID, TaskRun] = {}
        self._idle = threading.Condition(self._lock)
        self._logger = get_logger("task_worker")

    @property
    def task_keys(self) -> set[str]:
        return set(self._by_key)

    @property
    def client_id(self) -> str:
        """How the server lists this worker."""
        return f"{socket.gethostname()}-{os.getpid()}"

    @property
    def started(self) -> bool:
        return self.started_at is not None

    @property
    def current_tasks(self) -> int:
        """How many runs are under way."""
        return len(self._runs)

    @property
    def available_tasks(self) -> int | None:
        """How many more could begin; None without a limit."""
        return None if self.limit is None else self.limit - len(self._runs)

    # -- serving -----------------------------------------------------------------------------------------------------

    def run(self, timeout: float | None = None) -> None:
        """Serve until `stop`, Ctrl-C or SIGTERM, or for `timeout` seconds; runs under way end first, within the grace."""
        self.started_at = now()
        until = None if timeout is None else time.monotonic() + timeout
        names = " | ".join(sorted(task.name for task in self.tasks))
        self._logger.info("Starting task worker, serving %s", names)
        failures = 0
        try:
            while not self._over(until):
                try:
                    self._serve_connection(until)
                    failures = 0
                except (OSError, RiverrunError, _connection_errors()) as error:
                    url = sockets.socket_url(ensure_api_url(), _PATH)
                    problem = error if isinstance(error, RiverrunError) else sockets.connection_problem(error, url)
                    if problem is not None:
                        raise problem from error
                    failures += 1
                    self._stopping.wait(min(0.1 * 2.0**failures, _LONGEST_PAUSE))
        except StopTaskWorker:
            pass
        finally:
            self.started_at = None
            self._finish()
            self._logger.info("Task worker stopped")

    def _over(self, until: float | None) -> bool:
        return self._stopping.is_set() or (until is not None and time.monotonic() >= until)

    def _serve_connection(self, until: float | None) -> None:
        from websockets.sync.client import connect

        url = sockets.socket_url(ensure_api_url(), _PATH)
        with connect(url, **sockets.options(url)) as connection:
            connection.send(sockets.auth_message())
            sockets.check_auth(connection.recv(timeout=settings().api_request_timeout or None))
            subscription = {"type": "subscribe", "keys": sorted(self._by_key), "client_id": self.client_id}
            connection.send(msgspec.json.encode(subscription).decode())
            while self._await_place(until):
                frame: str | bytes | None = None
                try:
                    while frame is None and not self._over(until):
                        try:
                            frame = connection.recv(timeout=_LOOK)
                        except TimeoutError:
                            continue
                    if frame is None:
                        connection.send('{"type":"quit"}')
                        return
                    run = msgspec.json.decode(frame, type=TaskRun, strict=False)
                    connection.send('{"type":"ack"}')
                    frame, taken = None, run
                    self._take(taken)
                except BaseException:
                    self._give_place_back()
                    raise

    def _await_place(self, until: float | None) -> bool:
        """Wait until another run may begin; False when the worker is to stop."""
        while not self._over(until):
            if self._free is None or self._free.acquire(timeout=_LOOK):
                return True
        return False

    def _give_place_back(self) -> None:
        if self._free is not None:
            self._free.release()

    def _take(self, run: TaskRun) -> None:
        if self._enter(run):
            self._pool.submit(lambda: self._run_in_pool(run))
        else:
            self._give_place_back()

    def _enter(self, run: TaskRun) -> bool:
        """Note that a run is under way; False if it is so already."""
        with self._lock:
            if run.id in self._runs:
                return False
            self._runs[run.id] = run
            self.in_flight_task_runs.setdefault(run.task_key, {})[run.id] = now()
        return True

    def _leave(self, run: TaskRun) -> None:
        with self._lock:
            self._runs.pop(run.id, None)
            self.in_flight_task_runs.get(run.task_key, {}).pop(run.id, None)
            self.finished_task_runs[run.task_key] = self.finished_task_runs.get(run.task_key, 0) + 1
            self._idle.notify_all()

    def _run_in_pool(self, run: TaskRun) -> None:
        try:
            self.execute_task_run_sync(run)
        except BaseException as error:
            self._logger.error("Task run %r could not be run", run.name, exc_info=error)
            self._crash(run, f"The task worker could not run it: {type(error).__name__}: {error}")
        finally:
            self._leave(run)
            self._give_place_back()

    def execute_task_run_sync(self, run: TaskRun) -> Any:
        """Run a task run that was scheduled, here and now; its final state."""
        task = self._by_key.get(run.task_key)
        if task is None:
            raise InputError(f"This worker does not serve the task {run.task_key!r} of task run {run.name!r}.")
        called: dict[str, Any] = {}
        identifier = None if run.state is None else run.state.state_details.task_parameters_id
        if identifier is not None:
            called = read_parameters(task, identifier)
        options: dict[str, Any] = {
            "task_run": run,
            "parameters": called.get("parameters") or {},
            "wait_for": called.get("wait_for") or None,
            "return_type": "state",
            "context": called.get("context"),
        }
        self._logger.info("Running task run %r", run.name)
        if task.isasync:
            return asyncio.run(run_task_async(task, **options))
        return run_task_sync(task, **options)

    def _crash(self, run: TaskRun, message: str) -> None:
        if run.state is None or not run.state.is_final():
            record.enter(run, Crashed(message=message))

    def stop(self) -> None:
        """Take no more runs; `run` returns when those under way have ended."""
        self._stopping.set()

    def _finish(self) -> None:
        """Give the runs under way the grace to end."""
        with self._lock:
            self._idle.wait_for(lambda: not self._runs, settings().engine_crash_grace_seconds)
            left = [copy(run) for run in self._runs.values()]
        for run in left:
            if run.state is None or run.state.type is not StateType.COMPLETED:
                self._crash(run, "Its task worker was stopped while it ran.")
        self._pool.shutdown(wait=False)
        journal.settle(settings().journal_exit_seconds)

    # -- the names of the peer ---------------------------------------------------------------------------------------

    async def astart(self, timeout: float | None = None) -> None:
        """As `start`, awaited."""
        try:
            await asyncio.to_thread(self.run, timeout)
        finally:
            self._stopping.set()

    @by_colour(astart)
    def start(self, timeout: float | None = None) -> None:
        """Serve the tasks until the worker is stopped."""
        self.run(timeout)

    async def execute_task_run(self, task_run: TaskRun) -> Any:
        """Run one task run, as if the server had handed it over; its final state, None if it is under way already."""
        if not self._enter(task_run):
            return None
        try:
            while self._free is not None and not self._free.acquire(blocking=False):  # noqa: ASYNC110 - threads give places back
                await asyncio.sleep(_GLANCE)
            try:
                return await asyncio.to_thread(self.execute_task_run_sync, task_run)
            finally:
                self._give_place_back()
        finally:
            self._leave(task_run)

    async def __aenter__(self) -> "TaskWorker":
        self.started_at = now()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.started_at = None


def _connection_errors() -> type[Exception]:
    from websockets.exceptions import WebSocketException

    return WebSocketException


async def aserve(
    *tasks: Task[..., Any],
    limit: int | None = 10,
    status_server_port: int | None = None,
    timeout: float | None = None,
) -> None:
    """As `serve`, awaited."""
    worker = TaskWorker(*tasks, limit=limit)
    with _status_server(worker, status_server_port):
        await worker.astart(timeout)


@by_colour(aserve)
def serve(
    *tasks: Task[..., Any],
    limit: int | None = 10,
    status_server_port: int | None = None,
    timeout: float | None = None,
) -> None:
    """Run what others put in the background of these tasks, until Ctrl-C or SIGTERM, or for `timeout` seconds.

    At most `limit` runs go on at once (None: no bound). With `status_server_port` the worker tells about itself under
    `http://127.0.0.1:<port>/status`.
    """
    worker = TaskWorker(*tasks, limit=limit)
    with ExitStack() as stack:
        stack.enter_context(_status_server(worker, status_server_port))
        stack.enter_context(_sigterm_stops(worker))
        try:
            worker.run(timeout)
        except (KeyboardInterrupt, TerminationSignal):
            worker.stop()


@contextmanager
def _sigterm_stops(worker: TaskWorker) -> Iterator[None]:
    import signal

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _status_server(worker: TaskWorker, port: int | None) -> Iterator[None]:
    """A page about the worker, for whoever watches over processes."""
    if port is None:
        yield
        return
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Status(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = msgspec.json.encode(
                {
                    "client_id": worker.client_id,
                    "started_at": worker.started_at,
                    "task_keys": sorted(worker.task_keys),
                    "limit": worker.limit,
                    "in_flight": {key: len(runs) for key, runs in worker.in_flight_task_runs.items()},
                    "finished": worker.finished_task_runs,
                }
            )
            found = self.path == "/status"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) if found else 0))
            self.end_headers()
            self.wfile.write(body if found else b"")

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Status)
    threading.Thread(target=server.serve_forever, name="riverrun-status", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
