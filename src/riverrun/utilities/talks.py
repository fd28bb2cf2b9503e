"""Conversations with a server, written once for both colours of callers.

A talk is a generator that yields calls (`riverrun.client.call`) and is sent their answers, or thrown their errors. `talking`
makes a public function of it that blocks in sync code and is awaited in async code; `awaiting` one that is always awaited.
"""

from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from riverrun.base.errors import ObjectNotFound
from riverrun.client.call import Call
from riverrun.utilities.colours import by_colour

P = ParamSpec("P")
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


def hold(talk: Talk[R]) -> R:
    """Hold a talk to its end, blocking."""
    from riverrun.client.http import send

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


async def ahold(talk: Talk[R]) -> R:
    """As `hold`, without blocking the event loop."""
    from riverrun.client.http import asend

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


def talking(talk: Callable[P, Talk[R]]) -> Callable[P, R]:
    """The public function of a talk: its outcome in sync code, a coroutine of it in async code."""

    @wraps(talk)
    def blocking(*args: P.args, **kwargs: P.kwargs) -> R:
        return hold(talk(*args, **kwargs))

    return by_colour(awaiting(talk))(blocking)


def awaiting(talk: Callable[P, Talk[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The public function of a talk that is always awaited."""

    @wraps(talk)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> R:
        return await ahold(talk(*args, **kwargs))

    return awaited
