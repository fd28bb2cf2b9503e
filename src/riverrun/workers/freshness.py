"""Which files a process has its code from, and whether they are still what they were.

Only what may change under a running worker counts: files outside of the interpreter's own directories and of site-packages.
"""

import os
import sys
import sysconfig
import time
from typing import Final

import riverrun

#: modification time, size, inode
Stamp = tuple[int, int, int]

#: clocks of files tick coarsely; what was written so shortly before the import may have been written after it was read
_COARSE: Final = 20_000_000


def stamp(path: str) -> Stamp | None:
    """What a file looks like now; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - once for each file and run
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def stamps_of_imports(began: int) -> tuple[dict[str, Stamp], bool]:
    """The files behind the modules that are loaded, and whether one was written after `began` (nanoseconds of the wall clock)."""
    stamps: dict[str, Stamp] = {}
    touched = False
    fixed = _fixed_directories()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or path.startswith(fixed):
            continue
        found = stamp(path)
        if found is not None:
            stamps[path] = found
            touched = touched or began - _COARSE <= found[0] <= time.time_ns()
    return stamps, touched


def is_fresh(stamps: dict[str, Stamp]) -> bool:
    return all(stamp(path) == tuple(known) for path, known in stamps.items())


def _fixed_directories() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    names = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    names.add(os.path.dirname(os.path.abspath(riverrun.__file__)))  # noqa: PTH100, PTH120 - as the names it is compared with
    return tuple(name + os.sep for name in names)
