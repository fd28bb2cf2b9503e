"""`riverrun server`: start, stop and look at a server; keep its database; run its services."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from riverrun.base.config import settings
from riverrun.base.errors import InputError, UnavailableError
from riverrun.cli.groups import Group, confirm, json_option
from riverrun.cli.output import print_fields, print_json, print_table, say, write

if TYPE_CHECKING:
    from riverrun.server.db.engine import Database

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05
#: a longer server.log is begun anew when a server starts
_LOG_BYTES = 4 * 1024**2


@click.group(cls=Group)
def server() -> None:
    """Start, stop and look at a server; keep its database."""


@server.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: RIVERRUN_SERVER_API_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.  [default: 4200]")
@click.option("-b", "--background", is_flag=True, help="Come back when the server stands.")
@click.option("--no-services", is_flag=True, help="Serve the API only; `riverrun server services start` does the rest.")
@click.option("--no-ui", is_flag=True, help="Serve no pages.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Processes that serve (PostgreSQL only).")
@click.option("--idle-seconds", type=click.FloatRange(min=0.1), help="End when nobody has asked anything for so long.")
@click.option("--log-level", type=click.Choice(_LEVELS, case_sensitive=False), help="Lowest level to log.")
@click.option("--log-json", is_flag=True, help="Log one JSON document per line.")
@click.option("--insecure-i-know", is_flag=True, help="Let everybody in who reaches an address that others reach.")
@click.option("--ready-pipe", type=int, hidden=True)
@click.option("--worker-socket", type=int, hidden=True)
@click.option("--worker-parent", type=int, hidden=True)
def start(
    *,
    host: str | None,
    port: int | None,
    background: bool,
    no_services: bool,
    no_ui: bool,
    workers: int,
    idle_seconds: float | None,
    log_level: str | None,
    log_json: bool,
    insecure_i_know: bool,
    ready_pipe: int | None,
    worker_socket: int | None,
    worker_parent: int | None,
) -> None:
    """Start a server: in the foreground, until Ctrl-C or `riverrun server stop`.

    The store is the SQLite file riverrun.db in RIVERRUN_HOME, or what RIVERRUN_API_DATABASE_CONNECTION_URL names.
    """
    from riverrun.server import lines, process

    if workers > 1 and idle_seconds is not None:
        raise InputError("--idle-seconds and --workers do not go together.")
    current = settings()
    plan = process.Plan(
        host=host or current.server_api_host,
        port=current.server_api_port if port is None else port,
        services=not no_services,
        workers=workers,
        idle_seconds=idle_seconds,
        insecure=insecure_i_know,
        socket=worker_socket,
        parent=worker_parent,
    )
    arguments = [
        "--host",
        plan.host,
        "--port",
        str(plan.port),
        "--log-level",
        log_level or current.server_logging_level,
    ]
    flags = {
        "--no-services": no_services,
        "--no-ui": no_ui,
        "--log-json": log_json,
        "--insecure-i-know": insecure_i_know,
    }
    arguments += [flag for flag, given in flags.items() if given]
    if background:
        arguments += ["--workers", str(workers)]
        _start_in_background(arguments + ([] if idle_seconds is None else ["--idle-seconds", str(idle_seconds)]))
        return
    lines.set_up((log_level or current.server_logging_level).upper(), as_json=log_json)
    quiet = worker_socket is not None
    on_ready = None if ready_pipe is None else process.tell_parent(ready_pipe)
    process.start(plan, (lambda _text: None) if quiet else _say_now, on_ready, arguments)


def _say_now(text: str) -> None:
    write(text)
    sys.stdout.flush()


def _start_in_background(arguments: list[str]) -> None:
    import subprocess

    home = settings().home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / "server.log"
    reading, writing = os.pipe()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.fstat(log).st_size > _LOG_BYTES:
        os.ftruncate(log, 0)
    before = os.fstat(log).st_size
    # -P: a file of the user's directory must not stand in for a module of ours
    command = [sys.executable, "-P", "-m", "riverrun", "server", "start", *arguments, "--ready-pipe", str(writing)]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
            env={**os.environ, "RIVERRUN_HOME": str(home)},
        )
    finally:
        os.close(writing)
        os.close(log)
    url = _read_all(reading)
    if url:
        write(f"riverrun serves {url} in the background (process {child.pid}, log {path}).")
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(5)
    raise UnavailableError(_why_not(path, before))


def _read_all(descriptor: int) -> str:
    """What the server says through its pipe; nothing when it has died instead, or takes too long."""
    import select

    try:
        ready, _, _ = select.select([descriptor], [], [], _START_SECONDS)
        return os.read(descriptor, 4096).decode() if ready else ""
    finally:
        os.close(descriptor)


def _why_not(log: Path, before: int) -> str:
    found = _wait_for_other()
    if found is not None:
        return f"A server of this home runs already: {found['url']} (process {found['pid']})."
    said = log.read_bytes()[before:].decode(errors="replace").strip()[-2000:]
    return f"The server did not start. {said.removeprefix('Error: ') or f'See {log}.'}"


def _wait_for_other() -> dict[str, Any] | None:
    """The server of this home, when one runs; one that has just been started by somebody else is waited for."""
    from riverrun.client.location import is_claimed, running_server

    deadline = time.monotonic() + _START_SECONDS
    while (found := running_server()) is None and is_claimed() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return found


@server.command()
def stop() -> None:
    """Stop the server of this home; comes back when it has ended."""
    from riverrun.client.location import running_server

    found = running_server()
    if found is None:
        say("No server of this home runs.")
        return
    try:
        os.kill(found["pid"], signal.SIGTERM)
    except ProcessLookupError:
        say("The server has just ended.")
        return
    deadline = time.monotonic() + _STOP_SECONDS
    while _is_alive(found["pid"]):
        if time.monotonic() >= deadline:
            raise UnavailableError(f"The server (process {found['pid']}) has not ended within {_STOP_SECONDS:g} s.")
        time.sleep(_POLL_SECONDS)
    say(f"The server at {found['url']} has stopped.")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@server.command()
@click.option("--wait", is_flag=True, help="Wait until the server is ready.")
@click.option("--timeout", type=click.FloatRange(min=0), default=120.0, show_default=True, help="Seconds to wait.")
@json_option
def status(*, wait: bool, timeout: float, as_json: bool) -> None:
    """Say whether a server can be reached and is ready; exit code 1 when not."""
    deadline = time.monotonic() + timeout
    while not (facts := _look())["ready"] and wait and time.monotonic() < deadline:
        time.sleep(0.2)
    if as_json:
        print_json(facts)
    elif facts["url"] is None:
        say("No server runs for this home, and RIVERRUN_API_URL is not set. `riverrun server start` starts one.")
    else:
        shown = [("API", facts["url"]), ("Status", facts["status"]), ("Version", facts["version"] or "-")]
        shown += [("Process", str(facts["pid"]))] if facts["pid"] else []
        print_fields([*shown, *(("Problem", reason) for reason in facts["reasons"])])
    if not facts["ready"]:
        raise SystemExit(1)


def _look() -> dict[str, Any]:
    import httpx

    from riverrun.client.location import api_url, running_server

    url, here = api_url(), running_server()
    own = here is not None and url == f"{here['url']}/api"
    facts: dict[str, Any] = {"url": url, "ready": False, "status": "not running", "reasons": []}
    facts |= {"pid": here["pid"] if own and here else None, "version": here["version"] if own and here else None}
    if url is None:
        return facts
    try:
        answer = httpx.get(f"{url}/ready", timeout=10, follow_redirects=True)
        document = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
    except (httpx.HTTPError, ValueError) as error:
        return facts | {"status": "not reached", "reasons": [str(error) or type(error).__name__]}
    if answer.status_code == 200:
        return facts | {"status": "ready", "ready": True}
    reasons = document.get("reasons") or document.get("detail") if isinstance(document, dict) else None
    return facts | {"status": "not ready", "reasons": reasons or [f"The server answers {answer.status_code}."]}


@server.command()
@click.option("--kind", type=click.Choice(["pat", "svc", "wkr"]), default="svc", show_default=True, help="Whose key.")
@json_option
def key(*, kind: str, as_json: bool) -> None:
    """Make an API key and its digest.

    The client keeps the key (RIVERRUN_API_KEY); the server is given the digest (RIVERRUN_SERVER_API_KEYS). The key is shown
    here only.
    """
    from riverrun.server.http.auth import digest, make_key

    made = make_key(kind)
    kept = f"sha256:{digest(made)}"
    if as_json:
        print_json({"key": made, "digest": kept})
    else:
        print_fields([("Key, for the client", made), ("Digest, for the server", kept)])


# -- database -----------------------------------------------------------------------------------------------------------------


@server.group(cls=Group)
def database() -> None:
    """Bring the store's tables up to date or back, empty it, check it."""


