"""Marks around an argument that tell riverrun how to treat it: `task.map(x, unmapped(y))`, `task(quote(frame))` ...

They hold one value and nothing else. Reading them is the work of `engine.inputs`.
"""

import warnings
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class BaseAnnotation(tuple[T], Generic[T]):
    """Base of the marks: a tuple of one, so that it pickles, copies and compares like its value."""

    __slots__ = ()

    def __new__(cls, value: T) -> Self:
        return super().__new__(cls, (value,))

    @property
    def value(self) -> T:
        return tuple.__getitem__(self, 0)

    def unwrap(self) -> T:
        """The value inside."""
        return tuple.__getitem__(self, 0)

    def rewrap(self, value: T) -> Self:
        """The same mark around another value."""
        return type(self)(value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and bool(tuple.__eq__(self, other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    # Equality is by value and the value may be anything, so a mark is no key.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.value,)


class unmapped(BaseAnnotation[T]):  # noqa: N801 - a public name of the peer
    """In `task.map`: hand the whole value to every task run instead of iterating over it."""

    __slots__ = ()

    def __getitem__(self, _: object) -> T:  # type: ignore[override]
        # every index holds the same value
        return self.value


class flatten(BaseAnnotation[T]):  # noqa: N801 - read as a verb at the call
    """In `task.map`: the value is an iterable of iterables; map over the items of all of them, one level deep."""

    __slots__ = ()


class allow_failure(BaseAnnotation[T]):  # noqa: N801 - a public name of the peer
    """Let the run begin although this upstream failed; it receives the upstream's exception as its argument."""

    __slots__ = ()


class quote(BaseAnnotation[T]):  # noqa: N801 - a public name of the peer
    """Do not look for futures or states inside the value; saves time on large collections and hides dependencies."""

    __slots__ = ()

    def unquote(self) -> T:
        """The value inside."""
        return self.value


class Quote(quote[T]):
    """The old name of `quote`."""

    __slots__ = ()

    def __new__(cls, expr: T) -> Self:
        warnings.warn("`Quote` is deprecated; use `quote`.", DeprecationWarning, stacklevel=2)
        return super().__new__(cls, expr)


class opaque(BaseAnnotation[T]):  # noqa: N801 - a public name of the peer
    """Keep the value out of the record of inputs: it is handed on as it is and never looked into."""

    __slots__ = ()


class freeze(BaseAnnotation[T]):  # noqa: N801 - a public name of the peer
    """A parameter fixed to a value that has a JSON form; raises ValueError if it has none."""

    __slots__ = ()

    def __new__(cls, value: T) -> Self:
        _require_json(value)
        return super().__new__(cls, value)

    def unfreeze(self) -> T:
        """The value inside."""
        return self.value

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda frozen: frozen.unfreeze()),
        )


class NotSet:
    """Stands for "not given" where None is a value."""


def _require_json(value: Any) -> None:
    import msgspec

    def models(inner: Any) -> Any:
        if hasattr(inner, "model_dump"):
            return inner.model_dump(mode="json")
        raise TypeError(type(inner).__name__)

    try:
        msgspec.json.encode(value, enc_hook=models)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"Value must be JSON serializable: {error}") from error
