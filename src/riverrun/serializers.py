"""Values to bytes and back: pickle, JSON with types, either of them compressed, and users' own subclasses.

A serializer is known by its `type`, has options that are plain data, and can be written down as a dictionary that makes it
again (`model_dump`). The JSON forms themselves are in `riverrun.json_forms`. Nothing here knows where bytes are stored.
pydantic is loaded only for users' subclasses, whose fields it validates.
"""

import binascii
from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

from riverrun.base.errors import SerializationError
from riverrun.json_forms import riverrun_json_object_decoder, riverrun_json_object_encoder, to_json_ready
from riverrun.utilities.culprits import find_culprit

D = TypeVar("D")

_MISSING: Any = object()
_ENCODER = f"{__name__}.riverrun_json_object_encoder"
_DECODER = f"{__name__}.riverrun_json_object_decoder"

prefect_json_object_encoder = riverrun_json_object_encoder
prefect_json_object_decoder = riverrun_json_object_decoder


_SerializerClass: TypeAlias = "type[Serializer[Any]]"


class Serializer(Generic[D]):
    """Base of serializers, and the way to make one by type: `Serializer(type="json")`.

    A subclass sets a default for `type` and gives `dumps` and `loads`. Its annotated attributes are options: keyword
    arguments of the constructor, validated by pydantic, part of equality and of `model_dump`.
    """

    type: str

    _registry: ClassVar[dict[str, "_SerializerClass"]] = {}
    _fields: ClassVar[dict[str, Any]] = {"type": _MISSING}
    _validator: ClassVar[Any] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fields = dict(cls._fields)
        for name in get_annotations(cls):
            if not name.startswith("_"):
                fields[name] = cls.__dict__.get(name, _MISSING)
        if "type" in cls.__dict__:
            fields["type"] = cls.__dict__["type"]
        cls._fields = fields
        cls._validator = None
        kind = fields["type"]
        kind = getattr(kind, "default", kind)  # of a pydantic `Field(...)`
        if isinstance(kind, str):
            Serializer._registry[kind] = cls

    def __new__(cls, **data: Any) -> Self:
        if cls is not Serializer:
            return super().__new__(cls)
        kind = data.get("type")
        found = cls._registry.get(kind) if isinstance(kind, str) else None
        if found is None:
            raise _invalid(
                "Serializer",
                "type",
                kind,
                f"No class found for dispatch key {kind!r} in registry for type 'Serializer'. Known are"
                f" {', '.join(sorted(cls._registry))}; one of your own must be imported before it is used.",
            )
        return super().__new__(found)  # type: ignore[return-value] # __init__ runs: it is a subclass

    def __init__(self, **data: Any) -> None:
        if not type(self).__module__.startswith("riverrun."):
            data = self._validated(data)
        for name, default in self._fields.items():
            value = data.pop(name, default)
            if value is _MISSING:
                raise _invalid(type(self).__name__, name, data, "Field required", "missing")
            setattr(self, name, dict(value) if isinstance(value, dict) else value)
        for name, value in data.items():
            raise _invalid(type(self).__name__, name, value, "Extra inputs are not permitted", "extra_forbidden")
        self._check()

    def _check(self) -> None:
        """Raise ValueError if the options make no sense; for the house's own subclasses."""

    def dumps(self, obj: D) -> bytes:
        """The value as bytes."""
        raise NotImplementedError(f"The serializer {type(self).__name__} does not define `dumps`.")

    def loads(self, blob: bytes) -> D:
        """The value from its bytes."""
        raise NotImplementedError(f"The serializer {type(self).__name__} does not define `loads`.")

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        """The type and the options, as a dictionary that `Serializer(**...)` takes."""
        return {
            name: value.model_dump() if isinstance(value, Serializer) else value
            for name, value in ((name, getattr(self, name)) for name in self._fields)
        }

    @classmethod
    def model_validate(cls, obj: Any) -> "Serializer[Any]":
        """A serializer from itself, from what `model_dump` gave, or from its type; raises ValueError for another kind."""
        return cls._from_any(obj)

    def model_dump_json(self, **_options: Any) -> str:
        """`model_dump` as a JSON document."""
        import msgspec

        return msgspec.json.encode(self.model_dump(), enc_hook=str).decode()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same serializer with some options changed."""
        return type(self)(**{**{name: getattr(self, name) for name in self._fields}, **(update or {})})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment] # compares by content and may change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    @classmethod
    def _validated(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The options of a user's subclass as pydantic sees them, its validators applied."""
        if cls._validator is None:
            cls._validator = _pydantic_twin(cls)
        model = cls._validator.model_validate(data)
        return {name: getattr(model, name) for name in cls._fields}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls._from_any, serialization=core_schema.plain_serializer_function_ser_schema(cls.model_dump)
        )

    @classmethod
    def _from_any(cls, value: Any) -> "Serializer[Any]":
        if isinstance(value, Mapping):
            value = Serializer(**value)
        elif isinstance(value, str):
            value = Serializer(type=value)
        if not isinstance(value, cls):
            raise ValueError(f"Input should be a serializer of type {cls.__name__}, not {value!r:.200}.")
        return value


