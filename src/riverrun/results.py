"""Results that outlive their run: a store writes a value under a key and reads it back, with who wrote it how and until when.

A record is one file, metadata and value together, that appears whole or not at all. With a `metadata_storage` the metadata
lie there and the file is the bare value; with a `NullFileSystem` as metadata storage there are none. This module must not
know when a run persists (the engine does) nor how bytes look (serializers) or where they lie (filesystems).
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from riverrun.base.config import settings
from riverrun.base.errors import MissingResult, SerializationError
from riverrun.base.ids import uuid7
from riverrun.base.loops import in_thread
from riverrun.locking.keys import LockedKeys
from riverrun.result_options import (
    ResultSerializer,
    ResultStorage,
    TemplateKey,
    _format_user_supplied_storage_key,
    aget_default_result_storage,
    aresolve_result_storage,
    get_default_persist_setting,
    get_default_persist_setting_for_tasks,
    get_default_result_serializer,
    get_default_result_storage,
    get_or_create_default_task_scheduling_storage,
    key_storage_of,
    resolve_result_storage,
    resolve_serializer,
    should_persist_result,
    storage_from,
    storage_of,
)
from riverrun.result_records import ResultCache, ResultRecord, ResultRecordMetadata
from riverrun.utilities.colours import by_colour

if TYPE_CHECKING:
    from riverrun.flows import Flow
    from riverrun.locking.protocol import LockManager
    from riverrun.serializers import Serializer
    from riverrun.storages import NullFileSystem, WritableFileSystem
    from riverrun.tasks import Task


__all__ = [
    "DEFAULT_STORAGE_KEY_FN",
    "ResultCache",
    "ResultRecord",
    "ResultRecordMetadata",
    "ResultSerializer",
    "ResultStorage",
    "ResultStore",
    "_format_user_supplied_storage_key",
    "aget_default_result_storage",
    "aresolve_result_storage",
    "get_default_persist_setting",
    "get_default_persist_setting_for_tasks",
    "get_default_result_serializer",
    "get_default_result_storage",
    "get_or_create_default_task_scheduling_storage",
    "get_result_store",
    "resolve_result_storage",
    "resolve_serializer",
    "should_persist_result",
]

#: bytes at the head of a record that hold its metadata, as a rule
_HEAD = 16_384


def DEFAULT_STORAGE_KEY_FN() -> str:  # noqa: N802 - the peer's name
    """A key that nothing else has."""
    return uuid7().hex


class ResultStore(LockedKeys):
    """Writes and reads results under keys.

    - `result_storage`: where; None is the default storage of the settings in force when the store was made.
    - `metadata_storage`: where the metadata lie, None: with the result; see the module.
    - `serializer`: how (a serializer or its type); None is the default of the settings.
    - `lock_manager`: excludes others from a key while it is computed; needed for SERIALIZABLE transactions.
    - `storage_key_fn`: makes the key of a result that is written without one.
    - `cache_result_in_memory`: keep what was written or read in memory, within bounds.

    Methods block; those with an `a` do the same in a thread.
    """

    def __init__(
        self,
        *,
        result_storage: ResultStorage | None = None,
        metadata_storage: "WritableFileSystem | NullFileSystem | None" = None,
        lock_manager: "LockManager | None" = None,
        cache_result_in_memory: bool = True,
        serializer: ResultSerializer | None = None,
        storage_key_fn: Callable[[], str] = DEFAULT_STORAGE_KEY_FN,
        cache: ResultCache | None = None,
        persist_result: bool | None = None,
    ) -> None:
        if persist_result is not None:
            import warnings

            warnings.warn(
                "`persist_result` has no effect on a ResultStore: the flow or task decides whether it persists.",
                DeprecationWarning,
                stacklevel=2,
            )
        if result_storage is not None and not isinstance(result_storage, str | Path | UUID):
            storage_from(result_storage)  # what can't be a storage is told here, not at the first result
        current = settings()
        # What the settings decide is noted now and made on first use: most stores never write.
        self._storage: Any = result_storage
        self._default_storage = current.results_default_storage_block or current.results_local_storage_path
        self._serializer: Any = current.results_default_serializer if serializer is None else serializer
        self.metadata_storage = metadata_storage
        self.lock_manager = lock_manager
        self.cache_result_in_memory = cache_result_in_memory
        self.storage_key_fn = storage_key_fn
        self.cache = ResultCache() if cache is None else cache
        self._for_tasks: Any = None

    # -- what it is made of

    @property
    def result_storage(self) -> "WritableFileSystem":
        storage = self._storage
        if storage is None:
            storage = self._storage = storage_from(self._default_storage)
        elif isinstance(storage, str | Path | UUID):
            storage = self._storage = storage_from(storage)
        return storage  # type: ignore[no-any-return]

    @result_storage.setter
    def result_storage(self, storage: ResultStorage | None) -> None:
        self._storage = storage

    @property
    def serializer(self) -> "Serializer[Any]":
        serializer = self._serializer
        if isinstance(serializer, str):
            serializer = self._serializer = resolve_serializer(serializer)
        return serializer  # type: ignore[no-any-return]

    @serializer.setter
    def serializer(self, serializer: ResultSerializer) -> None:
        self._serializer = serializer

    @property
    def result_storage_block_id(self) -> UUID | None:
        return getattr(self.result_storage, "_block_document_id", None)

    def model_copy(self, *, update: dict[str, Any] | None = None, deep: bool = False) -> Self:
        """The same store with some fields replaced; it shares the memory cache."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._for_tasks = None
        for name, value in (update or {}).items():
            setattr(twin, name, value)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_for_tasks": None}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name)
            for name in ("result_storage", "metadata_storage", "lock_manager", "serializer", "storage_key_fn")
        )

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        storage = self._default_storage if self._storage is None else self._storage
        return (
            f"ResultStore(result_storage={storage!r}, serializer={self._serializer!r},"
            f" metadata_storage={self.metadata_storage!r}, lock_manager={self.lock_manager!r},"
            f" cache_result_in_memory={self.cache_result_in_memory})"
        )

    # -- stores of flows and tasks

    def for_flow(self, flow: "Flow[..., Any]") -> Self:
        """This store as the flow's options change it. A flow's result is stored bare, its metadata are in its state."""
        from riverrun.storages import NullFileSystem

        return self._updated(flow, metadata_storage=NullFileSystem())

    def for_task(self, task: "Task[..., Any]") -> Self:
        """This store as the task's options and cache policy change it; cheap when called again for the same task."""
        known = self._for_tasks
        if known is None:
            from weakref import WeakKeyDictionary

            known = self._for_tasks = WeakKeyDictionary()
        store = known.get(task)
        if store is None:
            store = known[task] = self._made_for_task(task)
        return store  # type: ignore[no-any-return]

    async def aupdate_for_flow(self, flow: "Flow[..., Any]") -> Self:
        """As `update_for_flow`."""
        return self.for_flow(flow)

    @by_colour(aupdate_for_flow)
    def update_for_flow(self, flow: "Flow[..., Any]") -> Self:
        """As `for_flow`; async code awaits it."""
        return self.for_flow(flow)

    async def aupdate_for_task(self, task: "Task[..., Any]") -> Self:
        """As `update_for_task`."""
        return self.for_task(task)

    @by_colour(aupdate_for_task)
    def update_for_task(self, task: "Task[..., Any]") -> Self:
        """As `for_task`; async code awaits it."""
        return self.for_task(task)

    def _updated(self, owner: Any, **update: Any) -> Self:
        # resolved here, so that a wrong option fails before the user's code has run
        if (storage := getattr(owner, "result_storage", None)) is not None:
            update["result_storage"] = storage_from(storage)
        if (serializer := getattr(owner, "result_serializer", None)) is not None:
            update["serializer"] = resolve_serializer(serializer)
        if (cached := getattr(owner, "cache_result_in_memory", None)) is not None:
            update["cache_result_in_memory"] = cached
        return self.model_copy(update=update)

    def _made_for_task(self, task: "Task[..., Any]") -> Self:
        update: dict[str, Any] = {"metadata_storage": None, "storage_key_fn": DEFAULT_STORAGE_KEY_FN}
        key = getattr(task, "result_storage_key", None)
        if callable(key):
            update["storage_key_fn"] = key
        elif key is not None:
            update["storage_key_fn"] = TemplateKey(key)
        policy = getattr(task, "cache_policy", None)
        if (key_storage := getattr(policy, "key_storage", None)) is not None:
            update["metadata_storage"] = key_storage_of(key_storage)
        if (locks := getattr(policy, "lock_manager", None)) is not None:
            update["lock_manager"] = locks
        return self._updated(task, **update)

    # -- writing

    def create_result_record(
        self, obj: Any, key: str | None = None, expiration: datetime | None = None
    ) -> "ResultRecord[Any]":
        """A record of a value, not yet written. Without a key, `storage_key_fn` makes one."""
        key = key or self.storage_key_fn()
        if not isinstance(key, str):
            raise TypeError(f"The storage key of a result must be a string; {self.storage_key_fn!r} gave {key!r}.")
        return ResultRecord(
            result=obj,
            metadata=ResultRecordMetadata(
                serializer=self.serializer,
                expiration=expiration,
                storage_key=self._located(key),
                storage_block_id=self.result_storage_block_id,
            ),
        )

    def write(
        self, obj: Any, key: str | None = None, expiration: datetime | None = None, holder: str | None = None
    ) -> None:
        """Store a value; raises SerializationError if it has no form, RuntimeError if another holder locks the key."""
        record = self.create_result_record(obj, key=key, expiration=expiration)
        self.persist_result_record(record, holder=holder)

    async def awrite(
        self, obj: Any, key: str | None = None, expiration: datetime | None = None, holder: str | None = None
    ) -> None:
        """As `write`."""
        await _in_thread(
            self.write, obj, key=key, expiration=expiration, holder=holder or self.generate_default_holder()
        )

    def persist_result_record(self, result_record: "ResultRecord[Any]", holder: str | None = None) -> None:
        """Store a record; raises as `write` does."""
        from riverrun.storages import NullFileSystem, write_to

        key = result_record.metadata.storage_key
        if self.lock_manager is not None:
            base = self._relative(key)
            if self.is_locked(base) and not self.is_lock_holder(base, holder):
                raise RuntimeError(
                    f"Cannot write to result record with key {base} because it is locked by another holder."
                )
        try:
            value = result_record.serialize_result()
            if self.metadata_storage is None:
                content = result_record.enveloped(value)
            else:
                content = value
        except SerializationError as error:
            raise SerializationError(f"{_of_whom()} cannot be stored: {error}{_SERIALIZATION_CURES}") from error
        try:
            write_to(self.result_storage, key, content)
            if self.metadata_storage is not None and not isinstance(self.metadata_storage, NullFileSystem):
                # after the value: who finds the metadata finds the value
                write_to(self.metadata_storage, self._relative(key), result_record.serialize_metadata())
        except OSError as error:
            error.add_note(f"{_of_whom()} was to be stored under {key!r} in {self.result_storage!r}.")
            raise
        if self.cache_result_in_memory:
            self.cache.put(self._cache_key(key), result_record, len(content))

    async def apersist_result_record(self, result_record: "ResultRecord[Any]", holder: str | None = None) -> None:
        """As `persist_result_record`."""
        await _in_thread(self.persist_result_record, result_record, holder or self.generate_default_holder())

    # -- reading

    def exists(self, key: str) -> bool:
        """Whether there is a record under the key that has not expired."""
        from riverrun.storages import NullFileSystem, exists_in, read_from

        location = self._located(key)
        cached = self.cache.get(self._cache_key(location))
        if cached is not None and not cached.metadata.is_expired():
            metadata: ResultRecordMetadata | None = cached.metadata
            if not exists_in(*self._metadata_place(location)):
                self.cache.drop(self._cache_key(location))
                return False
        elif isinstance(self.metadata_storage, NullFileSystem):
            return exists_in(self.result_storage, location)
        else:
            storage, path = self._metadata_place(location)
            if not exists_in(storage, path):
                return False
            head = read_from(storage, path, -1 if self.metadata_storage else _HEAD)
            if self.metadata_storage is None:
                metadata = ResultRecordMetadata.from_head(head)
                if metadata is None and len(head) >= _HEAD:
                    metadata = ResultRecordMetadata.from_head(read_from(storage, path))
            else:
                metadata = ResultRecordMetadata.load_bytes(head)
        # what cannot be read is there all the same: reading it says what is wrong
        return metadata is None or not metadata.is_expired()

    async def aexists(self, key: str) -> bool:
        """As `exists`."""
        return bool(await _in_thread(self.exists, key))

    def read(self, key: str, holder: str | None = None) -> "ResultRecord[Any]":
        """The record under a key, once nobody else locks it.

        Raises MissingResult, saying where it was looked for, if it is gone; SerializationError if it cannot be read.
        """
        location = self._located(key)
        if self.lock_manager is not None and not self.is_lock_holder(key, holder):
            self.wait_for_lock(key)
        cached = self.cache.get(self._cache_key(location)) if self.cache_result_in_memory else None
        if cached is not None and not cached.metadata.is_expired():
            return cached
        record, size = self._loaded(location)
        if self.cache_result_in_memory:
            self.cache.put(self._cache_key(location), record, size)
        return record

    async def aread(self, key: str, holder: str | None = None) -> "ResultRecord[Any]":
        """As `read`."""
        if self.lock_manager is not None and not self.is_lock_holder(key, holder):
            await self.await_for_lock(key)
        return await _in_thread(self.read, key, holder=holder or self.generate_default_holder())  # type: ignore[no-any-return]

    def _loaded(self, location: str) -> "tuple[ResultRecord[Any], int]":
        from riverrun.storages import NullFileSystem, read_from

        try:
            content = read_from(self.result_storage, location)
            if self.metadata_storage is None or isinstance(self.metadata_storage, NullFileSystem):
                metadata = None
            else:
                metadata = read_from(*self._metadata_place(location))
        except (ValueError, OSError, KeyError) as error:
            raise MissingResult(
                f"The result stored under {location!r} in {self.result_storage!r} is not there: {error} It may have been"
                " deleted, or written on another machine; run the flow or task again, or give its result_storage a place"
                " that both can reach."
            ) from error
        try:
            if metadata is not None:
                record = ResultRecord.deserialize_from_result_and_metadata(content, metadata)
            elif self.metadata_storage is None:
                record = ResultRecord.deserialize(content, backup_serializer=self.serializer)
            else:
                bare = ResultRecordMetadata(storage_key=location, serializer=self.serializer)
                record = ResultRecord(metadata=bare, result=bare.serializer.loads(content))
        except Exception as error:  # whatever a serializer raises on bytes it can't read
            raise SerializationError(
                f"The result stored under {location!r} in {self.result_storage!r} cannot be read ({len(content)} bytes):"
                f" {type(error).__name__}: {error}. If it is damaged, delete it or run with refresh_cache; if a module is"
                " missing, install it here."
            ) from error
        return record, len(content)

    @classmethod
    def from_metadata(cls, metadata: "ResultRecordMetadata") -> "ResultRecord[Any]":
        """The record that a state's metadata refer to; raises as `read` does."""
        if metadata.storage_block_id is not None:
            storage = storage_from(metadata.storage_block_id)
        else:
            storage = storage_of(metadata.storage_key, get_result_store().result_storage)
        store = cls(result_storage=storage, serializer=metadata.serializer)
        cached = get_result_store().cache.get(store._cache_key(metadata.storage_key))
        if cached is not None:
            return cached
        record, _ = store._loaded(metadata.storage_key)
        record.metadata = metadata
        return record

    _from_metadata = from_metadata

    # -- keys and places

    def _located(self, key: str) -> str:
        """The key as metadata name it: the whole path or URL, so that another process finds it; a block's keys stay short."""
        storage = self.result_storage
        locate = getattr(storage, "_locate", None)
        if locate is None or getattr(storage, "_block_document_id", None) is not None:
            return key
        return locate(key)  # type: ignore[no-any-return]

    def _relative(self, location: str) -> str:
        """The key that `_located` made a location of."""
        storage = self.result_storage
        locate = getattr(storage, "_locate", None)
        if locate is None or getattr(storage, "_block_document_id", None) is not None:
            return location
        if getattr(storage, "basepath", "") is None:  # no base: any path is itself
            return location
        return location.removeprefix(locate("").rstrip("/")).lstrip("/")

    def _metadata_place(self, location: str) -> tuple[Any, str]:
        from riverrun.storages import NullFileSystem

        if self.metadata_storage is None or isinstance(self.metadata_storage, NullFileSystem):
            return self.result_storage, location
        return self.metadata_storage, self._relative(location)

    def _cache_key(self, location: str) -> tuple[Any, str]:
        """Locations are whole, except those of blocks and of users' storages."""
        storage = self.result_storage
        block = getattr(storage, "_block_document_id", None)
        if block is not None:
            return block, location
        return None if hasattr(storage, "_locate") else id(storage), location


_SERIALIZATION_CURES = (
    ". Return plain data, choose another serializer (result_serializer=...), or do not persist it"
    " (persist_result=False)."
)


async def _in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await in_thread(function, *args, **kwargs)


def _of_whom() -> str:
    """Whose result is at hand, for messages."""
    from riverrun.context import FlowRunContext, TaskRunContext

    task_run_context = TaskRunContext.get()
    if task_run_context is not None:
        name = getattr(task_run_context.task_run, "name", "")
        return f"The result of task {task_run_context.task.name!r} (run {name!r})"
    flow_run_context = FlowRunContext.get()
    if flow_run_context is not None and flow_run_context.flow is not None:
        name = getattr(flow_run_context.flow_run, "name", "")
        return f"The result of flow {flow_run_context.flow.name!r} (run {name!r})"
    return "The result"


def get_result_store() -> ResultStore:
    """The store of the innermost run, or one with the default settings outside of runs."""
    from riverrun.context import FlowRunContext, TaskRunContext

    context = TaskRunContext.get() or FlowRunContext.get()
    return ResultStore() if context is None else context.result_store
