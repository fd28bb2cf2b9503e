"""Stable hashes of Python values: equal in every process and on every machine, whatever PYTHONHASHSEED, the order of a
set or the order in which a dictionary was filled.

A value is written in a canonical form (msgpack for scalars; tagged, sorted and prefix-free for the rest) that is hashed.
What is not a builtin is taken apart as `pickle` would do (`__reduce_ex__`), without pickling it: pickles themselves
differ with the identity of equal strings. Functions are known by name, code, defaults and closure; not by the globals
they use. This module must not import what it knows how to hash (numpy, pandas, pydantic).
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from copyreg import dispatch_table
from functools import cached_property, partial
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from msgspec.msgpack import Encoder

_MD5: Callable[..., Any] = partial(hashlib.md5, usedforsecurity=False)

_encode = Encoder(order="deterministic").encode
#: msgpack never starts a value with this byte, so it can mark what msgpack doesn't know
_MARK = b"\xc1"
_PLAIN: frozenset[type] = frozenset({str, int, float, bool, bytes, type(None)})
_PLAIN_KEYS: frozenset[type] = frozenset({str})


def stable_hash(*args: str | bytes, hash_algo: Callable[..., Any] = _MD5) -> str:
    """The hexadecimal hash of some texts and bytes, one after the other; text counts as UTF-8."""
    digest = hash_algo()
    for arg in args:
        digest.update(arg.encode() if isinstance(arg, str) else arg)
    return str(digest.hexdigest())


def file_hash(path: str | os.PathLike[str], hash_algo: Callable[..., Any] = _MD5) -> str:
    """The hexadecimal hash of a file's content."""
    with Path(path).open("rb") as file:
        return str(hashlib.file_digest(file, hash_algo).hexdigest())


def hash_objects(
    *args: Any, hash_algo: Callable[..., Any] = _MD5, raise_on_failure: bool = False, **kwargs: Any
) -> str | None:
    """The hexadecimal hash of some values. None when one of them has no stable form, or HashError if asked to raise.

    The error names the part that can't be hashed by its path inside the arguments.
    """
    out: list[bytes] = []
    try:
        _feed_tuple(args, out, {})
        if kwargs:
            _feed(kwargs, out, {})
    except Exception as error:
        if not raise_on_failure:
            return None
        raise _hash_error(args[0] if len(args) == 1 and not kwargs else (*args, *kwargs.values()), error) from error
    return str(hash_algo(b"".join(out)).hexdigest())


def _hash_error(value: Any, error: Exception) -> Exception:
    from riverrun.base.errors import HashError
    from riverrun.utilities.culprits import find_culprit

    path, culprit = find_culprit(value, lambda part: _feed(part, [], {}))
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return HashError(
        f"Unable to create hash: value{path} of type {_name(type(culprit))!r} has no stable form: {reason}"
    )


# -- the canonical form -------------------------------------------------------------------------------------------------


def _feed(value: Any, out: list[bytes], active: dict[int, int]) -> None:
    """Append the canonical form of `value`; `active` has the ids of the values that contain it (for cycles)."""
    kind = type(value)
    if kind in _PLAIN:
        try:
            out.append(_encode(value))
        except OverflowError:  # more than 64 bits
            out.append(_MARK + b"I" + _sized(str(value).encode() if abs(value) < 1 << 4096 else hex(value).encode()))
        except UnicodeEncodeError:  # lone surrogates
            out.append(_MARK + b"S" + _sized(value.encode("utf-8", "surrogatepass")))
        return
    identity = id(value)
    if identity in active:
        out.append(_MARK + b"^" + _encode(len(active) - active[identity]))
        return
    active[identity] = len(active)
    try:
        feeder = _FEEDERS.get(kind)
        if feeder is not None:
            feeder(value, out, active)
        else:
            _feed_other(value, kind, out, active)
    finally:
        del active[identity]


def _sized(data: bytes) -> bytes:
    return _encode(len(data)) + data


def _name(kind: Any) -> str:
    module = kind.__module__
    # the main module has another name in the children of a process pool
    return f"{'__main__' if module == '__mp_main__' else module}.{kind.__qualname__}"


def _named(tag: bytes, kind: Any) -> bytes:
    return _MARK + tag + _encode(_name(kind))


def _feed_sequence(tag: bytes, value: Any, out: list[bytes], active: dict[int, int]) -> None:
    out.append(_MARK + tag + _encode(len(value)))
    if set(map(type, value)) <= _PLAIN:
        try:
            out.append(_encode(value))
        except (OverflowError, UnicodeEncodeError):
            pass
        else:
            return
    for item in value:
        _feed(item, out, active)


