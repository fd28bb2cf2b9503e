"""JSON in text columns. Empty lists and objects are stored as nothing where the column says no more than that."""

from typing import Any

import msgspec


def to_text(value: Any) -> str | None:
    """The text of a value; None of None."""
    return None if value is None else msgspec.json.encode(value).decode()


def from_text(text: str | None, default: Any = None) -> Any:
    """The value of a text; `default` where there is none."""
    return default if text is None else msgspec.json.decode(text)
