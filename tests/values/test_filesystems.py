"""Storages: round trips, paths that are refused, files that appear whole."""

import asyncio
import os
from pathlib import Path

import pytest

from riverrun.filesystems import (
    InMemoryFileSystem,
    LocalFileSystem,
    NullFileSystem,
    RemoteFileSystem,
    WritableFileSystem,
    exists_in,
    read_from,
    storage_at,
    write_to,
)


@pytest.fixture(params=["local", "remote", "memory"])
def storage(request, tmp_path):
    return {
        "local": lambda: LocalFileSystem(basepath=tmp_path / "base"),
        "remote": lambda: RemoteFileSystem(basepath=f"memory://{tmp_path.name}-{os.getpid()}/deep"),
        "memory": lambda: InMemoryFileSystem(str(tmp_path)),
    }[request.param]()


def test_round_trip(storage):
    storage.write_path("folder/test.bin", b"\x00hello")
    assert storage.read_path("folder/test.bin") == b"\x00hello"
    storage.write_path("folder/test.bin", content=b"other")
    assert storage.read_path("folder/test.bin") == b"other"
    assert exists_in(storage, "folder/test.bin")
    assert not exists_in(storage, "folder")
    assert read_from(storage, "folder/test.bin", 2)[:2] == b"ot"
    with pytest.raises((ValueError, FileNotFoundError)):
        storage.read_path("folder/none")


def test_round_trip_in_async_code(storage):
    async def main():
        await storage.write_path("a", b"1")
        await storage.awrite_path("b", b"2")
        return (
            await storage.read_path("a"),
            await storage.aread_path("b"),
            storage.read_path.__func__.sync(storage, "a"),
        )

    assert asyncio.run(main()) == (b"1", b"2", b"1")


def test_a_whole_path_is_the_path(storage):
    where = storage.write_path("x/y", b"1")
    assert storage.read_path(where) == b"1"
    assert str(storage._resolve_path("x/y")) == str(where)


def test_equality_and_repr(storage):
    assert storage == type(storage)(**storage.model_dump())
    assert hash(storage) == hash(type(storage)(**storage.model_dump()))
    assert repr(storage).startswith(type(storage).__name__)
    assert storage != NullFileSystem()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "../base-other/x"])
def test_paths_outside_are_refused(tmp_path, path):
    local = LocalFileSystem(basepath=tmp_path / "base")
    for use in (lambda: local.write_path(path, b""), lambda: local.read_path(path)):
        with pytest.raises(ValueError, match="outside of the base path"):
            use()
    assert not (tmp_path / "x").exists()


def test_a_link_that_leads_outside_is_refused(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="outside"):
        LocalFileSystem(basepath=tmp_path / "base").write_path("link/x", b"")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../x", "outside of the base path"),
        ("a/../../x", "outside of the base path"),
        ("memory://root/bar/x", "outside of the base path"),
        ("memory://root/foobar", "outside of the base path"),
        ("file://root/foo/x", "with scheme 'file' must use the same scheme as the base path 'memory'"),
    ],
)
def test_urls_outside_are_refused(path, message):
    with pytest.raises(ValueError, match=message):
        RemoteFileSystem(basepath="memory://root/foo").write_path(path, b"")


def test_bad_bases_are_refused():
    with pytest.raises(ValueError, match="must start with a scheme"):
        RemoteFileSystem(basepath="foo")
    with pytest.raises(ValueError, match="must include a location after the scheme"):
        RemoteFileSystem(basepath="memory://")
    with pytest.raises(ValueError, match="use LocalFileSystem"):
        RemoteFileSystem(basepath="file:///x")
    with pytest.raises(ValueError, match="'nope://x' cannot be opened"):
        RemoteFileSystem(basepath="nope://x").write_path("a", b"")


def test_what_is_not_a_file(tmp_path):
    local = LocalFileSystem(basepath=tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="is not a file"):
        local.read_path("folder")
    with pytest.raises(ValueError, match="does not exist"):
        local.read_path("none")
    with pytest.raises(ValueError, match="too long"):
        local.write_path("n" * 300, b"")
    with pytest.raises(ValueError, match="cannot be a path"):
        local.write_path("a\0b", b"")


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    local = LocalFileSystem(basepath=tmp_path)
    local.write_path("a", b"old")
    with pytest.raises(TypeError):
        local.write_path("a", "not bytes")
    assert local.read_path("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    import resource

    local = LocalFileSystem(basepath=tmp_path)
    local.write_path("a", b"old")
    pid = os.fork()
    if pid == 0:  # a limit on the size of files stands for a full disk; it holds for this child only
        import signal

        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            local.write_path("a", b"x" * 100_000)
        except OSError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert local.read_path("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_without_a_base_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LocalFileSystem().write_path("here", b"1")
    assert (tmp_path / "here").read_bytes() == b"1"
    assert LocalFileSystem().read_path(str(tmp_path / "here")) == b"1"


def test_locations():
    assert (
        storage_at("/a/b") == LocalFileSystem(basepath="/a/b") == storage_at(Path("/a/b")) == storage_at("file:///a/b")
    )
    assert storage_at("s3://bucket/x") == RemoteFileSystem(basepath="s3://bucket/x")
    assert storage_at("inmemory://name") == InMemoryFileSystem("name")


def test_memory_is_shared_by_name():
    InMemoryFileSystem("shared").write_path("a", b"1")
    assert InMemoryFileSystem("shared").read_path("a") == b"1"
    assert not exists_in(InMemoryFileSystem("other"), "a")
    InMemoryFileSystem("shared").clear()
    assert not exists_in(InMemoryFileSystem("shared"), "a")


class AsyncStorage(WritableFileSystem):
    """A user's, with async methods."""

    files: dict[str, bytes] = {}

    async def read_path(self, path):
        await asyncio.sleep(0)
        return self.files[path]

    async def write_path(self, path, content):
        await asyncio.sleep(0)
        self.files[path] = content


class Reversing(LocalFileSystem):
    """A user's, with another meaning of reading and writing."""

    def read_path(self, path):
        return LocalFileSystem._get(self, path)[::-1]

    def write_path(self, path, content):
        return LocalFileSystem._put(self, path, content[::-1])


def test_users_storages(tmp_path):
    for own in (AsyncStorage(), Reversing(basepath=tmp_path)):
        write_to(own, "a", b"abc")
        assert read_from(own, "a") == b"abc"
        assert exists_in(own, "a")
        assert not exists_in(own, "b")
    assert (tmp_path / "a").read_bytes() == b"cba"

    async def main(own):
        return read_from(own, "a")

    filled = AsyncStorage()
    write_to(filled, "a", b"1")
    assert asyncio.run(main(filled)) == b"1"
