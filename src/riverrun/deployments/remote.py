"""Directories at URLs that fsspec knows: fetched to this machine, and put there without what an ignore file leaves out."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from riverrun.base.errors import InputError, UnavailableError


def _open(url: str, settings: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    scheme = url.partition("://")[0]
    try:
        system = fsspec.filesystem(scheme, **settings)
    except ImportError as error:
        raise UnavailableError(f"{url!r} needs a package that is not installed here: {error}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{url!r} cannot be opened: {error}") from error
    return system, system._strip_protocol(url)


def fetch(url: str, target: Path, settings: Mapping[str, Any]) -> None:
    """Make `target` what the directory at the URL is now. Raises UnavailableError."""
    system, base = _open(url, settings)
    draft = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
    try:
        found = [path for path in system.find(base) if path != base]
        if not found:
            raise InputError(f"There are no files at {url!r}.")
        for path in found:
            relative = PurePosixPath(path[len(base) :].strip("/"))
            if ".." in relative.parts:
                raise InputError(f"{url!r} has a file whose path leads out of it: {path!r}.")
            (draft / relative).parent.mkdir(parents=True, exist_ok=True)
            system.get_file(path, str(draft / relative))
        _replace(draft, target)
    except (OSError, ImportError) as error:
        raise UnavailableError(f"{url!r} could not be fetched: {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace(draft: Path, target: Path) -> None:
    """Put the files of a draft in the place of those that are there."""
    kept = {path.relative_to(draft) for path in draft.rglob("*")}
    target.mkdir(parents=True, exist_ok=True)
    for path in draft.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(draft)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    for path in sorted(target.rglob("*"), reverse=True):
        if path.relative_to(target) in kept or "__pycache__" in path.parts:
            continue
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # compiled modules are left in it
                path.rmdir()
        else:
            path.unlink()


def put(directory: Path, url: str, settings: Mapping[str, Any], ignore_file: str | None = None) -> int:
    """Put the files of a directory to a URL; how many. Left out is what the ignore file of the directory says."""
    from riverrun.utilities.ignoring import files_of

    system, base = _open(url, settings)
    sent = 0
    try:
        for relative in files_of(directory, ignore_file):
            place = f"{base.rstrip('/')}/{relative.as_posix()}"
            system.makedirs(place.rpartition("/")[0], exist_ok=True)
            system.put_file(str(directory / relative), place)
            sent += 1
    except (OSError, ImportError) as error:
        raise UnavailableError(f"Files could not be put to {url!r}: {type(error).__name__}: {error}") from error
    return sent
