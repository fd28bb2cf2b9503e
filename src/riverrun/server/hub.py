"""Wake-ups inside this process: who waits for a topic is woken when a transaction that touched it has been committed.

A topic is a short text such as "outbox" or "flow_run:<hex id>". A wake-up is a hint and may be lost when the process ends;
whoever waits looks again after its time-out. Between replicas `server.db.notify` carries the topics.
"""

import asyncio
from collections.abc import Callable, Collection

from riverrun.base.errors import UnavailableError


class Stopping(UnavailableError):
    """The server is stopping; ask again in a moment."""


class Hub:
    """Topics and who waits for them. All methods but `notify` belong to the event loop's thread."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        #: hands topics to the other replicas
        self.relay: Callable[[Collection[str]], None] | None = None
        self.closed = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake-ups go to this loop from now on."""
        self._loop = loop

    def detach(self) -> None:
        self._loop = None

    def notify(self, topics: Collection[str]) -> None:
        """Wake who waits for one of the topics, here and in the other replicas. From any thread."""
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._tell, topics)
        except RuntimeError:
            pass  # the loop has ended meanwhile: nobody waits any more

    def _tell(self, topics: Collection[str]) -> None:
        self.fire(topics)
        if self.relay is not None:
            self.relay(topics)

    def fire(self, topics: Collection[str]) -> None:
        """Wake who waits here for one of the topics."""
        for topic in topics:
            for event in self._waiters.get(topic, ()):
                event.set()

    def fire_all(self) -> None:
        """Wake everybody: which topics were touched is not known."""
        self.fire(list(self._waiters))

    def close(self) -> None:
        """End every wait, now and from now on, with Stopping."""
        self.closed = True
        self.fire_all()

    def listen(self, *topics: str) -> "Listener":
        """A listener for the topics; wake-ups from now on are not missed. Use it as a context manager."""
        return Listener(self, topics)

    def add(self, topic: str, event: asyncio.Event) -> None:
        self._waiters.setdefault(topic, set()).add(event)

    def remove(self, topic: str, event: asyncio.Event) -> None:
        waiters = self._waiters.get(topic)
        if waiters is not None:
            waiters.discard(event)
            if not waiters:
                del self._waiters[topic]


class Listener:
    """Waits for topics, again and again, without missing what happens in between."""

    def __init__(self, hub: Hub, topics: Collection[str]) -> None:
        self._hub = hub
        self._topics = topics
        self._event = asyncio.Event()

    def __enter__(self) -> "Listener":
        for topic in self._topics:
            self._hub.add(topic, self._event)
        return self

    def __exit__(self, *_: object) -> None:
        for topic in self._topics:
            self._hub.remove(topic, self._event)

    async def wait(self, seconds: float) -> bool:
        """Wait until one of the topics was touched since the last call; False when `seconds` have passed first.

        Raises Stopping when the server stops.
        """
        if self._hub.closed:
            raise Stopping
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        if self._hub.closed:
            raise Stopping
        return True