def _pydantic_twin(cls: type[Serializer[Any]]) -> Any:
    """A pydantic model with the fields and validators of a user's serializer."""
    from typing import get_type_hints

    from pydantic import create_model

    hints = get_type_hints(cls, include_extras=True)
    fields = {
        name: (hints.get(name, Any), ... if default is _MISSING else default) for name, default in cls._fields.items()
    }
    validators = {
        name: value
        for kind in reversed(cls.__mro__)
        for name, value in vars(kind).items()
        if type(value).__name__ == "PydanticDescriptorProxy"
    }
    options: Any = {"extra": "forbid", "arbitrary_types_allowed": True, "validate_default": True}
    return create_model(cls.__name__, __config__=options, __validators__=validators, **fields)  # type: ignore[call-overload]


def _invalid(title: str, field: str, value: Any, message: str, kind: str = "value_error") -> ValueError:
    """The error that pydantic would raise, so that code that expects one from a serializer finds it."""
    from pydantic_core import PydanticCustomError, ValidationError

    text = message.replace("{", "{{").replace("}", "}}")
    error: Any = {"type": PydanticCustomError(kind, text), "loc": (field,), "input": value}
    return ValidationError.from_exception_data(title, [error])


def _import(path: str) -> Any:
    """What an import path like `package.module.name` or `package.module` means."""
    from importlib import import_module

    try:
        return import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        if not module:
            raise
        return getattr(import_module(module), name)


class UnknownSerializer(Serializer[Any]):
    """Stands for a serializer whose class is not loaded here; it can be shown but not used."""

    type: str

    def __init__(self, **data: Any) -> None:
        self.__dict__.update(data)

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        return dict(vars(self))

    def dumps(self, obj: Any) -> bytes:
        raise SerializationError(self._reason(f"write a {type(obj).__name__}"))

    def loads(self, blob: bytes) -> Any:
        raise SerializationError(self._reason(f"read {len(blob)} bytes"))

    def _reason(self, what: str) -> str:
        return (
            f"Serializer {getattr(self, 'type', None)!r} is not known in this process, which was to {what} with it. Import"
            " the module that defines it first."
        )


class PickleSerializer(Serializer[D]):
    """By pickle, as base64 text. `picklelib` is the import path of a module with `dumps` and `loads`.

    Only read pickles of people you trust: reading one runs code.
    """

    type: str = "pickle"
    picklelib: str = "cloudpickle"
    picklelib_version: str | None = None

    def _check(self) -> None:
        if self.picklelib == "cloudpickle":  # not loaded before it is used
            return
        title = type(self).__name__
        if not isinstance(self.picklelib, str):
            raise _invalid(title, "picklelib", self.picklelib, "Input should be a valid string", "string_type")
        try:
            library = _import(self.picklelib)
        except ImportError as error:
            raise _invalid(
                title,
                "picklelib",
                self.picklelib,
                f"Failed to import requested pickle library: {self.picklelib!r} ({error}).",
            ) from error
        for name in ("dumps", "loads"):
            if not callable(getattr(library, name, None)):
                raise _invalid(
                    title,
                    "picklelib",
                    self.picklelib,
                    f"Pickle library at {self.picklelib!r} does not have a {name!r} method.",
                )

    def dumps(self, obj: D) -> bytes:
        """The value as bytes; raises SerializationError naming the part that cannot be pickled."""
        library = _import(self.picklelib)
        try:
            blob = library.dumps(obj)
        except Exception as error:
            raise SerializationError(_failure(obj, library.dumps, "pickled", error)) from error
        return binascii.b2a_base64(blob, newline=False)

    def loads(self, blob: bytes) -> D:
        return _import(self.picklelib).loads(binascii.a2b_base64(blob))  # type: ignore[no-any-return]


