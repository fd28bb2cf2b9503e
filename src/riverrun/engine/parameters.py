"""Binding the arguments of a call to the parameters of its function, and writing parameters down.

Hot: `Signature` is made once per flow or task; binding a plain positional call costs well under a microsecond.
`inspect.Signature.bind` decides in every other case, so that its rules and messages hold. Validation against annotations
is `engine.validation`.
"""

import inspect
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any

import msgspec

from riverrun.base.errors import ParameterBindError, ReservedArgumentError
from riverrun.engine.validation import validate
from riverrun.utilities.annotations import BaseAnnotation

__all__ = ["BoundSignature", "Signature", "serialize", "validate"]


class _Expression:
    """A default that writes itself as source."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __repr__(self) -> str:
        return self.source


class Signature:
    """The parameters of one function, prepared for binding calls.

    `var_positional` and `var_keyword` are the names of its *args and **kwargs, or None. Raises ReservedArgumentError if
    one of `reserved` is a parameter.
    """

    __slots__ = ("_binder", "_defaults", "_positional_only", "fn", "inspected", "var_keyword", "var_positional")

    def __init__(self, fn: Callable[..., Any], reserved: Iterable[str] = ()) -> None:
        self.fn = fn
        try:
            self.inspected = inspect.signature(fn)
        except (TypeError, ValueError):  # some builtins have none; whatever they are given is passed on
            self.inspected = inspect.signature(lambda *args, **kwargs: None)  # noqa: ARG005
        parameters = self.inspected.parameters
        for name in reserved:
            if name in parameters:
                raise ReservedArgumentError(
                    f"{name!r} is a reserved argument name and cannot be used as a parameter of"
                    f" {getattr(fn, '__name__', fn)!r}; rename the parameter."
                )
        by_kind = {parameter.kind: name for name, parameter in parameters.items()}
        self.var_positional: str | None = by_kind.get(inspect.Parameter.VAR_POSITIONAL)
        self.var_keyword: str | None = by_kind.get(inspect.Parameter.VAR_KEYWORD)
        self._positional_only = frozenset(
            name for name, parameter in parameters.items() if parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        )
        self._defaults: dict[str, Any] = {
            name: parameter.default
            for name, parameter in parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }
        self._binder: Callable[..., dict[str, Any]] | None = None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], defaults: bool = True) -> dict[str, Any]:
        """{parameter: argument}, in the order of the signature; with `defaults` those not given too.

        *args is a tuple and **kwargs a dictionary under their names. Raises ParameterBindError, a TypeError that names the
        function and what does not fit.
        """
        if defaults:
            binder = self._binder
            if binder is None:
                binder = self._binder = self._make_binder()
            try:
                return binder(*args, **kwargs)
            except TypeError:
                pass  # inspect says it better
        try:
            found = self.inspected.bind(*args, **kwargs)
        except TypeError as error:
            raise ParameterBindError.from_bind_failure(self.fn, error, args, kwargs) from None
        if defaults:
            found.apply_defaults()
        return found.arguments

    def _make_binder(self) -> Callable[..., dict[str, Any]]:
        """A function with these parameters that returns them as a dictionary: Python itself binds faster than any code."""
        bare = [
            parameter.replace(
                annotation=inspect.Parameter.empty,
                default=inspect.Parameter.empty if name not in self._defaults else _Expression(f"_defaults[{name!r}]"),
            )
            for name, parameter in self.inspected.parameters.items()
        ]
        items = ", ".join(f"{parameter.name!r}: {parameter.name}" for parameter in bare)
        namespace: dict[str, Any] = {"_defaults": self._defaults}
        # names of parameters are identifiers, nothing else of the user's goes into the source
        exec(f"def bind{inspect.Signature(bare)}: return {{{items}}}", namespace)  # noqa: S102
        return namespace["bind"]  # type: ignore[no-any-return]

    def complete(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Parameters with the defaults of those not given, in the order of the signature.

        Raises ParameterBindError if one without a default is missing.
        """
        complete: dict[str, Any] = {}
        for name in self.inspected.parameters:
            if name in parameters:
                complete[name] = parameters[name]
            elif name in self._defaults:
                complete[name] = self._defaults[name]
            elif name == self.var_positional:
                complete[name] = ()
            elif name == self.var_keyword:
                complete[name] = {}
            else:
                error = TypeError(f"missing a required argument: {name!r}")
                raise ParameterBindError.from_bind_failure(self.fn, error, (), parameters)
        return complete

    def split(self, parameters: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments and keyword arguments to call the function with; the inverse of `bind`."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        by_keyword = False
        for name, parameter in self.inspected.parameters.items():
            if name not in parameters:
                by_keyword = True
                continue
            value = parameters[name]
            kind = parameter.kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                args.extend(value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                kwargs.update(value)
            elif kind is inspect.Parameter.KEYWORD_ONLY or (by_keyword and name not in self._positional_only):
                kwargs[name] = value
            else:
                args.append(value)
        return tuple(args), kwargs


class BoundSignature(Signature):
    """The signature of a method together with the object it is bound to, which is the argument of its first parameter.

    It takes part in what is known of a call (names, cache keys, inputs); the method itself is called without it.
    """

    __slots__ = ("first", "target")

    def __init__(self, of: Signature, target: Any) -> None:
        for slot in Signature.__slots__:
            setattr(self, slot, getattr(of, slot))
        self.target = target
        self.first = next(iter(of.inspected.parameters), "")

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], defaults: bool = True) -> dict[str, Any]:
        """As `Signature.bind`; without `defaults` only what the caller gave, which leaves out the object."""
        found = super().bind((self.target, *args), kwargs, defaults)
        if not defaults:
            if self.first == self.var_positional:
                found[self.first] = found[self.first][1:]
            else:
                del found[self.first]
        return found

    def complete(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if self.first == self.var_positional:
            return super().complete({**parameters, self.first: (self.target, *parameters.get(self.first, ()))})
        return super().complete({**parameters, self.first: self.target})

    def split(self, parameters: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = super().split(parameters)
        return args[1:], kwargs


# -- written down -----------------------------------------------------------------------------------------------------------

#: a value whose JSON is longer stands as the beginning of its text
VALUE_BYTES = 512 * 1024
_PREVIEW = 1_024

_SCALARS = frozenset({int, float, bool, type(None)})
_encoder = msgspec.json.Encoder()


def serialize(parameters: dict[str, Any]) -> bytes:
    """A JSON document of the parameters. Never raises, whatever the values are.

    A value without a JSON form stands as its `repr`, one whose JSON is longer than 512 KiB as the beginning of its text with
    a mark of its size. What is not a number in JSON (NaN, infinities) is null; a lone surrogate is `?`.
    """
    if not parameters:
        return b"{}"
    parts = [_text(name) + b":" + _value(value) for name, value in parameters.items()]
    return b"{" + b",".join(parts) + b"}"


def _text(text: str) -> bytes:
    return _encoder.encode(text.encode("utf-8", "replace").decode("utf-8"))


def _value(value: Any) -> bytes:
    try:
        return _json(value)
    except Exception:  # noqa: BLE001 - a user's object may raise anything; its parameter is still named
        return _text(_repr(value))


def _json(value: Any) -> bytes:
    while isinstance(value, BaseAnnotation):
        value = value.unwrap()
    kind = type(value)
    if kind is str:
        if len(value) > VALUE_BYTES:
            return _preview(value[:_PREVIEW], f"{len(value)} characters")
        return _text(value)
    if kind not in _SCALARS and _too_large(value):
        return _preview(_repr(value), f"{len(value):,} items or bytes at its top")
    encoded = _encode(value)
    if len(encoded) > VALUE_BYTES:
        return _preview(encoded[:_PREVIEW].decode("utf-8", "ignore"), f"{len(encoded)} bytes")
    return encoded


def _encode(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # part by part: only what has no JSON form is replaced
        return _encoder.encode(_plain(value, depth=0))


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return value.encode("utf-8", "replace").decode("utf-8")
    if value is None or kind is bool or kind is float:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else _repr(value)
    if depth > 50:
        return _repr(value)
    if isinstance(value, BaseAnnotation | PurePath):
        return _plain(value.unwrap() if isinstance(value, BaseAnnotation) else str(value), depth)
    if kind in (list, tuple, set, frozenset):
        return [_plain(item, depth + 1) for item in value]
    if kind is dict:
        return {_key(key): _plain(item, depth + 1) for key, item in value.items()}
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return _plain(dump(mode="json"), depth + 1)
    try:
        return msgspec.to_builtins(value, enc_hook=lambda inner: _plain(inner, depth + 1))
    except (TypeError, ValueError, RecursionError):
        return _repr(value)


def _key(key: Any) -> str:
    return (key if isinstance(key, str) else _repr(key)).encode("utf-8", "replace").decode("utf-8")


def _too_large(value: Any) -> bool:
    """Whether it is certain, without encoding it, that the value's JSON would be too long (or, in a cycle, endless)."""
    weight, stack = 0, [value]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            stack.extend(node.keys())
            stack.extend(node.values())
            weight += len(node)
        elif isinstance(node, (list, tuple, set, frozenset)):
            if len(node) > VALUE_BYTES:
                return True
            stack.extend(node)
        elif isinstance(node, (str, bytes, bytearray)):
            weight += len(node)
        weight += 1
        if weight > VALUE_BYTES:
            return True
    return False


def _preview(text: str, size: str) -> bytes:
    return _text(f"{text[:_PREVIEW]}... (cut: {size})")


def _repr(value: Any) -> str:
    """The value's text, cut to a readable length; never raises."""
    import reprlib

    try:
        if isinstance(value, int) and value.bit_length() > 8192:
            return f"<int of {value.bit_length()} bits>"  # Python refuses to write it out
        text = reprlib.repr(value) if isinstance(value, (list, tuple, set, frozenset, dict, bytes)) else repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<{type(value).__module__}.{type(value).__qualname__} object whose repr raised>"
    return text if len(text) <= _PREVIEW else f"{text[:_PREVIEW]}... (cut: {len(text)} characters)"
