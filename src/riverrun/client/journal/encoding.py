"""Encoding records that refuse to be encoded.

A value the wire cannot carry must neither raise into the user's flow nor poison the store: it is replaced by the nearest thing
that can be kept, or by a placeholder that names the field. The quick path is `wire.journal.encode`; this is the other one.
"""

from enum import Enum
from typing import Any, Final

from riverrun.wire.journal import JournalRecord, LostRecord, encode

_DEEPEST: Final = 50
_LONGEST_REPR: Final = 200
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def encode_anyway(record: JournalRecord) -> bytes:
    """The bytes of the record, or of the nearest record that has bytes. Never raises an `Exception`."""
    kind = type(record)
    try:
        fields = [_clean(getattr(record, name), name, 0) for name in kind.__struct_fields__]
        return encode(kind(*fields))
    except Exception as error:  # noqa: BLE001 - process edge: whatever the values do, the flow goes on
        return encode(LostRecord(0, 0, f"a {kind.__name__} that could not be encoded ({type(error).__name__})"))


def _clean(value: Any, where: str, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.encode(value, "utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Enum):
        return _clean(value.value, where, depth)
    if isinstance(value, int):
        number = int(value)
        return number if _INT_MIN <= number <= _INT_MAX else _digits(number)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if depth >= _DEEPEST:
        return f"<{where}: nested more than {_DEEPEST} deep>"
    if isinstance(value, dict):
        return {_key(key, where): _clean(item, f"{where}.{key}"[-99:], depth + 1) for key, item in list(value.items())}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, f"{where}[{at}]"[-99:], depth + 1) for at, item in enumerate(list(value))]
    return _other(value, where)


def _key(key: Any, where: str) -> Any:
    return _clean(key if isinstance(key, str) else _described(key), where, 0)


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # longer than the interpreter converts
        return hex(number)


def _other(value: Any, where: str) -> Any:
    try:
        encode(value)
    except Exception:  # noqa: BLE001 - any object may be found in a record
        return _clean(f"<{where}: {_described(value)}>", where, 0)
    return value


def _described(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__
        return f"{type(value).__name__} (its repr raises {type(error).__name__})"
    return text if len(text) <= _LONGEST_REPR else text[:_LONGEST_REPR] + "..."