def _failure(obj: Any, attempt: Callable[[Any], object], done: str, error: Exception) -> str:
    path, part = "", obj
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        reason = "it is nested too deeply"
    else:
        path, part = find_culprit(obj, attempt)
        reason = str(error) or type(error).__name__
    where = (
        f"value{path} of type {type(part).__qualname__!r}" if path else f"a value of type {type(obj).__qualname__!r}"
    )
    return f"{where} cannot be {done}: {reason}"


class JSONSerializer(Serializer[D]):
    """As JSON text. With the default encoder and decoder most Python values come back as they were, types included.

    Those two know dates, UUIDs, paths, sets, tuples, enums, bytes, Decimal, exceptions, dataclasses, pydantic models, named
    tuples, msgspec Structs, and dictionaries with keys that are not strings. `jsonlib` is the import path of a module with
    `dumps` and `loads`; `object_encoder` and `object_decoder` are the import paths of functions given to it as `default` and
    `object_hook` (None: not given).
    """

    type: str = "json"
    jsonlib: str = "json"
    object_encoder: str | None = _ENCODER
    object_decoder: str | None = _DECODER
    dumps_kwargs: dict[str, Any] = {}
    loads_kwargs: dict[str, Any] = {}

    def _check(self) -> None:
        title = type(self).__name__
        if "default" in self.dumps_kwargs:
            raise _invalid(
                title, "dumps_kwargs", self.dumps_kwargs, "`default` cannot be provided. Use `object_encoder` instead."
            )
        if "object_hook" in self.loads_kwargs:
            raise _invalid(
                title,
                "loads_kwargs",
                self.loads_kwargs,
                "`object_hook` cannot be provided. Use `object_decoder` instead.",
            )

    def dumps(self, obj: D) -> bytes:
        """The value as UTF-8 JSON; raises SerializationError naming the part that has no JSON form."""
        try:
            return self._dump(obj)
        except Exception as error:
            raise SerializationError(_failure(obj, self._dump, "written as JSON", error)) from error

    def _dump(self, obj: Any) -> bytes:
        options = dict(self.dumps_kwargs)
        if self.object_encoder:
            options["default"] = _import(self.object_encoder)
            if self.object_encoder == _ENCODER and self.jsonlib == "json":
                obj = to_json_ready(obj)
        text = _import(self.jsonlib).dumps(obj, **options)
        return text.encode() if isinstance(text, str) else text

    def loads(self, blob: bytes) -> D:
        options = dict(self.loads_kwargs)
        if self.object_decoder:
            options["object_hook"] = _import(self.object_decoder)
        return _import(self.jsonlib).loads(blob.decode(), **options)  # type: ignore[no-any-return]


class CompressedSerializer(Serializer[D]):
    """Another serializer's bytes, compressed, as base64 text.

    `serializer` is a serializer or its type; `compressionlib` the import path of a module with `compress` and `decompress`:
    lzma (small, slow), gzip, zlib, bz2.
    """

    type: str = "compressed"
    serializer: Serializer[Any]
    compressionlib: str = "lzma"

    def _check(self) -> None:
        self.serializer = Serializer._from_any(self.serializer)
        title = type(self).__name__
        try:
            library = _import(self.compressionlib)
        except ImportError as error:
            raise _invalid(
                title,
                "compressionlib",
                self.compressionlib,
                f"Failed to import requested compression library: {self.compressionlib!r}.",
            ) from error
        for name in ("compress", "decompress"):
            if not callable(getattr(library, name, None)):
                raise _invalid(
                    title,
                    "compressionlib",
                    self.compressionlib,
                    f"Compression library at {self.compressionlib!r} does not have a {name!r} method.",
                )

    def dumps(self, obj: D) -> bytes:
        return binascii.b2a_base64(_import(self.compressionlib).compress(self.serializer.dumps(obj)), newline=False)

    def loads(self, blob: bytes) -> D:
        return self.serializer.loads(_import(self.compressionlib).decompress(binascii.a2b_base64(blob)))  # type: ignore[no-any-return]


class CompressedPickleSerializer(CompressedSerializer[D]):
    """Compressed pickle."""

    type: str = "compressed/pickle"
    serializer: Serializer[Any] = PickleSerializer()


class CompressedJSONSerializer(CompressedSerializer[D]):
    """Compressed JSON."""

    type: str = "compressed/json"
    serializer: Serializer[Any] = JSONSerializer()
