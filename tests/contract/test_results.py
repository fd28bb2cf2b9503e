"""Results: what is written down, where, in which form, and what is said when it can't be or is gone."""

import json
import uuid
from pathlib import Path

import pytest

from .sdk import ON_PEER, Colour, flow, import_module, riverrun_only, task

exceptions = import_module("exceptions")
results = import_module("results")
serializers = import_module("serializers")
settings = import_module("settings")
filesystems = import_module("filesystems")
transactions = import_module("transactions")


@pytest.fixture
def unique() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def storage(tmp_path: Path):
    """A storage of this test's own."""
    return tmp_path / "storage"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def setting(name: str):
    prefix = settings.__name__.split(".")[0].upper()
    return getattr(settings, f"{prefix}_{name}")


@task
def one():
    return 1


class TestWhetherItPersists:
    def test_not_by_default(self, tmp_path: Path, storage) -> None:
        @flow
        def main():
            return one.with_options(result_storage=None)()

        with settings.temporary_settings({setting("LOCAL_STORAGE_PATH"): str(tmp_path / "default")}):
            assert main() == 1
        assert files(tmp_path) == []

    def test_by_the_task(self, tmp_path: Path) -> None:
        with settings.temporary_settings({setting("LOCAL_STORAGE_PATH"): str(tmp_path)}):
            assert task(lambda: 1, name="x", persist_result=True)() == 1
        assert len(files(tmp_path)) == 1

    def test_by_the_flow_for_itself_and_its_tasks(self, tmp_path: Path) -> None:
        @flow(persist_result=True)
        def main():
            return one()

        with settings.temporary_settings({setting("LOCAL_STORAGE_PATH"): str(tmp_path)}):
            assert main() == 1
        assert len(files(tmp_path)) == 2

    def test_the_task_has_the_last_word(self, tmp_path: Path) -> None:
        @flow(persist_result=True)
        def main():
            one.with_options(persist_result=False)()
            return 2

        with settings.temporary_settings({setting("LOCAL_STORAGE_PATH"): str(tmp_path)}):
            main()
        assert len(files(tmp_path)) == 1

    def test_by_setting(self, tmp_path: Path) -> None:
        @flow
        def main():
            return one()

        chosen = {setting("LOCAL_STORAGE_PATH"): str(tmp_path), setting("RESULTS_PERSIST_BY_DEFAULT"): True}
        with settings.temporary_settings(chosen):
            assert main() == 1
        assert len(files(tmp_path)) == 2


def test_result_storage_may_be_a_path(tmp_path: Path) -> None:
    @task(result_storage=tmp_path / "storage")
    def work():
        return 1

    assert work() == 1
    assert len(files(tmp_path / "storage")) == 1


@riverrun_only("the peer wants file systems saved on its server first")
def test_result_storage_may_be_a_file_system(tmp_path: Path) -> None:
    @task(result_storage=filesystems.LocalFileSystem(basepath=str(tmp_path / "storage")))
    def work():
        return 1

    assert work() == 1
    assert len(files(tmp_path / "storage")) == 1


def test_tasks_take_the_storage_of_their_flow(tmp_path: Path) -> None:
    @flow(result_storage=tmp_path / "flow", persist_result=True)
    def main():
        return one()

    main()
    assert len(files(tmp_path / "flow")) == 2


@riverrun_only("any fsspec URL is a storage")
def test_fsspec_url(unique: str) -> None:
    @task(result_storage=f"memory://{unique}", persist_result=True)
    def work():
        return {"a": 1}

    state = work(return_state=True)
    assert state.result() == {"a": 1}


class TestStorageKey:
    def test_template(self, tmp_path: Path, storage) -> None:
        @task(result_storage=storage, result_storage_key="at-{parameters[x]}-{task_run.name}.bin", task_run_name="r")
        def work(x):
            return x

        work(5)
        assert [path.name for path in files(tmp_path / "storage")] == ["at-5-r.bin"]

    def test_template_reads_the_flow_run(self, tmp_path: Path, storage) -> None:
        runtime = import_module("runtime")
        root = settings.__name__.split(".")[0]

        @task(result_storage=storage, result_storage_key="{%s.runtime.flow_run.name}" % root)  # noqa: UP031
        def work():
            return 1

        @flow(flow_run_name="the-run")
        def main():
            work()
            return runtime.flow_run.name

        assert main() == "the-run"
        assert [path.name for path in files(tmp_path / "storage")] == ["the-run"]

    def test_an_existing_value_under_the_key_is_reused(self, storage, unique: str) -> None:
        calls = []

        @task(result_storage=storage, result_storage_key=unique)
        def work():
            calls.append(1)
            return len(calls)

        assert (work(), work(return_state=True).name) == (1, "Cached")


