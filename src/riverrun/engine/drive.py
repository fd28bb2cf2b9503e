"""The two drivers: the only places where an engine waits.

A life (`engine.task_run`, `engine.flow_run`) is an object whose `live()` is a generator of effects. The drivers perform
them, one blocking, one on an event loop, and write each effect's outcome into it. Whatever strikes a driver from outside (a
signal, a cancellation, an asynchronous exception) becomes the outcome of the effect at hand, so a life always reaches its
end; if the life itself breaks, its `crashed` writes the end state.
"""

import threading
import time
from collections.abc import Generator
from contextvars import copy_context
from typing import Any, Protocol

from riverrun.base.pool import released
from riverrun.engine import interrupts
from riverrun.engine.effects import Call, Do, Effect, Hook, Sleep, Wait
from riverrun.engine.interrupts import gate

Steps = Generator[Effect, None, None]


class Life(Protocol):
    """What a driver can drive."""

    def live(self) -> Steps: ...

    def crashed(self, error: BaseException) -> None:
        """Write the end state at once: the steps are broken."""


def drive(life: Life) -> None:
    """Drive a life to its end, blocking the current thread."""
    main = threading.get_ident() == interrupts.main_thread_id()
    before = gate.open
    if main:
        gate.open = False
    steps = life.live()
    send = steps.send
    try:
        effect = next(steps)
        while True:
            try:
                if effect.__class__ is Call and effect.timeout is None:
                    # written out here: this is the path of every call
                    if main:
                        gate.open = True
                        if gate.pending is not None:
                            raise interrupts.take_pending()
                        effect.value = effect.fn(*effect.args, **effect.kwargs)
                        gate.open = False
                    else:
                        effect.value = effect.fn(*effect.args, **effect.kwargs)
                else:
                    perform(effect, main=main)
            except BaseException as error:  # noqa: BLE001 - outcomes are values; the life decides what they mean
                gate.open = False if main else gate.open
                effect.error = error
            effect = send(None)
    except StopIteration:
        pass
    except BaseException as error:
        life.crashed(error)
        raise
    finally:
        if main:
            gate.open = before
    if main and before and gate.pending is not None:
        raise interrupts.take_pending()


def perform(effect: Effect, *, main: bool) -> None:
    """Perform one effect, blocking."""
    kind = effect.__class__
    if kind is Do and not effect.interruptible:  # type: ignore[attr-defined]
        effect.value = _completed(effect.fn(*effect.args))  # type: ignore[attr-defined]
        return
    if kind is Call:
        if effect.timeout is None:  # type: ignore[attr-defined]
            effect.value = effect.fn(*effect.args, **effect.kwargs)  # type: ignore[attr-defined]
            return
        from riverrun.engine.timeouts import call_with_timeout

        # it opens and closes the gate itself
        effect.value = call_with_timeout(effect.fn, effect.args, effect.kwargs, effect.timeout)  # type: ignore[attr-defined]
        return
    if main:
        gate.open = True
        if gate.pending is not None:
            raise interrupts.take_pending()
    try:
        if kind is Do or kind is Hook:
            effect.value = _completed(effect.fn(*effect.args))  # type: ignore[attr-defined]
        elif kind is Sleep:
            with released():
                time.sleep(effect.seconds)  # type: ignore[attr-defined]
        elif kind is Wait:
            with released():
                for future in effect.futures:  # type: ignore[attr-defined]
                    future.wait()
    finally:
        if main:
            gate.open = False


def _completed(result: Any) -> Any:
    """What a function gave, awaited if it is a coroutine: hooks and storages of users may be async."""
    if hasattr(result, "__await__"):
        from riverrun.base.loops import run_blocking

        return run_blocking(result)
    return result


async def adrive(life: Life) -> None:
    """Drive a life to its end on the running event loop."""
    import asyncio

    main = threading.get_ident() == interrupts.main_thread_id()
    before = gate.open
    owner = main and gate.depth > 0 and gate.task is None
    if main:
        gate.open = False
    if owner:
        gate.task, gate.loop = asyncio.current_task(), asyncio.get_running_loop()
    steps = life.live()
    try:
        effect = next(steps)
        while True:
            try:
                await aperform(effect)
            except asyncio.CancelledError as error:
                # our own handler cancels to bring a signal in; elsewhere the cancellation is the loop's
                effect.error = gate.struck or error
            except BaseException as error:  # noqa: BLE001 - outcomes are values; the life decides what they mean
                effect.error = error
            if main:
                gate.open = False
            effect = steps.send(None)
    except StopIteration:
        pass
    except BaseException as error:
        life.crashed(error)
        raise
    finally:
        if owner:
            gate.task = gate.loop = None
        if main:
            gate.open = before


async def aperform(effect: Effect) -> None:
    """Perform one effect on the running loop."""
    import asyncio

    kind = effect.__class__
    if kind is Call:
        if effect.timeout is not None:  # type: ignore[attr-defined]
            from riverrun.engine.timeouts import acall_with_timeout

            effect.value = await acall_with_timeout(effect.fn, effect.args, effect.kwargs, effect.timeout)  # type: ignore[attr-defined]
        else:
            effect.value = await effect.fn(*effect.args, **effect.kwargs)  # type: ignore[attr-defined]
    elif kind is Do:
        # the blocking part runs in a thread; context variables that it sets do not come back, so lives set theirs themselves
        context = copy_context()
        result = await asyncio.to_thread(context.run, effect.fn, *effect.args)  # type: ignore[attr-defined]
        effect.value = await result if hasattr(result, "__await__") else result
    elif kind is Sleep:
        await asyncio.sleep(effect.seconds)  # type: ignore[attr-defined]
    elif kind is Wait:
        await asyncio.gather(*(future.wait_async() for future in effect.futures))  # type: ignore[attr-defined]
    elif kind is Hook:
        result = effect.fn(*effect.args)  # type: ignore[attr-defined]
        effect.value = await result if hasattr(result, "__await__") else result
