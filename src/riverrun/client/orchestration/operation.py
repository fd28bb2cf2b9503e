"""Methods of both clients out of one definition.

An `operation` wraps a function that gives a call, or a talk of several; on a `Blocking` client it is a method that returns
the answer, on an `Awaited` one a method that is awaited. Type checkers see both.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar, overload

from riverrun.client.call import Call
from riverrun.client.schemas.objects import as_users_hold
from riverrun.client.talk import Talk, ahold, hold

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """A client whose operations return their answers."""

    def _send(self, call: Call[Any]) -> Any:
        raise NotImplementedError


class Awaited:
    """A client whose operations are awaited."""

    async def _send(self, call: Call[Any]) -> Any:
        raise NotImplementedError


class operation(Generic[P, T]):  # noqa: N801 - stands where a decorator does
    """A method that sends what `make` gives."""

    @overload
    def __init__(self: "operation[P, T]", make: Callable[P, Call[T]]) -> None: ...
    @overload
    def __init__(self: "operation[P, T]", make: Callable[P, Talk[T]]) -> None: ...
    def __init__(self, make: Callable[P, Any]) -> None:
        self.make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, client: Blocking, owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaited, owner: type | None = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, client: None, owner: type | None = None) -> Callable[..., Any]: ...
    def __get__(self, client: Any, owner: type | None = None) -> Callable[..., Any]:
        if client is None:  # looked at on the class: for `help` and `inspect`
            return self._named(self.make)
        if isinstance(client, Blocking):

            def blocking(*args: P.args, **kwargs: P.kwargs) -> Any:
                made = self.make(*args, **kwargs)
                answer = client._send(made) if isinstance(made, Call) else hold(made, client._send)
                return as_users_hold(answer)

            return self._named(blocking)

        async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
            made = self.make(*args, **kwargs)
            answer = await (client._send(made) if isinstance(made, Call) else ahold(made, client._send))
            return as_users_hold(answer)

        return self._named(awaited)

    def _named(self, function: Callable[..., Any]) -> Callable[..., Any]:
        named = wraps(self.make)(function) if function is not self.make else function
        if named is not self.make:
            named.__name__ = self.name
        return named
