"""Where the code of flows comes from: a directory of this machine, a git repository, a URL that fsspec knows, a block.

Each can `pull_code` into `destination`, below a base directory (the working directory, unless `set_base_path` says another),
and can be written down as the step by which whoever runs a deployment fetches the code.
"""

import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypedDict, runtime_checkable
from urllib.parse import urlsplit
from uuid import uuid4

from riverrun.base.errors import InputError
from riverrun.base.loops import in_thread
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
from riverrun.utilities.colours import by_colour

__all__ = [
    "BlockStorageAdapter",
    "GitCredentials",
    "GitRepository",
    "LocalStorage",
    "RemoteStorage",
    "RunnerStorage",
    "create_storage_from_source",
]

STEPS = "riverrun.deployments.steps"
#: their repositories have addresses with and without .git at the end
_GIT_HOSTS = frozenset({"github", "gitlab", "bitbucket", "codeberg"})


@runtime_checkable
class RunnerStorage(Protocol):
    """What a source of code can do. Classes of users with these methods are taken, too."""

    def set_base_path(self, path: Path) -> None: ...

    @property
    def destination(self) -> Path: ...

    @property
    def pull_interval(self) -> int | None: ...

    def pull_code(self) -> Any: ...

    def to_pull_step(self) -> dict[str, Any] | list[dict[str, Any]] | None: ...


class GitCredentials(TypedDict, total=False):
    """What opens a repository; the token may be a Secret block."""

    username: str
    access_token: Any


async def _apull(self: "_Source") -> None:
    await in_thread(self._pull)


class _Source:
    """What the sources share."""

    def __init__(self, name: str, pull_interval: int | None) -> None:
        self._name = name
        self._base = Path.cwd()
        self._pull_interval = pull_interval

    def set_base_path(self, path: Path) -> None:
        """Fetch the code below this directory from now on."""
        self._base = Path(path)

    @property
    def destination(self) -> Path:
        """Where the code is once it is fetched."""
        return self._base / self._name

    @property
    def pull_interval(self) -> int | None:
        """Seconds between two looks whether the code has changed; None: no looks."""
        return self._pull_interval

    def _pull(self) -> None:
        raise NotImplementedError

    @by_colour(_apull)
    def pull_code(self) -> None:
        """Fetch the code, or bring what is there to what the source has now."""
        self._pull()

    def _key(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Source) and type(self) is type(other) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(repr(self._key()))


class LocalStorage(_Source):
    """A directory of this machine."""

    def __init__(self, path: str | Path, pull_interval: int | None = None) -> None:
        super().__init__("", pull_interval)
        self._path = Path(path).expanduser().resolve()

    @property
    def destination(self) -> Path:
        return self._path

    def _pull(self) -> None:
        if not self._path.is_dir():
            raise InputError(f"There is no directory {str(self._path)!r} on this machine.")

    def to_pull_step(self) -> dict[str, Any]:
        return {f"{STEPS}.set_working_directory": {"directory": str(self._path)}}

    def _key(self) -> tuple[Any, ...]:
        return (self._path,)

    def __repr__(self) -> str:
        return f"LocalStorage(path={str(self._path)!r})"


