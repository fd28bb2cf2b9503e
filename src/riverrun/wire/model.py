"""The few pydantic-shaped methods that users of the peer call on its objects, for msgspec Structs.

`model_dump`, `model_dump_json`, `model_copy` and `model_validate` behave as their names promise; a Struct may also be a
field of a user's pydantic model. What differs is listed in docs/migration.md.
"""

from collections.abc import Mapping
from typing import Any, Self

import msgspec


class Model:
    """Mixin for Structs. It holds no state."""

    __slots__ = ()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced; `deep` copies nested values too."""
        import copy

        twin = copy.deepcopy(self) if deep else copy.copy(self)
        for name, value in (update or {}).items():
            setattr(twin, name, value)
        return twin

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: set[str] | None = None,
        exclude: set[str] | None = None,
        exclude_none: bool = False,
        exclude_unset: bool = False,  # noqa: ARG002 - Structs do not remember what was set; kept for the signature
    ) -> dict[str, Any]:
        """The fields as a dictionary; `mode="json"` leaves only JSON types."""
        fields: dict[str, Any] = {}
        for name in self.__struct_fields__:  # type: ignore[attr-defined]
            value = getattr(self, name)
            if (include is not None and name not in include) or (exclude and name in exclude):
                continue
            if exclude_none and value is None:
                continue
            if mode == "json":
                value = msgspec.to_builtins(value, enc_hook=str)
            elif isinstance(value, Model):
                value = value.model_dump(exclude_none=exclude_none)
            fields[name] = value
        return fields

    def model_dump_json(self, **options: Any) -> str:
        """The fields as a JSON document; takes the options of `model_dump`."""
        return msgspec.json.encode(self.model_dump(**{**options, "mode": "json"})).decode()

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """An instance from an instance or a mapping; raises `msgspec.ValidationError` on a wrong field."""
        if isinstance(obj, cls):
            return obj
        return msgspec.convert(obj, cls, strict=False, from_attributes=True)

    @classmethod
    def model_validate_json(cls, data: str | bytes) -> Self:
        return msgspec.json.decode(data, type=cls, strict=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls.model_validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value, info: value.model_dump(mode=info.mode), info_arg=True
            ),
        )
