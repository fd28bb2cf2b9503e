"""Walking and reshaping nested collections, and the marker that futures carry so that walkers know them.

The engine's own search for futures is `engine.inputs`; `visit_collection` here is the general walk that users call.
"""

import copy
import itertools
import re
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, TypeVar

from riverrun.utilities.annotations import BaseAnnotation

T = TypeVar("T")


class FutureBase:
    """Marks futures, so that they are found in arguments without importing `riverrun.futures`.

    A future has `task_run_id` (UUID), `wait(timeout=None)` and `state`.
    """

    __slots__ = ()


class AutoEnum(str, Enum):  # noqa: UP042 - its text is "Color.RED", as in the peer
    """An enumeration whose values are the names of its members."""

    @staticmethod
    def _generate_next_value_(name: str, *_: object, **__: object) -> str:
        return name

    @staticmethod
    def auto() -> str:
        """The value of a member: `RED = AutoEnum.auto()`."""
        from enum import auto

        return auto()  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.value}"

    __str__ = __repr__


class StopVisiting(BaseException):
    """Raised by the function given to `visit_collection`: take this node as it is and do not descend into it."""


_IDLE = object()


def visit_collection(
    expr: Any,
    visit_fn: Callable[..., Any],
    *,
    return_data: bool = False,
    max_depth: int = -1,
    context: dict[str, Any] | None = None,
    remove_annotations: bool = False,
    _seen: dict[int, Any] | None = None,
) -> Any:
    """Call `visit_fn` on `expr` and on everything inside it; parents come before their children.

    Looked into: lists, tuples (named ones too), sets, dictionaries (keys and values), dataclasses, pydantic models and
    annotations such as `quote`. Strings, files, generators and everything else are leaves. With `return_data` what
    `visit_fn` returns takes the place of the node, and the whole is returned; parts that did not change are the same
    objects as before. With `context`, `visit_fn` gets a copy of it as second argument which its children inherit; inside
    an annotation `context["annotation"]` is that annotation. Cycles end where they close.
    """
    if _seen is None:
        _seen = {}
    node = expr
    if context is None:
        call = visit_fn
        visited = _call(call, node)
    else:
        context = context.copy()
        visited = _call(visit_fn, node, context)
    if visited is _IDLE:
        return expr if return_data else None
    if return_data:
        node = visited
    known = _seen.get(id(node), _IDLE)
    if known is not _IDLE:
        return known[1] if return_data else None
    if max_depth == 0:
        return node if return_data else None
    kind = type(node)
    if kind in _PLAIN:
        return node if return_data else None
    # The node is kept beside its result: its id stays taken while the walk lasts.
    _seen[id(node)] = (node, node)

    def descend(child: Any) -> Any:
        return visit_collection(
            child,
            visit_fn,
            return_data=return_data,
            max_depth=max_depth - 1,
            context=context,
            remove_annotations=remove_annotations,
            _seen=_seen,
        )

    if isinstance(node, BaseAnnotation):
        if context is not None:
            context["annotation"] = node
        inner = descend(node.unwrap())
        result = inner if remove_annotations else (node if inner is node.unwrap() else node.rewrap(inner))
    else:
        result = rebuild(node, descend)
    if not return_data:
        return None
    _seen[id(node)] = (node, result)
    return result


_PLAIN = frozenset({int, float, str, bytes, bool, complex, type(None), bytearray, range})


