"""Blocks on a server: saving, loading, changing, nesting, deleting; results in saved blocks."""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from riverrun import flow, task
from riverrun.blocks.core import Block, BlockNotSavedError
from riverrun.blocks.system import Secret
from riverrun.filesystems import LocalFileSystem, RemoteFileSystem
from riverrun.results import resolve_result_storage
from tests.faces import shapes


def test_a_block_comes_back(server):
    block = shapes.Secrets(token="t", raw=b"r", many={"a": 1}, inside={"k": "v"}, either={"x": [2]}, number=4)
    document_id = block.save("all-secrets")
    found = shapes.Secrets.load("all-secrets")
    assert found == block
    assert found._block_document_id == document_id == block._block_document_id
    assert found._block_document_name == "all-secrets"
    assert found.many.get_secret_value() == {"a": 1}
    assert found.either.get_secret_value() == {"x": [2]}
    assert Block.load("secrets/all-secrets") == block


def test_secrets_are_hidden_from_those_who_do_not_ask(server):
    shapes.Child(name="n", secret="hush").save("hidden", overwrite=True)
    shown = server.get("/block_types/slug/child/block_documents/name/hidden").json()
    assert "hush" not in json.dumps(shown)
    assert shown["data"]["name"] == "n"


def test_a_taken_name_is_an_error_unless_overwritten(server):
    first = shapes.Plain(message="one")
    first_id = first.save("taken")
    with pytest.raises(ValueError, match=r"already in use.*overwrite=True"):
        shapes.Plain(message="two").save("taken")
    assert shapes.Plain(message="two").save("taken", overwrite=True) == first_id
    assert shapes.Plain.load("taken").message == "two"
    loaded = shapes.Plain.load("taken")
    loaded.count = 9
    loaded.save(overwrite=True)  # under the name it was loaded by
    assert shapes.Plain.load("taken").count == 9
    with pytest.raises(BlockNotSavedError, match="placeholder"):
        shapes.Plain(message="x").get_block_placeholder()
    with pytest.raises(ValueError, match="under a name"):
        shapes.Plain(message="x").save()


def test_nested_blocks_are_kept_by_reference(server):
    child = shapes.Child(name="n", secret="s")
    child.save("inner", overwrite=True)
    shapes.Parent(child=child).save("outer", overwrite=True)
    shapes.Child(name="changed", secret="s").save("inner", overwrite=True)
    found = shapes.Parent.load("outer")
    assert found.child.name == "changed"
    assert found.child._block_document_name == "inner"
    assert found.get_block_placeholder() == "prefect.blocks.parent.outer"
    shapes.GrandParent(parent=found).save("eldest", overwrite=True)
    eldest = shapes.GrandParent.load("eldest")
    assert eldest.parent.child.secret.get_secret_value() == "s"
    assert eldest.parent._block_document_name == "outer"


def test_blocks_in_containers_and_unions(server):
    block = shapes.Containers(listed=[{"name": "a", "secret": "1"}], mapped={"x": {"message": "m"}})
    block.save("containers", overwrite=True)
    assert shapes.Containers.load("containers") == block
    union = shapes.UnionOfBlocks(held=shapes.Plain(message="p"))
    union.save("union", overwrite=True)
    assert type(shapes.UnionOfBlocks.load("union").held) is shapes.Plain


@pytest.mark.parametrize(
    "block",
    [
        shapes.Various(url="http://a.b/c", flags={"x"}, nested={"a": [{"b": None}]}, anything=[1, "two"]),
        shapes.Aliased(schema="s", **{"class": "c"}),
        shapes.WithModels(options={"password": "p", "color": "red"}, deeper={"options": {}}),
        shapes.Slugged(value=3),
        shapes.Overridden(value=1.5),
        shapes.Generics[int](value=4),
    ],
    ids=lambda block: type(block).__name__.partition("[")[0],
)
def test_shapes_come_back(server, block):
    block.save("shape", overwrite=True)
    assert type(block).load("shape") == block


def test_references(server):
    block = shapes.Plain(message="by reference")
    document_id = block.save("referred", overwrite=True)
    for reference in (document_id, str(document_id), {"block_document_id": document_id}):
        assert Block.load_from_ref(reference) == block
    assert shapes.Plain.load_from_ref({"block_document_slug": "referred"}) == block
    assert Block.load_from_ref({"block_document_slug": "plain/referred"}) == block
    assert block.model_dump(context={"serialize_blocks_as_references": True}) == {
        "$ref": {"block_document_id": str(document_id)}
    }
    with pytest.raises(Exception, match="save it first"):
        shapes.Plain(message="x").model_dump(context={"serialize_blocks_as_references": True})
    for wrong, said in [({}, "Invalid reference"), ("nonsense", "not a valid UUID")]:
        with pytest.raises(ValueError, match=said):
            Block.load_from_ref(wrong)
    with pytest.raises(ValueError, match="Unable to find block document with ID"):
        Block.load_from_ref("00000000-0000-4000-8000-000000000000")


def test_what_is_not_there(server):
    with pytest.raises(ValueError, match="Unable to find block document named nope for block type plain"):
        shapes.Plain.load("nope")
    with pytest.raises(ValueError, match="Unable to find"):
        shapes.Plain.delete("nope")
    with pytest.raises(ValueError, match="type and name"):
        Block.load("nope")


