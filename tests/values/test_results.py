"""Result stores: written and read, bare or with metadata, gone, damaged, expired, too strange to store."""

import asyncio
import copy
import json
import pickle
import threading
from datetime import timedelta
from types import SimpleNamespace

import cloudpickle
import pytest

from riverrun.base.clock import now
from riverrun.base.config import temporary_settings
from riverrun.base.errors import ConfigurationError, MissingResult, SerializationError
from riverrun.cache_policies import INPUTS
from riverrun.context import FlowRunContext, TaskRunContext
from riverrun.filesystems import InMemoryFileSystem, LocalFileSystem, NullFileSystem, RemoteFileSystem
from riverrun.locking.filesystem import FileSystemLockManager
from riverrun.locking.memory import MemoryLockManager
from riverrun.results import (
    ResultCache,
    ResultRecord,
    ResultRecordMetadata,
    ResultStore,
    get_default_persist_setting,
    get_default_persist_setting_for_tasks,
    get_default_result_serializer,
    get_default_result_storage,
    get_result_store,
    resolve_result_storage,
    resolve_serializer,
    should_persist_result,
)
from riverrun.serializers import JSONSerializer, PickleSerializer, Serializer, UnknownSerializer
from riverrun.transactions import IsolationLevel
from riverrun.wire.runs import FlowRun, TaskRun
from tests.values.test_filesystems import AsyncStorage
from tests.values.test_serializers import Upper


class Task:
    """As much of a task as a store looks at."""

    name, isasync = "my-task", False

    def __init__(self, **options):
        self.result_storage = self.result_serializer = self.result_storage_key = self.cache_policy = None
        self.cache_result_in_memory = True
        self.__dict__.update(options)


@pytest.fixture
def storage(tmp_path):
    return LocalFileSystem(basepath=tmp_path / "results")


@pytest.fixture
def store(storage):
    return ResultStore(result_storage=storage)


def fresh(storage, **options):
    """A store that remembers nothing."""
    return ResultStore(result_storage=storage, **options)


@pytest.mark.parametrize("serializer", ["pickle", "json", "compressed/json"])
def test_write_and_read(storage, serializer):
    store = fresh(storage, serializer=serializer)
    store.write({"a": (1, 2)}, key="deep/key")
    for reader in (store, fresh(storage)):
        assert reader.exists("deep/key")
        record = reader.read("deep/key")
        assert record.result == {"a": (1, 2)}
        assert record.metadata.serializer == Serializer(type=serializer)
    assert not store.exists("other")


def test_write_and_read_async(store, storage):
    async def main():
        await store.awrite("value", key="k")
        reader = fresh(storage)
        return await reader.aexists("k"), (await reader.aread("k")).result, await reader.aexists("none")

    assert asyncio.run(main()) == (True, "value", False)


def test_the_file_holds_metadata_and_value(store, tmp_path):
    store.serializer = "json"
    store.write([1], key="k")
    document = json.loads((tmp_path / "results" / "k").read_bytes())
    assert document["result"] == "[1]"
    assert document["metadata"]["serializer"]["type"] == "json"
    assert document["metadata"]["storage_key"] == str(tmp_path / "results" / "k")


def test_a_record_of_the_peer_is_read(store, tmp_path):
    names = {f"object_{way}": f"prefect.serializers.prefect_json_object_{way}" for way in ("encoder", "decoder")}
    metadata = {
        "storage_key": "k",
        "expiration": "2999-01-01T00:00:00Z",
        "serializer": {"type": "json", "jsonlib": "json", **names, "dumps_kwargs": {}, "loads_kwargs": {}},
        "prefect_version": "3.8.8",
        "storage_block_id": None,
    }
    document = {"metadata": metadata, "result": '{"__class__": "builtins.set", "data": [1]}'}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "k").write_text(json.dumps(document))
    record = store.read("k")
    assert record.result == {1}
    assert record.metadata.riverrun_version == record.metadata.prefect_version == "3.8.8"


def test_metadata_apart(tmp_path, storage):
    store = fresh(storage, metadata_storage=LocalFileSystem(basepath=tmp_path / "meta"))
    store.write("test", key="k")
    record = fresh(storage, metadata_storage=store.metadata_storage).read("k")
    assert record.result == "test"
    assert store.serializer.loads((tmp_path / "results" / "k").read_bytes()) == "test"
    assert (tmp_path / "meta" / "k").read_text() == record.metadata.model_dump_json(serialize_as_any=True)
    assert store.exists("k")
    (tmp_path / "meta" / "k").unlink()
    assert not store.exists("k")


