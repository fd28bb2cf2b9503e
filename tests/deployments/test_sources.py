"""Where code comes from: git by its program, fsspec, directories; and what may not be taken for an option or a command."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from riverrun.base.errors import InputError
from riverrun.blocks.system import Secret
from riverrun.deployments.git import (
    GitError,
    check_commit,
    check_directory,
    check_ref,
    check_url,
    git,
    with_access,
    without_secrets,
)
from riverrun.deployments.sources import GitRepository, LocalStorage, RemoteStorage, create_storage_from_source
from riverrun.deployments.steps import git_clone, pull_from_remote_storage, push_to_remote_storage
from riverrun.utilities.ignoring import files_of

FLOW = "from riverrun import flow\n\n@flow\ndef etl(n: int = {n}):\n    return n\n"


def run_git(place: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *arguments], cwd=place, env={**os.environ, **identity}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a flow, a second branch and a directory beside."""
    place = tmp_path / "origin"
    place.mkdir()
    run_git(place, "init", "--quiet", "-b", "main")
    (place / "flows.py").write_text(FLOW.format(n=1))
    (place / "big").mkdir()
    (place / "big" / "data.txt").write_text("data")
    (place / "small").mkdir()
    (place / "small" / "x.txt").write_text("x")
    run_git(place, "add", ".")
    run_git(place, "commit", "--quiet", "-m", "first")
    run_git(place, "checkout", "--quiet", "-b", "feature/two")
    (place / "flows.py").write_text(FLOW.format(n=2))
    run_git(place, "commit", "--quiet", "-am", "second")
    run_git(place, "checkout", "--quiet", "main")
    return place


def test_a_branch_a_commit_and_the_default_are_fetched_and_followed(repository: Path, tmp_path: Path) -> None:
    commit = run_git(repository, "rev-parse", "HEAD")
    plain, branch, fixed = (
        GitRepository(str(repository)),
        GitRepository(str(repository), branch="feature/two"),
        GitRepository(str(repository), commit_sha=commit[:12], name="fixed"),
    )
    for each in (plain, branch, fixed):
        each.set_base_path(tmp_path / "clones")
        each.pull_code()
    assert plain.destination.name == "origin"
    assert branch.destination.name == "origin-feature-two"
    assert "n: int = 2" in (branch.destination / "flows.py").read_text()
    (repository / "flows.py").write_text(FLOW.format(n=3))
    run_git(repository, "commit", "--quiet", "-am", "third")
    (plain.destination / "flows.py").write_text("somebody was here")
    for each in (plain, fixed):
        each.pull_code()
    assert "n: int = 3" in (plain.destination / "flows.py").read_text()
    assert "n: int = 1" in (fixed.destination / "flows.py").read_text()
    assert not [name for name in os.listdir(tmp_path / "clones") if name.startswith(".")]


def test_in_async_code_fetching_is_awaited(repository: Path, tmp_path: Path) -> None:
    source = GitRepository(str(repository), directories=["small"])
    source.set_base_path(tmp_path / "clones")

    async def fetch() -> None:
        await source.pull_code()

    asyncio.run(fetch())
    assert (source.destination / "small" / "x.txt").exists()
    assert not (source.destination / "big").exists()


def test_two_at_once_get_one_whole_clone(repository: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def fetch(_: int) -> Path:
        source = GitRepository(str(repository))
        source.set_base_path(tmp_path / "clones")
        source.pull_code()
        return source.destination

    with ThreadPoolExecutor(4) as pool:
        places = set(pool.map(fetch, range(4)))
    assert len(places) == 1
    assert (places.pop() / "flows.py").exists()


def test_what_stands_in_the_way_is_told_and_kept(repository: Path, tmp_path: Path) -> None:
    source = GitRepository(str(repository))
    source.set_base_path(tmp_path / "clones")
    source.destination.mkdir(parents=True)
    (source.destination / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="no clone"):
        source.pull_code()
    assert (source.destination / "mine.txt").read_text() == "mine"


def test_git_says_what_it_could_not_do(repository: Path, tmp_path: Path) -> None:
    missing = GitRepository(str(repository), branch="nobody")
    missing.set_base_path(tmp_path / "clones")
    with pytest.raises(GitError, match=r"(?s)fetch.*nobody.*name of a branch"):
        missing.pull_code()
    gone = GitRepository("file:///does/not/exist.git")
    gone.set_base_path(tmp_path / "clones")
    with pytest.raises(GitError, match="exist"):
        gone.pull_code()
    assert os.listdir(tmp_path / "clones") == []


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch x",
        "-u",
        "ext::sh -c touch% x",
        "fd::7",
        "",
        "https://a/b\nc",
        "foo://a/b",
        "s3::x://y",
        "just words",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InputError, match="git repository"):
        check_url(url)


@pytest.mark.parametrize("url", ["https://h/p.git", "ssh://git@h/p", "git@h:o/p.git", "git://h/p", "file:///p"])
def test_addresses_that_are_some(url: str) -> None:
    assert check_url(url) == url


