"""`Variable`: named JSON values that flows share, kept by the server."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field, JsonValue, field_validator

from riverrun.base.errors import ObjectAlreadyExists, ObjectNotFound
from riverrun.client.calls import variables as calls
from riverrun.client.talk import Talk, ask
from riverrun.types import MAX_VARIABLE_NAME_LENGTH
from riverrun.utilities.talks import awaiting, talking
from riverrun.wire.variables import VariableCreate, VariableUpdate

__all__ = ["Variable"]

T = TypeVar("T")

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def _set(
    cls: "type[Variable[Any]]", name: str, value: Any, tags: list[str] | None = None, overwrite: bool = False
) -> "Talk[Variable[Any]]":
    """Keep a JSON value under a name. A name that is taken is a ValueError, unless `overwrite`."""
    made = cls(name=name, value=value, tags=tags or [])
    try:
        yield from ask(calls.create_variable(VariableCreate(name=name, value=value, tags=made.tags or [])))
    except ObjectAlreadyExists as error:
        if not overwrite:
            raise ValueError(f"Variable {name!r} already exists. Use `overwrite=True` to update it.") from error
        yield from ask(calls.update_variable(name, VariableUpdate(value=value, tags=made.tags)))
    return made


def _get(cls: "type[Variable[Any]]", name: str, default: Any = None) -> Talk[Any]:  # noqa: ARG001 - a method of the class
    """The value kept under a name, or `default` if there is none."""
    found = yield from ask(calls.read_variable(name))
    return default if found is None else found.value


def _unset(cls: "type[Variable[Any]]", name: str) -> Talk[bool]:  # noqa: ARG001 - a method of the class
    """Forget the value kept under a name; False if there was none."""
    try:
        yield from ask(calls.delete_variable(name))
    except ObjectNotFound:
        return False
    return True


class Variable(BaseModel, Generic[T]):
    """A named JSON value. `get`, `set` and `unset` block in sync code and are awaited in async code."""

    name: str = Field(
        description="The name of the variable", examples=["my_variable"], max_length=MAX_VARIABLE_NAME_LENGTH
    )
    value: JsonValue = Field(description="The value of the variable", examples=["my-value"])
    tags: list[str] | None = Field(default=None)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not name or not _LETTERS.issuperset(name):
            raise ValueError(
                "Variable name must only contain lowercase letters, numbers, and dashes or underscores, such as 'my_variable'."
            )
        return name

    set = classmethod(talking(_set))
    aset = classmethod(awaiting(_set))
    get = classmethod(talking(_get))
    aget = classmethod(awaiting(_get))
    unset = classmethod(talking(_unset))
    aunset = classmethod(awaiting(_unset))