def test_bare_values(tmp_path, storage):
    store = fresh(storage, metadata_storage=NullFileSystem(), serializer="json")
    store.write([1, 2], key="k.json")
    assert (tmp_path / "results" / "k.json").read_bytes() == b"[1, 2]"
    assert store.exists("k.json")
    assert fresh(storage, metadata_storage=NullFileSystem(), serializer="json").read("k.json").result == [1, 2]


def test_gone_files_are_noticed(store, tmp_path):
    store.write("test", key="k")
    (tmp_path / "results" / "k").unlink()
    assert not store.exists("k")


# -- references from states


@pytest.mark.parametrize("metadata_storage", [None, NullFileSystem()])
@pytest.mark.parametrize("where", ["local", "remote", "memory"])
def test_metadata_of_a_state_lead_to_the_value(tmp_path, where, metadata_storage):
    storage = {
        "local": LocalFileSystem(basepath=tmp_path),
        "remote": RemoteFileSystem(basepath=f"memory://{tmp_path.name}"),
        "memory": InMemoryFileSystem(tmp_path.name),
    }[where]
    store = fresh(storage, metadata_storage=metadata_storage, serializer="json")
    record = store.create_result_record({"x": (1,)}, key="a/b")
    store.persist_result_record(record)
    reference = json.loads(json.dumps(record.metadata.model_dump(mode="json")))
    found = ResultStore.from_metadata(ResultRecordMetadata.model_validate(reference))
    assert found.result == {"x": (1,)}
    assert found.metadata == record.metadata


def test_a_gone_result_says_where_it_was(store, tmp_path):
    record = store.create_result_record(1, key="k")
    for read in (lambda: store.read("k"), lambda: ResultStore.from_metadata(record.metadata)):
        with pytest.raises(MissingResult) as caught:
            read()
        assert str(tmp_path / "results" / "k") in str(caught.value)
        assert "run the flow or task again" in str(caught.value)


@pytest.mark.parametrize(
    "damage", [b"", b"garbage", b"\x00\xff" * 50, b'{"metadata": {"storage_key"', b'{"metadata":{}}', b"cut"]
)
def test_a_damaged_result_says_so(store, tmp_path, damage):
    store.write(list(range(100)), key="k")
    path = tmp_path / "results" / "k"
    path.write_bytes(path.read_bytes()[:-20] if damage == b"cut" else damage)
    reader = fresh(store.result_storage)
    assert reader.exists("k")
    with pytest.raises(SerializationError, match=r"results/k'.*cannot be read.*refresh_cache"):
        reader.read("k")


def test_a_serializer_that_is_not_loaded_here_is_named(store, tmp_path):
    store.serializer = Upper()
    store.write("a", key="k")
    path = tmp_path / "results" / "k"
    path.write_text(path.read_text().replace("test-upper", "not-here"))
    with pytest.raises(SerializationError, match="'not-here' is not known in this process"):
        fresh(store.result_storage).read("k")
    assert isinstance(ResultRecordMetadata.from_head(path.read_bytes()).serializer, UnknownSerializer)


# -- what cannot be stored


def test_a_value_that_cannot_be_stored_is_named_with_its_run(store):
    value = {"rows": [1, threading.Lock()]}
    with pytest.raises(SerializationError, match=r"^The result cannot be stored: value\['rows'\]\[1\] of type 'lock'"):
        store.write(value, key="k")
    with TaskRunContext(task=Task(), task_run=TaskRun(name="my-task-0")):
        with pytest.raises(SerializationError, match=r"task 'my-task' \(run 'my-task-0'\).*persist_result=False"):
            store.write(value, key="k")
    assert not store.exists("k")


def test_what_a_users_serializer_raises_is_told(store):
    store.serializer = Upper()
    with pytest.raises(SerializationError, match="serializer 'test-upper' failed on a value of type 'int'"):
        store.write(1, key="k")


def test_bytes_of_a_users_serializer_need_not_be_text(storage):
    class Raw(Serializer):
        type: str = "test-raw"

        def dumps(self, obj):
            return obj

        def loads(self, blob):
            return blob

    fresh(storage, serializer=Raw()).write(b"\xff\x00", key="k")
    assert fresh(storage).read("k").result == b"\xff\x00"


