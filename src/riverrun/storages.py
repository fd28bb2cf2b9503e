"""Where bytes are kept under a path: the local disk, any fsspec URL, this process's memory, or nowhere.

Light classes with the constructor arguments of the blocks that users know; `riverrun.filesystems` has the blocks, which are
made of these and can be saved on a server. `read_path` and `write_path` follow the colour of the caller (a
coroutine in async code, a plain call otherwise); `aread_path` and `awrite_path` never guess. The house itself uses
`read_from`, `write_to` and `exists_in`, which always block and also serve users' own classes. Nothing here knows what the
bytes mean.
"""

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from riverrun.base.config import settings
from riverrun.base.ids import uuid7
from riverrun.base.loops import in_thread
from riverrun.utilities.colours import by_colour, complete


class ReadableFileSystem(ABC):
    """Base of what can be read from by path; methods may be plain or async."""

    @abstractmethod
    def read_path(self, path: str) -> Any:
        """The bytes under a path; raises ValueError or OSError if there are none."""


class WritableFileSystem(ReadableFileSystem):
    """Base of what can be read from and written to by path; methods may be plain or async."""

    @abstractmethod
    def write_path(self, path: str, content: bytes) -> Any:
        """Keep bytes under a path, replacing what was there."""


async def _aread(self: "_Storage", path: str) -> bytes:

    return await in_thread(self._get, path)


async def _awrite(self: "_Storage", path: str, content: bytes) -> str:

    return await in_thread(self._put, path, content)


class _Storage(WritableFileSystem):
    """The part that the house's own storages share: a subclass gives `_get`, `_put`, `_has` and `_resolve_path`."""

    @abstractmethod
    def _get(self, path: str, size: int = -1) -> bytes:
        """The bytes under a path, only the first `size` if that is not negative."""

    @abstractmethod
    def _put(self, path: str, content: bytes) -> str: ...

    @abstractmethod
    def _has(self, path: str) -> bool: ...

    @abstractmethod
    def _resolve_path(self, path: str) -> Any: ...

    def _locate(self, path: str) -> str:
        """The whole path or URL that a path means."""
        return str(self._resolve_path(path))

    @by_colour(_aread)
    def read_path(self, path: str) -> bytes:
        """The bytes under a path; raises ValueError if there are none. Await it in async code."""
        return self._get(path)

    @by_colour(_awrite)
    def write_path(self, path: str, content: bytes) -> str:
        """Keep bytes under a path, replacing what was there; returns where. Await it in async code."""
        return self._put(path, content)

    aread_path = _aread
    awrite_path = _awrite

    def __eq__(self, other: object) -> bool:
        """Whether both keep the same things: a block equals the light storage of its name and arguments."""
        if not isinstance(other, _Storage) or type(self).__name__ != type(other).__name__:
            return False
        return self._arguments() == other._arguments()

    def __hash__(self) -> int:
        return hash((type(self).__name__, str(self._arguments())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._arguments().items())})"

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        """The constructor's arguments."""
        return self._arguments()


