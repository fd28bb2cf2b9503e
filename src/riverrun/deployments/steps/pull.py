"""Steps that bring code to where it is run, or put it where it can be fetched from."""

import os
import time
from pathlib import Path
from typing import Any

from riverrun.base.errors import InputError
from riverrun.base.loops import in_thread
from riverrun.deployments import remote
from riverrun.deployments.git import GitError
from riverrun.deployments.sources import GitRepository, RemoteStorage
from riverrun.utilities.colours import by_colour, complete

#: a host that does not answer is asked again after so many seconds
_AGAIN = (1.0, 3.0)


def set_working_directory(directory: str) -> dict[str, str]:
    """Work in this directory."""
    path = Path(directory).expanduser().resolve()
    if not path.is_dir():
        raise InputError(f"There is no directory {str(path)!r} on this machine.")
    os.chdir(path)
    return {"directory": str(path)}


async def agit_clone(repository: str, **options: Any) -> dict[str, str]:
    """As `git_clone`, awaited."""
    return await in_thread(git_clone.sync, repository, **options)  # type: ignore[attr-defined] # by_colour gives it


@by_colour(agit_clone)
def git_clone(
    repository: str,
    branch: str | None = None,
    commit_sha: str | None = None,
    include_submodules: bool = False,
    access_token: str | None = None,
    credentials: Any = None,
    directories: list[str] | None = None,
    clone_directory_name: str | None = None,
) -> dict[str, str]:
    """Clone a repository below the working directory, or bring the clone there up to date; its directory."""
    if access_token and credentials:
        raise InputError("Give either access_token or credentials.")
    source = GitRepository(
        repository,
        credentials={"access_token": access_token} if access_token else credentials,
        name=clone_directory_name,
        branch=branch,
        commit_sha=commit_sha,
        include_submodules=include_submodules,
        directories=directories,
    )
    for pause in (*_AGAIN, None):
        try:
            source._pull()
            break
        except GitError as error:
            if pause is None or not _may_pass(str(error)):
                raise
            time.sleep(pause)
    return {"directory": str(source.destination)}


def _may_pass(said: str) -> bool:
    """Whether what git complains about may be over soon."""
    signs = ("could not resolve host", "timed out", "connection reset", "connection refused", "early eof", "http 5")
    return any(sign in said.lower() for sign in signs)


def pull_from_remote_storage(url: str, **settings: Any) -> dict[str, str]:
    """Fetch a directory from a URL that fsspec knows; `settings` are given to its file system."""
    source = RemoteStorage(url, **settings)
    source._pull()
    return {"directory": str(source.destination)}


def push_to_remote_storage(
    url: str, directory: str | None = None, ignore_file: str | None = None, **settings: Any
) -> dict[str, Any]:
    """Put a directory (the working directory) to a URL that fsspec knows, but for what its ignore file leaves out."""
    sent = remote.put(Path(directory or ".").expanduser().resolve(), url, settings, ignore_file)
    return {"url": url, "files": sent}


def pull_with_block(block_document_name: str, block_type_slug: str) -> dict[str, str]:
    """Fetch a directory from a block that is kept on the server."""
    from riverrun.blocks.core import Block

    target = Path.cwd() / f"{block_type_slug}-{block_document_name}".replace("/", "_")
    target.mkdir(parents=True, exist_ok=True)
    block = complete(Block.load(f"{block_type_slug}/{block_document_name}"))
    if not hasattr(block, "get_directory"):
        raise InputError(f"No directory can be fetched from block {block_type_slug}/{block_document_name}.")
    complete(block.get_directory(local_path=str(target)))
    return {"directory": str(target)}
