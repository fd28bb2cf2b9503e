"""Streams of events and logs: what is said, what comes twice, and broken connections. The server here is a script."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from riverrun.base import errors
from riverrun.base.config import temporary_settings
from riverrun.client.sockets import (
    asubscribe_events,
    asubscribe_logs,
    socket_url,
    subscribe_events,
    subscribe_logs,
)
from riverrun.events.clients import get_events_client, get_events_subscriber
from riverrun.events.schemas.events import Event
from riverrun.wire.filters import EventFilter, EventNameFilter, EventOccurredFilter

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int) -> dict[str, Any]:
    occurred = START + timedelta(minutes=number)
    return {
        "type": "event",
        "event": {
            "id": str(UUID(int=number)),
            "event": f"e.{number}",
            "occurred": occurred.isoformat(),
            "received": occurred.isoformat(),
            "resource": {"prefect.resource.id": "x"},
        },
    }


Talk = Callable[[ServerConnection, dict[str, Any]], None]


class Served:
    """A server of sockets: each connection is greeted, then told by the next talk of the script (the last for ever)."""

    def __init__(self) -> None:
        self.talks: list[Talk] = []
        self.auth = {"type": "auth_success"}
        self.heard: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.url = ""

    def handle(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            assert connection.subprotocol == "prefect"
            assert connection.request is not None
            self.paths.append(connection.request.path)
            self.heard.append(json.loads(connection.recv()))
            connection.send(json.dumps(self.auth))
            if self.auth["type"] != "auth_success":
                return
            wanted = json.loads(connection.recv())
            self.heard.append(wanted)
            talk = self.talks.pop(0) if len(self.talks) > 1 else self.talks[0]
            talk(connection, wanted)


@pytest.fixture
def served() -> Iterator[Served]:
    script = Served()
    with serve(script.handle, "127.0.0.1", 0, subprotocols=["prefect"]) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        script.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}/api"
        with temporary_settings({"api_url": script.url}):
            yield script
        server.shutdown()
        thread.join(5)


def tell(*numbers: int, close: int | None = 1000) -> Talk:
    def talk(connection: ServerConnection, _wanted: dict[str, Any]) -> None:
        for number in numbers:
            connection.send(json.dumps(event(number)))
        if close is None:
            connection.socket.close()
        else:
            connection.close(close, "so it is")

    return talk


def names(**options: Any) -> list[str]:
    return [each.event for each in subscribe_events(**options)]


def anames(**options: Any) -> list[str]:
    async def collected() -> list[str]:
        async with asubscribe_events(**options) as stream:
            return [each.event async for each in stream]

    return asyncio.run(collected())


BOTH = pytest.mark.parametrize("read", [names, anames], ids=["sync", "async"])


@pytest.mark.parametrize(
    ("api", "socket"), [("http://x:1/api", "ws://x:1/api/events/in"), ("https://x/a/api/", "wss://x/a/api/events/in")]
)
def test_addresses(api: str, socket: str) -> None:
    assert socket_url(api, "/events/in") == socket


@BOTH
def test_what_is_said(served: Served, read: Callable[..., list[str]]) -> None:
    served.talks = [tell(1, 2)]
    wanted = EventFilter(event=EventNameFilter(prefix=["e."]), occurred=EventOccurredFilter(since=START))
    with temporary_settings({"api_key": "k"}):
        assert read(filter=wanted) == ["e.1", "e.2"]
    assert served.paths == ["/api/events/out"]
    auth, asked = served.heard
    assert auth == {"type": "auth", "token": "k"}
    assert asked["type"] == "filter"
    assert asked["backfill"] is True
    assert asked["filter"]["event"] == {"prefix": ["e."]}
    assert asked["filter"]["occurred"]["since"] == "2026-01-01T00:00:00Z"


@BOTH
def test_without_a_beginning_the_stream_begins_now(served: Served, read: Callable[..., list[str]]) -> None:
    served.talks = [tell()]
    before = datetime.now(UTC)
    assert read() == []
    since = datetime.fromisoformat(served.heard[1]["filter"]["occurred"]["since"])
    assert before <= since <= datetime.now(UTC)


@BOTH
@pytest.mark.parametrize("close", [1001, 1011, 1012, None])
def test_a_broken_stream_goes_on_and_nothing_comes_twice(
    served: Served, read: Callable[..., list[str]], close: int | None
) -> None:
    served.talks = [tell(1, 5, close=close), tell(5, 6)]
    assert read(filter={"occurred": {"since": START.isoformat()}}) == ["e.1", "e.5", "e.6"]
    # from a minute before the latest that came: others may have arrived late
    assert served.heard[3]["filter"]["occurred"]["since"] == "2026-01-01T00:04:00Z"


def test_a_clean_end_may_be_no_end(served: Served) -> None:
    served.talks = [tell(1), tell(2), tell(3)]
    stream = subscribe_events(reconnect_on_clean_close=True)
    found = []
    for each in stream:
        found.append(each.event)
        if len(found) == 3:
            stream.close()
    assert found == ["e.1", "e.2", "e.3"]


@BOTH
def test_in_the_end_it_gives_up(served: Served, read: Callable[..., list[str]]) -> None:
    served.talks = [tell(close=1011)]
    with pytest.raises(errors.UnavailableError, match="broke 2 times in a row"):
        read(reconnection_attempts=1)


@BOTH
def test_who_may_not_is_told(served: Served, read: Callable[..., list[str]]) -> None:
    served.auth = {"type": "auth_failure", "reason": "wrong key"}
    with pytest.raises(errors.DeniedError, match=r"wrong key.*RIVERRUN_API_KEY"):
        read()
    served.auth, served.talks = {"type": "auth_success"}, [tell(close=1008)]
    with pytest.raises(errors.DeniedError, match="so it is"):
        read()


@BOTH
def test_a_filter_that_is_not_understood(served: Served, read: Callable[..., list[str]]) -> None:
    served.talks = [tell(close=1002)]
    with pytest.raises(errors.InputError, match="so it is"):
        read(filter={"nonsense": 1})


def test_other_frames_are_passed_over(served: Served) -> None:
    def talk(connection: ServerConnection, _wanted: dict[str, Any]) -> None:
        for frame in ("no json", "[]", '{"type": "news"}', json.dumps(event(1))):
            connection.send(frame)
        connection.close()

    served.talks = [talk]
    assert names() == ["e.1"]


def test_logs(served: Served) -> None:
    line = {"id": str(uuid4()), "name": "n", "level": 20, "message": "hi", "timestamp": START.isoformat()}

    def talk(connection: ServerConnection, _wanted: dict[str, Any]) -> None:
        connection.send(json.dumps({"type": "log", "log": line}))
        connection.close()

    async def read() -> list[str]:
        async with asubscribe_logs() as lines:
            return [each.message async for each in lines]

    served.talks = [talk]
    assert [each.message for each in subscribe_logs({"level": {"ge_": 20}})] == ["hi"]
    assert asyncio.run(read()) == ["hi"]
    assert served.paths == ["/api/logs/out"] * 2
    assert served.heard[1] == {"type": "filter", "filter": {"level": {"ge_": 20}}}


def test_events_of_a_server(request: pytest.FixtureRequest, at_server: str) -> None:
    """The whole way: what is sent comes back, in order."""
    if "peer" in request.node.name:
        pytest.skip("it stores events later than it takes them")
    prefix = f"t{uuid4().hex[:8]}"
    names = [f"{prefix}.{number}" for number in range(3)]
    since = datetime.now(UTC)

    async def sent_and_read() -> list[tuple[str, str]]:
        async with get_events_client() as client:
            for name in names:
                await client.emit(Event(event=name, resource={"prefect.resource.id": "the.thing"}))
        wanted = EventFilter(event=EventNameFilter(prefix=[prefix]), occurred=EventOccurredFilter(since=since))
        found = []
        async with get_events_subscriber(filter=wanted) as stream:
            async for each in stream:
                found.append((each.event, each.resource.id))
                if len(found) == len(names):
                    break
        return found

    assert asyncio.run(sent_and_read()) == [(name, "the.thing") for name in names]


def test_an_events_client_that_is_not_open() -> None:
    with pytest.raises(errors.MissingContextError, match="async with"):
        asyncio.run(get_events_client().emit(Event(event="e", resource={"prefect.resource.id": "x"})))


def test_events_come_with_their_resources(served: Served) -> None:
    async def read() -> list[str]:
        async with get_events_subscriber(EventFilter()) as stream:
            return [each.resource.id async for each in stream]

    served.talks = [tell(1)]
    assert asyncio.run(read()) == ["x"]
