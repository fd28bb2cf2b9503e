"""A running server: the application over an open store, its services and wake-ups, and everything ended in order.

Stopping: no new connections; long polls and sockets end at once; requests under way are answered; loops end their pass; what
the writer has taken is committed.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from msgspec import Struct

from riverrun.base.config import settings
from riverrun.server.app import make_app
from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database, parse_url
from riverrun.server.http.edge import Edge
from riverrun.server.http.socket_protocol import MAX_BYTES, Protocol
from riverrun.server.services import all_loops
from riverrun.server.services.loops import Services
from riverrun.server.store import Store
from riverrun.server.vault import open_vault

log = logging.getLogger("riverrun.server")

#: how long requests under way may take after the server was told to stop
_GRACE_SECONDS = 10
_KEEP_ALIVE_SECONDS = 30
_SWITCH_SECONDS = 0.001


class Options(Struct, kw_only=True, frozen=True):
    """How a server serves. `credentials`: digests of what clients may bring (`http.auth`); none: everybody is let in."""

    services: bool = True
    hosts: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()
    #: end when nobody has asked anything for so long
    idle_seconds: float | None = None
    #: a descriptor whose end of file says that the parent has gone
    parent: int | None = None
    #: for wake-ups between replicas; None: the store's own
    listen_url: str | None = None


class Running:
    """A server over an open database. `run` returns when it has stopped; `stop` may be called from any thread, and twice."""

    def __init__(self, database: Database, listener: socket.socket, options: Options | None = None) -> None:
        self.database = database
        self.options = options or Options()
        #: raises ConfigurationError when the store's secrets cannot be opened
        self.vault = open_vault(database, settings().home, settings().server_encryption_key)
        self._listener = listener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._uvicorn = _Uvicorn(_config())
        self.ready = threading.Event()

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve until stopped. `on_ready` is called when the first request can be answered."""
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._main(on_ready))
        finally:
            self.ready.set()

    def stop(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._uvicorn.should_exit:
            self._uvicorn.force_exit = True
        self._uvicorn.should_exit = True

    async def _main(self, on_ready: Callable[[], None] | None) -> None:
        self._loop = asyncio.get_running_loop()
        # the writer's thread computes in long stretches: what small requests need of the interpreter comes in between
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._take_signals(self._loop)
        store = Store(self.database, vault=self.vault)
        try:
            await self._serve(store, on_ready)
        finally:
            # the threads of readers and writer end outside the loop; what they were given is finished
            await asyncio.to_thread(store.close)

    async def _serve(self, store: Store, on_ready: Callable[[], None] | None) -> None:
        loops = all_loops()
        services = Services(store, loops if self.options.services else [])
        state = {"services": services, "loops": loops, "credentials": self.options.credentials}
        app = make_app(store, hosts=self.options.hosts, state=state)
        self._uvicorn.config.app = app
        self._uvicorn.on_shutdown = store.hub.close

        def started() -> None:
            self.ready.set()
            if on_ready is not None:
                on_ready()

        self._uvicorn.on_started = started
        watching = asyncio.create_task(self._watch_idle(app)) if self.options.idle_seconds else None
        try:
            async with _working(store, services, self.options.listen_url):
                await self._uvicorn.serve(sockets=[self._listener])
        finally:
            if watching is not None:
                watching.cancel()

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        _on_signals(loop, self._stop)
        if self.options.parent is not None:
            loop.add_reader(self.options.parent, self._parent_gone, loop, self.options.parent)

    def _parent_gone(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        loop.remove_reader(descriptor)
        self._stop()

    async def _watch_idle(self, app: Edge) -> None:
        longest = self.options.idle_seconds or 0.0
        left = longest
        while left > 0.0:
            await asyncio.sleep(max(0.05, left))
            left = longest - app.idle_seconds()
        log.info("Nobody has asked anything for %g s: the server ends.", longest)
        self._stop()


def _on_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)


@asynccontextmanager
async def _working(store: Store, services: Services, listen_url: str | None) -> AsyncIterator[None]:
    """Wake-ups and loops of a store, while the block lasts."""
    store.hub.attach(asyncio.get_running_loop())
    notifier: Any = None
    if store.database.path is None:
        from riverrun.server.db.notify import Notifier

        notifier = Notifier(store.database.url if listen_url is None else parse_url(listen_url), store.hub)
        notifier.start()
    try:
        await services.start()
        yield
    finally:
        await services.stop()
        if notifier is not None:
            await notifier.stop()
        store.hub.detach()


def run_services(database: Database, listen_url: str | None, on_ready: Callable[[], None]) -> None:
    """Run the loops without the API until SIGTERM or SIGINT."""

    async def main() -> None:
        stop = asyncio.Event()
        _on_signals(asyncio.get_running_loop(), stop.set)
        store = Store(database)
        try:
            async with _working(store, Services(store, all_loops()), listen_url):
                on_ready()
                await stop.wait()
        finally:
            await asyncio.to_thread(store.close)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its own signals, telling when it has started and when it begins to stop."""

    on_started: Callable[[], None]
    on_shutdown: Callable[[], None]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_shutdown()
        await super().shutdown(sockets)


def _config() -> uvicorn.Config:
    return uvicorn.Config(
        _unset,
        http="httptools",
        ws=Protocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=MAX_BYTES,
        # frames are small and come from near by: packing them takes longer than sending them
        ws_per_message_deflate=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


async def _unset(*_: object) -> None:
    raise RuntimeError("the application is set before the server starts")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


@contextmanager
def in_thread(url: str, host: str = "127.0.0.1", options: Options | None = None) -> Iterator[str]:
    """A server over the store at `url`, in a thread of this process on a free port; gives its base URL. For tests."""
    listener = socket.create_server((host, 0))
    port = listener.getsockname()[1]
    with open_database(url) as database:
        schema.upgrade(database)
        server = Running(database, listener, options or Options(services=False))
        thread = threading.Thread(target=server.run, name="riverrun-server", daemon=True)
        thread.start()
        server.ready.wait(10)
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()
            thread.join(_GRACE_SECONDS + 5)
            listener.close()