def _call(visit_fn: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return visit_fn(*arguments)
    except StopVisiting:
        return _IDLE


def rebuild(node: Any, descend: Callable[[Any], Any]) -> Any:
    """`node` with `descend` applied to its parts; the same object if none of them changed.

    Copies keep what their type keeps: a defaultdict its factory, a model its private attributes.
    """
    if isinstance(node, (list, tuple, set, frozenset)):
        items = [descend(item) for item in node]
        if all(after is before for after, before in zip(items, node, strict=True)):
            return node
        if hasattr(node, "_make"):  # a named tuple
            return node._make(items)
        return type(node)(items)
    if isinstance(node, dict):
        pairs = [(descend(key), descend(value)) for key, value in node.items()]
        if all(
            key is old_key and value is old for (key, value), (old_key, old) in zip(pairs, node.items(), strict=True)
        ):
            return node
        if type(node) is dict:
            return dict(pairs)
        mapping = copy.copy(node)
        mapping.clear()
        mapping.update(pairs)
        return mapping
    kind = type(node)
    if is_dataclass(node) and not isinstance(node, type):
        changed = {}
        for field in dataclass_fields(node):
            before = getattr(node, field.name, _IDLE)
            if before is not _IDLE and (after := descend(before)) is not before:
                changed[field.name] = after
        if not changed:
            return node
        twin: Any = copy.copy(node)
        for name, value in changed.items():
            object.__setattr__(twin, name, value)
        return twin
    if hasattr(kind, "__pydantic_fields_set__") and hasattr(kind, "model_fields"):
        return _rebuild_model(node, descend)
    return node


def _rebuild_model(model: Any, descend: Callable[[Any], Any]) -> Any:
    # Around the model's own __getattribute__: models that load their fields lazily must not be made to.
    own = object.__getattribute__(model, "__dict__")
    extra = object.__getattribute__(model, "__pydantic_extra__") or {}
    changed = {name: after for name, before in own.items() if (after := descend(before)) is not before}
    changed_extra = {name: after for name, before in extra.items() if (after := descend(before)) is not before}
    if not changed and not changed_extra:
        return model
    twin = copy.copy(model)
    object.__getattribute__(twin, "__dict__").update(changed)
    if changed_extra:
        object.__getattribute__(twin, "__pydantic_extra__").update(changed_extra)
    return twin


def isiterable(obj: Any) -> bool:
    """Whether iterating over `obj` makes sense to a person: strings, bytes and files are single things."""
    try:
        iter(obj)
    except TypeError:
        return False
    return not (isinstance(obj, (str, bytes)) or hasattr(obj, "readable"))


def ensure_iterable(obj: T | Iterable[T]) -> Collection[T]:
    """`obj` itself if it is a collection, else a collection of it."""
    if isinstance(obj, Collection) and not isinstance(obj, (str, bytes)):
        return obj
    return [obj]  # type: ignore[list-item]


def listrepr(objs: Iterable[Any], sep: str = " ") -> str:
    return sep.join(repr(obj) for obj in objs)


def extract_instances(
    objects: Iterable[Any],
    types: type[T] | tuple[type[T], ...] = object,  # type: ignore[assignment]
) -> list[T] | dict[type[T], list[T]]:
    """The objects of a type as a list, or of several types as {type: list}."""
    if not isinstance(types, tuple):
        return [item for item in objects if isinstance(item, types)]
    found: dict[type[T], list[T]] = {}
    for item in objects:
        for kind in types:
            if isinstance(item, kind):
                found.setdefault(kind, []).append(item)
    return found


def batched_iterable(iterable: Iterable[T], size: int) -> Generator[tuple[T, ...], None, None]:
    """Tuples of `size` items, the last one may be shorter."""
    rest = iter(iterable)
    while batch := tuple(itertools.islice(rest, size)):
        yield batch


def distinct(iterable: Iterable[T], key: Callable[[T], Hashable] | None = None) -> Iterator[T]:
    """The items without repetitions, in their order."""
    seen: set[Hashable] = set()
    for item in iterable:
        mark: Any = item if key is None else key(item)
        if mark not in seen:
            seen.add(mark)
            yield item


def dict_to_flatdict(dct: dict[Any, Any]) -> dict[tuple[Any, ...], Any]:
    """{(key, key in it, ...): leaf} of nested dictionaries; an empty dictionary is a leaf."""
    flat: dict[tuple[Any, ...], Any] = {}
    for key, value in dct.items():
        if isinstance(value, dict) and value:
            flat.update({(key, *path): leaf for path, leaf in dict_to_flatdict(value).items()})
        else:
            flat[(key,)] = value
    return flat


def flatdict_to_dict(dct: dict[tuple[Any, ...], Any]) -> dict[Any, Any]:
    """The inverse of `dict_to_flatdict`."""
    nested: dict[Any, Any] = {}
    for path, leaf in dct.items():
        place = nested
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = leaf
    return nested


def remove_nested_keys(keys_to_remove: list[Hashable], obj: Any) -> Any:
    """`obj` without these keys, at any depth of its dictionaries."""
    if not isinstance(obj, dict):
        return obj
    return {key: remove_nested_keys(keys_to_remove, value) for key, value in obj.items() if key not in keys_to_remove}


def _path(keys: str | list[Any]) -> list[Any]:
    if not isinstance(keys, str):
        return keys
    return [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", keys)]


def get_from_dict(dct: dict[str, Any], keys: str | list[Any], default: Any = None) -> Any:
    """The value at a path such as `"a.b[0].c"`, or `default` if the path leads nowhere."""
    place: Any = dct
    for key in _path(keys):
        try:
            place = place[key]
        except (TypeError, KeyError, IndexError):
            return default
    return place


def set_in_dict(dct: dict[str, Any], keys: str | list[Any], value: Any) -> None:
    """Put a value at a path, making the dictionaries on the way; raises TypeError where something else is in the way."""
    *way, last = keys.split(".") if isinstance(keys, str) else keys
    place: Any = dct
    for key in way:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise TypeError(f"Key path exists and contains a non-dict value: {keys!r}")
    place[last] = value


def deep_merge(dct: dict[str, Any], merge: dict[str, Any]) -> dict[str, Any]:
    """A new dictionary: `merge` over `dct`, dictionaries merged key by key."""
    merged = dct.copy()
    for key, value in merge.items():
        before = merged.get(key)
        merged[key] = deep_merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def deep_merge_dicts(*dicts: dict[str, Any]) -> dict[str, Any]:
    """All dictionaries merged, later ones win."""
    merged: dict[str, Any] = {}
    for dct in dicts:
        merged = deep_merge(merged, dct)
    return merged
