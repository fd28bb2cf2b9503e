"""Sockets: the auth dance, events in, what malformed frames get, and the order of commits and pongs."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
import websockets
from websockets.asyncio.client import connect

from riverrun.base.ids import uuid7
from riverrun.server.events import intake
from tests.server.talk import T0, in_loop, opened, other, report, send


def states(api: httpx.Client, run: UUID) -> list[str]:
    return [state["name"] for state in api.get("/task_run_states/", params={"task_run_id": str(run)}).json()]


@in_loop
async def test_reported_task_runs_are_there_when_the_pong_comes(server_url: str, api: httpx.Client) -> None:
    run = uuid7()
    events = [report(run, name, at) for at, name in enumerate(["Pending", "Running", "Completed"])]
    await send(server_url, *events)
    found = api.get(f"/task_runs/{run}").json()
    assert (found["state_name"], found["run_count"], found["name"]) == ("Completed", 1, "say-0")
    assert found["tags"] == ["blue"]
    assert found["labels"]["mine"] == "yes"
    assert found["task_inputs"] == {"x": [{"input_type": "parameter", "name": "x"}]}
    assert (found["empirical_policy"]["retries"], found["empirical_policy"]["retry_delay"]) == (2, [1, 2])
    assert found["total_run_time"] == 1.0
    assert found["state_id"] == events[-1]["id"]
    assert states(api, run) == ["Pending", "Running", "Completed"]


@in_loop
async def test_reports_may_come_twice_and_out_of_order(server_url: str, api: httpx.Client) -> None:
    run = uuid7()
    pending, running, completed = (report(run, name, at) for at, name in enumerate(["Pending", "Running", "Completed"]))
    await send(server_url, completed, pending, completed)
    await send(server_url, running, pending)
    assert states(api, run) == ["Pending", "Running", "Completed"]
    found = api.get(f"/task_runs/{run}").json()
    assert (found["state_name"], found["total_run_time"]) == ("Completed", 1.0)


@in_loop
async def test_a_run_that_was_requested_keeps_its_id(server_url: str, api: httpx.Client) -> None:
    flow = api.post("/flows/", json={"name": f"flow-{uuid4()}"}).json()["id"]
    flow_run = api.post("/flow_runs/", json={"flow_id": flow}).json()["id"]
    body = {"flow_run_id": flow_run, "task_key": "say-1234", "dynamic_key": "0"}
    made = api.post("/task_runs/", json=body).json()
    another = uuid7()
    later = (datetime.now(UTC) - T0).total_seconds() + 60
    await send(server_url, report(another, "Running", later, flow_run=UUID(flow_run)))
    assert api.get(f"/task_runs/{another}").status_code == 404
    assert api.get(f"/task_runs/{made['id']}").json()["state_name"] == "Running"


@in_loop
async def test_events_by_request_are_taken_the_same_way(api: httpx.Client) -> None:
    run = uuid7()
    assert api.post("/events", json=[report(run, "Running", 0), other()]).status_code == 204
    assert states(api, run) == ["Running"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"id": "x"}, "id"),
        ({"resource": {}}, "resource"),
        ({"related": [{"prefect.resource.id": "a"}]}, "related"),
        ({"payload": 3}, "payload"),
        ({"occurred": "yesterday"}, "occurred"),
        ({"event": "x" * 2000}, "event"),
    ],
)
def test_what_is_no_event_is_refused_with_its_place(api: httpx.Client, change: dict[str, Any], where: str) -> None:
    refused = api.post("/events", json=[other(), other(**change)])
    assert refused.status_code == 422
    assert refused.json()["exception_detail"][0]["loc"][:3] == ["body", 1, where]


@in_loop
async def test_a_thousand_reports_in_one_burst(server_url: str, api: httpx.Client) -> None:
    flow_run = uuid7()
    runs = [uuid7() for _ in range(400)]
    events = [
        report(run, name, at, flow_run=flow_run, dynamic_key=str(number))
        for number, run in enumerate(runs)
        for at, name in enumerate(["Pending", "Running", "Completed"])
    ]
    await send(server_url, *events)
    filter = {"task_runs": {"flow_run_id": {"any_": [str(flow_run)]}, "state": {"type": {"any_": ["COMPLETED"]}}}}
    assert api.post("/task_runs/count", json=filter).json() == 400


@in_loop
async def test_a_poisonous_report_keeps_no_other_out(server_url: str, api: httpx.Client) -> None:
    good, bad, nul = uuid7(), uuid7(), uuid7()
    await send(
        server_url,
        report(bad, "Running", 0, run_count=10**18, flow_run_run_count=10**18),
        report(nul, "Running", 0, name="a\0b"),
        report(good, "Running", 0),
    )
    assert states(api, good) == ["Running"]
    assert states(api, nul) == ["Running"]


# -- what is refused ----------------------------------------------------------------------------------------------------------


async def _close_code(base: str, path: str, *frames: str | bytes, sign_in: bool = True) -> int | None:
    """The code with which the server closes after these frames; None: it does not."""
    url = base.replace("http", "ws", 1) + "/api" + path
    async with connect(url, subprotocols=["prefect"], max_size=None) as socket:
        if sign_in:
            await socket.send('{"type": "auth", "token": null}')
            await socket.recv()
        try:
            for frame in frames:
                await socket.send(frame)
            await asyncio.wait_for(socket.recv(), 2)
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
        except TimeoutError:
            return None
    return None


@pytest.mark.parametrize(
    ("frames", "sign_in", "code"),
    [
        (("{",), True, 1002),
        (("[]",), True, 1003),
        ((json.dumps(other(id="x")),), True, 1003),
        ((b"\x00\x01",), True, 1003),
        (("[" * 5000,), True, 1003),
        (("x" * (1024 * 1024 + 1),), True, 1009),
        (("{",), False, 1002),
        (("3",), False, 1002),
        ((b"{}",), False, 1003),
        (('{"type": "filter"}',), False, 1008),
    ],
)
@in_loop
async def test_malformed_frames_close_with_a_code_of_the_clients(
    server_url: str, frames: tuple[str | bytes, ...], sign_in: bool, code: int
) -> None:
    assert await _close_code(server_url, "/events/in", *frames, sign_in=sign_in) == code


@in_loop
async def test_unknown_sockets_are_not_there(server_url: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(server_url.replace("http", "ws", 1) + "/api/nothing/here", subprotocols=["prefect"]):
            pass
    assert refused.value.response.status_code == 404


@in_loop
async def test_an_old_client_that_offers_no_subprotocol_is_let_in(server_url: str, api: httpx.Client) -> None:
    run = uuid7()
    async with connect(server_url.replace("http", "ws", 1) + "/api/events/in") as socket:
        assert socket.subprotocol is None
        await socket.send(json.dumps(report(run, "Running", 0)))
        await (await socket.ping())
    assert states(api, run) == ["Running"]


@in_loop
async def test_everything_is_there_when_a_client_that_asks_nothing_has_left(server_url: str, api: httpx.Client) -> None:
    """The peer's client sends its last events and says good-bye; whoever waits for its process reads them at once."""
    flow_run = uuid7()
    async with opened(server_url, "/events/in") as socket:
        for number in range(300):
            await socket.send(json.dumps(report(uuid7(), "Completed", 0, flow_run=flow_run, dynamic_key=str(number))))
    assert socket.close_code == 1000
    filter = {"task_runs": {"flow_run_id": {"any_": [str(flow_run)]}}}
    assert api.post("/task_runs/count", json=filter).json() == 300


