"""Background tasks over sockets: a worker names task keys and gets their runs, one at a time."""

import asyncio
from functools import partial
from typing import Any

from riverrun.server.db.units import Reader
from riverrun.server.http.edge import encode
from riverrun.server.http.sockets import Socket, SocketClosed, accept
from riverrun.server.http.table import Call, Routes
from riverrun.server.hub import Stopping
from riverrun.server.task_workers import queue
from riverrun.wire.requests import TaskWorkersFilterBody
from riverrun.wire.task_runs import TaskWorkerResponse

routes = Routes("", "Task Workers")
#: a subscription is renewed after so many seconds, and the queue looked at again should a wake-up get lost
_RENEW_SECONDS = queue.LEASE_SECONDS / 3
_LOOK_SECONDS = 1.0
_VIOLATION = 4001
_MOST_KEYS = 1000


@routes.post("/task_workers/filter", permission="task_runs:read", returns=list[TaskWorkerResponse])
def read_task_workers(reader: Reader, body: TaskWorkersFilterBody | None) -> list[TaskWorkerResponse]:
    filter = None if body is None else body.task_worker_filter
    return queue.workers(reader, None if filter is None else filter.task_keys)


@routes.socket("/task_runs/subscriptions/scheduled", permission="task_runs:run")
async def subscribe(call: Call) -> None:
    """Hand the runs of some task keys to a worker."""
    try:
        socket = await accept(call)
        opening = await socket.receive_object()
        refusal = _refusal(opening)
        if refusal is not None:
            await socket.close(_VIOLATION, f"Protocol violation: {refusal}")
            return
        worker = Worker(call, socket, opening["keys"])
        await worker.serve(opening["client_id"])
    except (SocketClosed, Stopping):
        return


def _refusal(opening: dict[str, Any]) -> str | None:
    if opening.get("type") != "subscribe":
        return "expected 'subscribe' message"
    keys, client_id = opening.get("keys"), opening.get("client_id")
    if (
        not isinstance(keys, list)
        or not keys
        or not all(isinstance(key, str) for key in keys)
        or len(keys) > _MOST_KEYS
    ):
        return "expected 'keys' in subscribe message"
    if not isinstance(client_id, str) or not client_id or "\0" in "".join((client_id, *keys)):
        return "expected 'client_id' in subscribe message"
    return None


class Worker:
    """One socket that takes background tasks."""

    def __init__(self, call: Call, socket: Socket, task_keys: list[str]) -> None:
        self._store, self._caller = call.store, call.caller
        self._socket = socket
        self._keys = task_keys
        self._subscription = 0
        self._renewed = 0.0
        self._message: asyncio.Task[dict[str, Any]] | None = None

    async def serve(self, client_id: str) -> None:
        """Hand out runs until the client goes."""
        make = partial(queue.subscribe, client_id=client_id, task_keys=self._keys)
        self._subscription = await self._store.write(make, self._caller)
        self._renewed = asyncio.get_running_loop().time()
        try:
            with self._store.hub.listen(*(f"task_key:{key}" for key in self._keys)) as listener:
                while True:
                    if await self._store.read(partial(queue.is_waiting, task_keys=self._keys), self._caller):
                        await self._hand_out()
                    else:
                        await self._wait(asyncio.create_task(listener.wait(_LOOK_SECONDS)))
                    await self._renew()
        finally:
            if self._message is not None:
                self._message.cancel()
            end = partial(queue.leave, subscription=self._subscription, task_keys=self._keys)
            await asyncio.shield(self._store.write(end, self._caller))

    async def _hand_out(self) -> None:
        """Send a run and wait for its acknowledgement; a client that says something else is sent away."""
        take = partial(queue.take, subscription=self._subscription, task_keys=self._keys)
        run = await self._store.write(take, self._caller)
        if run is None:
            return
        await self._socket.send(encode(run))
        while not await self._said(_RENEW_SECONDS):
            await self._renew()
        message = await self._next()
        kind = message.get("type")
        if kind not in ("ack", "quit"):
            await self._socket.close(_VIOLATION, "Protocol violation: expected 'ack' message")
            raise SocketClosed
        await self._store.write(partial(queue.acknowledge, subscription=self._subscription), self._caller)
        if kind == "quit":
            await self._socket.close()
            raise SocketClosed

    async def _wait(self, woken: "asyncio.Task[bool]") -> None:
        """Wait for a wake-up; ends the subscription when the client goes or says "quit" meanwhile."""
        try:
            await asyncio.wait({woken, self._reading()}, return_when=asyncio.FIRST_COMPLETED)
            if woken.done():
                woken.result()
            elif (await self._next()).get("type") == "quit":
                await self._socket.close()
                raise SocketClosed
        finally:
            woken.cancel()

    def _reading(self) -> "asyncio.Task[dict[str, Any]]":
        if self._message is None:
            self._message = asyncio.create_task(self._socket.receive_object())
        return self._message

    async def _said(self, seconds: float) -> bool:
        """Whether the client has said something within so many seconds."""
        done, _ = await asyncio.wait({self._reading()}, timeout=seconds)
        return bool(done)

    async def _next(self) -> dict[str, Any]:
        message = await self._reading()
        self._message = None
        return message

    async def _renew(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._renewed >= _RENEW_SECONDS:
            self._renewed = now
            await self._store.write(partial(queue.renew, subscription=self._subscription), self._caller)
