"""Make values that a database refuses acceptable, so that one record cannot keep others out.

Used only after a unit failed: clean data never pays for it. Texts lose what the database's encoding lacks, whole numbers are
held within their column's range.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, Integer, SmallInteger, Table

from riverrun.server.db.types import Key

_WIDE = 2**63 - 1
_NARROW = 2**31 - 1
_SMALL = 2**15 - 1


def _bound(table: Table, column: str) -> int:
    kind = table.c[column].type
    if kind is Key or isinstance(kind, BigInteger):
        return _WIDE
    if isinstance(kind, SmallInteger):
        return _SMALL
    return _NARROW if isinstance(kind, Integer) else _WIDE


def clean_text(text: str, nul: str) -> str:
    """The text without lone surrogates and with `nul` for NUL."""
    if "\0" in text:
        text = text.replace("\0", nul)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    return text


def clean_rows(
    table: Table, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]], nul: str
) -> list[tuple[Any, ...]]:
    """The rows with every value in a form that `table` takes."""
    bounds = [_bound(table, column) for column in columns]
    cleaned = []
    for row in rows:
        values = []
        for value, bound in zip(row, bounds, strict=True):
            if isinstance(value, str):
                value = clean_text(value, nul)
            elif isinstance(value, int) and not -bound - 1 <= value <= bound:
                value = bound if value > 0 else -bound - 1
            values.append(value)
        cleaned.append(tuple(values))
    return cleaned