class TestSerializers:
    VALUES = [None, 5, 1.5, "é\U0001f41f", [1, {"a": [2]}], {"k": None}, (1, 2), b"\x00\xff"]

    @pytest.mark.parametrize("name", ["pickle", "json", "compressed/pickle", "compressed/json"])
    def test_by_name(self, tmp_path: Path, storage, name: str) -> None:
        @task(result_serializer=name, result_storage=storage, persist_result=True)
        def work():
            return {"a": [1, "é", None]}

        assert work() == {"a": [1, "é", None]}
        assert len(files(tmp_path / "storage")) == 1

    @pytest.mark.parametrize("name", ["pickle", "compressed/pickle"])
    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_pickle_round_trip(self, name: str, value) -> None:
        serializer = serializers.Serializer(type=name)
        assert serializer.loads(serializer.dumps(value)) == value

    @pytest.mark.parametrize("value", [value for value in VALUES if not isinstance(value, tuple | bytes)], ids=repr)
    def test_json_round_trip(self, value) -> None:
        serializer = serializers.JSONSerializer()
        blob = serializer.dumps(value)
        json.loads(blob)
        assert serializer.loads(blob) == value

    def test_json_keeps_exceptions_and_models(self) -> None:
        serializer = serializers.JSONSerializer()
        error = serializer.loads(serializer.dumps(ValueError("m")))
        assert isinstance(error, ValueError)
        assert error.args == ("m",)

    def test_given_as_objects(self, storage) -> None:
        class Upper(serializers.Serializer):
            type: str = f"upper-{uuid.uuid4().hex}"

            def dumps(self, obj):
                return str(obj).upper().encode()

            def loads(self, blob):
                return blob.decode()

        @task(result_serializer=Upper(), result_storage=storage, persist_result=True, cache_key_fn=lambda *a: "k")
        def work():
            return "abc"

        assert work() == "abc"
        assert work.with_options(cache_result_in_memory=False)() in {"ABC", "abc"}

    def test_unknown_name(self) -> None:
        with pytest.raises(Exception, match=r"nonsense"):
            task(lambda: 1, name="x", result_serializer="nonsense", persist_result=True)()

    def test_lambdas_and_local_classes_pickle(self) -> None:
        class Local:
            pass

        serializer = serializers.PickleSerializer()
        assert serializer.loads(serializer.dumps(lambda: 5))() == 5
        assert type(serializer.loads(serializer.dumps(Local()))).__name__ == "Local"

    def test_compression_compresses(self) -> None:
        plain, small = serializers.PickleSerializer(), serializers.CompressedPickleSerializer()
        assert len(small.dumps("a" * 10_000)) < len(plain.dumps("a" * 10_000)) / 10


class Unpicklable:
    def __reduce__(self):
        raise TypeError("not me")


def test_a_value_that_cannot_be_stored(colour: Colour, storage) -> None:
    @colour.task(result_storage=storage, persist_result=True, name="the task")
    async def work():
        return Unpicklable()

    @colour.flow
    async def main():
        state = await colour(work, return_state=True)
        return state.name, state.message

    name, message = colour.run(main)
    assert name == "Failed" or isinstance(colour.run(work), Unpicklable)
    if not ON_PEER:
        assert "the task" in message
        assert "not me" in message


def test_the_same_value_is_fine_when_nothing_is_stored() -> None:
    @task
    def work():
        return Unpicklable()

    @flow
    def main():
        return isinstance(work(), Unpicklable), isinstance(work.submit().result(), Unpicklable)

    assert main() == (True, True)


def test_a_result_that_is_gone_says_where_it_was(tmp_path: Path, storage) -> None:
    @task(result_storage=storage, result_storage_key="gone.bin", cache_result_in_memory=False)
    def work():
        return 1

    state = work(return_state=True)
    for path in files(tmp_path / "storage"):
        path.unlink()
    read_back = import_module("states").Completed(data=state.data.metadata)
    with pytest.raises(Exception, match=r"gone\.bin"):
        read_back.result(retry_result_failure=False)


def test_a_missing_result_is_said_to_be_missing() -> None:
    states = import_module("states")
    with pytest.raises(exceptions.MissingResult, match=r"(?i)persist"):
        states.Completed().result()


