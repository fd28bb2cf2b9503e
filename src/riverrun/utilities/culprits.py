"""Find the part of a value that an operation (pickling, hashing ...) fails on, so that an error can name it.

Only used once something has failed already: it may take its time, within a budget. It must not change the value.
"""

from collections.abc import Callable, Iterator
from typing import Any

#: parts tried at most, and levels descended at most
_TRIALS = 2_000
_LEVELS = 40


def find_culprit(value: Any, attempt: Callable[[Any], object]) -> tuple[str, Any]:
    """The path to the innermost part of `value` that makes `attempt` raise, and that part.

    The path reads like Python behind a name: `['rows'][3].connection`; it is empty when the value itself is to blame or
    when nothing inside it fails alone.
    """
    path, left = "", _TRIALS
    above: list[Any] = []
    for _ in range(_LEVELS):
        above.append(value)
        for step, part in _parts(value):
            left -= 1
            if left < 0:
                return path, value
            if any(part is outer for outer in above):
                continue
            if _fails(attempt, part):
                path, value = path + step, part
                break
        else:
            break
    return path, value


def _fails(attempt: Callable[[Any], object], part: Any) -> bool:
    try:
        attempt(part)
    except Exception:  # noqa: BLE001 - whether it fails is all that is asked
        return True
    return False


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value consists of, each with the step that leads to it."""
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f"[{key!r:.60}]", item
            yield f".keys()[{key!r:.60}]", key
    elif isinstance(value, list | tuple):
        for index, item in enumerate(list(value)):
            yield f"[{index}]", item
    elif isinstance(value, set | frozenset):
        for item in list(value):
            yield f".{{{item!r:.60}}}", item
    elif callable(value) and hasattr(value, "__code__"):
        yield from _captured(value)
    elif hasattr(value, "__func__") and hasattr(value, "__self__"):
        yield ".__self__", value.__self__
    if not isinstance(value, type) and not hasattr(value, "__code__"):
        for name, item in list((getattr(value, "__dict__", None) or {}).items()):
            yield f".{name}", item
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else tuple(slots):
                if name != "__dict__" and hasattr(value, name):
                    yield f".{name}", getattr(value, name)


def _captured(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function takes with it: the variables of its closure and the globals it names."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f".<closure>.{name}", cell.cell_contents
        except ValueError:  # a variable that is not bound yet
            continue
    scope = function.__globals__
    for name in code.co_names:
        if name in scope:
            yield f".<globals>.{name}", scope[name]