class LocalFileSystem(_Storage):
    """Files below a directory of this machine; without `basepath` the working directory.

    Paths may be absolute but must lie below `basepath`. A file appears whole or not at all: it is written aside and
    renamed. Missing directories are made.
    """

    def __init__(self, basepath: str | Path | None = None) -> None:
        self.basepath = None if basepath is None else str(basepath)
        self._base: str | None = None

    def _resolve_path(self, path: str | Path) -> Path:
        return Path(self._locate(path))

    def _locate(self, path: str | Path) -> str:
        if self.basepath is None:
            return os.path.realpath(Path(path).expanduser())
        base = self._base
        if base is None:
            base = self._base = os.path.realpath(Path(self.basepath).expanduser())
        inside = base.rstrip(os.sep) + os.sep
        name = str(path).removeprefix(inside)
        if name not in _NOT_NAMES and "/" not in name and os.sep not in name and "\0" not in name:
            return inside + name  # a file right in it: no need to ask the disk about links on the way
        try:
            resolved = os.path.realpath(Path(base, path))
        except ValueError as error:  # a NUL in it
            raise ValueError(f"{str(path)!r:.200} cannot be a path: {error}") from error
        if resolved != base and not resolved.startswith(inside):
            raise ValueError(f"Provided path {path} is outside of the base path {base}.")
        return resolved

    def _get(self, path: str, size: int = -1) -> bytes:
        resolved = self._locate(path)
        try:
            with Path(resolved).open("rb") as file:
                return file.read(size)
        except FileNotFoundError:
            raise ValueError(f"Path {resolved} does not exist.") from None
        except IsADirectoryError:
            raise ValueError(f"Path {resolved} is not a file.") from None

    def _put(self, path: str, content: bytes) -> str:
        resolved = self._locate(path)
        directory = os.path.dirname(resolved)
        draft = f"{directory}{os.sep}.{uuid7().hex}.draft"
        try:
            try:
                _write_new(draft, content)
            except FileNotFoundError:
                # results may hold anything: in riverrun's own home they are nobody else's business
                private = Path(directory).is_relative_to(settings().home)
                os.makedirs(directory, 0o700 if private else 0o777, exist_ok=True)
                _write_new(draft, content)
            os.replace(draft, resolved)
        except OSError as error:
            Path(draft).unlink(missing_ok=True)
            if error.errno == errno.ENAMETOOLONG:
                raise ValueError(f"The name of the file is too long for its disk: {resolved!r:.300}...") from error
            raise
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        return resolved

    def _has(self, path: str) -> bool:
        return os.path.isfile(self._locate(path))


#: what is no name of a file in a directory
_NOT_NAMES = frozenset({"", ".", ".."})


def _write_new(path: str, content: bytes) -> None:
    """Write a new file with as few system calls as possible: beside busy threads each may cost a millisecond."""
    rest = memoryview(content)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


class RemoteFileSystem(_Storage):
    """Files below a URL that fsspec understands, such as `s3://bucket/prefix`.

    `settings` are given to fsspec's file system (credentials, endpoint ...). The package that serves the URL's scheme must be
    installed.
    """

    #: schemes that show a file while it is still being written, so that it is written aside and renamed
    _GRADUAL: ClassVar[frozenset[str]] = frozenset({"file", "local", "sftp", "ssh", "smb", "hdfs", "webhdfs"})

    def __init__(self, basepath: str, settings: dict[str, Any] | None = None) -> None:
        self.basepath = remote_basepath(basepath)
        self.settings = settings or {}
        self._filesystem: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.basepath, self.settings)

    @property
    def filesystem(self) -> Any:
        """The fsspec file system, made on first use."""
        if self._filesystem is None:
            import fsspec

            scheme = self.basepath.partition("://")[0]
            try:
                self._filesystem = fsspec.filesystem(scheme, **self.settings)
            except ImportError as error:
                raise ImportError(
                    f"Storage {self.basepath!r} needs a package that is not installed: {error}"
                ) from error
            except ValueError as error:
                raise ValueError(f"Storage {self.basepath!r} cannot be opened: {error}") from error
        return self._filesystem

    def _resolve_path(self, path: str | Path) -> str:
        path = str(path)
        base = self.basepath.rstrip("/")
        scheme, separator, _ = path.partition("://")
        if separator:
            expected = base.partition("://")[0]
            if scheme != expected:
                raise ValueError(
                    f"Path {path!r} with scheme {scheme!r} must use the same scheme as the base path {expected!r}."
                )
            relative = path[len(base) :] if path == base or path.startswith(base + "/") else None
        else:
            relative = path
        if relative is None or ".." in relative.split("/"):
            raise ValueError(f"Path {path!r} is outside of the base path {self.basepath!r}.")
        return f"{base}/{relative.lstrip('/')}"

    def _get(self, path: str, size: int = -1) -> bytes:
        resolved = self._resolve_path(path)
        with self.filesystem.open(resolved, "rb") as file:
            return bytes(file.read(size) if size >= 0 else file.read())

    def _put(self, path: str, content: bytes) -> str:
        resolved = self._resolve_path(path)
        filesystem = self.filesystem
        directory = resolved.rpartition("/")[0]
        filesystem.makedirs(directory, exist_ok=True)
        target = resolved
        if resolved.partition("://")[0] in self._GRADUAL:
            target = f"{directory}/.{uuid7().hex}.draft"
        with filesystem.open(target, "wb") as file:
            file.write(content)
        if target != resolved:
            filesystem.mv(target, resolved)
        return resolved

    def _has(self, path: str) -> bool:
        return bool(self.filesystem.isfile(self._resolve_path(path)))


