"""The JSON forms of Python values that JSON has no words for, and the way back.

A value becomes `{"__class__": "module.Name", "data": ...}`, an exception `{"__exc_type__": "module.Name", "message": ...}`.
Dictionaries of users that look like one of these are wrapped themselves, so that nothing is mistaken for a form. The way
back makes instances of data types only (dataclasses, models, enums ...), it calls no other function that a document names.
"""

import binascii
import sys
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from riverrun.base.errors import SerializationError

_CLASS, _EXCEPTION = "__class__", "__exc_type__"
_PLAIN: frozenset[type] = frozenset({str, int, float, bool, type(None)})
_TEXT: frozenset[type] = frozenset({str})
_BASES: tuple[Any, ...] = (str, int, float, list, tuple)


def to_json_ready(value: Any) -> Any:
    """The value with everything that JSON has no words for replaced by its form; raises SerializationError."""
    return _ready(value, set())


def _ready(value: Any, active: set[int]) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if id(value) in active:
        raise SerializationError("it contains itself")
    active.add(id(value))
    try:
        if kind is list:
            if set(map(type, value)) <= _PLAIN:
                return value
            return [_ready(item, active) for item in value]
        if kind is dict and set(map(type, value)) <= _TEXT and _CLASS not in value and _EXCEPTION not in value:
            return {key: _ready(item, active) for key, item in value.items()}
        form = riverrun_json_object_encoder(value)
        if type(form) is not dict:
            return form if type(form) in _PLAIN else _ready(form, active)
        return {key: _ready(item, active) for key, item in form.items()}
    finally:
        active.discard(id(value))


# -- the way there ------------------------------------------------------------------------------------------------------