def test_delete(server):
    shapes.Plain(message="x").save("deleted", overwrite=True)
    Block.delete("plain/deleted")
    with pytest.raises(ValueError, match="Unable to find"):
        shapes.Plain.load("deleted")


def test_a_class_that_grew_loads_without_validation(server):
    class Growing(Block):
        message: str

    Growing(message="old").save("growing")

    class Growing(Block):
        message: str
        ducks: int

    with pytest.raises(RuntimeError, match=r"(?s)Unable to load 'growing'.*validate=False"):
        Growing.load("growing")
    with pytest.warns(UserWarning, match="ducks"):
        found = Growing.load("growing", validate=False)
    assert (found.message, found.ducks) == ("old", None)
    found.ducks = 3
    found.save("growing", overwrite=True)
    assert Growing.load("growing").ducks == 3


def test_registering_again_changes_how_the_type_looks(server):
    class Looking(Block):
        """First."""

    Looking.register_type_and_schema()
    Looking._description = "Second <b>."
    Looking.register_type_and_schema()
    Looking.register_type_and_schema()
    assert server.get("/block_types/slug/looking").json()["description"] == "Second <b>."


def test_async_code_awaits(server):
    async def main():
        block = shapes.Plain(message="async")
        await block.save("async", overwrite=True)
        assert await shapes.Plain.load("async") == block
        assert await Block.aload("plain/async") == block
        await shapes.Plain.register_type_and_schema()
        await shapes.Plain.adelete("async")
        with pytest.raises(ValueError, match="Unable to find"):
            await shapes.Plain.aload("async")

    asyncio.run(main())


@pytest.mark.parametrize("value", ["plain", '{"a": 1}', {"user": "u", "n": [1]}, 5])
def test_secret(server, value):
    Secret(value=value).save("secret", overwrite=True)
    found = Secret.load("secret")
    assert found.get() == (json.loads(value) if value == '{"a": 1}' else value)
    assert str(value) not in repr(found)
    assert Secret(value=SecretStr("x")).get() == "x"


# -- file systems


def test_file_systems_are_saved(server, tmp_path):
    local = LocalFileSystem(basepath=tmp_path / "base")
    local.save("files", overwrite=True)
    assert LocalFileSystem.load("files") == local == Block.load("local-file-system/files")
    remote = RemoteFileSystem(basepath="memory://faces", settings={"skip_instance_cache": True})
    remote.save("far", overwrite=True)
    assert RemoteFileSystem.load("far").settings == {"skip_instance_cache": True}


def test_results_in_a_saved_block(server, tmp_path, monkeypatch):
    LocalFileSystem(basepath=tmp_path / "results").save("results", overwrite=True)
    storage = LocalFileSystem.load("results")

    @task(persist_result=True, result_storage=storage, result_storage_key="one")
    def one():
        return {"a": 1}

    @task(persist_result=True, result_storage="local-file-system/results", result_storage_key="two")
    def two():
        return 2

    @task(persist_result=True, result_storage_key="three")
    def three():
        return 3

    @flow
    def storing():
        return one(return_state=True), two(return_state=True)

    first, second = storing()
    assert first.data.metadata.storage_block_id == storage._block_document_id
    assert first.data.metadata.storage_key == "one"
    assert (tmp_path / "results" / "one").is_file()
    assert (tmp_path / "results" / "two").is_file()
    assert (first.result(), second.result()) == ({"a": 1}, 2)
    monkeypatch.setenv("RIVERRUN_RESULTS_DEFAULT_STORAGE_BLOCK", "local-file-system/results")
    three()
    assert (tmp_path / "results" / "three").is_file()
    with pytest.raises(ValueError, match="named nope"):
        resolve_result_storage("local-file-system/nope")
    shapes.Plain(message="x").save("plain", overwrite=True)
    with pytest.raises(TypeError, match="write_path"):
        resolve_result_storage("plain/plain")


def test_directories(tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.py").write_text("a")
    (source / "deep" / "b.txt").write_text("b")
    (source / "skip.log").write_text("no")
    ignore = tmp_path / "ignore"
    ignore.write_text("# logs\n*.log\n")
    for name, storage in {
        "local": LocalFileSystem(basepath=tmp_path / "kept"),
        "remote": RemoteFileSystem(basepath=f"memory://{tmp_path.name}"),
    }.items():
        storage.put_directory(local_path=str(source), to_path="code", ignore_file=str(ignore))
        target = tmp_path / f"back-{name}"
        target.mkdir()
        storage.get_directory(from_path="code", local_path=str(target))
        found = {str(Path(path).relative_to(target)) for path in target.rglob("*") if path.is_file()}
        assert found == {"a.py", "deep/b.txt"}, name
        storage.write_path("code/a.py", b"mine")
        storage.put_directory(local_path=str(source), to_path="code", overwrite=False)
        assert (storage.read_path("code/a.py"), storage.read_path("code/skip.log")) == (b"mine", b"no")


def test_light_storages_and_blocks_are_equal(tmp_path):
    from riverrun import storages

    assert storages.LocalFileSystem(basepath=tmp_path) == LocalFileSystem(basepath=tmp_path)
    assert hash(storages.LocalFileSystem(tmp_path)) == hash(LocalFileSystem(basepath=tmp_path))
    assert storages.LocalFileSystem(basepath=tmp_path) != LocalFileSystem(basepath=tmp_path / "x")
