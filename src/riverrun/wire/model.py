"""The few pydantic-shaped methods that users of the peer call on its objects, for msgspec Structs.

`model_dump`, `model_dump_json`, `model_copy` and `model_validate` behave as their names promise; a Struct may also be a
field of a user's pydantic model. What differs is listed in docs/migration.md.
"""

from collections.abc import Collection, Mapping
from typing import Any, Self

import msgspec


class Model:
    """Mixin for Structs. It holds no state."""

    __slots__ = ()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced; `deep` copies nested values too."""
        import copy

        twin = copy.deepcopy(self) if deep else copy.copy(self)
        if self.__struct_config__.frozen:  # type: ignore[attr-defined]
            return msgspec.structs.replace(twin, **(update or {}))  # type: ignore[type-var]
        for name, value in (update or {}).items():
            setattr(twin, name, value)
        return twin

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        exclude_none: bool = False,
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        **_options: Any,
    ) -> dict[str, Any]:
        """The fields as a dictionary; `mode="json"` leaves only JSON types.

        Structs do not remember which fields were set: `exclude_unset` leaves out those that have their default, as
        `exclude_defaults` does. Other options of pydantic are accepted and have no effect.
        """
        fields: dict[str, Any] = {}
        sparse = exclude_unset or exclude_defaults
        for info in msgspec.structs.fields(type(self)):  # type: ignore[arg-type]
            name = info.encode_name
            value = getattr(self, info.name)
            if (include is not None and name not in include) or (exclude and name in exclude) or value is msgspec.UNSET:
                continue
            if (exclude_none and value is None) or (sparse and _is_default(info, value)):
                continue
            fields[name] = _json(value) if mode == "json" else _python(value, exclude_none, sparse)
        return fields

    def model_dump_json(self, **options: Any) -> str:
        """The fields as a JSON document; takes the options of `model_dump`, and `indent` in spaces."""
        indent = options.pop("indent", None)
        document = msgspec.json.encode(self.model_dump(**{**options, "mode": "json"}))
        return (msgspec.json.format(document, indent=indent) if indent else document).decode()

    @classmethod
    def model_validate(cls, obj: Any, **_options: Any) -> Self:
        """An instance from an instance or a mapping; raises `msgspec.ValidationError` on a wrong field."""
        if isinstance(obj, cls):
            return obj
        return msgspec.convert(obj, cls, strict=False, from_attributes=True)

    @classmethod
    def model_validate_json(cls, data: str | bytes) -> Self:
        """An instance from a JSON document; raises `msgspec.ValidationError` on a wrong field."""
        return msgspec.json.decode(data, type=cls, strict=False)

    @classmethod
    def model_construct(cls, _fields_set: Collection[str] | None = None, **fields: Any) -> Self:
        """An instance of which nothing is checked; a required field that is not given is None. For tests."""
        for info in msgspec.structs.fields(cls):  # type: ignore[arg-type]
            if info.required:
                fields.setdefault(info.name, None)
        return cls(**fields)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def validated(value: Any) -> Any:
            try:
                return cls.model_validate(value)
            except msgspec.ValidationError as error:
                # pydantic turns a ValueError into a ValidationError of its own that names the field
                raise ValueError(str(error)) from error

        return core_schema.no_info_plain_validator_function(
            validated,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value, info: value.model_dump(mode=info.mode), info_arg=True
            ),
        )


def _is_default(info: msgspec.structs.FieldInfo, value: Any) -> bool:
    if info.default is not msgspec.NODEFAULT:
        return bool(value == info.default)
    if info.default_factory is msgspec.NODEFAULT:
        return False
    # Factories such as `now` and `uuid7` give another value each time: those fields are always told.
    return bool(value == info.default_factory())


def _json(value: Any) -> Any:
    """The value in JSON types, with all fields of Structs; what has no JSON form stands as its text."""
    try:
        return _json_parts(value)
    except RecursionError:
        import reprlib

        return reprlib.repr(value)


def _json_parts(value: Any) -> Any:
    if isinstance(value, Model):
        return value.model_dump(mode="json")
    if type(value) is list or type(value) is tuple:
        return [_json_parts(item) for item in value]
    if type(value) is dict and any(isinstance(item, (Model, list, tuple, dict)) for item in value.values()):
        return {key if isinstance(key, str) else repr(key): _json_parts(item) for key, item in value.items()}
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_text)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _text(value)


def _text(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None and not isinstance(value, type) else repr(value)


def _python(value: Any, exclude_none: bool, sparse: bool) -> Any:
    """The value with Structs inside it as dictionaries."""
    if isinstance(value, Model):
        return value.model_dump(exclude_none=exclude_none, exclude_defaults=sparse)
    if type(value) in (list, tuple) and any(isinstance(item, Model) for item in value):
        return type(value)(_python(item, exclude_none, sparse) for item in value)
    if type(value) is dict:
        return {key: _python(item, exclude_none, sparse) for key, item in value.items()}
    return value
