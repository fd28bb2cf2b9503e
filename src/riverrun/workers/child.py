"""The process in which a worker runs flows: `python -m riverrun.workers.child FD`, FD being a socket to the worker.

The worker's first message says which flow to import beforehand, if any. A *template* then forks a process for each job that it
is given; a *standby* becomes the run of its first job itself. Runs are children of the worker in either way: a template forks
twice, and the worker is the reaper of orphans. So nothing that a run does is seen by the next one, and a template that dies
takes no run along.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from riverrun.workers.messages import Gone, Inbox, send

if TYPE_CHECKING:
    from riverrun.flows import Flow
    from riverrun.states import State

#: the run's ends of: control, stdout, stderr, console; and the worker's ends of the last three
DESCRIPTORS: Final = 7
#: what may not be forked once it is loaded: it keeps threads, locks or devices that a child cannot use
_UNFORKABLE: Final = ("polars", "grpc", "torch.cuda", "tensorflow", "jax", "cupy", "ray", "pyarrow.flight")
#: loaded by every run
_NEEDED: Final = (
    "http.client", "riverrun.execution", "riverrun.client.presence", "riverrun.client.journal.shipper",
    "riverrun.client.journal.batches", "riverrun.engine.thread_calls", "riverrun.client.calls.answers",
    "riverrun.wire.presence", "riverrun.task_runners.threads", "riverrun.logging.configuration",
    "riverrun.logging.handlers", "riverrun.results", "riverrun.utilities.hashing", "riverrun.workers.links",
)  # fmt: skip
#: loaded by many; a template has it ready, which others would only wait for
_USUAL: Final = (
    "asyncio", "concurrent.futures", "jsonschema", "pydantic", "httpx", "httpcore", "h11", "anyio", "encodings.idna",
    "riverrun.client.connections", "riverrun.client.http",
)  # fmt: skip


def main() -> int:
    """Wait for jobs until the worker closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the worker's terminal is the worker's to answer
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    _die_with_parent(signal.SIGKILL)  # also in the midst of an import
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    inbox = Inbox()
    try:
        hello = inbox.wait(sock)
        flow = _prepare(sock, hello)
        while True:
            job = inbox.wait(sock)
            descriptors = inbox.descriptors[:DESCRIPTORS]
            del inbox.descriptors[:DESCRIPTORS]
            if not hello["forks"]:
                sock.close()
                return _run(job, descriptors, flow)
            if _fork(sock, job["n"]):
                sock.close()
                for descriptor in inbox.descriptors:  # of jobs that came along with this one
                    os.close(descriptor)
                _leave(_run(job, descriptors, flow))
            for descriptor in descriptors:
                os.close(descriptor)
    except Gone:
        return 0


def _die_with_parent(number: int) -> None:
    """Be sent this signal (0: none) when the worker dies, where the system does that. Forks do not inherit it."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, number, 0, 0, 0)  # PR_SET_PDEATHSIG


# -- before the first run -------------------------------------------------------------------------------------------------


def _prepare(sock: socket.socket, hello: dict[str, Any]) -> "Flow[..., Any] | None":
    """Import what runs need, and the flow; tell the worker."""
    from importlib import import_module

    for name in (*_NEEDED, *(_USUAL if hello["forks"] else ())):
        with suppress(ImportError):
            import_module(name)
    _learn_types()
    flow, answer = None, {"ready": True, "files": {}, "touched": False}
    if hello["entrypoint"] is not None:
        from riverrun.base.errors import RiverrunError
        from riverrun.entrypoints import load_flow
        from riverrun.workers.freshness import stamps_of_imports

        # a .pyc tells versions apart by seconds and size: an edit within a second would be served stale
        sys.dont_write_bytecode = True
        began = time.time_ns()
        try:
            if hello["directory"] is not None:
                os.chdir(hello["directory"])
            flow = load_flow(hello["entrypoint"])
        except (RiverrunError, OSError) as error:
            answer = {"ready": False, "why": str(error)}
        else:
            files, touched = stamps_of_imports(began)
            answer |= {"files": files, "touched": touched}
    if hello["forks"]:
        answer["unforkable"] = _why_unforkable(sock)
        _settle_memory()
    send(sock, answer)
    return flow


def _learn_types() -> None:
    """Have msgspec look at what every run decodes: it does so once, which takes milliseconds."""
    import msgspec

    from riverrun.client.calls.answers import Begun, ClaimedRun
    from riverrun.wire.presence import JournalAnswer, Presence

    for kind in (ClaimedRun, Begun, JournalAnswer, Presence):
        msgspec.json.Decoder(kind, strict=False)


def _settle_memory() -> None:
    """What is there by now stays where it is: collections in children then copy no pages."""
    import gc

    gc.collect()
    gc.freeze()


def _why_unforkable(own: socket.socket) -> str | None:
    """What keeps this process from being forked, in words."""
    loaded = [name for name in _UNFORKABLE if name in sys.modules]
    if loaded:
        return f"it has {loaded[0]} loaded"
    sockets = [number for number in _open_sockets() if number != own.fileno()]
    if sockets:
        return f"its import has opened {len(sockets)} connections"
    # libraries that can be forked (OpenBLAS) end their threads for it
    probe = os.fork()
    if probe == 0:
        os._exit(0)
    os.waitpid(probe, 0)
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names alone
    return None if threads == 1 else f"its import has started {threads - 1} threads"


def _open_sockets() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names alone
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):  # noqa: PTH115 - no path, a name of the kernel's
                found.append(int(name))
    return found


def _fork(sock: socket.socket, number: int) -> bool:
    """Fork a process for a run, as a grandchild; True in it. The one between tells its id and is gone."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return False
    try:
        pid = os.fork()
        if pid == 0:
            return True
        send(sock, {"started": number, "pid": pid})
    except (OSError, Gone) as error:
        with suppress(Gone):
            send(sock, {"started": number, "pid": 0, "why": str(error)})
    os._exit(0)


