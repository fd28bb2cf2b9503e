"""Interfaces of blocks: what code that takes any block of a kind may rely on. Nothing here does anything."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Generic, Self, TypeVar

from pydantic import PrivateAttr

from riverrun.base.errors import MissingContextError, UnavailableError
from riverrun.blocks.core import Block
from riverrun.logging import get_logger, get_run_logger

T = TypeVar("T")


class _Logging:
    @property
    def logger(self) -> Any:
        """The logger of the run around, else one named after the class."""
        try:
            return get_run_logger()
        except MissingContextError:
            return get_logger(type(self).__name__)


class CredentialsBlock(_Logging, Block, ABC):
    """What opens a service."""

    @abstractmethod
    def get_client(self, *args: Any, **kwargs: Any) -> Any:
        """A client of the service that is logged in."""


class NotificationError(UnavailableError):
    """A notification could not be sent. `log` says why."""

    code = "notification"

    def __init__(self, log: str = "") -> None:
        super().__init__(log)
        self.log = log


class NotificationBlock(_Logging, Block, ABC):
    """What tells people something."""

    _block_schema_capabilities = ["notify"]
    _raise_on_failure: bool = PrivateAttr(False)

    @abstractmethod
    def notify(self, body: str, subject: str | None = None) -> Any:
        """Send a message."""

    @contextmanager
    def raise_on_failure(self) -> Generator[None]:
        """Inside this, a message that can't be sent is an error; otherwise it is logged."""
        self._raise_on_failure = True
        try:
            yield
        finally:
            self._raise_on_failure = False


class JobRun(_Logging, ABC, Generic[T]):
    """A run of a job in another service. Not a block."""

    @abstractmethod
    async def wait_for_completion(self) -> Any:
        """Wait until the job has ended."""

    @abstractmethod
    async def fetch_result(self) -> T:
        """What the job gave."""


class JobBlock(_Logging, Block, ABC, Generic[T]):
    """What starts jobs in another service."""

    @abstractmethod
    async def trigger(self) -> JobRun[T]:
        """Start a run of the job."""


class DatabaseBlock(_Logging, Block, ABC):
    """A database that speaks SQL. `parameters` are bound, never written into the operation."""

    @abstractmethod
    async def fetch_one(self, operation: str, parameters: dict[str, Any] | None = None, **options: Any) -> Any:
        """The first row."""

    @abstractmethod
    async def fetch_many(
        self, operation: str, parameters: dict[str, Any] | None = None, size: int | None = None, **options: Any
    ) -> Any:
        """The first `size` rows."""

    @abstractmethod
    async def fetch_all(self, operation: str, parameters: dict[str, Any] | None = None, **options: Any) -> Any:
        """All rows."""

    @abstractmethod
    async def execute(self, operation: str, parameters: dict[str, Any] | None = None, **options: Any) -> None:
        """Do something that gives no rows."""

    @abstractmethod
    async def execute_many(self, operation: str, seq_of_parameters: list[dict[str, Any]], **options: Any) -> None:
        """Do the same with each of these parameters."""

    async def __aenter__(self) -> Self:
        raise NotImplementedError(f"{type(self).__name__} does not support asynchronous context management.")

    async def __aexit__(self, *args: object) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not support asynchronous context management.")

    def __enter__(self) -> Self:
        raise NotImplementedError(f"{type(self).__name__} does not support context management.")

    def __exit__(self, *args: object) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not support context management.")


class ObjectStorageBlock(_Logging, Block, ABC):
    """A store of objects under paths, such as a bucket."""

    @abstractmethod
    async def download_object_to_path(self, from_path: str, to_path: str | Path, **options: Any) -> Path:
        """Write an object to a file."""

    @abstractmethod
    async def download_object_to_file_object(
        self, from_path: str, to_file_object: BinaryIO, **options: Any
    ) -> BinaryIO:
        """Write an object to an open file."""

    @abstractmethod
    async def download_folder_to_path(self, from_folder: str, to_folder: str | Path, **options: Any) -> Path:
        """Write all objects below a path to a directory."""

    @abstractmethod
    async def upload_from_path(self, from_path: str | Path, to_path: str, **options: Any) -> str:
        """Keep a file as an object."""

    @abstractmethod
    async def upload_from_file_object(self, from_file_object: BufferedReader, to_path: str, **options: Any) -> str:
        """Keep what an open file holds as an object."""

    @abstractmethod
    async def upload_from_folder(self, from_folder: str | Path, to_folder: str, **options: Any) -> str:
        """Keep the files of a directory as objects."""


class SecretBlock(_Logging, Block, ABC):
    """A secret that another service keeps."""

    @abstractmethod
    async def read_secret(self) -> bytes:
        """The secret."""

    @abstractmethod
    async def write_secret(self, secret_data: bytes) -> str:
        """Keep the secret; gives its name there."""