class GitRepository(_Source):
    """A git repository.

    `credentials` are a dictionary with `access_token` and perhaps `username`, or a block that has such fields. `branch` may be
    a tag; `commit_sha` wins over it. `directories` fetches only those (a sparse checkout). Raises InputError for values that
    git would take for something else.

    Example:
        ```python
        from riverrun.runner.storage import GitRepository

        source = GitRepository("https://github.com/org/flows.git", branch="main")
        flow.from_source(source, "etl.py:main").deploy("daily", work_pool_name="machines")
        ```
    """

    def __init__(
        self,
        url: str,
        credentials: Any = None,
        name: str | None = None,
        branch: str | None = None,
        commit_sha: str | None = None,
        include_submodules: bool = False,
        pull_interval: int | None = 60,
        directories: list[str] | None = None,
    ) -> None:
        self._url = check_url(url)
        self._branch = None if branch is None else check_ref(branch)
        self._commit = None if commit_sha is None else check_commit(commit_sha)
        self._directories = [check_directory(each) for each in directories or ()]
        self._include_submodules = include_submodules
        self._credentials = credentials
        if isinstance(credentials, dict) and credentials.get("username") and not credentials.get("access_token"):
            raise InputError("A user name alone opens no repository: give an access_token beside it.")
        last = PurePosixPath(urlsplit(self._url).path.rstrip("/") or self._url).name.rpartition(":")[2]
        given = name or "-".join(filter(None, (last.removesuffix(".git"), (branch or "").replace("/", "-"))))
        super().__init__(check_directory(given, "directory for the clone"), pull_interval)

    # -- what opens it -----------------------------------------------------------------------------------------------

    def _access(self) -> tuple[tuple[str, str] | None, list[str]]:
        """The address with what opens it, and the secrets in that."""
        if self._credentials is None:
            return None, []
        formatted = getattr(self._credentials, "format_git_credentials", None)
        if formatted is not None:  # a block of a collection that knows its host's ways
            opened = str(formatted(self._url))
            return (self._url, opened), [
                part for part in (urlsplit(opened).password, urlsplit(opened).username) if part
            ]
        user, token = _name_and_token(self._credentials)
        if token is None:
            return None, []
        return (self._url, with_access(self._url, user or _usual_name(self._url, token), token)), [token]

    def _git(self, *arguments: str, cwd: Path | None = None, stdin: str | None = None) -> str:
        access, secrets = self._access()
        return git(*arguments, cwd=cwd, access=access, secrets=secrets, stdin=stdin)

    # -- fetching ----------------------------------------------------------------------------------------------------

    def _pull(self) -> None:
        target = self.destination
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            self._clone(target)
            return
        if not (target / ".git").exists():
            raise InputError(f"{str(target)!r} exists and is no clone of {without_secrets(self._url)!r}: move it away.")
        origin = git("config", "--get", "remote.origin.url", cwd=target).strip()
        if origin != self._url:
            raise InputError(
                f"{str(target)!r} is a clone of {without_secrets(origin)!r}, not of {without_secrets(self._url)!r}."
            )
        self._bring_up_to_date(target)

    def _clone(self, target: Path) -> None:
        """Clone beside the target, then put it there: nobody sees half of a clone."""
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
        try:
            self._git("init", "--quiet", "--", str(draft))
            self._git("remote", "add", "--", "origin", self._url, cwd=draft)
            if self._directories:
                self._git("sparse-checkout", "set", "--stdin", cwd=draft, stdin="\n".join(self._directories))
            self._bring_up_to_date(draft)
            with suppress(OSError):
                target.rmdir()  # if it is empty
            try:
                draft.rename(target)
            except OSError:
                if not (target / ".git").exists():  # else another process was faster, and has the same
                    raise
        finally:
            if draft.exists():
                shutil.rmtree(draft, ignore_errors=True)

    def _bring_up_to_date(self, clone: Path) -> None:
        if self._commit is not None and self._has(clone, self._commit):
            wanted = self._commit
        else:
            wanted = self._fetch(clone)
        self._git("checkout", "--quiet", "--force", "--detach", wanted, "--", cwd=clone)
        if self._include_submodules:
            self._git("submodule", "update", "--init", "--recursive", "--force", "--depth", "1", cwd=clone)

    def _fetch(self, clone: Path) -> str:
        """Fetch what is wanted; what to check out."""
        options = ["--quiet", "--no-tags", "--depth", "1", *(["--filter=blob:none"] if self._directories else [])]
        if self._commit is None:
            self._git("fetch", *options, "--", "origin", self._branch or "HEAD", cwd=clone)
            return "FETCH_HEAD"
        try:
            self._git("fetch", *options, "--", "origin", self._commit, cwd=clone)
        except GitError:  # not every server gives single commits, and none gives abbreviated ones
            self._git("fetch", "--quiet", "--tags", "--", "origin", "+refs/heads/*:refs/remotes/origin/*", cwd=clone)
        return self._commit

    def _has(self, clone: Path, commit: str) -> bool:
        try:
            git("cat-file", "-e", f"{commit}^{{commit}}", cwd=clone)
        except GitError:
            return False
        return True

    # -- as a step ---------------------------------------------------------------------------------------------------

    def to_pull_step(self) -> dict[str, Any]:
        """The step `git_clone`. Raises InputError for a token that would have to be written down."""
        options: dict[str, Any] = {"repository": self._url}
        if self._branch is not None:
            options["branch"] = self._branch
        if self._commit is not None:
            options["commit_sha"] = self._commit
        if self._include_submodules:
            options["include_submodules"] = True
        if self._directories:
            options["directories"] = self._directories
        if urlsplit(self._url).password:
            raise InputError("The address holds a password: give it as `credentials` with a saved Secret block.")
        return {f"{STEPS}.git_clone": options | self._credentials_step()}

    def _credentials_step(self) -> dict[str, Any]:
        given = self._credentials
        if given is None:
            return {}
        if not isinstance(given, dict):
            return {"credentials": f"{{{{ {given.get_block_placeholder()} }}}}"}
        token = given.get("access_token")
        if token is None:
            return {}
        if not hasattr(token, "get_block_placeholder"):
            raise InputError(
                "The access token would be kept in the deployment as plain text: save it as a Secret block and give that,"
                " as in credentials={'access_token': Secret.load('name')}."
            )
        placeholder = f"{{{{ {token.get_block_placeholder()} }}}}"
        if not given.get("username"):
            return {"access_token": placeholder}
        return {"credentials": {"username": given["username"], "access_token": placeholder}}

    def _key(self) -> tuple[Any, ...]:
        return (self._url, self._branch, self._commit, self._name, self._include_submodules, self._directories)

    def __repr__(self) -> str:
        return (
            f"GitRepository(name={self._name!r}, url={without_secrets(self._url)!r}, branch={self._branch!r},"
            f" commit_sha={self._commit!r})"
        )