def remote_basepath(basepath: str) -> str:
    """The URL, or ValueError saying why it can't be the base of a remote storage."""
    scheme, separator, location = str(basepath).partition("://")
    if not separator or not scheme:
        raise ValueError(f"The base path {basepath!r} must start with a scheme, as in 's3://bucket/prefix'.")
    if not location:
        raise ValueError(f"The base path {basepath!r} must include a location after the scheme.")
    if scheme == "file":
        raise ValueError(f"The base path {basepath!r} is on this machine: use LocalFileSystem(basepath=...).")
    return str(basepath)


class InMemoryFileSystem(_Storage):
    """Bytes in this process's memory, shared by all instances of the same `name`; gone with the process.

    For tests and for results that nobody needs later. A forked child has a copy.
    """

    SCHEME: ClassVar[str] = "inmemory"
    _contents: ClassVar[dict[str, dict[str, bytes]]] = {}

    def __init__(self, name: str = "default") -> None:
        self.name = name
        self._files = self._contents.setdefault(name, {})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name,)  # another process has a memory of its own

    def clear(self) -> None:
        """Forget all files."""
        self._files.clear()

    def _resolve_path(self, path: str | Path) -> str:
        prefix = f"{self.SCHEME}://{self.name}/"
        return prefix + str(path).removeprefix(prefix).lstrip("/")

    def _get(self, path: str, size: int = -1) -> bytes:
        resolved = self._resolve_path(path)
        try:
            content = self._files[resolved]
        except KeyError:
            raise ValueError(f"Path {resolved} does not exist.") from None
        return content if size < 0 else content[:size]

    def _put(self, path: str, content: bytes) -> str:
        resolved = self._resolve_path(path)
        self._files[resolved] = bytes(content)
        return resolved

    def _has(self, path: str) -> bool:
        return self._resolve_path(path) in self._files


class NullFileSystem:
    """Keeps nothing. As a result store's metadata storage it says: store the bare value, without its metadata."""

    _block_document_id: UUID | None = None

    async def read_path(self, path: str) -> None:
        """Nothing."""

    async def write_path(self, path: str, content: bytes) -> None:
        """Do nothing."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(NullFileSystem)

    def __repr__(self) -> str:
        return "NullFileSystem()"


def storage_at(location: str | Path) -> _Storage:
    """The storage that a path or URL means: `/dir`, `./dir`, `~/dir`, `file:///dir`, `s3://bucket/prefix` ..."""
    if isinstance(location, Path):
        return LocalFileSystem(basepath=location)
    scheme, separator, rest = location.partition("://")
    if not separator or scheme in ("file", "local"):
        return LocalFileSystem(basepath=rest if separator else location)
    if scheme == InMemoryFileSystem.SCHEME:
        return InMemoryFileSystem(rest.strip("/") or "default")
    return RemoteFileSystem(basepath=location)


# -- for the house: always blocking, with any storage --------------------------------------------------------------------


def _is_untouched(storage: Any, name: str, method: Callable[..., Any]) -> bool:
    """Whether a storage is the house's own and no subclass has given the method another meaning."""
    return isinstance(storage, _Storage) and getattr(type(storage), name) is method


def read_from(storage: Any, path: str, size: int = -1) -> bytes:
    """The bytes under a path (the first `size` at least, if not negative); raises what the storage raises."""
    if _is_untouched(storage, "read_path", _Storage.read_path):
        return bytes(storage._get(path, size))
    return bytes(complete(storage.read_path(path)))


def write_to(storage: Any, path: str, content: bytes) -> None:
    """Keep bytes under a path; raises what the storage raises."""
    if _is_untouched(storage, "write_path", _Storage.write_path):
        storage._put(path, content)
    else:
        complete(storage.write_path(path, content))


def exists_in(storage: Any, path: str) -> bool:
    """Whether there is something under a path."""
    if _is_untouched(storage, "read_path", _Storage.read_path):
        return bool(storage._has(path))
    try:
        complete(storage.read_path(path))
    except (ValueError, OSError, KeyError):
        return False
    return True
