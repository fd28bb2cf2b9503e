"""A running server: the store is opened and brought up to date, the application served, and everything ended in order."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from riverrun.server.app import make_app
from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database
from riverrun.server.store import Store


@contextmanager
def in_thread(url: str, host: str = "127.0.0.1") -> Iterator[str]:
    """A server over the store at `url`, in a thread of this process on a free port; gives its base URL. For tests."""
    listener = socket.create_server((host, 0))
    port = listener.getsockname()[1]
    with open_database(url) as database:
        schema.upgrade(database)
        server = uvicorn.Server(_config())
        thread = threading.Thread(target=_run, args=(server, database, listener), name="riverrun-server", daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join(10)
            listener.close()


def _config() -> uvicorn.Config:
    return uvicorn.Config(
        _unset, log_config=None, access_log=False, lifespan="off", ws="websockets-sansio", timeout_graceful_shutdown=2
    )


async def _unset(*_: object) -> None:
    raise RuntimeError("the application is set before the server starts")


def _run(server: uvicorn.Server, database: Database, listener: socket.socket) -> None:
    store = Store(database)
    server.config.app = make_app(store)

    async def main() -> None:
        store.hub.attach(asyncio.get_running_loop())
        await server.serve(sockets=[listener])
        store.hub.detach()

    try:
        asyncio.run(main())
    finally:
        store.close()