def riverrun_json_object_encoder(obj: Any) -> Any:
    """The form of one value (what it contains may still need one); raises SerializationError if there is none."""
    kind = type(obj)
    encoder = _ENCODERS.get(f"{kind.__module__}.{kind.__qualname__}")
    if encoder is not None:
        return {_CLASS: _name(kind), **encoder(obj)}
    if isinstance(obj, BaseException):
        return _exception_form(obj)
    if isinstance(obj, PurePath):
        # Python 3.13 has moved the classes to a module that earlier ones do not know
        name = f"pathlib.{kind.__name__}" if kind.__module__.startswith("pathlib") else _importable(kind)
        return {_CLASS: name, "data": str(obj)}
    if isinstance(obj, dict):
        return _dict_form(obj)
    if _is_enum(kind):
        return {_CLASS: _importable(kind), "data": obj.value}
    if hasattr(kind, "__pydantic_fields__") or hasattr(kind, "model_fields"):
        return {_CLASS: _importable(kind), "data": {**vars(obj), **(getattr(obj, "__pydantic_extra__", None) or {})}}
    if hasattr(kind, "__dataclass_fields__"):
        return {_CLASS: _importable(kind), "data": {name: getattr(obj, name) for name in _stored(kind)}}
    if hasattr(kind, "__struct_fields__"):
        return {_CLASS: _importable(kind), "data": {name: getattr(obj, name) for name in kind.__struct_fields__}}
    if isinstance(obj, tuple) and hasattr(kind, "_fields"):
        return {_CLASS: _importable(kind), "data": list(obj)}
    plain = next((base for base in _BASES if isinstance(obj, base)), None)
    if plain is not None:
        return plain(obj)  # of a subclass that adds behaviour, not data
    raise SerializationError(
        f"type {_name(kind)!r} has no JSON form; return plain data or use result_serializer='pickle'"
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _importable(kind: type) -> str:
    """The name of a class that can be found again by it."""
    origin = (getattr(kind, "__pydantic_generic_metadata__", None) or {}).get("origin")
    name = _name(origin or kind)
    if _find(name) is not (origin or kind):
        raise SerializationError(
            f"its class {name!r} cannot be found by that name; define the class at the top level of a module"
        )
    return name


def _find(name: str) -> Any:
    """The object that a dotted name means, None if there is none. Imports its module."""
    from importlib import import_module

    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        module = sys.modules.get(module_name)
        if module is None:
            try:
                module = import_module(module_name)
            except ImportError:
                continue
        found: Any = module
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found
    return None


def _is_enum(kind: type) -> bool:
    return "enum" in sys.modules and issubclass(kind, sys.modules["enum"].Enum)


def _stored(kind: Any) -> list[str]:
    return [name for name, field in kind.__dataclass_fields__.items() if field._field_type.name == "_FIELD"]


def _dict_form(obj: dict[Any, Any]) -> dict[str, Any]:
    kind = type(obj)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name not in ("collections.OrderedDict", "collections.Counter"):
        name = "builtins.dict"
        if set(map(type, obj)) <= _TEXT and _CLASS not in obj and _EXCEPTION not in obj:
            return dict(obj)
    return {_CLASS: name, "data": [[key, item] for key, item in obj.items()]}


def _exception_form(obj: BaseException) -> dict[str, Any]:
    kind = next(base for base in type(obj).__mro__ if _find(_name(base)) is base)
    if kind is not type(obj):  # its class cannot be found again, the next best stands for it
        message = f"{type(obj).__name__}: {obj}"
        return {_EXCEPTION: _name(kind), "message": message, "args": [message]}
    form: dict[str, Any] = {_EXCEPTION: _name(kind), "message": str(obj)}
    try:
        form["args"] = to_json_ready(list(obj.args))
    except SerializationError:  # an exception is worth keeping without the objects it carries
        return form
    return form


def _datetime_form(obj: Any) -> dict[str, Any]:
    form = {"data": obj.isoformat()}
    zone = getattr(obj.tzinfo, "key", None)
    if zone is not None:
        form["zone"] = zone
    if obj.fold:
        form["fold"] = obj.fold
    return form


def _text_form(obj: Any) -> dict[str, Any]:
    return {"data": str(obj)}


def _list_form(obj: Any) -> dict[str, Any]:
    return {"data": list(obj)}


def _iso_form(obj: Any) -> dict[str, Any]:
    return {"data": obj.isoformat()}


_ENCODERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "builtins.tuple": _list_form,
    "builtins.set": _list_form,
    "builtins.frozenset": _list_form,
    "builtins.complex": _text_form,
    "builtins.range": lambda obj: {"data": [obj.start, obj.stop, obj.step]},
    "builtins.bytes": lambda obj: {"base64": binascii.b2a_base64(obj, newline=False).decode()},
    "builtins.bytearray": lambda obj: {"base64": binascii.b2a_base64(obj, newline=False).decode()},
    "datetime.datetime": _datetime_form,
    "datetime.date": _iso_form,
    "datetime.time": _iso_form,
    "datetime.timedelta": lambda obj: {"data": [obj.days, obj.seconds, obj.microseconds]},
    "decimal.Decimal": _text_form,
    "fractions.Fraction": _text_form,
    "re.Pattern": lambda obj: {"data": obj.pattern, "flags": obj.flags},
    "uuid.UUID": _text_form,
}


# -- the way back -------------------------------------------------------------------------------------------------------


def riverrun_json_object_decoder(result: dict[str, Any]) -> Any:
    """The value whose form a JSON object is, or the object itself; raises SerializationError if its class is gone."""
    if _EXCEPTION in result:
        return _exception(result)
    name = result.get(_CLASS)
    if not isinstance(name, str) or not ("data" in result or "base64" in result):
        return result
    decoder = _DECODERS.get(name)
    if decoder is not None:
        return decoder(result)
    kind = _find(name)
    if not isinstance(kind, type):
        raise SerializationError(f"the class {name!r} of a stored value is not there; was it moved or renamed?")
    return _instance(kind, result["data"], name)