# -- the run --------------------------------------------------------------------------------------------------------------


def _run(job: dict[str, Any], descriptors: list[int], flow: "Flow[..., Any] | None") -> int:
    """Become the run: a session of its own, its environment, its pipes; the exit code."""
    control, *pipes = descriptors
    _die_with_parent(0)  # a run goes on without its worker
    if os.getsid(0) != os.getpid():
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _on_sigterm)
    _take_pipes(pipes)
    _take_variables(job["variables"])
    if job["cwd"] is not None:
        os.chdir(job["cwd"])
    ear = _Ear(socket.socket(fileno=control), UUID(job["id"]), pipes)
    _limit(job["limits"])
    _seed_anew()
    ear.start()
    return _execute(job, flow, ear)


def _execute(job: dict[str, Any], flow: "Flow[..., Any] | None", ear: "_Ear") -> int:
    import msgspec

    from riverrun.base.config import settings
    from riverrun.base.errors import RiverrunError, TerminationSignal
    from riverrun.client import journal
    from riverrun.client.calls.answers import ClaimedRun
    from riverrun.execution import NotOurs, execute_claimed
    from riverrun.workers.links import ask_until_answered

    state: State[Any] | None = None
    code = 1
    try:
        claim = msgspec.json.decode(job["claim"], type=ClaimedRun, strict=False)
        state = execute_claimed(claim, flow, lambda: ear.say({"begun": journal.current_writer()}), ask_until_answered)
        code = 0 if state.is_completed() or state.is_paused() else 1
    except NotOurs as error:
        ear.say({"not_ours": str(error)})
        code = 0
    except (RiverrunError, OSError, ValueError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    except TerminationSignal as error:
        code = 128 + error.signal
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    shipped = journal.settle(settings().journal_exit_seconds)
    journal.close()
    ear.say({"ended": True, "shipped": shipped})
    return code


def _leave(code: int) -> None:
    """End a forked process: what an interpreter does at its end but for taking itself to pieces, which takes its time."""
    import atexit

    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:  # noqa: BLE001 - the edge of the process
        code = code or 1
    os._exit(code)


def _on_sigterm(signum: int, _frame: object) -> None:
    from riverrun.base.errors import TerminationSignal

    raise TerminationSignal(signum)


def _take_pipes(pipes: list[int]) -> None:
    """stdout and stderr into their pipes; our own console lines, which are in the journal anyway, into the third."""
    out, err, console, *_ = pipes
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    for descriptor in (null, out, err):
        os.close(descriptor)
    import logging

    from riverrun.base.config import settings
    from riverrun.logging.configuration import ensure_logging_setup

    ensure_logging_setup()
    stream = os.fdopen(console, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    ours = {"riverrun", *settings().logging_extra_loggers}
    for name in ours:
        for handler in logging.getLogger(name).handlers:
            if getattr(handler, "stream", False) in (None, sys.stdout, sys.stderr):
                handler.stream = stream  # type: ignore[attr-defined]


def _take_variables(variables: dict[str, str | None]) -> None:
    from riverrun.base.config import reload

    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    reload()


def _limit(limits: dict[str, int]) -> None:
    if not limits:
        return
    import resource

    kinds = {
        "memory_mb": (resource.RLIMIT_AS, 1 << 20),
        "cpu_seconds": (resource.RLIMIT_CPU, 1),
        "open_files": (resource.RLIMIT_NOFILE, 1),
    }
    for name, value in limits.items():
        kind, unit = kinds[name]
        _, hard = resource.getrlimit(kind)
        wanted = int(value) * unit
        resource.setrlimit(kind, (wanted if hard < 0 else min(wanted, hard), hard))


def _seed_anew() -> None:
    """Forks of one template must not draw the same numbers. (The standard library minds its own.)"""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        with suppress(AttributeError):
            numpy.random.seed()


class _Ear(threading.Thread):
    """Hears the worker: cancel, or stop without a word. When the worker is no more the run goes on; nobody reads its output."""

    def __init__(self, sock: socket.socket, run_id: UUID, pipes: list[int]) -> None:
        super().__init__(name="riverrun-worker-ear", daemon=True)
        self._sock = sock
        self._run_id = run_id
        self._console, self._readers = pipes[2], pipes[3:]

    def say(self, message: dict[str, Any]) -> None:
        with suppress(Gone):
            send(self._sock, message)

    def run(self) -> None:
        inbox = Inbox()
        try:
            while True:
                message = inbox.wait(self._sock)
                self._obey(fenced="fence" in message)
        except Gone:
            self._forget_output()

    def _obey(self, *, fenced: bool) -> None:
        from riverrun.client import presence

        asked = ([], [self._run_id]) if fenced else ([self._run_id], [])
        for _ in range(100):  # a run that has just begun does not listen yet
            if presence.obey(*asked):
                return
            time.sleep(0.02)

    def _forget_output(self) -> None:
        # The worker's ends of the pipes were kept open here, so that nothing has failed for want of a reader.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2, self._console):
            os.dup2(null, descriptor)
        os.close(null)
        readers = set(self._readers)
        while readers:  # what other processes of the run write goes nowhere
            ready, _, _ = select.select(list(readers), [], [])
            for reader in ready:
                try:
                    if os.read(reader, 65_536):
                        continue
                except OSError:
                    pass
                readers.discard(reader)


if __name__ == "__main__":
    sys.exit(main())
