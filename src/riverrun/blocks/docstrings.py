"""What a block's docstring says of it: the first paragraph of text and the example.

Google's style, read as the peer's parser reads it: the description is part of the schema, so its checksum depends on every
character of it.
"""

import inspect
import re
from collections.abc import Iterator

_HEADING = re.compile(r"^(?P<kind>\w[\s\w-]*):(\s+(?P<title>\S.*))?\s*$")

#: (kind, text) of a part; plain text has the kind ""
Part = tuple[str, str]


def description_of(docstring: str | None) -> str | None:
    """The first text that stands in no section; None if there is none."""
    return next((text.strip() for kind, text in parts(docstring) if not kind), None)


def example_of(docstring: str | None) -> str | None:
    """The content of the first section that is an example; None if there is none."""
    return next((text for kind, text in parts(docstring) if kind in ("example", "examples")), None)


def parts(docstring: str | None) -> Iterator[Part]:
    """A docstring's texts and sections, in their order."""
    lines = inspect.cleandoc((docstring or "").rstrip()).split("\n")
    text: list[str] = []
    fenced = False
    position = 0
    while position < len(lines):
        line = lines[position]
        if line.lstrip(" ").startswith("```"):
            fenced = not fenced
        elif not fenced and (heading := _HEADING.match(line)) and _opens_section(lines, position):
            if any(text):
                yield "", "\n".join(text).rstrip("\n")
            text = []
            content, position = _indented(lines, position + 1)
            yield heading["kind"].lower(), content
            continue
        text.append(line)
        position += 1
    if any(text):
        yield "", "\n".join(text).rstrip("\n")


def _opens_section(lines: list[str], position: int) -> bool:
    """Whether a heading has a blank line above it and an indented one right below."""
    if position > 0 and lines[position - 1].strip():
        return False
    below = lines[position + 1 : position + 2]
    return bool(below and below[0].strip() and below[0].startswith(" "))


def _indented(lines: list[str], position: int) -> tuple[str, int]:
    """The indented block that begins at a line, without its indentation, and the line after it."""
    indent = len(lines[position]) - len(lines[position].lstrip())
    start = position
    while position < len(lines) and (not lines[position].strip() or lines[position].startswith(" " * indent)):
        position += 1
    return "\n".join(line[indent:] for line in lines[start:position]).rstrip("\n"), position
