"""Blocks for values: `Secret`."""

import json
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, JsonValue, SecretStr, StrictStr, field_validator
from pydantic import Secret as PydanticSecret

from riverrun.blocks.core import Block

_SecretValue = Annotated[StrictStr, Field(title="string")] | Annotated[JsonValue, Field(title="JSON")]
T = TypeVar("T", bound=_SecretValue)


class Secret(Block, Generic[T]):
    """Keeps a secret text or JSON value.

    Example:
        ```python
        from riverrun.blocks.system import Secret

        Secret(value="sk-1234567890").save("my-token", overwrite=True)
        Secret.load("my-token").get()
        ```
    """

    value: SecretStr | PydanticSecret[T] = Field(
        default=...,
        description="What to keep secret.",
        examples=["sk-1234567890", {"username": "ann", "password": "s3cr3t"}],
        json_schema_extra={"writeOnly": True, "format": "password"},
    )

    @field_validator("value", mode="before")
    @classmethod
    def _hide(cls, value: Any) -> Any:
        if isinstance(value, PydanticSecret | SecretStr):
            return value
        kind: Any = PydanticSecret  # of a type that is known at run time only
        return kind[type(value)](value)

    def get(self) -> Any:
        """The secret; a text that is a JSON document is read as one."""
        value = self.value.get_secret_value()
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return value
