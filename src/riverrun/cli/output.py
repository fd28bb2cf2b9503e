"""Printing: tables and colours for a terminal, plain aligned text for everything else, JSON on request.

Data goes to stdout, messages to stderr. Text that came from runs is stripped of control characters before it reaches a
terminal or a file; JSON keeps it as it is.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self, TextIO

import click

from riverrun.base.clock import now
from riverrun.base.config import settings
from riverrun.base.errors import RiverrunError

STATE_COLORS = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CRASHED": "bright_red",
    "CANCELLED": "bright_black",
    "CANCELLING": "bright_black",
    "RUNNING": "blue",
    "PENDING": "cyan",
    "SCHEDULED": "yellow",
    "PAUSED": "magenta",
}

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROL_IN_TABLE = {**_CONTROL, 9: " ", 10: " ", 13: " "}
_CONTROL_IN_TEXT = {code: text for code, text in _CONTROL.items() if code not in {9, 10}}


class Cell(str):
    """The text of a cell with a colour."""

    __slots__ = ("color",)
    color: str

    def __new__(cls, text: str, color: str) -> Self:
        cell = super().__new__(cls, text)
        cell.color = color
        return cell


def state_cell(type_: str | None, name: str | None) -> Cell:
    """A state's name in its type's colour."""
    return Cell(name or type_ or "-", STATE_COLORS.get(str(type_), "white"))


def preference(field: str) -> bool | None:
    """A setting of the command line itself; None where the settings are broken, since the command may be to mend them."""
    try:
        value: bool | None = getattr(settings(), field)
    except RiverrunError:
        return None
    return value


def use_color(stream: TextIO | None = None) -> bool:
    """Whether a stream (stdout) gets colours: the setting, else NO_COLOR and FORCE_COLOR, else if it is a terminal."""
    wanted = preference("cli_colors")
    if wanted is not None:
        return wanted
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream or sys.stdout).isatty()


def style(text: str, **how: Any) -> str:
    """The text with colours if stdout gets them."""
    return click.style(text, **how) if use_color() else text


def style_error(text: str, **how: Any) -> str:
    """The text with colours if stderr gets them."""
    return click.style(text, **how) if use_color(sys.stderr) else text


def write(text: str) -> None:
    """A line on stdout, as it is."""
    sys.stdout.write(f"{text}\n")


def say(message: str) -> None:
    """A line for the person, on stderr."""
    sys.stdout.flush()  # so that both streams read in order when they are one terminal
    click.echo(message, err=True, color=True)  # what has colours here has them on purpose


def plain(text: str) -> str:
    """Text of many lines without control characters (tabs stay)."""
    return text.translate(_CONTROL_IN_TEXT)


def print_json(document: Any) -> None:
    """One JSON document, indented; datetimes are ISO 8601, durations seconds."""
    import msgspec

    encoded = msgspec.json.encode(_jsonable(document), enc_hook=str)
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode())
    sys.stdout.write("\n")


def _jsonable(value: Any) -> Any:
    # msgspec writes durations as ISO 8601; the API's documents have seconds.
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        # lone surrogates have no UTF-8
        return value.encode("utf-8", "backslashreplace").decode() if not value.isascii() else value
    return value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Rows of text under columns. A column whose name begins with `>` is right-aligned."""
    cleaned = [[_clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cleaned, title)
        return
    if title:
        write(title)
    names = [name.removeprefix(">").upper() for name in columns]
    widths = [max(map(_width, column)) for column in zip(names, *cleaned, strict=True)]
    for row in [names, *cleaned]:
        line = ""
        for cell, width, name in zip(row, widths, columns, strict=True):
            padding = " " * (width - _width(cell) + 2)
            line += f"{padding[2:]}{cell}  " if name.startswith(">") else f"{cell}{padding}"
        write(line.rstrip())


def _width(text: str) -> int:
    """Columns that the text takes: two for wide East Asian characters, none for combining ones."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def _clean(cell: str) -> str:
    text = cell.translate(_CONTROL_IN_TABLE)
    return Cell(text, cell.color) if isinstance(cell, Cell) else text


def _print_rich(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    color = use_color()
    console = Console(file=sys.stdout, no_color=not color, force_terminal=color, color_system="auto" if color else None)
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(
            name.removeprefix(">"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=name == "ID",
            overflow="fold",
            header_style="bold",
        )
    for row in rows:
        table.add_row(*(Text(cell, style=cell.color if isinstance(cell, Cell) else "") for cell in row))
    console.print(table)


def print_fields(fields: Iterable[tuple[str, str]], *, title: str | None = None) -> None:
    """Names and values, one a line."""
    cleaned = [(name, _clean(value)) for name, value in fields]
    width = max(len(name) for name, _value in cleaned) + 1
    if title:
        write(style(title, bold=True))
    for name, value in cleaned:
        shown = style(value, fg=value.color) if isinstance(value, Cell) else value
        write(f"{style(f'{name}:'.ljust(width), bold=True)}  {shown}".rstrip())


# -- times ----------------------------------------------------------------------------------------------------------------


def when(instant: datetime | None) -> str:
    """An instant: how long ago on a terminal, ISO 8601 elsewhere."""
    if instant is None:
        return "-"
    if not sys.stdout.isatty():
        return instant.isoformat(timespec="milliseconds")
    seconds = (now() - instant).total_seconds()
    return f"{_rough(seconds)} ago" if seconds >= 0 else f"in {_rough(-seconds)}"


def exactly_when(instant: datetime | None) -> str:
    """An instant to the millisecond, and on a terminal how long ago it was."""
    if instant is None or not sys.stdout.isatty():
        return when(instant)
    return f"{instant.isoformat(sep=' ', timespec='milliseconds')} ({when(instant)})"


def _rough(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{int(seconds)} s"


def duration(value: timedelta | None) -> str:
    """A duration in the units that fit it: `312 us`, `1.204 s`, `3 m 20 s`, `2 h 05 m`, `9 d 04 h`."""
    if value is None:
        return "-"
    seconds = value.total_seconds()
    if seconds < 0:
        return f"-{duration(-value)}"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} m"
    return f"{hours // 24} d {hours % 24:02} h"