def test_strange_texts_are_stored(storage):
    value = ["\ud800", "\x00", float("inf"), "n" * 10_000, 2**70]
    for serializer in ("pickle", "json"):
        fresh(storage, serializer=serializer).write(value, key=serializer)
        assert fresh(storage).read(serializer).result == value


def test_a_large_value(storage):
    value = b"x" * 50_000_000
    store = fresh(storage)
    store.write(value, key="k")
    assert fresh(storage).exists("k")
    assert fresh(storage).read("k").result == value


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError) as caught:
        fresh(LocalFileSystem(basepath=tmp_path / "file" / "below")).write(1, key="k")
    assert "was to be stored under" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("key", ["../k", "/k", "a/../../k"])
def test_keys_outside_of_the_storage_are_refused(store, key):
    with pytest.raises(ValueError, match="outside"):
        store.write(1, key=key)


# -- expiry and memory


def test_expiry(store, storage):
    store.write(1, key="old", expiration=now() - timedelta(seconds=1))
    store.write(2, key="new", expiration=now() + timedelta(days=1))
    for reader in (store, fresh(storage)):
        assert not reader.exists("old")
        assert reader.exists("new")


def test_what_another_process_renewed_is_read_anew(store, storage):
    store.write(1, key="k", expiration=now() - timedelta(seconds=1))
    fresh(storage).write(2, key="k", expiration=now() + timedelta(days=1))
    assert store.exists("k")
    assert store.read("k").result == 2


def test_a_key_longer_than_the_head(storage):
    store = fresh(storage, serializer=JSONSerializer(dumps_kwargs={"separators": [",", ":" + " " * 20_000]}))
    store.write([1], key="k", expiration=now() - timedelta(1))
    assert not fresh(storage).exists("k")


def test_memory_cache(storage, tmp_path):
    for cached, expected in ((True, "mine"), (False, "theirs")):
        store = fresh(storage, cache_result_in_memory=cached)
        store.write("mine", key="k")
        fresh(storage).write("theirs", key="k")
        assert store.read("k").result == expected


def test_the_memory_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(ResultCache, "MAX_RECORDS", 3)
    monkeypatch.setattr(ResultCache, "MAX_BYTES", 100)
    cache = ResultCache()
    for number in range(5):
        cache.put(number, number, 1)
    assert [number in cache for number in range(5)] == [False, False, True, True, True]
    cache.get(2)
    cache.put(5, 5, 1)
    assert 2 in cache
    assert 3 not in cache
    cache.put("large", 0, 99)
    assert len(cache) == 2
    cache.put("too large", 0, 101)
    assert "too large" not in cache


# -- locks


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_locked_keys(storage, tmp_path, kind):
    manager = MemoryLockManager() if kind == "memory" else FileSystemLockManager(tmp_path / "locks")
    key = f"{kind}-{tmp_path.name}"
    store = fresh(storage, lock_manager=manager)
    assert store.acquire_lock(key, holder="one")
    with pytest.raises(
        RuntimeError, match=f"Cannot write to result record with key {key} because it is locked by another holder."
    ):
        store.write(1, key=key, holder="two")
    store.write(2, key=key, holder="one")
    found = []
    reader = threading.Thread(target=lambda: found.append(store.read(key).result))
    reader.start()
    store.write(3, key=key, holder="one")
    assert not found
    store.release_lock(key, holder="one")
    reader.join()
    assert found == [3]
    assert store.wait_for_lock(key)


def test_the_default_holder_is_this_thread(storage):
    store = fresh(storage, lock_manager=MemoryLockManager())
    assert store.acquire_lock("mine")
    assert store.is_lock_holder("mine")
    store.write(1, key="mine")
    others = []
    other = threading.Thread(target=lambda: others.append(store.is_lock_holder("mine")))
    other.start()
    other.join()
    assert others == [False]
    store.release_lock("mine")

    async def main():
        assert await store.aacquire_lock("mine")
        await store.awrite(2, key="mine")
        assert (await store.aread("mine")).result == 2
        store.release_lock("mine")
        return await store.await_for_lock("mine", timeout=1)

    assert asyncio.run(main())


def test_without_a_lock_manager(store):
    for use in (store.acquire_lock, store.release_lock, store.is_locked, store.is_lock_holder, store.wait_for_lock):
        with pytest.raises(ConfigurationError, match="not configured with a lock manager: give it one"):
            use("k")
    assert store.supports_isolation_level(IsolationLevel.READ_COMMITTED)
    assert not store.supports_isolation_level(IsolationLevel.SERIALIZABLE)
    with pytest.raises(ValueError, match="UNKNOWN"):
        store.supports_isolation_level("UNKNOWN")