def _feed_list(value: list[Any], out: list[bytes], active: dict[int, int]) -> None:
    _feed_sequence(b"l", value, out, active)


def _feed_tuple(value: tuple[Any, ...], out: list[bytes], active: dict[int, int]) -> None:
    _feed_sequence(b"t", value, out, active)


def _feed_dict(value: dict[Any, Any], out: list[bytes], active: dict[int, int]) -> None:
    out.append(_MARK + b"d" + _encode(len(value)))
    if set(map(type, value)) <= _PLAIN_KEYS and set(map(type, value.values())) <= _PLAIN:
        try:
            out.append(_encode(value))
        except (OverflowError, UnicodeEncodeError):
            pass
        else:
            return
    for key, item in sorted([(_form(key, active), item) for key, item in value.items()], key=_first):
        out.append(key)
        _feed(item, out, active)


def _first(pair: tuple[bytes, Any]) -> bytes:
    return pair[0]


def _form(value: Any, active: dict[int, int]) -> bytes:
    out: list[bytes] = []
    _feed(value, out, active)
    return b"".join(out)


def _feed_set(value: Iterable[Any], out: list[bytes], active: dict[int, int]) -> None:
    forms = sorted(_form(item, active) for item in value)
    out.append(_named(b"s", type(value)) + _encode(len(forms)))
    out.extend(forms)


def _feed_text(value: Any, out: list[bytes], active: dict[int, int]) -> None:  # noqa: ARG001 - one signature for all
    out.append(_named(b"x", type(value)) + _sized(str(value).encode("utf-8", "surrogatepass")))


def _feed_bytes(value: Any, out: list[bytes], active: dict[int, int]) -> None:  # noqa: ARG001 - one signature for all
    out.append(_named(b"x", type(value)) + _sized(bytes(value)))


def _feed_class(value: type, out: list[bytes], active: dict[int, int]) -> None:  # noqa: ARG001 - one signature for all
    out.append(_named(b"c", value))


def _feed_module(value: ModuleType, out: list[bytes], active: dict[int, int]) -> None:  # noqa: ARG001
    out.append(_MARK + b"m" + _encode(value.__name__))


def _feed_function(value: Any, out: list[bytes], active: dict[int, int]) -> None:
    out.append(_named(b"f", value))
    feed_code(value.__code__, out, active)
    cells = []
    for cell in value.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # a variable that is not bound yet
            cells.append(None)
    _feed([value.__defaults__, value.__kwdefaults__, cells], out, active)


def _feed_builtin(value: Any, out: list[bytes], active: dict[int, int]) -> None:
    owner = value.__self__
    out.append(_MARK + b"b" + _encode(f"{value.__module__}.{value.__qualname__}"))
    if owner is not None and not isinstance(owner, ModuleType):
        _feed(owner, out, active)


def _feed_method(value: MethodType, out: list[bytes], active: dict[int, int]) -> None:
    out.append(_MARK + b"M")
    _feed(value.__func__, out, active)
    _feed(value.__self__, out, active)


def feed_code(code: CodeType, out: list[bytes], active: dict[int, int]) -> None:
    """Append what a code object does: its instructions, names and constants; not its file or lines."""
    constants = list(code.co_consts)
    out.append(_MARK + b"C" + _encode([code.co_code, list(code.co_names), list(code.co_varnames), len(constants)]))
    for constant in constants:
        if isinstance(constant, CodeType):
            feed_code(constant, out, active)
        else:
            _feed(constant, out, active)


# -- what is not a builtin ----------------------------------------------------------------------------------------------


def _feed_other(value: Any, kind: type, out: list[bytes], active: dict[int, int]) -> None:
    if isinstance(value, type):
        out.append(_named(b"c", value))
        return
    if isinstance(value, PurePath):
        out.append(_MARK + b"p" + _sized(os.fsencode(value)))
        return
    root = kind.__module__.partition(".")[0]
    special = _LIBRARIES.get(root)
    if special is not None and special(value, out, active):
        return
    if "__pydantic_fields__" in dir(kind):
        # not by its pickle: that tells apart fields that were set from equal defaults
        out.append(_named(b"o", kind))
        _feed([_lasting(kind, value.__dict__), getattr(value, "__pydantic_extra__", None)], out, active)
        return
    mro = kind.__mro__
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None and not any("__reduce_ex__" in vars(base) or "__reduce__" in vars(base) for base in mro[:-1]):
        # by its fields: a default may stand in the class or in the instance
        out.append(_named(b"o", kind))
        _feed({name: getattr(value, name, None) for name in fields}, out, active)
        return
    if any(base.__module__ == "enum" for base in mro) and hasattr(value, "_name_"):
        out.append(_named(b"e", kind) + _encode(str(value._name_)))
        return
    _feed_reduced(value, kind, out, active)


