"""File systems as blocks: what `riverrun.storages` has, as models that can be saved and loaded. Loads pydantic.

`get_directory` and `put_directory` copy whole trees; the deployments' steps use them.
"""

import shutil
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field, PrivateAttr, SecretStr, field_validator

from riverrun import storages
from riverrun.base.loops import in_thread
from riverrun.blocks.core import Block
from riverrun.storages import InMemoryFileSystem, NullFileSystem, exists_in, read_from, storage_at, write_to
from riverrun.utilities.colours import by_colour

__all__ = [
    "SMB",
    "InMemoryFileSystem",
    "LocalFileSystem",
    "NullFileSystem",
    "ReadableDeploymentStorage",
    "ReadableFileSystem",
    "RemoteFileSystem",
    "WritableDeploymentStorage",
    "WritableFileSystem",
    "exists_in",
    "read_from",
    "storage_at",
    "write_to",
]


class ReadableFileSystem(storages.ReadableFileSystem, Block, ABC):
    """Base of blocks that can be read from by path. Users subclass it, with plain or async methods."""

    _block_schema_capabilities = ["read-path"]


class WritableFileSystem(storages.WritableFileSystem, ReadableFileSystem, ABC):
    """Base of blocks that can be read from and written to by path. Users subclass it, with plain or async methods."""

    _block_schema_capabilities = ["read-path", "write-path"]


class ReadableDeploymentStorage(Block, ABC):
    """Base of blocks that a directory can be fetched from."""

    _block_schema_capabilities = ["get-directory"]

    @abstractmethod
    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> Any:
        """Copy a directory of the storage to this machine."""


class WritableDeploymentStorage(ReadableDeploymentStorage, ABC):
    """Base of blocks that a directory can be fetched from and put to."""

    _block_schema_capabilities = ["get-directory", "put-directory"]

    @abstractmethod
    def put_directory(
        self, local_path: str | None = None, to_path: str | None = None, ignore_file: str | None = None
    ) -> Any:
        """Copy a directory of this machine to the storage."""


async def _aget_directory(self: "_FileSystem", from_path: str | None = None, local_path: str | None = None) -> Any:
    return await in_thread(self._fetch, from_path, local_path)


async def _aput_directory(
    self: "_FileSystem",
    local_path: str | None = None,
    to_path: str | None = None,
    ignore_file: str | None = None,
    overwrite: bool = True,
) -> Any:
    return await in_thread(self._send, local_path, to_path, ignore_file, overwrite)


class _FileSystem(storages._Storage, WritableFileSystem, WritableDeploymentStorage, ABC):
    """What the house's own file systems share: the storage's reading and writing, the block's being a model."""

    _block_schema_capabilities = ["read-path", "write-path", "get-directory", "put-directory"]

    __init__ = Block.__init__
    __repr__ = Block.__repr__
    model_dump = Block.model_dump

    @abstractmethod
    def _fetch(self, from_path: str | None, local_path: str | None) -> Any: ...

    @abstractmethod
    def _send(self, local_path: str | None, to_path: str | None, ignore_file: str | None, overwrite: bool) -> Any: ...

    @by_colour(_aget_directory)
    def get_directory(self, from_path: str | None = None, local_path: str | None = None) -> Any:
        """Copy a directory of the storage (its base) to this machine (the working directory)."""
        return self._fetch(from_path, local_path)

    @by_colour(_aput_directory)
    def put_directory(
        self,
        local_path: str | None = None,
        to_path: str | None = None,
        ignore_file: str | None = None,
        overwrite: bool = True,
    ) -> Any:
        """Copy a directory of this machine (the working directory) to the storage (its base).

        `ignore_file` names a file with patterns of what is left out. Without `overwrite`, files that are there stay.
        """
        return self._send(local_path, to_path, ignore_file, overwrite)

    aget_directory = _aget_directory
    aput_directory = _aput_directory


def _files_below(directory: Path, ignore_file: str | None) -> list[PurePosixPath]:
    """The files of a tree by their relative paths, without those that the patterns of a file leave out."""
    patterns = []
    if ignore_file is not None:
        lines = (line.strip() for line in Path(ignore_file).read_text(encoding="utf-8").splitlines())
        patterns = [line.strip("/") for line in lines if line and not line.startswith("#")]
    found = (PurePosixPath(path.relative_to(directory).as_posix()) for path in directory.rglob("*") if path.is_file())
    return [path for path in found if not any(_is_below(path, pattern) for pattern in patterns)]


def _is_below(path: PurePosixPath, pattern: str) -> bool:
    return any(part.match(pattern) for part in (path, *path.parents) if part.name)