_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@contextlib.contextmanager
def _held(why: str, *, lock: bool = True) -> Any:
    """The store that the settings name, held against other writers."""
    from riverrun.server import process
    from riverrun.server.db.engine import open_database

    current = settings()
    with (
        process.explained(),
        open_database(current.api_database_connection_url or current.home / "riverrun.db") as opened,
    ):
        if lock:
            process.take_lock(opened, why, process.LOCK_SECONDS, say)
        yield opened


def _at(opened: "Database") -> str:
    from riverrun.server.db import schema

    exists = opened.path is None or opened.path.exists()
    return (schema.version(opened) if exists else None) or "none"


@database.command()
@click.option("-y", "--yes", is_flag=True, expose_value=False, help="Taken for the sake of scripts; nothing is asked.")
def upgrade() -> None:
    """Bring the tables to the revision that this version needs; `server start` does it too."""
    from riverrun.server.db import schema

    with _held("upgrading the tables") as opened:
        before = _at(opened)
        schema.upgrade(opened)
        say(
            f"The tables are at {schema.HEAD}."
            if before == schema.HEAD
            else f"Upgraded from {before} to {schema.HEAD}."
        )


@database.command()
@click.option(
    "-r", "--revision", default="-1", help="Revision to go back to; `base` removes all tables.", show_default=True
)
@_yes
def downgrade(*, revision: str, yes: bool) -> None:
    """Bring the tables back to an older revision; what only newer ones can hold is lost."""
    from riverrun.server.db import schema

    if not yes:
        confirm(f"Bring the tables back to revision {revision}? What only newer tables hold is lost.")
    with _held("downgrading the tables") as opened:
        try:
            schema.downgrade(opened, revision)
        except schema.unknown_revision() as error:
            raise InputError(f"There is no revision {revision!r} to go back to: {error}") from error
        say(f"The tables are at {_at(opened)}.")