def _name_and_token(credentials: Any) -> tuple[str | None, str | None]:
    """The user name and the token of credentials of any of their kinds."""
    fields = credentials if isinstance(credentials, dict) else vars(credentials)
    user = fields.get("username")
    token: Any = next(
        (fields[name] for name in ("access_token", "token", "password", "value") if fields.get(name)), None
    )
    if hasattr(token, "get"):  # a Secret block
        token = token.get()
    if hasattr(token, "get_secret_value"):
        token = token.get_secret_value()
    if isinstance(token, dict):
        return _name_and_token(token)
    return None if user is None else str(user), None if token is None else str(token)


def _usual_name(url: str, token: str) -> str | None:
    """The user name that hosts want beside a token."""
    host = urlsplit(url).hostname or ""
    if ":" in token:  # it has its name with it
        return None
    names = {"gitlab": "oauth2", "bitbucket": "x-token-auth"}
    return next((name for part, name in names.items() if part in host), None)


class RemoteStorage(_Source):
    """A directory at any URL that fsspec knows, such as `s3://bucket/flows`; `settings` are given to its file system."""

    def __init__(self, url: str, pull_interval: int | None = 60, **settings: Any) -> None:
        scheme, separator, location = url.partition("://")
        if not separator or not location.strip("/") or not scheme.replace("+", "").isalnum():
            raise InputError(f"{url[:200]!r} is no URL of a directory: those look like s3://bucket/flows.")
        self._url, self._settings = url.rstrip("/"), settings
        super().__init__(location.strip("/").replace("..", "_"), pull_interval)

    def _pull(self) -> None:
        from riverrun.deployments.remote import fetch

        fetch(self._url, self.destination, self._settings)

    def to_pull_step(self) -> dict[str, Any]:
        options = {name: _placeholder(value) for name, value in self._settings.items()}
        return {f"{STEPS}.pull_from_remote_storage": {"url": self._url, **options}}

    def _key(self) -> tuple[Any, ...]:
        return (self._url, self._settings)

    def __repr__(self) -> str:
        return f"RemoteStorage(url={without_secrets(self._url)!r})"


def _placeholder(value: Any) -> Any:
    """Blocks by their placeholders, at any depth."""
    if isinstance(value, dict):
        return {name: _placeholder(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_placeholder(item) for item in value]
    return f"{{{{ {value.get_block_placeholder()} }}}}" if hasattr(value, "get_block_placeholder") else value


class BlockStorageAdapter(_Source):
    """A block that a directory can be fetched from."""

    def __init__(self, block: Any, pull_interval: int | None = 60) -> None:
        if not hasattr(block, "get_directory"):
            raise InputError(f"No directory can be fetched from a block of type {type(block).__name__}.")
        self._block = block
        name = getattr(block, "_block_document_name", None)
        super().__init__(f"{block.get_block_type_slug()}-{name or 'storage'}", pull_interval)

    def _pull(self) -> None:
        from riverrun.utilities.colours import complete

        self.destination.mkdir(parents=True, exist_ok=True)
        complete(self._block.get_directory(local_path=str(self.destination)))

    def to_pull_step(self) -> dict[str, Any] | list[dict[str, Any]]:
        own = getattr(self._block, "get_pull_step", None)
        if own is not None:
            step: dict[str, Any] | list[dict[str, Any]] = own()
            return step
        slug, _, name = self._block.get_block_placeholder().removeprefix("prefect.blocks.").partition(".")
        return {f"{STEPS}.pull_with_block": {"block_document_name": name, "block_type_slug": slug}}

    def _key(self) -> tuple[Any, ...]:
        return (self._block,)


def create_storage_from_source(source: str | Path, pull_interval: int | None = 60) -> Any:
    """The source that an address or a path means: git, fsspec, or a directory of this machine."""
    text = str(source)
    scheme, separator, _ = text.partition("://")
    if (separator and (scheme in ("git", "git+ssh", "ssh") or text.rstrip("/").endswith(".git"))) or (
        not separator and "@" in text.partition(":")[0] and ":" in text
    ):
        return GitRepository(text, pull_interval=pull_interval)
    if scheme in ("http", "https") and (urlsplit(text).hostname or "").partition(".")[0] in _GIT_HOSTS:
        return GitRepository(text, pull_interval=pull_interval)
    if separator and scheme not in ("file", "local"):
        return RemoteStorage(text, pull_interval=pull_interval)
    return LocalStorage(text.removeprefix(f"{scheme}://") if separator else text, pull_interval=pull_interval)