class LocalFileSystem(_FileSystem, storages.LocalFileSystem):
    """Files below a directory of this machine.

    Example:
        ```python
        from riverrun.filesystems import LocalFileSystem

        LocalFileSystem(basepath="/data/results").save("results")
        ```
    """

    _block_type_name = "Local File System"
    _block_type_slug = "local-file-system"

    basepath: str | None = Field(default=None, description="The directory; the working directory if it is not given.")

    _base: str | None = PrivateAttr(None)

    __init__ = Block.__init__

    @field_validator("basepath", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    def _fetch(self, from_path: str | None, local_path: str | None) -> str:
        source, target = Path(self._locate(from_path or "")), Path(local_path or ".").expanduser().resolve()
        if source != target:
            shutil.copytree(source, target, dirs_exist_ok=True)
        return str(target)

    def _send(self, local_path: str | None, to_path: str | None, ignore_file: str | None, overwrite: bool) -> str:
        source, target = Path(local_path or ".").expanduser().resolve(), Path(self._locate(to_path or ""))
        for path in _files_below(source, ignore_file):
            if not overwrite and (target / path).exists():
                continue
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / path, target / path)
        return str(target)


class RemoteFileSystem(_FileSystem, storages.RemoteFileSystem):
    """Files below a URL that fsspec understands.

    Example:
        ```python
        from riverrun.filesystems import RemoteFileSystem

        RemoteFileSystem(basepath="s3://bucket/results", settings={"key": "..."}).save("results")
        ```
    """

    _block_type_name = "Remote File System"
    _block_type_slug = "remote-file-system"

    basepath: str = Field(
        default=..., description="The URL below which the files are.", examples=["s3://bucket/folder"]
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="Options of fsspec's file system.")

    _filesystem: Any = PrivateAttr(None)

    __init__ = Block.__init__
    __reduce__ = object.__reduce__  # type: ignore[assignment] # models are pickled by their state

    @field_validator("basepath")
    @classmethod
    def _check(cls, value: str) -> str:
        return storages.remote_basepath(value)

    def _fetch(self, from_path: str | None, local_path: str | None) -> str:
        source, target = self._resolve_path(from_path or "").rstrip("/") + "/", str(Path(local_path or ".").resolve())
        self.filesystem.get(source, target, recursive=True)
        return target

    def _send(self, local_path: str | None, to_path: str | None, ignore_file: str | None, overwrite: bool) -> int:
        source = Path(local_path or ".").expanduser().resolve()
        sent = 0
        for path in _files_below(source, ignore_file):
            target = self._resolve_path(f"{(to_path or '').strip('/')}/{path}")
            if not overwrite and self.filesystem.exists(target):
                continue
            self.filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
            self.filesystem.put_file(str(source / path), target)
            sent += 1
        return sent


class SMB(_FileSystem):
    """Files on a share of Windows or Samba. Needs the package `smbprotocol`."""

    _block_type_name = "SMB"

    share_path: str = Field(default=..., description="The share and the directory in it.", examples=["/share/folder"])
    smb_username: SecretStr | None = Field(default=None, title="SMB Username", description="Who logs in.")
    smb_password: SecretStr | None = Field(default=None, title="SMB Password", description="With which password.")
    smb_host: str = Field(default=..., title="SMB server/hostname", description="The server.")
    smb_port: int | None = Field(default=None, title="SMB port", description="Its port, 445 if it is not given.")

    _remote: RemoteFileSystem | None = PrivateAttr(None)

    @property
    def basepath(self) -> str:
        """The URL of the share."""
        return f"smb://{self.smb_host.rstrip('/')}/{self.share_path.lstrip('/')}"

    @property
    def filesystem(self) -> RemoteFileSystem:
        """The same as a remote file system."""
        if self._remote is None:
            options: dict[str, Any] = {"host": self.smb_host, "port": self.smb_port}
            for name, secret in (("username", self.smb_username), ("password", self.smb_password)):
                options[name] = None if secret is None else secret.get_secret_value()
            chosen = {name: value for name, value in options.items() if value is not None}
            self._remote = RemoteFileSystem(basepath=self.basepath, settings=chosen)
        return self._remote

    def _resolve_path(self, path: str) -> Any:
        return self.filesystem._resolve_path(path)

    def _get(self, path: str, size: int = -1) -> bytes:
        return self.filesystem._get(path, size)

    def _put(self, path: str, content: bytes) -> str:
        return self.filesystem._put(path, content)

    def _has(self, path: str) -> bool:
        return self.filesystem._has(path)

    def _fetch(self, from_path: str | None, local_path: str | None) -> Any:
        return self.filesystem._fetch(from_path, local_path)

    def _send(self, local_path: str | None, to_path: str | None, ignore_file: str | None, overwrite: bool) -> Any:
        return self.filesystem._send(local_path, to_path, ignore_file, overwrite)
