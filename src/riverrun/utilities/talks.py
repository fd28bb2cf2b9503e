"""Public functions made of conversations with a server (`riverrun.client.talk`), for callers of both colours."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from riverrun.client.talk import Talk, ahold, hold
from riverrun.utilities.colours import by_colour

P = ParamSpec("P")
R = TypeVar("R")


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
