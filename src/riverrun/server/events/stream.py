"""Streams: who subscribes gets what is committed from then on, in order, without gaps. One reader of the outbox per process.

It reads only while somebody subscribes, and builds only the kinds of documents that somebody may want. A subscriber that does
not keep up is cut off.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from riverrun.server import outbox
from riverrun.server.db.units import OUTBOX, Reader
from riverrun.server.events import documents, match, queries
from riverrun.server.http.sockets import PROTOCOL_ERROR, TRY_AGAIN, Socket, SocketClosed, accept
from riverrun.server.logs import logic as logs_logic
from riverrun.server.logs import queries as logs_queries
from riverrun.server.store import Store
from riverrun.wire.events import ReceivedEvent
from riverrun.wire.filters import EventFilter, LogFilter
from riverrun.wire.journal import FLOW_RUN, TASK_RUN
from riverrun.wire.logs import Log

#: messages that may wait for one subscriber
BACKLOG = 5000
#: stored events that a subscriber gets at most before the live ones
MAX_BACKFILL = 10_000
#: the outbox is looked at again after so many seconds, should a wake-up get lost
_LOOK_SECONDS = 1.0
_COMMITS = 50
_encode = msgspec.json.Encoder().encode
_KINDS = {FLOW_RUN: outbox.FLOW_RUN_STATE, TASK_RUN: outbox.TASK_RUN_STATE}
#: what names of events begin with, by the kind of their entries
_PREFIXES = {outbox.FLOW_RUN_STATE: "prefect.flow-run.", outbox.TASK_RUN_STATE: "prefect.task-run."}

Thing = ReceivedEvent | Log


class Subscriber:
    """Somebody who gets what `wants` says yes to."""

    def __init__(self, workspace: int, kinds: frozenset[str], wants: Callable[[Any], bool]) -> None:
        self.workspace = workspace
        self.kinds = kinds
        self.wants = wants
        #: (id, message); None: cut off
        self.queue: asyncio.Queue[tuple[UUID, bytes] | None] = asyncio.Queue()

    def offer(self, thing: Thing, message: bytes) -> None:
        if self.queue.qsize() < BACKLOG:
            self.queue.put_nowait((thing.id, message))
        elif self.queue.qsize() == BACKLOG:
            self.queue.put_nowait(None)


class Stream:
    """One per process, on its event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._subscribers: set[Subscriber] = set()
        self._task: asyncio.Task[None] | None = None
        self._starting: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def subscribe(self, subscriber: Subscriber) -> AsyncIterator[Subscriber]:
        """From here on everything that is committed reaches the subscriber."""
        self._subscribers.add(subscriber)
        try:
            if self._task is None or self._task.done():
                self._starting = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._run(self._starting), name="event-stream")
            assert self._starting is not None
            await asyncio.shield(self._starting)
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    async def _run(self, started: "asyncio.Future[None]") -> None:
        try:
            with self._store.hub.listen(OUTBOX) as listener:
                cursor = await self._store.read(outbox.end)
                started.set_result(None)
                while self._subscribers:
                    kinds = frozenset().union(*(each.kinds for each in self._subscribers))
                    cursor, things = await self._store.read(partial(_read, cursor=cursor, kinds=kinds))
                    if things is None:
                        await listener.wait(_LOOK_SECONDS)
                    else:
                        self._hand_out(things)
        except Exception as error:  # noqa: BLE001 - every subscriber is told by being cut off, and comes again
            if not started.done():
                started.set_exception(error)
            for subscriber in self._subscribers:
                subscriber.queue.put_nowait(None)

    def _hand_out(self, things: Sequence[tuple[int, str, Thing]]) -> None:
        for workspace, kind, thing in things:
            message: bytes | None = None
            for subscriber in self._subscribers:
                if subscriber.workspace == workspace and kind in subscriber.kinds and subscriber.wants(thing):
                    message = message or message_of(thing)
                    subscriber.offer(thing, message)


def message_of(thing: Thing) -> bytes:
    """An event or a line as it is sent."""
    if isinstance(thing, Log):
        return _encode({"type": "log", "log": thing})
    return _encode({"type": "event", "event": thing})


def _read(
    reader: Reader, cursor: outbox.Cursor, kinds: frozenset[str]
) -> tuple[outbox.Cursor, list[tuple[int, str, Thing]] | None]:
    """The next commits' things of some kinds; None when there was no commit."""
    batch = outbox.read(reader, cursor, _COMMITS)
    if batch.cursor == cursor:
        return cursor, None
    return batch.cursor, things_of(reader, batch.entries, kinds)


