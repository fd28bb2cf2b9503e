"""Which files of a directory belong to it: all but those that its `.riverrunignore` or `.prefectignore` leaves out.

Patterns are those of `.gitignore`: `*` and `?` stay within a name, `**` goes through directories, a slash within a pattern ties
it to the directory of the file, one at its end asks for a directory, and `!` takes back.
"""

import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

#: the first of these that a directory has counts
IGNORE_FILES = (".riverrunignore", ".prefectignore")

_Rule = tuple[re.Pattern[str], bool, bool]


def files_of(directory: Path, ignore_file: str | Path | None = None) -> list[Path]:
    """The files below a directory, relative to it, in order. `ignore_file` takes the place of the directory's own."""
    source = Path(ignore_file) if ignore_file is not None else _own(directory)
    rules = [] if source is None else rules_of(source.read_text(encoding="utf-8").splitlines())
    return list(_walk(directory, rules))


def _own(directory: Path) -> Path | None:
    return next((directory / name for name in IGNORE_FILES if (directory / name).is_file()), None)


def _walk(directory: Path, rules: list[_Rule]) -> Iterator[Path]:
    for here, directories, files in os.walk(directory):
        base = Path(here).relative_to(directory)
        directories[:] = sorted(name for name in directories if not is_ignored(base / name, rules, directory=True))
        yield from (base / name for name in sorted(files) if not is_ignored(base / name, rules))


def is_ignored(path: Path | PurePosixPath, rules: Iterable[_Rule], *, directory: bool = False) -> bool:
    """Whether the last rule that fits a path leaves it out. Its parents are the caller's to ask about."""
    text, ignored = path.as_posix(), False
    for pattern, keeps, only_directories in rules:
        if (directory or not only_directories) and pattern.fullmatch(text):
            ignored = not keeps
    return ignored


def rules_of(lines: Iterable[str]) -> list[_Rule]:
    """The rules that lines of an ignore file say."""
    rules = []
    for line in lines:
        text = line.rstrip() if not line.endswith("\\ ") else line.removesuffix("\n")
        if not text or text.startswith("#"):
            continue
        keeps = text.startswith("!")
        text = text.removeprefix("!").removeprefix("\\")
        if text.strip("/"):
            rules.append((_pattern(text.rstrip("/")), keeps, text.endswith("/")))
    return rules


@cache
def _pattern(text: str) -> re.Pattern[str]:
    anchored = "/" in text
    parts = text.lstrip("/").split("/")
    regex = "" if anchored else "(?:.*/)?"
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == "**":
            regex += ".+" if last else "(?:.*/)?"
        else:
            regex += _name(part) + ("" if last else "/")
    return re.compile(regex)


def _name(part: str) -> str:
    """The regular expression of a pattern for one name."""
    regex = ""
    for piece in re.findall(r"\[!?\]?[^\]]*\]|\\.|.", part):
        if piece in ("*", "?"):
            regex += "[^/]*" if piece == "*" else "[^/]"
        elif len(piece) > 1 and piece.startswith("["):
            inner = re.sub(r"([\[\\&~|])", r"\\\1", piece[1:-1])
            regex += "[" + ("^" + inner[1:] if inner.startswith("!") else inner) + "]"
        else:
            regex += re.escape(piece.removeprefix("\\") or piece)
    return regex
