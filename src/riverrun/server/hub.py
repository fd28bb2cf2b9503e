"""Wake-ups inside this process: who waits for a topic is woken when a transaction that touched it has been committed.

A topic is a short text such as "outbox" or "flow_run:<hex id>". A wake-up is a hint and may be lost when the process ends;
whoever waits looks again after its time-out. Between replicas `server.db.notify` carries the topics.
"""

import asyncio
from collections.abc import Collection


class Hub:
    """Topics and who waits for them. All methods but `notify` belong to the event loop's thread."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake-ups go to this loop from now on."""
        self._loop = loop

    def detach(self) -> None:
        self._loop = None

    def notify(self, topics: Collection[str]) -> None:
        """Wake who waits for one of the topics. From any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.fire, topics)

    def fire(self, topics: Collection[str]) -> None:
        for topic in topics:
            for event in self._waiters.get(topic, ()):
                event.set()

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
        """Wait until one of the topics was touched since the last call; False when `seconds` have passed first."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
