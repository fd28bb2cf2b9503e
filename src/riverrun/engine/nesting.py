"""How the engine looks at a value: what is a leaf, a future, a state, an annotation, or something with parts.

By type, and remembered by type: the search for futures passes here for every argument of every task call.
"""

from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PosixPath, WindowsPath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final
from uuid import UUID

from riverrun.utilities.annotations import BaseAnnotation
from riverrun.utilities.collections import FutureBase
from riverrun.wire.states import BaseState

#: types whose values have no parts that could be of interest
LEAVES: Final[frozenset[type]] = frozenset(
    {
        int, float, str, bytes, bool, type(None), complex, bytearray, range, date, datetime, time, timedelta, Decimal, UUID,
        PosixPath, WindowsPath, FunctionType, BuiltinFunctionType, MethodType, ModuleType, type,
    }
)  # fmt: skip

LEAF, FUTURE, STATE, ANNOTATION, ITEMS, MAPPING, OBJECT = range(7)
_kinds: dict[type, int] = {
    **dict.fromkeys(LEAVES, LEAF),
    list: ITEMS,
    tuple: ITEMS,
    set: ITEMS,
    frozenset: ITEMS,
    dict: MAPPING,
}


def kind_of(kind: type) -> int:
    """How values of a type are looked at."""
    known = _kinds.get(kind)
    if known is None:
        if issubclass(kind, FutureBase):
            known = FUTURE
        elif issubclass(kind, BaseState):
            known = STATE
        elif issubclass(kind, BaseAnnotation):
            known = ANNOTATION
        elif issubclass(kind, (list, tuple, set, frozenset)):
            known = ITEMS
        elif issubclass(kind, dict):
            known = MAPPING
        elif is_dataclass(kind) or (hasattr(kind, "__pydantic_fields_set__") and hasattr(kind, "model_fields")):
            known = OBJECT
        else:
            known = LEAF
        if len(_kinds) > 4096:  # types made in a loop must not pile up here
            _kinds.clear()
        _kinds[kind] = known
    return known


def fields_of(value: Any) -> list[Any]:
    """The values of the fields of a dataclass or model."""
    # Around the object's own __getattribute__, which may compute what nobody asked for.
    try:
        fields = list(object.__getattribute__(value, "__dict__").values())
    except AttributeError:
        return [getattr(value, name) for name in getattr(value, "__dataclass_fields__", ()) if hasattr(value, name)]
    extra = getattr(type(value), "__pydantic_extra__", None) and object.__getattribute__(value, "__pydantic_extra__")
    return fields + list(extra.values()) if extra else fields
