"""Which run a value came from, by identity: so that `b(a())` shows that b's input is a's result.

Bounded in memory however many runs there are, and never wrong: a value is forgotten before its id can mean another.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import islice
from sys import getsizeof
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from weakref import ref

from riverrun.engine.nesting import ANNOTATION, ITEMS, LEAF, LEAVES, MAPPING, OBJECT, fields_of, kind_of
from riverrun.states import NONE_RESULT
from riverrun.utilities.annotations import opaque, quote
from riverrun.utilities.collections import FutureBase
from riverrun.wire.states import BaseState

if TYPE_CHECKING:
    from riverrun.context import FlowRunContext

#: an entry of a run's inputs: (input_type, id, name)
Origin = tuple[str, bytes, None]

#: values of these types are shared by all code, so their identity says nothing
_UNTRACKABLE: Final[frozenset[type]] = frozenset(
    {bool, type(None), type(...), type(NotImplemented), type, FunctionType, BuiltinFunctionType, MethodType, ModuleType,
     type(NONE_RESULT)}
)  # fmt: skip
_SMALL_BYTES = 64 * 1024
_SMALL_KEPT = 1_000
_LARGE_KEPT = 8
#: how many parts of a value are looked at
_PARTS = 100


class Origins:
    """Remembers by identity which run returned a value, for the recent past: values that die are forgotten with their id.

    Values that allow it are referenced weakly. The last 1,000 small others and the last 8 large ones are held, so that a
    value's id can't be taken by another while it is remembered: memory stays bounded however many runs there are.
    """

    __slots__ = ("_entries", "_large", "_small")

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Any, bool, Origin]] = {}
        self._small: deque[int] = deque()
        self._large: deque[int] = deque()

    def track(self, value: Any, run_id: UUID, input_type: str = "task_run") -> None:
        """Remember that the run returned `value`, and with it the first 100 of its parts: results are often unpacked."""
        origin: Origin = (input_type, run_id.bytes, None)
        self._note(value, origin)
        kind = kind_of(type(value))
        if kind == LEAF:
            return
        parts: Iterable[Any] = ()
        if kind == ITEMS:
            parts = value
        elif kind == MAPPING:
            parts = value.values()
        elif kind == OBJECT:
            parts = fields_of(value)
        for part in islice(parts, _PARTS):
            self._note(part, origin)

    def _note(self, value: Any, origin: Origin) -> None:
        kind = type(value)
        if kind in _UNTRACKABLE or _is_shared(value, kind):
            return
        try:
            held: Any = ref(value)
            weak = True
        except TypeError:
            held, weak = value, False
        key = id(value)
        known = self._entries.get(key)
        if known is not None and known[0] is value:
            self._entries[key] = (value, False, origin)  # its place in the ring stays
            return
        ring, limit = self._small, _SMALL_KEPT
        if not weak and _weight(value, kind) >= _SMALL_BYTES:
            ring, limit = self._large, _LARGE_KEPT
        # Each step is atomic under the GIL; threads that interleave here can only forget an entry early.
        self._entries[key] = (held, weak, origin)
        ring.append(key)
        if len(ring) > limit:
            self._entries.pop(ring.popleft(), None)

    def lookup(self, value: Any) -> Origin | None:
        """The run that returned this very object, as an entry of a run's inputs."""
        entry = self._entries.get(id(value))
        if entry is None:
            return None
        held, weak, origin = entry
        return origin if (held() if weak else held) is value else None

    def lookup_inside(self, value: Any) -> Iterator[Origin]:
        """The runs that returned `value` or one of its parts, two levels deep, the first 100 parts of each."""
        level = [value]
        for _ in range(3):
            below: list[Any] = []
            for node in level:
                origin = self.lookup(node)
                if origin is not None:
                    yield origin
                    continue
                kind = kind_of(type(node))
                if kind == ANNOTATION and not isinstance(node, (quote, opaque)):
                    below.append(node.unwrap())
                elif kind == ITEMS:
                    below.extend(islice(node, _PARTS))
                elif kind == MAPPING:
                    below.extend(islice(node.values(), _PARTS))
                elif kind == OBJECT:
                    below.extend(fields_of(node)[:_PARTS])
            if not below:
                return
            level = below


def track(context: "FlowRunContext", value: Any, run_id: UUID, input_type: str = "task_run") -> None:
    """Remember in the flow run's context that a run returned `value`."""
    if type(value) in _UNTRACKABLE:
        return
    origins = context._results
    if origins is None:
        origins = context._results = Origins()
    origins.track(value, run_id, input_type)


def _is_shared(value: Any, kind: type[Any]) -> bool:
    """Whether Python hands the same object to unrelated code: small integers, single letters, empty singletons.

    Of longer strings that are written out in the source there may be one object, too. They count all the same: most strings
    come from elsewhere, and an arrow too few hides more than one too many.
    """
    if kind is int:
        return bool(-6 < value < 257)
    if kind is str or kind is bytes:
        return len(value) < 2
    if kind is tuple or kind is frozenset:
        return not value
    return isinstance(value, (Enum, FutureBase, BaseState))


def _weight(value: Any, kind: type) -> int:
    """Roughly how many bytes would be kept alive: the value, and its parts as if all were like the first."""
    size = getsizeof(value, 0)
    if size < _SMALL_BYTES and kind in (list, tuple, dict, set) and value:
        first = next(iter(value.values() if kind is dict else value))
        part = getsizeof(first, 0)
        if type(first) in (list, tuple, dict, set) and first:
            part += len(first) * getsizeof(next(iter(first)), 0)
        elif type(first) not in LEAVES:
            part = max(part, _SMALL_BYTES)  # an array, a frame: may own any amount
        size += len(value) * part
    return size
