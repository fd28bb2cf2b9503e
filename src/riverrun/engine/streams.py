"""Generator tasks and flows: the user's generator is driven item by item inside its own copied context.

Two generators consumed in turns must each see their own run, and one that is abandoned is finalised from wherever the garbage
collector happens to run; so neither the user's steps nor the engine's touch the consumer's context. A time-out holds from the
first step to the last.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from riverrun.base import interrupts
from riverrun.base.clock import monotonic
from riverrun.base.interrupts import gate
from riverrun.engine.drive import aperform, perform
from riverrun.engine.effects import Call, Effect
from riverrun.engine.timeouts import acall_with_timeout, call_with_timeout


def refuse_return_state(name: str) -> None:
    """Raise ValueError: a generator hands out items, it has no place for a state."""
    kind = name.partition(" ")[0].lower()
    raise ValueError(f"The return_type for a generator {kind} must be 'result', not a state: {name} yields its items.")


def stream(make_life: Callable[[], Any]) -> Generator[Any, Any, Any]:
    """A sync generator whose items are those of the user's generator and whose end is the end of the run."""
    section = _Section()
    context = copy_context()
    life = steps = None
    failure: BaseException | None = None
    try:
        section.enter()
        life = context.run(make_life)
        life.streamed = True
        steps = context.run(life.live)
        effect = context.run(next, steps)
        while True:
            if effect.__class__ is Call:
                items = _items(effect, context, section)
                try:
                    item = next(items)
                    while True:
                        context.run(life.note_item, item)
                        try:
                            section.leave()
                            sent = yield item
                        except GeneratorExit:
                            # the consumer has enough: that is a good end of the run
                            section.enter()
                            items.close()
                            break
                        except BaseException as thrown:  # noqa: BLE001 - handed to the user's generator
                            section.enter()
                            item = items.throw(thrown)
                        else:
                            section.enter()
                            item = items.send(sent)
                except StopIteration:
                    pass
            else:
                try:
                    context.run(partial(perform, effect, main=section.main))
                except BaseException as struck:  # noqa: BLE001 - outcomes are values
                    effect.error = struck
            effect = context.run(steps.send, None)
    except StopIteration:
        pass
    except BaseException as broken:  # noqa: BLE001 - raised below, when the section has ended
        if life is not None:
            context.run(life.crashed, broken)
        if steps is not None:
            context.run(steps.close)
        failure = broken
    if life is not None and failure is None:
        failure, value = context.run(life.verdict, False)
    section.end(failure)
    if failure is not None:
        raise failure
    return value


class _Section:
    """The engine's part of a generator's step: from the consumer's `next` to the item. No signal may strike it.

    What was so when the generator began does not count: it may be resumed, and thrown away, anywhere.
    """

    __slots__ = ("_before", "_guard", "_inside", "main")

    def __init__(self) -> None:
        self.main = self._before = self._inside = False
        self._guard: interrupts.guard | None = None

    def enter(self) -> None:
        """Engine code begins; nothing if it has begun already."""
        if self._inside:
            return
        self.main = main = interrupts.in_main_thread()
        if main:
            if not gate.depth:
                fresh = interrupts.guard()
                fresh.__enter__()
                self._guard = fresh
            self._before = gate.open
            gate.open = False
        self._inside = True

    def leave(self) -> None:
        """The consumer's code begins. A signal that came meanwhile is raised; then this is still the engine's part."""
        if self.main and gate.pending is not None and (self._before or self._guard is not None):
            raise interrupts.take_pending()
        self.end(None)

    def end(self, failure: BaseException | None) -> None:
        """The engine's part is over, with `failure` on its way to the consumer."""
        if not self._inside:
            return
        self._inside = False
        if not self.main:
            return
        gate.open = self._before
        former, self._guard = self._guard, None
        if former is not None:
            former.__exit__(None if failure is None else type(failure), failure, None)
        elif self._before and failure is None and gate.pending is not None:
            raise interrupts.take_pending()


def _items(call: Effect, context: Context, section: _Section) -> Generator[Any, Any, None]:
    """Perform a call whose function is a generator: yields its items, leaves the outcome in the effect."""
    timeout = call.timeout  # type: ignore[attr-defined]
    deadline = None if timeout is None else monotonic() + timeout

    def step(fn: Callable[..., Any], *args: Any) -> Any:
        main = section.main
        try:
            if deadline is not None:
                left = max(deadline - monotonic(), 0)
                return call_with_timeout(partial(context.run, fn, *args), (), {}, left, name=repr(call.fn))  # type: ignore[attr-defined]
            if main:
                gate.open = True
                if gate.pending is not None:
                    raise interrupts.take_pending()
            return context.run(fn, *args)
        finally:
            if main:
                gate.open = False

    try:
        user = context.run(partial(call.fn, *call.args, **call.kwargs))  # type: ignore[attr-defined]
        item = step(next, user)
        while True:
            try:
                sent = yield item
            except GeneratorExit:
                step(user.close)
                return
            except BaseException as thrown:  # noqa: BLE001 - handed to the user's generator
                item = step(user.throw, thrown)
            else:
                item = step(user.send, sent)
    except StopIteration as stop:
        call.value = stop.value
    except BaseException as error:  # noqa: BLE001 - outcomes are values
        call.error = error


async def astream(make_life: Callable[[], Any]) -> AsyncGenerator[Any, Any]:
    """An async generator whose items are those of the user's and whose end is the end of the run."""
    context = copy_context()
    life = context.run(make_life)
    life.streamed = True
    steps = context.run(life.live)
    try:
        effect = context.run(next, steps)
        while True:
            if effect.__class__ is Call:
                step = _astep(effect, context)
                try:
                    user = context.run(partial(effect.fn, *effect.args, **effect.kwargs))
                    item = await step(user.__anext__)
                    while True:
                        context.run(life.note_item, item)
                        try:
                            sent = yield item
                        except GeneratorExit:
                            await step(user.aclose)
                            break
                        except BaseException as thrown:  # noqa: BLE001 - handed to the user's generator
                            item = await step(user.athrow, thrown)
                        else:
                            item = await step(user.asend, sent)
                except StopAsyncIteration:
                    pass
                except BaseException as error:  # noqa: BLE001 - outcomes are values
                    effect.error = error
            else:
                try:
                    await _inside(aperform(effect), context)
                except BaseException as struck:  # noqa: BLE001 - outcomes are values
                    effect.error = struck
            effect = context.run(steps.send, None)
    except StopIteration:
        pass
    except BaseException as broken:
        context.run(life.crashed, broken)
        raise
    failure, _value = context.run(life.verdict, False)
    if failure is not None:
        raise failure


def _astep(call: Effect, context: Context) -> Callable[..., Any]:
    """How to await one step of the user's generator: inside the context, no longer than the call may take."""
    timeout = call.timeout  # type: ignore[attr-defined]
    deadline = None if timeout is None else monotonic() + timeout

    async def step(fn: Callable[..., Any], *args: Any) -> Any:
        async def begun() -> Any:
            return await _inside(fn(*args), context)

        if deadline is None:
            return await begun()
        return await acall_with_timeout(begun, (), {}, max(deadline - monotonic(), 0), name=repr(call.fn))  # type: ignore[attr-defined]

    return step


class _inside:  # noqa: N801 - an awaitable used like a function
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
