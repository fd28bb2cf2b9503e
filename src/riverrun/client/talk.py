"""Conversations with a server, written once for sync and async code.

A talk is a generator that yields calls and is sent their answers, or thrown their errors. What sends a call is given to the
two drivers here; `send` and `asend` are what everybody uses but clients with settings of their own.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from riverrun.base.errors import ObjectNotFound
from riverrun.client import http
from riverrun.client.call import Call

R = TypeVar("R")
T = TypeVar("T")

Talk = Generator[Call[Any], Any, R]


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


def hold(talk: Talk[R], send: Callable[[Call[Any]], Any] = http.send) -> R:
    """Hold a talk to its end, blocking."""
    try:
        call = next(talk)
        while True:
            try:
                answer = send(call)
            except Exception as error:  # noqa: BLE001 - the talk decides what an error means
                call = talk.throw(error)
            else:
                call = talk.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def ahold(talk: Talk[R], asend: Callable[[Call[Any]], Awaitable[Any]] = http.asend) -> R:
    """As `hold`, without blocking the event loop."""
    try:
        call = next(talk)
        while True:
            try:
                answer = await asend(call)
            except Exception as error:  # noqa: BLE001 - as above
                call = talk.throw(error)
            else:
                call = talk.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