@pytest.fixture
def breaking() -> Iterator["Breaking"]:
    made = Breaking()
    sa.event.listen(sa.Engine, "commit", made)
    yield made
    sa.event.remove(sa.Engine, "commit", made)


class Breaking:
    """Commits of the server's writer fail, as when a disk or a database is away."""

    def __init__(self) -> None:
        self.left = 0
        self.broken = threading.Semaphore(0)

    def __call__(self, _: sa.Connection) -> None:
        if self.left and threading.current_thread().name.startswith(("riverrun-writer", "riverrun-bulk")):
            self.left -= 1
            self.broken.release()
            raise sa.exc.OperationalError("COMMIT", {}, OSError("the disk is away"))


@in_loop
async def test_no_pong_covers_up_that_earlier_events_were_not_stored(
    server_url: str, api: httpx.Client, breaking: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "PATIENCE", 0.0)
    first, second = uuid7(), uuid7()
    async with opened(server_url, "/events/in") as socket:
        breaking.left = 1
        await socket.send(json.dumps(report(first, "Running", 0)))
        assert await asyncio.to_thread(breaking.broken.acquire, timeout=10)
        await send(server_url, report(second, "Running", 0))  # over another socket: the store takes events again
        await socket.send(json.dumps(report(uuid7(), "Running", 0)))
        with pytest.raises(websockets.ConnectionClosed):
            await (await socket.ping())
    assert socket.close_code == 1013
    assert (states(api, first), states(api, second)) == ([], ["Running"])


