"""Generator tasks and flows: the user's generator is driven item by item inside its own copied context.

Two generators consumed in turns must each see their own run, and one that is abandoned is finalised from wherever the garbage
collector happens to run; so neither the user's steps nor the engine's touch the consumer's context.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Context, copy_context
from typing import Any

from riverrun.engine.drive import aperform, perform
from riverrun.engine.effects import Call, Effect


def stream(make_life: Callable[[], Any], *, return_state: bool = False) -> Generator[Any, Any, Any]:
    """A sync generator whose items are those of the user's generator and whose end is the end of the run."""
    context = copy_context()
    life = context.run(make_life)
    life.streamed = True
    context.run(life.open)
    steps = context.run(life.live)
    try:
        effect = context.run(next, steps)
        while True:
            yield from _perform_streamed(effect, context)
            effect = context.run(steps.send, None)
    except StopIteration:
        pass
    except BaseException as broken:
        context.run(life.crashed, broken)
        raise
    error, value = context.run(life.verdict, return_state)
    if error is not None:
        raise error
    return value


def _perform_streamed(effect: Effect, context: Context) -> Generator[Any, Any, None]:
    """Perform one effect; the user's call is a stream of items."""
    if effect.__class__ is not Call:
        try:
            context.run(lambda: perform(effect, main=False))
        except BaseException as struck:  # noqa: BLE001 - outcomes are values
            effect.error = struck
        return
    try:
        user = context.run(effect.fn, *effect.args, **effect.kwargs)
        item = context.run(next, user)
        while True:
            try:
                sent = yield item
            except GeneratorExit:
                # the consumer has enough: that is a good end of the run
                context.run(user.close)
                effect.value = None
                return
            except BaseException as thrown:  # noqa: BLE001 - handed to the user's generator
                item = context.run(user.throw, thrown)
            else:
                item = context.run(user.send, sent)
    except StopIteration as stop:
        effect.value = stop.value
    except BaseException as error:  # noqa: BLE001 - outcomes are values
        effect.error = error


async def astream(make_life: Callable[[], Any], *, return_state: bool = False) -> AsyncGenerator[Any, Any]:
    """An async generator whose items are those of the user's and whose end is the end of the run."""
    context = copy_context()
    life = context.run(make_life)
    life.streamed = True
    context.run(life.open)
    steps = context.run(life.live)
    try:
        effect = context.run(next, steps)
        while True:
            if effect.__class__ is not Call:
                try:
                    await _step(aperform(effect), context)
                except BaseException as struck:  # noqa: BLE001 - outcomes are values
                    effect.error = struck
            else:
                try:
                    user = context.run(effect.fn, *effect.args, **effect.kwargs)
                    item = await _step(user.__anext__(), context)
                    while True:
                        try:
                            sent = yield item
                        except GeneratorExit:
                            await _step(user.aclose(), context)
                            break
                        except BaseException as thrown:  # noqa: BLE001 - handed to the user's generator
                            item = await _step(user.athrow(thrown), context)
                        else:
                            item = await _step(user.asend(sent), context)
                except StopAsyncIteration:
                    pass
                except BaseException as struck:  # noqa: BLE001 - outcomes are values
                    effect.error = struck
            effect = context.run(steps.send, None)
    except StopIteration:
        pass
    except BaseException as broken:
        context.run(life.crashed, broken)
        raise
    error, _value = context.run(life.verdict, return_state)
    if error is not None:
        raise error


class _step:  # noqa: N801 - an awaitable used like a function
    """Await something with every step of it inside `context`."""

    __slots__ = ("_awaitable", "_context")

    def __init__(self, awaitable: Any, context: Context) -> None:
        self._awaitable = awaitable
        self._context = context

    def __await__(self) -> Generator[Any, Any, Any]:
        context = self._context
        steps = self._awaitable.__await__()
        try:
            item = context.run(next, steps)
            while True:
                try:
                    sent = yield item
                except BaseException as thrown:  # noqa: BLE001 - handed to the awaited thing
                    item = context.run(steps.throw, thrown)
                else:
                    item = context.run(steps.send, sent) if sent is not None else context.run(next, steps)
        except StopIteration as stop:
            return stop.value