def things_of(
    reader: Reader, entries: Sequence[tuple[int, int, Sequence[Any]]], kinds: frozenset[str]
) -> list[tuple[int, str, Thing]]:
    """The events and log lines of entries of the outbox, of some kinds, in order: (workspace, kind, thing)."""
    states = {
        kind: documents.of_states(reader, kind, [_span(entry) for _, _, entry in entries if entry[0] == name])
        for kind, name in _KINDS.items()
        if name in kinds
    }
    stored = documents.stored(reader, [entry[1] for _, _, entry in entries if entry[0] == outbox.EVENT])
    found: list[tuple[int, str, Thing]] = []
    for workspace, _, entry in entries:
        name = entry[0]
        if name not in kinds:
            continue
        if name == outbox.EVENT:
            event = stored.get(entry[1])
            found += [] if event is None else [(workspace, name, event)]
        elif name == outbox.LOGS:
            found += [(workspace, name, line) for line in logs_queries.by_keys(reader, [(entry[1], entry[2])])]
        else:
            made = states[FLOW_RUN if name == outbox.FLOW_RUN_STATE else TASK_RUN]
            key, first, last = _span(entry)
            places = (documents.Place(key, seq) for seq in range(first, last + 1))
            found += [(workspace, name, made[place]) for place in places if place in made]
    return found


def _span(entry: Sequence[Any]) -> documents.Span:
    return entry[1], entry[2], entry[-1]


def kinds_of(filter: EventFilter) -> frozenset[str]:
    """The kinds of entries whose events may pass the filter, as far as names say."""
    kinds = {outbox.EVENT}
    for kind, prefix in _PREFIXES.items():
        names, prefixes = (filter.event.name, filter.event.prefix) if filter.event is not None else (None, None)
        if names and not any(name.startswith(prefix) for name in names):
            continue
        if prefixes and not any(one.startswith(prefix) or prefix.startswith(one) for one in prefixes):
            continue
        kinds.add(kind)
    return frozenset(kinds)


def stream_of(call: Any) -> Stream:
    """The stream of this process, from a Call."""
    found: Stream | None = call.state.get("stream")
    if found is None:
        found = call.state["stream"] = Stream(call.store)
    return found


class _Opening(Struct):
    """The first message of a subscriber."""

    filter: dict[str, Any]
    backfill: bool = True


async def serve_stream(call: Any, noun: str) -> None:
    """Serve a socket that streams events or log lines."""
    try:
        socket = await accept(call)
        opening = await socket.receive_object()
        kind: Any = EventFilter if noun == "event" else LogFilter
        try:
            if opening.get("type") != "filter":
                await socket.close(PROTOCOL_ERROR, "Expected 'filter' message")
                return
            opened = msgspec.convert(opening, _Opening, strict=False)
            filter = msgspec.convert(opened.filter, kind, strict=False)
        except msgspec.ValidationError as error:
            await socket.close(PROTOCOL_ERROR, f"Invalid filter: {error}")
            return
        await _stream(call, socket, filter, backfill=opened.backfill and noun == "event")
    except SocketClosed:
        return


async def _stream(call: Any, socket: Socket, filter: Any, *, backfill: bool) -> None:
    workspace = call.caller.scope.workspace_id
    if isinstance(filter, EventFilter):
        subscriber = Subscriber(workspace, kinds_of(filter), partial(match.matches, filter))
    else:
        subscriber = Subscriber(workspace, frozenset({outbox.LOGS}), partial(logs_logic.matches, filter))
    async with stream_of(call).subscribe(subscriber):
        gone = asyncio.create_task(socket.wait_closed())
        sending = asyncio.create_task(_send(call, socket, subscriber, filter if backfill else None))
        try:
            done, _ = await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending in done:
                await sending
        finally:
            gone.cancel()
            sending.cancel()


async def _send(call: Any, socket: Socket, subscriber: Subscriber, filter: EventFilter | None) -> None:
    sent: set[UUID] = set()
    if filter is not None:
        async for event in queries.oldest_first(call.store, call.caller, filter, MAX_BACKFILL):
            sent.add(event.id)
            await socket.send(message_of(event))
    while True:
        item = await subscriber.queue.get()
        if item is None:
            await socket.close(TRY_AGAIN, "You did not keep up; subscribe again.")
            return
        thing_id, message = item
        if thing_id in sent:
            sent.discard(thing_id)
            continue
        await socket.send(message)
