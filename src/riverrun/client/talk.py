"""Conversations with a server, written once for sync and async code.

A talk is a generator that yields calls and is sent their answers, or thrown their errors. A number it yields is seconds to
wait. What sends a call is given to the two drivers here; `send` and `asend` are what everybody uses but clients with settings
of their own.
"""

import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from riverrun.base.errors import ObjectNotFound
from riverrun.client import http
from riverrun.client.call import Call

R = TypeVar("R")
T = TypeVar("T")

Talk = Generator[Call[Any] | float, Any, R]


def ask(call: Call[T]) -> Talk[T]:
    """One call: `answer = yield from ask(call)`."""
    answer: T = yield call
    return answer


def look_for(call: Call[T]) -> Talk[T | None]:
    """As `ask`, but None where there is no such object."""
    try:
        return (yield from ask(call))
    except ObjectNotFound:
        return None


def nap(seconds: float) -> Talk[None]:
    """Let time pass: `yield from nap(0.1)`."""
    yield float(seconds)


def hold(talk: Talk[R], send: Callable[[Call[Any]], Any] = http.send) -> R:
    """Hold a talk to its end, blocking."""
    try:
        call = next(talk)
        while True:
            try:
                if isinstance(call, float):
                    time.sleep(call)
                    answer = None
                else:
                    answer = send(call)
            except Exception as error:  # noqa: BLE001 - the talk decides what an error means
                call = talk.throw(error)
            else:
                call = talk.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def ahold(talk: Talk[R], asend: Callable[[Call[Any]], Awaitable[Any]] = http.asend) -> R:
    """As `hold`, without blocking the event loop."""
    import asyncio

    try:
        call = next(talk)
        while True:
            try:
                answer = await (asyncio.sleep(call) if isinstance(call, float) else asend(call))
            except Exception as error:  # noqa: BLE001 - as above
                call = talk.throw(error)
            else:
                call = talk.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
