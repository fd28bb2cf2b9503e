"""Background tasks: who gets them, when they come back, and who is there."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
import websockets

from riverrun.base.ids import uuid7
from riverrun.server.db.engine import open_database
from riverrun.server.db.tables import task_subscription
from tests.server.talk import in_loop, opened, report

PATH = "/task_runs/subscriptions/scheduled"


def make_task(api: httpx.Client, key: str, *, deferred: bool = True, **details: Any) -> str:
    state = {"type": "SCHEDULED", "state_details": {"deferred": deferred, **details}}
    body = {"id": str(uuid7()), "task_key": key, "dynamic_key": str(uuid4()), "state": state}
    made = api.post("/task_runs/", json=body)
    assert made.status_code == 201, made.text
    run_id: str = made.json()["id"]
    return run_id


async def subscribe(socket: Any, *keys: str, client: str = "worker") -> None:
    await socket.send(json.dumps({"type": "subscribe", "keys": list(keys), "client_id": client}))


async def receive(socket: Any, seconds: float = 10) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), seconds))
    return message


async def drain(socket: Any, number: int) -> list[str]:
    got = []
    for _ in range(number):
        got.append((await receive(socket))["id"])
        await socket.send('{"type": "ack"}')
    return got


@in_loop
async def test_runs_are_handed_out_in_their_order(server_url: str, api: httpx.Client) -> None:
    key, another, foreign = (f"task-{uuid4()}" for _ in range(3))
    made = [make_task(api, key), make_task(api, another), make_task(api, key)]
    make_task(api, foreign)
    make_task(api, key, deferred=False)
    async with opened(server_url, PATH) as socket:
        await subscribe(socket, key, another)
        assert await drain(socket, 3) == made
        later = await asyncio.to_thread(make_task, api, key)
        run = await receive(socket, 3)
        assert (run["id"], run["task_key"], run["state"]["type"], run["flow_run_id"]) == (later, key, "SCHEDULED", None)


@in_loop
async def test_each_run_goes_to_one_of_many(server_url: str, api: httpx.Client) -> None:
    key = f"task-{uuid4()}"
    made = [make_task(api, key) for _ in range(20)]
    async with opened(server_url, PATH) as first, opened(server_url, PATH) as second:
        await subscribe(first, key)
        await subscribe(second, key)
        got: list[str] = []
        complete = asyncio.Event()

        async def work(socket: Any) -> None:
            while True:
                got.extend(await drain(socket, 1))
                if len(got) == len(made):
                    complete.set()

        workers = [asyncio.create_task(work(socket)) for socket in (first, second)]
        await asyncio.wait_for(complete.wait(), 20)
        for worker in workers:
            worker.cancel()
    assert sorted(got) == sorted(made)


@in_loop
async def test_what_was_not_acknowledged_comes_back(server_url: str, api: httpx.Client) -> None:
    key = f"task-{uuid4()}"
    made = make_task(api, key)
    async with opened(server_url, PATH) as second:
        async with opened(server_url, PATH) as first:
            await subscribe(first, key)
            assert (await receive(first))["id"] == made
            await subscribe(second, key)
        assert await drain(second, 1) == [made]


@in_loop
async def test_what_was_acknowledged_does_not_come_back(server_url: str, api: httpx.Client) -> None:
    key = f"task-{uuid4()}"
    made = make_task(api, key)
    async with opened(server_url, PATH) as first:
        await subscribe(first, key)
        assert await drain(first, 1) == [made]
    async with opened(server_url, PATH) as second:
        await subscribe(second, key)
        with pytest.raises(TimeoutError):
            await receive(second, 1.5)
        api.post("/events", json=[report(UUID(made), "Running", 10**8, task_key=key)])


@in_loop
async def test_what_a_silent_worker_had_comes_back(fresh_store_url: str) -> None:
    """As after the end of the server or of the worker's machine: nobody closes the socket's subscription."""
    from riverrun.server.serve import in_thread

    with in_thread(fresh_store_url) as base, httpx.Client(base_url=f"{base}/api") as api:
        key = f"task-{uuid4()}"
        made = make_task(api, key)
        async with opened(base, PATH) as first:
            await subscribe(first, key)
            assert await drain(first, 1) == [made]
        async with opened(base, PATH) as second:
            await subscribe(second, key)
            with pytest.raises(TimeoutError):
                await receive(second, 0.5)
            with open_database(fresh_store_url) as database, database.write() as connection:
                over = sa.update(task_subscription).where(task_subscription.c.gone == 1).values(until=0)
                assert connection.execute(over).rowcount == 1
            assert await drain(second, 1) == [made]


@in_loop
async def test_workers_are_listed_while_they_are_there(server_url: str, api: httpx.Client) -> None:
    key, client = f"task-{uuid4()}", f"worker-{uuid4()}"

    def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.post(
            "/task_workers/filter", json={"task_worker_filter": {"task_keys": [key]}}
        ).json()
        return found

    async with opened(server_url, PATH) as socket:
        await subscribe(socket, key, client=client)
        made = await asyncio.to_thread(make_task, api, key)
        assert await drain(socket, 1) == [made]
        (worker,) = listed()
        assert (worker["identifier"], worker["task_keys"]) == (client, [key])
        assert client in [each["identifier"] for each in api.post("/task_workers/filter", json={}).json()]
        await socket.send('{"type": "quit"}')
        with pytest.raises(websockets.ConnectionClosedOK):
            await receive(socket)
    for _ in range(100):
        if not listed():
            break
        await asyncio.sleep(0.05)
    assert listed() == []


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (('{"type": "filter"}',), 4001),
        (('{"type": "subscribe", "client_id": "x"}',), 4001),
        (('{"type": "subscribe", "keys": [], "client_id": "x"}',), 4001),
        (('{"type": "subscribe", "keys": [3], "client_id": "x"}',), 4001),
        (('{"type": "subscribe", "keys": ["x"]}',), 4001),
        (('{"type": "subscribe", "keys": ["a\\u0000"], "client_id": "x"}',), 4001),
        (("{",), 1002),
        ((b"{}",), 1003),
        (('{"type": "subscribe", "keys": ["KEY"], "client_id": "x"}', '{"type": "nonsense"}'), 4001),
    ],
)
@in_loop
async def test_violations_close_the_socket(
    server_url: str, api: httpx.Client, frames: tuple[str | bytes, ...], code: int
) -> None:
    key = f"task-{uuid4()}"
    make_task(api, key)
    async with opened(server_url, PATH) as socket:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            for number, frame in enumerate(frames):
                await socket.send(frame.replace("KEY", key) if isinstance(frame, str) else frame)
                if number < len(frames) - 1:
                    await receive(socket)
            await receive(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
