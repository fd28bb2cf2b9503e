"""The two drivers: the only places where an engine waits.

A life (`engine.task_run`, `engine.flow_run`) is an object whose `live()` is a generator of effects. The drivers perform
them, one blocking, one on an event loop, and write each effect's outcome into it. Whatever strikes a driver from outside (a
signal, a cancellation, an asynchronous exception) becomes the outcome of the effect at hand, so a life always reaches its
end; if the life itself breaks, its `crashed` writes the end state.
"""

import threading
import time
from collections.abc import Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from riverrun.base import interrupts
from riverrun.base.interrupts import gate
from riverrun.base.loops import in_thread
from riverrun.base.pool import released
from riverrun.engine.effects import Call, Do, Effect, Hook, Sleep, Wait

if TYPE_CHECKING:
    import asyncio

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
    process = interrupts.process
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
            except BaseException as error:  # outcomes are values; the life decides what they mean
                gate.open = False if main else gate.open
                if interrupts.process is not process:
                    raise  # a child that was forked in there leaves through here: the run is its parent's
                effect.error = error
            effect = send(None)
    except StopIteration:
        pass
    except BaseException as error:
        if interrupts.process is process:
            life.crashed(error)
            steps.close()
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


#: the event loop of the asyncio tasks that an outermost async run started; signals cancel that run, and it cancels them
_loop: ContextVar[object] = ContextVar("riverrun_loop", default=None)


async def adrive(life: Life) -> None:
    """Drive a life to its end on the running event loop."""
    import asyncio

    main = threading.get_ident() == interrupts.main_thread_id()
    outer = task = None
    if main:
        if gate.depth and (loop := asyncio.get_running_loop()) is not _loop.get():
            outer, task = _loop.get(), asyncio.current_task()
            assert task is not None
            if not gate.tasks:
                gate.before_tasks = gate.open
            gate.tasks[task] = loop
            _loop.set(loop)
        gate.open = False
    steps = life.live()
    try:
        effect = next(steps)
        while True:
            try:
                await aperform(effect)
            except asyncio.CancelledError as error:
                # our own handler cancels to bring a signal in; elsewhere the cancellation is the loop's
                effect.error = interrupts.meant_by(error) if main else error
            except GeneratorExit:
                raise  # the coroutine is thrown away: it can't wait for anything any more
            except BaseException as error:  # noqa: BLE001 - outcomes are values; the life decides what they mean
                effect.error = error
            if main:
                gate.open = False
            effect = steps.send(None)
    except StopIteration:
        pass
    except BaseException as error:
        life.crashed(error)
        steps.close()
        raise
    finally:
        if task is not None:
            _loop.set(outer)
            gate.tasks.pop(task, None)
            if not gate.tasks:
                gate.open = gate.before_tasks


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
        work = asyncio.ensure_future(in_thread(effect.fn, *effect.args))  # type: ignore[attr-defined]
        result = await work if effect.interruptible else await _undisturbed(work)  # type: ignore[attr-defined]
        effect.value = await result if hasattr(result, "__await__") else result
    elif kind is Sleep:
        await asyncio.sleep(effect.seconds)  # type: ignore[attr-defined]
    elif kind is Wait:
        await asyncio.gather(*(future.wait_async() for future in effect.futures))  # type: ignore[attr-defined]
    elif kind is Hook:
        result = effect.fn(*effect.args)  # type: ignore[attr-defined]
        effect.value = await result if hasattr(result, "__await__") else result


async def _undisturbed(work: "asyncio.Future[Any]") -> Any:
    """The outcome of work of our own; a cancellation that comes meanwhile strikes at the next wait after it."""
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    cancelled = 0
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            task.uncancel()
            cancelled += 1
    for _ in range(cancelled):
        task.cancel()
    return work.result()
