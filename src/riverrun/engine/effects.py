"""What a life may ask its driver for. An effect carries its own outcome, so that nothing is thrown into a life.

A life yields an effect and reads `value` and `error` from it afterwards. Outcomes of user code are values: StopIteration,
GeneratorExit and tracebacks stay what they were.
"""

from collections.abc import Callable, Iterable
from typing import Any


class Effect:
    """Something that may wait or run foreign code. `error` is what it raised, else None; then `value` holds."""

    __slots__ = ("error", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None


class Call(Effect):
    """Run the user's function; with `timeout` (seconds) no longer than that."""

    __slots__ = ("args", "fn", "kwargs", "timeout")

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None = None
    ) -> None:
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.timeout = timeout
        self.value = None
        self.error = None


class Do(Effect):
    """Run a blocking function of our own (load, store, hook that may be async, lock): inline when driven sync, in a
    thread when driven async. Signals may strike it only if `interruptible`."""

    __slots__ = ("args", "fn", "interruptible")

    def __init__(self, fn: Callable[..., Any], *args: Any, interruptible: bool = False) -> None:
        super().__init__()
        self.fn = fn
        self.args = args
        self.interruptible = interruptible


class Sleep(Effect):
    """Let `seconds` pass."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Wait(Effect):
    """Wait until all these futures are done."""

    __slots__ = ("futures",)

    def __init__(self, futures: Iterable[Any]) -> None:
        super().__init__()
        self.futures = list(futures)


class Hook(Effect):
    """Run a user's hook, a function or a coroutine function."""

    __slots__ = ("args", "fn")

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        super().__init__()
        self.fn = fn
        self.args = args