@in_loop
async def test_events_wait_for_a_database_that_is_away(server_url: str, api: httpx.Client, breaking: Breaking) -> None:
    run = uuid7()
    async with opened(server_url, "/events/in") as socket:
        breaking.left = 3
        await socket.send(json.dumps(report(run, "Running", 0)))
    assert socket.close_code == 1000
    assert breaking.left == 0
    assert states(api, run) == ["Running"]


@in_loop
async def test_events_before_a_malformed_one_count(server_url: str, api: httpx.Client) -> None:
    run = uuid7()
    assert await _close_code(server_url, "/events/in", json.dumps(report(run, "Running", 0)), "{") == 1002
    await send(server_url, other())
    assert states(api, run) == ["Running"]


PATHS = ("/events/in", "/events/out", "/logs/out", "/task_runs/subscriptions/scheduled")
_GOOD = (
    '{"type": "auth", "token": null}',
    '{"type": "filter", "filter": {}}',
    '{"type": "subscribe", "keys": ["k"], "client_id": "c"}',
    '{"type": "ack"}',
    json.dumps(other()),
    json.dumps(report(uuid7(), "Running", 0)),
)
_ODD = (None, -1, 2**63, 1e308, "", "\0", "\ud7ff", [], {}, [[[[]]]], {"": None}, "9999-99-99", "x" * 10_000)


def _spoiled(frame: str, random: Random) -> str | bytes:
    """A frame with something wrong in it, or not."""
    kind = random.randrange(6)
    if kind == 0:
        return frame
    if kind == 1:
        return frame[: random.randrange(len(frame))]
    if kind == 2:
        return random.randbytes(random.randrange(200))
    if kind == 3:
        at = random.randrange(len(frame))
        return frame[:at] + random.choice('{}[],:"\\0\x00e-\u20ac') + frame[at:]
    value = json.loads(frame)
    place = value
    while True:
        key = random.choice(list(place))
        if isinstance(place[key], dict) and place[key] and random.random() < 0.7:
            place = place[key]
            continue
        place[key] = random.choice(_ODD)
        return json.dumps(value)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("path", PATHS)
@in_loop
async def test_fuzzed_frames_never_fail_the_server(server_url: str, api: httpx.Client, path: str, seed: int) -> None:
    """Whatever comes, a socket stays open or is closed with a code that blames the client; and the server goes on."""
    random = Random(f"{path} {seed}")
    url = server_url.replace("http", "ws", 1) + "/api" + path
    for _ in range(15):
        subprotocols = random.choice((["prefect"], None, ["other", "prefect"]))
        try:
            async with connect(url, subprotocols=subprotocols, close_timeout=2) as socket:
                if random.random() < 0.8 and subprotocols:
                    await socket.send(_GOOD[0])
                for _ in range(random.randrange(1, 6)):
                    await socket.send(_spoiled(random.choice(_GOOD), random))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(socket.wait_closed(), 0.05)
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd is None or closed.rcvd.code in {1000, 1002, 1003, 1007, 1008, 1009, 4001}, closed
        else:
            assert socket.close_code in {1000, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 4001}, socket.close_reason
    run = uuid7()
    await send(server_url, report(run, "Running", 0))
    assert states(api, run) == ["Running"]