def _feed_reduced(value: Any, kind: type, out: list[bytes], active: dict[int, int]) -> None:
    """By what `pickle` would keep of it; raises TypeError for what cannot be pickled."""
    reducer = dispatch_table.get(kind)
    reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    if isinstance(reduced, str):
        out.append(_named(b"g", kind) + _encode(reduced))
        return
    maker, args, *rest = reduced
    out.append(_named(b"r", kind))
    _feed(maker, out, active)
    _feed(args, out, active)
    state, items, pairs = [*rest, None, None, None][:3]
    _feed(_lasting(kind, state) if type(state) is dict else state, out, active)
    _feed(None if items is None else list(items), out, active)
    _feed(None if pairs is None else [tuple(pair) for pair in pairs], out, active)


def _lasting(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an instance without what `cached_property` has put among them."""
    return {
        name: value
        for name, value in state.items()
        if type(getattr(kind, name, None) if type(name) is str else None) is not cached_property
    }


def _feed_numpy(value: Any, out: list[bytes], active: dict[int, int]) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None or not hasattr(value, "tobytes"):
        return False
    out.append(_named(b"n", type(value)))
    _feed((str(dtype.descr if dtype.names else dtype.str), tuple(value.shape)), out, active)
    if dtype.hasobject:
        _feed(value.tolist(), out, active)
    else:
        out.append(_sized(value.tobytes()))
    return True


def _feed_pandas(value: Any, out: list[bytes], active: dict[int, int]) -> bool:
    # by content: a pickled frame also tells how its columns are laid out in memory
    family = type(value).__name__
    if family == "DataFrame":
        columns = [value.iloc[:, index] for index in range(value.shape[1])]
        out.append(_MARK + b"P")
        _feed((family, value.columns, value.index, len(columns)), out, active)
        for column in columns:
            _feed_column(column, out, active)
        return True
    if family == "Series":
        out.append(_MARK + b"P")
        _feed((family, value.name, value.index), out, active)
        _feed_column(value, out, active)
        return True
    if hasattr(value, "dtype") and hasattr(value, "tolist") and hasattr(value, "names"):
        out.append(_MARK + b"P")
        _feed((family, list(value.names)), out, active)
        _feed_column(value, out, active)
        return True
    return False


def _feed_column(column: Any, out: list[bytes], active: dict[int, int]) -> None:
    _feed(str(column.dtype), out, active)
    values = column.to_numpy()
    if values.dtype.hasobject:
        _feed(column.tolist(), out, active)
    else:
        _feed_numpy(values, out, active)


def _feed_polars(value: Any, out: list[bytes], active: dict[int, int]) -> bool:
    family = type(value).__name__
    if family == "DataFrame":
        out.append(_MARK + b"L")
        _feed([(name, str(value[name].dtype), value[name].to_list()) for name in value.columns], out, active)
        return True
    if family == "Series":
        out.append(_MARK + b"L")
        _feed((value.name, str(value.dtype), value.to_list()), out, active)
        return True
    return False


def _feed_datetime(value: Any, out: list[bytes], active: dict[int, int]) -> bool:  # noqa: ARG001
    # by the instant written out, so that equal times hash alike whatever class stands for their time zone
    if not hasattr(value, "isoformat"):
        return False
    out.append(_named(b"x", type(value)) + _encode([value.isoformat(), getattr(value, "fold", 0)]))
    return True


def _feed_uuid(value: Any, out: list[bytes], active: dict[int, int]) -> bool:  # noqa: ARG001 - one signature for all
    out.append(_named(b"x", type(value)) + _encode(str(value)))
    return True


_Feeder = Callable[[Any, list[bytes], dict[int, int]], None]

_FEEDERS: dict[type, _Feeder] = {
    list: _feed_list,
    tuple: _feed_tuple,
    dict: _feed_dict,
    set: _feed_set,
    frozenset: _feed_set,
    complex: _feed_text,
    range: _feed_text,
    bytearray: _feed_bytes,
    type: _feed_class,
    ModuleType: _feed_module,
    FunctionType: _feed_function,
    BuiltinFunctionType: _feed_builtin,
    MethodType: _feed_method,
}

#: by the package a type comes from; a function that returns False leaves the value to the general way
_LIBRARIES: dict[str, Callable[[Any, list[bytes], dict[int, int]], bool]] = {
    "numpy": _feed_numpy,
    "pandas": _feed_pandas,
    "polars": _feed_polars,
    "datetime": _feed_datetime,
    "uuid": _feed_uuid,
}
