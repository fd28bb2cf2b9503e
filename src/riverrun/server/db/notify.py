"""Wake-ups between the replicas of a PostgreSQL store.

Inside a committing transaction NOTIFY would serialise all commits (SERVER-NOTES 15). So the topics of committed transactions are
collected here, and one connection sends them, at most every 5 ms, merged. Another one listens and wakes who waits in this
process. What is lost (a broken connection) is made up for by waiters looking again after a second.
"""

import asyncio
import logging
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from riverrun.base.ids import uuid7
from riverrun.server.hub import Hub

log = logging.getLogger("riverrun.server.notify")

CHANNEL = "riverrun"
_MERGE_SECONDS = 0.005
#: a payload has at most 7,999 bytes
_MOST_BYTES = 7900
_ALL = "*"
_LONGEST_PAUSE = 10.0


class Notifier:
    """Sends the hub's topics to other replicas and receives theirs. Runs on the event loop between `start` and `stop`."""

    def __init__(self, url: sa.URL, hub: Hub) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._hub = hub
        self._me = uuid7().hex[-12:]
        self._topics: set[str] = set()
        self._touched = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        #: set while this replica hears the others
        self.listening = asyncio.Event()

    def start(self) -> None:
        self._hub.relay = self.send
        self._tasks = [
            asyncio.create_task(self._keep(self._speak), name="notify: speak"),
            asyncio.create_task(self._keep(self._listen), name="notify: listen"),
        ]

    async def stop(self) -> None:
        self._hub.relay = None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def send(self, topics: Collection[str]) -> None:
        """Tell the other replicas, soon. On the event loop's thread."""
        self._topics.update(topics)
        self._touched.set()

    async def _keep(self, work: Any) -> None:
        """Do `work` on a connection of its own, and again on a new one whenever that breaks."""
        import psycopg

        pause = 0.1
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
                    pause = 0.1
                    await work(connection)
            except psycopg.Error as error:
                log.warning("The connection for wake-ups broke, next try in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _speak(self, connection: Any) -> None:
        while True:
            await self._touched.wait()
            await asyncio.sleep(_MERGE_SECONDS)
            self._touched.clear()
            topics, self._topics = self._topics, set()
            await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self._payload(topics)))

    def _payload(self, topics: set[str]) -> str:
        payload = "\n".join([self._me, *topics])
        return payload if len(payload.encode()) <= _MOST_BYTES else f"{self._me}\n{_ALL}"

    async def _listen(self, connection: Any) -> None:
        await connection.execute(f"LISTEN {CHANNEL}")
        self._hub.fire_all()  # whatever was said while nobody listened
        self.listening.set()
        try:
            async for notice in connection.notifies():
                sender, *topics = notice.payload.split("\n")
                if sender != self._me:
                    self._hub.fire_all() if topics == [_ALL] else self._hub.fire(topics)
        finally:
            self.listening.clear()