def _instance(kind: Any, data: Any, name: str) -> Any:
    if issubclass(kind, PurePath) or _is_enum(kind):
        return kind(data)
    if hasattr(kind, "model_validate") and not hasattr(kind, "__struct_fields__"):
        try:
            return kind.model_validate(data, by_name=True, by_alias=True)
        except TypeError:  # a pydantic before 2.11, or a model with a signature of its own
            return kind.model_validate(data)
    if hasattr(kind, "__dataclass_fields__"):
        return _dataclass(kind, data)
    if hasattr(kind, "__struct_fields__"):
        return kind(**data)
    if issubclass(kind, tuple) and hasattr(kind, "_make"):
        return kind._make(data)
    raise SerializationError(f"the class {name!r} of a stored value is not a type of data")


def _dataclass(kind: Any, data: dict[str, Any]) -> Any:
    fields = kind.__dataclass_fields__
    if hasattr(kind, "__pydantic_validator__"):
        return kind(**{name: value for name, value in data.items() if name not in fields or fields[name].init})
    instance = kind(**{name: value for name, value in data.items() if name in fields and fields[name].init})
    for name, value in data.items():
        if name in fields and not fields[name].init:
            object.__setattr__(instance, name, value)
    return instance


def _exception(form: dict[str, Any]) -> Any:
    name, message = form[_EXCEPTION], form.get("message", "")
    kind = _find(name) if isinstance(name, str) else None
    if not isinstance(kind, type) or not issubclass(kind, BaseException):
        raise SerializationError(
            f"the exception class {name!r} of a stored value is not there; was it moved or renamed?"
        )
    args = form.get("args", [message])
    try:
        return kind(*args)
    except Exception:  # noqa: BLE001 - its constructor wants something else; what it says is kept
        instance = kind.__new__(kind)
        instance.args = tuple(args)
        return instance


def _datetime(form: dict[str, Any]) -> Any:
    from datetime import datetime

    value = datetime.fromisoformat(form["data"])
    if "zone" in form:
        from zoneinfo import ZoneInfo

        value = value.replace(tzinfo=ZoneInfo(form["zone"]))
    return value.replace(fold=1) if form.get("fold") else value


def _timedelta(form: dict[str, Any]) -> Any:
    from datetime import timedelta

    data = form["data"]
    if isinstance(data, list):
        return timedelta(*data)
    from pydantic import TypeAdapter

    return TypeAdapter(timedelta).validate_python(data)


def _of(name: str) -> Callable[[dict[str, Any]], Any]:
    """A decoder that gives the data to a class of the standard library, imported when it is needed."""

    def decode(form: dict[str, Any]) -> Any:
        return _find(name)(form["data"])

    return decode


def _iso(name: str) -> Callable[[dict[str, Any]], Any]:
    def decode(form: dict[str, Any]) -> Any:
        return _find(name).fromisoformat(form["data"])

    return decode


def _bytes(form: dict[str, Any]) -> bytes:
    # text is how the peer writes bytes
    return binascii.a2b_base64(form["base64"]) if "base64" in form else form["data"].encode()


def _pattern(form: dict[str, Any]) -> Any:
    import re

    return re.compile(form["data"], form.get("flags", 0))


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "builtins.tuple": _of("builtins.tuple"),
    "builtins.set": _of("builtins.set"),
    "builtins.frozenset": _of("builtins.frozenset"),
    "builtins.dict": _of("builtins.dict"),
    "builtins.complex": _of("builtins.complex"),
    "builtins.range": lambda form: range(*form["data"]),
    "builtins.bytes": _bytes,
    "builtins.bytearray": lambda form: bytearray(_bytes(form)),
    "collections.OrderedDict": _of("collections.OrderedDict"),
    "collections.Counter": lambda form: _find("collections.Counter")(dict(form["data"])),
    "datetime.datetime": _datetime,
    "datetime.date": _iso("datetime.date"),
    "datetime.time": _iso("datetime.time"),
    "datetime.timedelta": _timedelta,
    "decimal.Decimal": _of("decimal.Decimal"),
    "fractions.Fraction": _of("fractions.Fraction"),
    "re.Pattern": _pattern,
    "uuid.UUID": _of("uuid.UUID"),
}
