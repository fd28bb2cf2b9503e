"""Which storage, which serializer and which key are meant: by an option, by a template, by the settings.

The answers that `riverrun.results` needs; users import these names from there.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union
from uuid import UUID

from riverrun.base.config import settings
from riverrun.base.errors import ConfigurationError
from riverrun.utilities.colours import by_colour

if TYPE_CHECKING:
    from riverrun.serializers import Serializer
    from riverrun.storages import WritableFileSystem

ResultStorage = Union["WritableFileSystem", str, Path]
ResultSerializer = Union["Serializer[Any]", str]


def should_persist_result() -> bool:
    """Whether the innermost run persists its result; the default outside of runs."""
    from riverrun.context import FlowRunContext, TaskRunContext

    context = TaskRunContext.get() or FlowRunContext.get()
    if context is not None and context.persist_result is not None:
        return context.persist_result
    return get_default_persist_setting()


def get_default_persist_setting() -> bool:
    """Whether flows persist their results when nothing says so."""
    return settings().results_persist_by_default


def get_default_persist_setting_for_tasks() -> bool:
    """Whether tasks persist their results when nothing says so."""
    current = settings()
    own = current.tasks_default_persist_result
    return current.results_persist_by_default if own is None else own


def get_default_result_serializer() -> "Serializer[Any]":
    """The serializer of the settings."""
    return resolve_serializer(settings().results_default_serializer)


def default_storage() -> "WritableFileSystem":
    """The storage of the settings: `results_default_storage_block`, else the directory `results_local_storage_path`."""
    current = settings()
    return storage_from(current.results_default_storage_block or current.results_local_storage_path)


async def aget_default_result_storage() -> "WritableFileSystem":
    """As `get_default_result_storage`."""
    return default_storage()


@by_colour(aget_default_result_storage)
def get_default_result_storage() -> "WritableFileSystem":
    """As `default_storage`; async code awaits it."""
    return default_storage()


def task_scheduling_storage() -> "WritableFileSystem":
    """Where the parameters of background tasks go that name no storage."""
    named = settings().tasks_scheduling_default_storage_block
    return default_storage() if named is None else storage_from(named)


async def get_or_create_default_task_scheduling_storage() -> "WritableFileSystem":
    """As `task_scheduling_storage`."""
    return task_scheduling_storage()


def storage_from(result_storage: ResultStorage | UUID) -> "WritableFileSystem":
    """A storage from itself, a path, an fsspec URL, or a saved block's `type/name` or id.

    Raises ValueError for blocks that are not there and TypeError for what can't be a storage.
    """
    from riverrun.storages import ReadableFileSystem, storage_at

    given: Any = result_storage
    if isinstance(given, ReadableFileSystem) or (hasattr(given, "read_path") and hasattr(given, "write_path")):
        return given  # type: ignore[no-any-return] # of a kind that behaves as one
    if isinstance(result_storage, Path):
        return storage_at(result_storage)
    if isinstance(result_storage, str):
        if (
            "://" in result_storage
            or result_storage.startswith(("/", "./", "../", "~", ".\\"))
            or result_storage == "."
        ):
            return storage_at(result_storage)
        return _saved_storage(result_storage, settings().api_url)
    if isinstance(result_storage, UUID):
        return _saved_storage(result_storage, settings().api_url)
    raise TypeError(
        "Result storage must be one of the following types: a file system such as LocalFileSystem, 'Path', 'str'. Got"
        f" unsupported type {type(result_storage).__name__!r}."
    )


@lru_cache(maxsize=64)
def _saved_storage(reference: str | UUID, _api_url: str | None) -> "WritableFileSystem":
    """The storage saved as a block: by its id, or by `type/name`."""
    if isinstance(reference, str) and "/" not in reference:
        raise ValueError(
            f"Unable to find the block document {reference!r}. Name a saved block by its type, as in"
            " 'local-file-system/results'; for a directory give a Path or './directory', for other storages a URL such as"
            " 's3://bucket/prefix'."
        )
    from riverrun.blocks import documents
    from riverrun.blocks.core import Block
    from riverrun.client.talk import hold

    load = documents.load if isinstance(reference, str) else documents.load_from_ref
    block: WritableFileSystem = hold(load(Block, reference))  # type: ignore[arg-type] # each takes its own kind
    if not hasattr(block, "write_path"):
        raise TypeError(f"The block {str(reference)!r} cannot store results: it has no method `write_path`.")
    return block


async def aresolve_result_storage(result_storage: ResultStorage | UUID) -> "WritableFileSystem":
    """As `resolve_result_storage`."""
    return storage_from(result_storage)


@by_colour(aresolve_result_storage)
def resolve_result_storage(result_storage: ResultStorage | UUID) -> "WritableFileSystem":
    """As `storage_from`; async code awaits it."""
    return storage_from(result_storage)


def resolve_serializer(serializer: ResultSerializer) -> "Serializer[Any]":
    """A serializer from itself or its type; ValueError for an unknown type, TypeError for what can't be one."""
    from riverrun.serializers import Serializer

    if isinstance(serializer, Serializer):
        return serializer
    if isinstance(serializer, str):
        return Serializer(type=serializer)
    raise TypeError(
        "Result serializer must be one of the following types: 'Serializer', 'str'. Got unsupported type"
        f" {type(serializer).__name__!r}."
    )