@database.command()
@_yes
def reset(*, yes: bool) -> None:
    """Remove everything in the store and make it anew, empty."""
    from riverrun.server.db import schema

    with _held("resetting the store") as opened:
        if not yes:
            where = opened.path or opened.url.render_as_string(hide_password=True)
            confirm(f"Remove everything in {where}? This cannot be undone.")
        schema.reset(opened)
        opened.give_back_space()
        say("The store is empty.")


@database.command()
@json_option
def check(*, as_json: bool) -> None:
    """Check the store: its tables' revision, its file, its counts. Exit code 1 when something is wrong."""
    from riverrun.server.db.check import problems_of

    with _held("checking", lock=False) as opened:
        found = problems_of(opened)
        if as_json:
            print_json({"revision": _at(opened), "problems": found})
        else:
            for problem in found or ["Nothing is wrong."]:
                write(problem)
    if found:
        raise SystemExit(1)


# -- services -----------------------------------------------------------------------------------------------------------------


@server.group(cls=Group)
def services() -> None:
    """The background work of a server."""


@services.command("ls")
@json_option
def list_services(*, as_json: bool) -> None:
    """List the loops, what they do and how often."""
    from riverrun.server.services import all_loops

    loops = all_loops()
    if as_json:
        print_json([{"name": loop.name, "interval": loop.interval, "doc": loop.doc} for loop in loops])
    else:
        print_table(
            ["Name", ">Every", "What it does"], [(loop.name, f"{loop.interval:g} s", loop.doc) for loop in loops]
        )


@services.command("start")
@click.option("--log-level", type=click.Choice(_LEVELS, case_sensitive=False), help="Lowest level to log.")
def start_services(*, log_level: str | None) -> None:
    """Run the loops without the API, in the foreground; beside servers started with --no-services (PostgreSQL only)."""
    from riverrun.server import lines
    from riverrun.server.db import schema
    from riverrun.server.serve import run_services

    lines.set_up((log_level or settings().server_logging_level).upper())
    with _held("services") as opened:
        schema.upgrade(opened)
        run_services(
            opened, settings().server_database_listen_url, lambda: _say_now("The services run. Ctrl-C stops them.")
        )
    say("The services have stopped.")