# -- stores of flows and tasks


def test_for_a_task_without_options(store):
    task = Task()
    assert store.update_for_task(task) is store.update_for_task(task)
    assert store.update_for_task(task) == store
    assert store.update_for_task(task).cache is store.cache


def test_for_a_task_with_options(store, tmp_path):
    locks = FileSystemLockManager(tmp_path / "locks")
    policy = INPUTS.configure(key_storage=str(tmp_path / "keys"), lock_manager=locks)
    task = Task(
        result_storage=InMemoryFileSystem("t"),
        result_serializer="json",
        result_storage_key="fixed",
        cache_policy=policy,
        cache_result_in_memory=False,
    )
    changed = store.update_for_task(task)
    assert changed.result_storage == InMemoryFileSystem("t")
    assert changed.serializer == JSONSerializer()
    assert changed.storage_key_fn() == "fixed"
    assert changed.metadata_storage == LocalFileSystem(basepath=tmp_path / "keys")
    assert changed.lock_manager is locks
    assert not changed.cache_result_in_memory
    assert changed.update_for_task(Task()).storage_key_fn() != "fixed"
    assert store.serializer == PickleSerializer()


def test_wrong_options_of_a_task_are_told_before_it_runs(store):
    for options in ({"result_serializer": "nonsense"}, {"result_storage": "nonsense"}):
        with pytest.raises(ValueError, match="nonsense"):
            store.update_for_task(Task(**options))
    assert "nonsense" in repr(ResultStore(serializer="nonsense"))


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_a_store_travels_to_another_process(tmp_path, dumps):
    for storage in (
        LocalFileSystem(basepath=tmp_path),
        RemoteFileSystem(basepath="memory://x"),
        InMemoryFileSystem("x"),
    ):
        store = fresh(storage, lock_manager=MemoryLockManager(), serializer="json")
        store.write(1, key="k")
        twin = pickle.loads(dumps(store.update_for_task(Task(result_storage_key="{parameters[x]}"))))
        assert twin.model_copy(update={"storage_key_fn": store.storage_key_fn}) == store
        assert len(twin.cache) == 0
        assert twin.read("k").result == 1
        assert copy.deepcopy(store) == store


def test_for_a_flow(store):
    flow = SimpleNamespace(result_storage=None, result_serializer="json", cache_result_in_memory=False)
    changed = store.update_for_flow(flow)
    assert changed.metadata_storage == NullFileSystem()
    assert changed.serializer == JSONSerializer()
    assert changed.result_storage == store.result_storage
    assert changed.update_for_task(Task()).metadata_storage is None


def test_settings_decide_when_the_store_is_made(tmp_path):
    with temporary_settings({"results_default_serializer": "json", "results_local_storage_path": tmp_path / "there"}):
        store = ResultStore()
        assert get_default_result_serializer() == JSONSerializer()
        assert get_default_result_storage() == LocalFileSystem(basepath=tmp_path / "there")
    assert store.serializer == JSONSerializer()
    assert store.result_storage == LocalFileSystem(basepath=tmp_path / "there")
    with temporary_settings({"results_default_storage_block": "memory://somewhere"}):
        assert ResultStore().result_storage == RemoteFileSystem(basepath="memory://somewhere")


def test_whether_to_persist():
    assert not should_persist_result()
    with temporary_settings({"results_persist_by_default": True}):
        assert should_persist_result()
        assert get_default_persist_setting()
        assert get_default_persist_setting_for_tasks()
        with temporary_settings({"tasks_default_persist_result": False}):
            assert not get_default_persist_setting_for_tasks()
    with FlowRunContext(persist_result=True):
        assert should_persist_result()
        with TaskRunContext(task=Task(), task_run=TaskRun(), persist_result=False):
            assert not should_persist_result()


def test_the_store_of_the_innermost_run(store):
    other = store.model_copy()
    assert get_result_store() is not store
    with FlowRunContext(result_store=store):
        assert get_result_store() is store
        with TaskRunContext(task=Task(), task_run=TaskRun(), result_store=other):
            assert get_result_store() is other
    with TaskRunContext(task=Task(result_serializer="json"), task_run=TaskRun()):
        assert get_result_store().serializer == JSONSerializer()


# -- keys by template