def test_failed_runs_keep_their_exception(colour: Colour) -> None:
    @colour.task(persist_result=True)
    async def work():
        raise ValueError("kept")

    state = colour.run(work, return_state=True)
    with pytest.raises(ValueError, match="kept"):
        colour.value_of(state)


class TestStore:
    def test_write_and_read(self, storage, unique: str) -> None:
        store = results.ResultStore(result_storage=filesystems.LocalFileSystem(basepath=str(storage)))
        store.write(key=unique, obj={"a": 1})
        assert store.exists(unique)
        assert store.read(unique).result == {"a": 1}
        assert not store.exists("other" + unique)

    def test_in_task_code(self, storage) -> None:
        @task(result_storage=storage)
        def work():
            return results.get_result_store().result_storage.basepath

        assert Path(work()) == storage

    def test_locks_need_a_manager(self, storage, unique: str) -> None:
        store = results.ResultStore(result_storage=filesystems.LocalFileSystem(basepath=str(storage)))
        with pytest.raises(exceptions.ConfigurationError if hasattr(exceptions, "ConfigurationError") else Exception):
            store.acquire_lock(unique)

    @pytest.mark.parametrize("kind", ["memory", "filesystem"])
    def test_locks(self, storage, unique: str, kind: str, tmp_path: Path) -> None:
        if kind == "memory":
            manager = import_module("locking.memory").MemoryLockManager()
        else:
            manager = import_module("locking.filesystem").FileSystemLockManager(tmp_path / "locks")
        file_system = filesystems.LocalFileSystem(basepath=str(storage))
        mine = results.ResultStore(result_storage=file_system, lock_manager=manager)
        assert mine.acquire_lock(unique, "me") is True
        assert mine.is_locked(unique)
        assert mine.is_lock_holder(unique, "me")
        assert not mine.is_lock_holder(unique, "other")
        assert mine.acquire_lock(unique, "other", timeout=0.01) is False
        assert mine.wait_for_lock(unique, timeout=0.01) is False
        mine.release_lock(unique, "me")
        assert not mine.is_locked(unique)
        assert mine.wait_for_lock(unique, timeout=1) is True


@riverrun_only("values of 50 MB are stored and read back")
def test_big_values(storage) -> None:
    value = b"\x00" * 50_000_000

    @task(result_storage=storage, persist_result=True, cache_result_in_memory=False)
    def work():
        return value

    assert work(return_state=True).result() == value


def test_flow_results(tmp_path: Path) -> None:
    @flow(persist_result=True, result_storage=tmp_path / "s", cache_result_in_memory=False)
    def main():
        return {"deep": [1, 2]}

    state = main(return_state=True)
    assert state.result() == {"deep": [1, 2]}
    assert len(files(tmp_path / "s")) == 1


def test_nothing_is_written_outside_the_storage(tmp_path: Path) -> None:
    @task(result_storage=tmp_path / "s", result_storage_key="../../escaped")
    def work():
        return 1

    work(return_state=True)
    assert not (tmp_path.parent / "escaped").exists()
    assert not (tmp_path / "escaped").exists()


def test_a_record_that_a_task_returns_stands_for_its_value(colour: Colour) -> None:
    @colour.task
    async def work():
        return results.ResultStore().create_result_record(42)

    assert colour.run(work) == 42
    assert colour.value_of(colour.run(work, return_state=True)) == 42


@pytest.mark.parametrize(
    ("of_tasks", "by_default", "of_flow", "expected"),
    [
        (None, True, None, True),
        (None, True, False, False),
        (None, False, True, True),
        (None, False, None, False),
        (True, False, False, True),
        (False, True, True, False),
    ],
)
def test_who_decides_whether_a_task_persists(of_tasks, by_default, of_flow, expected: bool) -> None:
    changes = {setting("RESULTS_PERSIST_BY_DEFAULT"): by_default}
    if of_tasks is not None:
        changes[setting("TASKS_DEFAULT_PERSIST_RESULT")] = of_tasks
    with settings.temporary_settings(changes):

        @task
        def kept() -> bool:
            return results.should_persist_result()

        @flow(persist_result=of_flow)
        def main():
            return kept(), kept.with_options(persist_result=True)(), kept.with_options(persist_result=False)()

        assert main() == (expected, True, False)


def test_tasks_in_tasks_persist_as_the_task_around(unique: str) -> None:
    @task
    def inner(x) -> bool:
        return results.should_persist_result()

    @task
    def outer(x) -> bool:
        return inner(x)

    @flow
    def main():
        return [outer.with_options(persist_result=persist)(unique + str(persist)) for persist in (True, False, None)]

    assert main() == [True, False, False]