def key_storage_of(storage: Any) -> Any:
    """The storage for the metadata of what is cached; a plain string is a directory here."""
    from riverrun.storages import storage_at

    return storage_at(storage) if isinstance(storage, str | Path) else storage_from(storage)


def storage_of(location: str, current: "WritableFileSystem") -> "WritableFileSystem":
    """A storage in which a whole location can be read: `current` if it lies there, since it knows the credentials."""
    from riverrun.storages import InMemoryFileSystem, LocalFileSystem, RemoteFileSystem

    scheme, separator, rest = location.partition("://")
    if not separator:
        return LocalFileSystem() if Path(location).is_absolute() else current
    if isinstance(current, RemoteFileSystem) and location.startswith(current.basepath.rstrip("/") + "/"):
        return current
    if scheme == InMemoryFileSystem.SCHEME:
        return InMemoryFileSystem(rest.partition("/")[0])
    return RemoteFileSystem(basepath=f"{scheme}://{rest.partition('/')[0]}")


class TemplateKey:
    """A storage key from a user's template, filled in when a result is written."""

    def __init__(self, template: str) -> None:
        self.template = template

    def __call__(self) -> str:
        return _format_user_supplied_storage_key(self.template)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TemplateKey) and other.template == self.template

    def __hash__(self) -> int:
        return hash(self.template)


class _Names:
    """What a storage key's template may name: the parts of `riverrun.runtime`, and `parameters` of the task run."""

    def __getitem__(self, name: str) -> Any:
        from importlib import import_module

        runtime = import_module("riverrun.runtime")
        if name == "parameters":
            from riverrun.context import FlowRunContext, TaskRunContext

            context = TaskRunContext.get() or FlowRunContext.get()
            return {} if context is None else context.parameters
        if name == "runtime":
            return runtime
        if name == "riverrun":
            return import_module("riverrun")
        if name in ("flow_run", "task_run", "deployment"):
            return import_module(f"riverrun.runtime.{name}")
        raise KeyError(name)


def _format_user_supplied_storage_key(key: str) -> str:
    """A template with its names filled in; raises ConfigurationError naming the template and what it can't fill in."""
    try:
        return key.format_map(_Names())
    except (KeyError, AttributeError, IndexError, ImportError, ValueError) as error:
        raise ConfigurationError(
            f"The storage key template {key!r} cannot be filled in: {type(error).__name__}: {error}. It may name"
            " flow_run, task_run, deployment, parameters and runtime, as in '{flow_run.name}-{parameters[x]}.json'."
        ) from error
