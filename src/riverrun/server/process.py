"""The process of a server: what is checked and taken before it serves, and how it is told to others.

In the order of what refuses most cheaply: credentials for an address that others reach, the home's place, the port, the
database's lock, the tables. A failure anywhere leaves nothing behind.
"""

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from riverrun.base.config import settings
from riverrun.base.errors import InputError, UnavailableError
from riverrun.server.address import Address
from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database
from riverrun.server.http.auth import credentials_of

LOCK_SECONDS = 5.0
_BACKLOG = 2048
#: of PostgreSQL's connections, left for others
_RESERVE = 5
Say = Callable[[str], None]


class Plan(Struct, kw_only=True, frozen=True):
    """What `riverrun server start` was asked for."""

    host: str
    port: int
    services: bool = True
    workers: int = 1
    idle_seconds: float | None = None
    insecure: bool = False
    #: of a worker: the socket it shares, and a pipe that closes with its parent
    socket: int | None = None
    parent: int | None = None


def start(
    plan: Plan, say: Say, on_ready: Callable[[str], None] | None = None, arguments: list[str] | None = None
) -> None:
    """Serve until told to stop. `arguments` are those that a worker is started with."""
    current = settings()
    credentials = credentials_of(current.server_api_auth_string, current.server_api_keys)
    check_exposure(plan, credentials)
    if plan.socket is not None:
        with explained(), open_database(_store()) as database:
            _serve(plan, database, socket.socket(fileno=plan.socket), credentials, None)
        return
    with ExitStack() as stack:
        address = Address(current.home)
        mine = address.claim()
        stack.callback(address.release)
        stack.enter_context(explained())
        database = stack.enter_context(open_database(_store()))
        if plan.workers > 1 and database.path is not None:
            raise InputError(
                "Several workers need a PostgreSQL store; on SQLite one process serves. Leave out --workers."
            )
        listener = stack.enter_context(listen(plan.host, plan.port))
        url = url_of(listener, plan.host)
        take_lock(database, f"server at {url}", LOCK_SECONDS if mine else 0.1)
        schema.upgrade(database)
        check_connections(database, plan.workers)

        def ready() -> None:
            address.tell(url)
            say(_welcome(url, database, credentials, mine))
            if on_ready is not None:
                on_ready(url)

        if plan.workers > 1:
            from riverrun.server.workers import supervise

            database.close()
            supervise(plan.workers, listener, arguments or [], ready)
        else:
            _serve(plan, database, listener, credentials, ready)
    say("The server has stopped.")


def _serve(
    plan: Plan,
    database: Database,
    listener: socket.socket,
    credentials: frozenset[str],
    ready: Callable[[], None] | None,
) -> None:
    from riverrun.server.serve import Options, Running

    current = settings()
    options = Options(
        services=plan.services,
        hosts=hosts_of(plan.host, current.server_allowed_hosts, secured=bool(credentials)),
        credentials=credentials,
        idle_seconds=plan.idle_seconds,
        parent=plan.parent,
        listen_url=current.server_database_listen_url,
    )
    Running(database, listener, options).run(ready)


def _store() -> str | Path:
    current = settings()
    return current.api_database_connection_url or current.home / "riverrun.db"


def _welcome(url: str, database: Database, credentials: frozenset[str], mine: bool) -> str:
    store = database.path or database.url.render_as_string(hide_password=True)
    lines = [
        f"riverrun serves {url}",
        f"  API    {url}/api  (clients elsewhere: RIVERRUN_API_URL={url}/api)",
        f"  Store  {store}",
        f"  Access {'by key or auth string' if credentials else 'everybody on this machine'}",
        "  Stop   Ctrl-C or `riverrun server stop`",
    ]
    if not mine:
        lines.append("  Another server of this home is the one that clients here find by themselves.")
    return "\n".join(lines)


# -- what is checked ----------------------------------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine reaches the address."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def check_exposure(plan: Plan, credentials: frozenset[str]) -> None:
    """Refuse to let everybody in from everywhere. Raises InputError."""
    if credentials or plan.insecure or is_loopback(plan.host):
        return
    raise InputError(
        f"On {plan.host} others can reach the server, and nobody would be asked who they are. Set "
        "RIVERRUN_SERVER_API_AUTH_STRING (user:password) or RIVERRUN_SERVER_API_KEYS (`riverrun server key` makes one), "
        "listen on 127.0.0.1, or say --insecure-i-know."
    )


def hosts_of(host: str, allowed: list[str], *, secured: bool) -> frozenset[str]:
    """The names that requests may ask for beside loopback's (`http.guard`)."""
    names = {name.lower() for name in allowed}
    if not is_loopback(host):
        if secured and not names:
            return frozenset({"*"})  # whoever asks has to bring credentials, which no page of another site has
        names |= {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names)


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket; raises UnavailableError when the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
    except socket.gaierror as error:
        raise InputError(f"{host!r} is no address of this machine ({error.strerror}).") from error
    except (OSError, OverflowError) as error:
        raise UnavailableError(_no_socket(host, port, error)) from error
    with listener:
        yield listener


def _no_socket(host: str, port: int, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        return f"Port {port} on {host} is already in use. Choose another with --port (0 takes a free one)."
    if code == errno.EACCES:
        return f"Port {port} may not be used without special rights. Choose one above 1023 with --port."
    return f"Cannot listen on {host}, port {port}: {error}."


def url_of(listener: socket.socket, host: str) -> str:
    """The URL under which this machine reaches the server."""
    port = listener.getsockname()[1]
    if host in {"0.0.0.0", ""}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    elif host in {"::", "[::]"}:
        host = "::1"
    return f"http://[{host.strip('[]')}]:{port}" if ":" in host else f"http://{host}:{port}"


def take_lock(database: Database, why: str, seconds: float, say: Say | None = None) -> None:
    """Become the one writer of a SQLite store; raises UnavailableError with who is it already."""
    if database.lock is not None and not database.lock.acquire(seconds, why, say):
        raise UnavailableError(
            f"The store {database.path} is held by {database.lock.holder()}; a SQLite store has one writer. Stop that one "
            "(`riverrun server stop`), or use another RIVERRUN_HOME or a PostgreSQL store."
        )


def check_connections(database: Database, workers: int) -> None:
    """Refuse more workers than PostgreSQL has connections for."""
    if database.path is not None:
        return
    pools: list[Any] = [database.engine.pool, database.limited.pool]
    each = sum(pool.size() for pool in pools) + 2  # to speak and to listen (`db.notify`)
    with database.read() as connection:
        most = int(connection.exec_driver_sql("SHOW max_connections").scalar() or 0)
    if workers * each > most - _RESERVE:
        raise UnavailableError(
            f"{workers} workers take up to {workers * each} connections, {each} each; PostgreSQL allows {most} "
            f"(max_connections), of which {_RESERVE} are left for others. Use fewer workers or raise max_connections."
        )


@contextmanager
def explained() -> Iterator[None]:
    """Errors of the database as UnavailableError, without passwords."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        first = str(error.orig or error).strip().split("\n", 1)[0]
        url = settings().api_database_connection_url
        where = (
            settings().home / "riverrun.db" if url is None else sa.make_url(url).render_as_string(hide_password=True)
        )
        raise UnavailableError(f"The store {where} cannot be used: {first}") from error


def tell_parent(descriptor: int) -> Callable[[str], None]:
    """A function that tells whoever started this process in the background that it serves."""

    def tell(url: str) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, url.encode())
            os.close(descriptor)

    return tell