def test_names_that_git_would_take_for_something_else() -> None:
    for branch in ("--upload-pack=x", "-b", "a..b", "a b", "a~1", "a:b", "x.lock", "@{1}", "", "/a"):
        with pytest.raises(InputError):
            check_ref(branch)
    for commit in ("HEAD", "--all", "abc", "abcdefg1", "1" * 65):
        with pytest.raises(InputError):
            check_commit(commit)
    for directory in ("../x", "/etc", "-x", "a/../../b", ".", "!x", "a\nb"):
        with pytest.raises(InputError):
            check_directory(directory)
    assert check_ref("feature/x-1.2") == "feature/x-1.2"


def test_the_transport_that_runs_commands_is_shut(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="not allowed"):
        git("fetch", "--quiet", "--", f"ext::touch {tmp_path / 'hit'}", cwd=_empty(tmp_path))
    assert not (tmp_path / "hit").exists()


def _empty(tmp_path: Path) -> Path:
    run_git(tmp_path, "init", "--quiet", "empty")
    return tmp_path / "empty"


def test_tokens_stay_out_of_arguments_messages_and_steps() -> None:
    url = "https://git.example/o/p.git"
    assert with_access(url, "oauth2", "s3:cr@t") == "https://oauth2:s3:cr%40t@git.example/o/p.git"
    assert "s3" not in without_secrets("fatal: https://oauth2:s3cret@git.example/o: no s3cret", ["s3cret"])
    source = GitRepository(url, credentials={"access_token": "s3cret"})
    assert "s3cret" not in repr(source)
    with pytest.raises(InputError, match="Secret block"):
        source.to_pull_step()
    with pytest.raises(InputError, match="password"):
        GitRepository("https://u:p@git.example/o/p.git").to_pull_step()
    secret = Secret(value="s3cret")
    secret._block_document_name = "token"
    step = GitRepository(url, credentials={"access_token": secret}, branch="main").to_pull_step()
    assert step == {
        "riverrun.deployments.steps.git_clone": {
            "repository": url,
            "branch": "main",
            "access_token": "{{ prefect.blocks.secret.token }}",
        }
    }
    access, secrets = GitRepository(url, credentials={"access_token": secret})._access()
    assert access == (url, "https://s3cret@git.example/o/p.git")
    assert secrets == ["s3cret"]


def test_git_reads_the_token_from_its_environment(tmp_path: Path) -> None:
    shown = git("config", "--get-regexp", r"^url\.", cwd=tmp_path, access=("https://h/p", "https://t@h/p"))
    assert shown.strip() == "url.https://t@h/p.insteadof https://h/p"


def test_the_step_clones_below_the_working_directory(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    answer = git_clone(str(repository), clone_directory_name="code")
    assert answer == {"directory": str(tmp_path / "work" / "code")}
    assert (tmp_path / "work" / "code" / "flows.py").exists()


def test_what_an_address_means() -> None:
    kinds = {
        "https://github.com/o/p": GitRepository,
        "https://h/p.git": GitRepository,
        "git@github.com:o/p.git": GitRepository,
        "ssh://git@h/p": GitRepository,
        "s3://bucket/flows": RemoteStorage,
        "memory://flows": RemoteStorage,
        "https://files.example/flows": RemoteStorage,
        "/srv/flows": LocalStorage,
        "file:///srv/flows": LocalStorage,
        "./flows": LocalStorage,
    }
    assert {source: type(create_storage_from_source(source)) for source in kinds} == kinds
    assert create_storage_from_source("file:///srv/flows").destination == Path("/srv/flows")


def test_directories_at_urls_go_there_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, place = tmp_path / "project", tmp_path / "work"
    for name in (
        "flows.py",
        "pkg/deep/mod.py",
        "pkg/__pycache__/mod.pyc",
        "secrets.env",
        "data/x.csv",
        "data/keep.csv",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / ".prefectignore").write_text("# no\n__pycache__/\n*.env\n/data/*\n!data/keep.csv\n")
    place.mkdir()
    monkeypatch.chdir(place)
    url = f"memory://bucket-{tmp_path.name}/flows"
    assert push_to_remote_storage(url, str(source)) == {"url": url, "files": 4}
    where = Path(pull_from_remote_storage(url)["directory"])
    files = {str(path.relative_to(where)) for path in where.rglob("*") if path.is_file()}
    assert files == {"flows.py", "pkg/deep/mod.py", ".prefectignore", "data/keep.csv"}
    (where / "stale.py").write_text("")
    pull_from_remote_storage(url)
    assert not (where / "stale.py").exists()
    with pytest.raises(InputError, match="no files"):
        pull_from_remote_storage(f"{url}/nothing")


def test_ignore_files_of_ours_win_and_patterns_are_those_of_git(tmp_path: Path) -> None:
    for name in ("a.log", "b/a.log", "b/c/d.txt", "b/c/e.txt", "f[1].txt", "keep/x", "x/y/z/w.tmp", "#odd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".prefectignore").write_text("*\n")
    (tmp_path / ".riverrunignore").write_text("/a.log\nb/**/d.txt\nf[[]1].txt\nx/**\n\\#odd\n.*ignore\n")
    run_git(tmp_path, "init", "--quiet")
    ours = {path.as_posix() for path in files_of(tmp_path) if path.parts[0] != ".git"}
    listed = run_git(tmp_path, "ls-files", "--others", "--exclude-from=.riverrunignore")
    assert ours == set(listed.splitlines())
    assert "b/a.log" in ours
    assert "a.log" not in ours