def test_keys_by_template(store):
    flow_run, task_run = FlowRun(name="happy"), TaskRun(name="run-0")
    task = Task(result_storage_key="x-{flow_run.name}-{task_run.name}-{parameters[y]}-{parameters[z][0]}.json")
    with FlowRunContext(flow=None, flow_run=flow_run, parameters={}):
        with TaskRunContext(task=task, task_run=task_run, parameters={"y": 5, "z": ["a"]}):
            pytest.importorskip("riverrun.runtime.flow_run")
            store.update_for_task(task).write(1)
            assert store.exists("x-happy-run-0-5-a.json")


@pytest.mark.parametrize("template", ["{nope}", "{parameters[nope]}", "{flow_run.nope}", "{broken", "{}", "{0}"])
def test_a_template_that_cannot_be_filled_in_is_named(store, template):
    task = Task(result_storage_key=template)
    with TaskRunContext(task=task, task_run=TaskRun(), parameters={}):
        with pytest.raises(ConfigurationError) as caught:
            store.update_for_task(task).write(1)
    assert repr(template) in str(caught.value)


def test_keys_by_function(store):
    store.update_for_task(Task(result_storage_key=lambda: "made")).write(1)
    assert store.exists("made")
    with pytest.raises(TypeError, match="must be a string"):
        store.update_for_task(Task(result_storage_key=lambda: 5)).write(1)


def test_without_a_key_each_result_has_its_own(store):
    assert store.create_result_record(1).metadata.storage_key != store.create_result_record(1).metadata.storage_key


# -- records


def test_records():
    record = ResultRecord(result=1, metadata=ResultRecordMetadata(storage_key="k", serializer=JSONSerializer()))
    assert ResultRecord.deserialize(record.serialize()) == record
    apart = ResultRecord.deserialize_from_result_and_metadata(record.serialize_result(), record.serialize_metadata())
    assert apart == record
    with pytest.raises(ValueError, match="not a whole record"):
        ResultRecord.deserialize(b"1")
    assert ResultRecord.deserialize(b"1", backup_serializer=JSONSerializer()).result == 1
    assert "storage_key='k'" in repr(record)
    assert record.serializer == JSONSerializer()
    assert record.expiration is None


# -- what is meant


def test_resolving(tmp_path):
    assert resolve_result_storage(tmp_path) == LocalFileSystem(basepath=tmp_path)
    assert resolve_result_storage(str(tmp_path)) == LocalFileSystem(basepath=tmp_path)
    assert resolve_result_storage("s3://bucket/prefix") == RemoteFileSystem(basepath="s3://bucket/prefix")
    own = AsyncStorage()
    assert resolve_result_storage(own) is own
    with pytest.raises(ValueError, match=r"block document 'nope'.*'\./directory'"):
        resolve_result_storage("nope")
    with pytest.raises(TypeError, match="unsupported type 'int'"):
        resolve_result_storage(3)
    assert resolve_serializer("json") == JSONSerializer()
    with pytest.raises(ValueError, match="'nope'"):
        resolve_serializer("nope")
    with pytest.raises(TypeError, match="unsupported type 'int'"):
        resolve_serializer(3)


def test_a_users_storage(tmp_path):
    own = AsyncStorage()
    store = fresh(own)
    store.write({"a": 1}, key="k")
    assert list(own.files) == ["k"]
    assert fresh(own).exists("k")
    assert fresh(own).read("k").result == {"a": 1}
    with pytest.raises(MissingResult):
        fresh(own).read("none")

    async def main():
        return (await fresh(own).aread("k")).result

    assert asyncio.run(main()) == {"a": 1}


def test_persist_result_is_no_longer_an_option():
    with pytest.warns(DeprecationWarning, match="persist_result"):
        ResultStore(persist_result=True)


def test_what_cannot_be_a_storage_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="Got unsupported type 'int'"):
        ResultStore(result_storage=3)  # type: ignore[arg-type]


def test_records_and_serializers_as_plain_data_and_back() -> None:
    record = ResultStore().create_result_record([1], key="k")
    dumped = record.model_dump()
    assert dumped["result"] == [1]
    assert ResultRecordMetadata.model_validate(dumped["metadata"]) == record.metadata
    serializer = record.metadata.serializer
    assert type(serializer).model_validate(serializer.model_dump()) == serializer
    with pytest.raises(ValueError, match="should be a serializer of type"):
        type(serializer).model_validate({"type": "json"})
