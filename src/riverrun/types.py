"""Types of values that users annotate fields and parameters with, under the names that they import. Loads pydantic."""

from typing import Any

import pydantic

__all__ = ["MAX_VARIABLE_NAME_LENGTH", "SecretDict", "StrictVariableValue"]

#: the longest name of a variable
MAX_VARIABLE_NAME_LENGTH = 255

#: what a variable can hold
StrictVariableValue = str | int | float | bool | None | dict[str, Any] | list[Any]


class SecretDict(pydantic.Secret[dict[str, Any]]):
    """A dictionary of which all values are secret."""
