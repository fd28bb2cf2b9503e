"""Fetching code by the `git` program.

Whatever comes from a deployment may have been written by somebody else. So nothing that is given can become an option or a
command: addresses, branches, commits and directories are checked here, positional arguments stand behind `--`, the transport
that runs commands is shut off, hooks of the repository do not run, and git never asks a question.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from riverrun.base.errors import InputError, UnavailableError

_SCHEMES: Final = frozenset({"https", "http", "ssh", "git", "git+ssh", "file"})
_SCP_LIKE: Final = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!:)[\w./~-]+")
_COMMIT: Final = re.compile(r"[0-9a-fA-F]{7,64}")
_NOT_IN_REFS: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_SAFE: Final = {
    "protocol.ext.allow": "never",
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "credential.interactive": "false",
    "advice.detachedHead": "false",
}


class GitError(UnavailableError):
    """git could not do what it was asked to do."""

    code = "git"


def check_url(url: str) -> str:
    """The address of a repository; raises InputError for what is none or could be something else."""
    text = str(url).strip()
    if not text or text.startswith("-") or any(ord(letter) < 32 for letter in text):
        raise InputError(f"{text[:200]!r} is not the address of a git repository.")
    scheme, separator, _ = text.partition("://")
    if separator and scheme.lower() in _SCHEMES:
        return text
    if not separator and "::" not in text.partition("/")[0]:
        if Path(text).is_dir():
            return str(Path(text).resolve())
        if _SCP_LIKE.fullmatch(text):
            return text
    raise InputError(
        f"{without_secrets(text)[:200]!r} is not the address of a git repository: those look like https://host/path.git,"
        " ssh://git@host/path.git, git@host:path.git, or a directory of this machine."
    )


def check_ref(name: str, what: str = "branch") -> str:
    """A branch or tag; raises InputError for what git would not take for one."""
    if not name or name.startswith(("-", "/", ".")) or name.endswith(("/", ".", ".lock")) or _NOT_IN_REFS.search(name):
        raise InputError(f"{name[:200]!r} cannot be the name of a {what}.")
    return name


def check_commit(sha: str) -> str:
    if not _COMMIT.fullmatch(sha):
        raise InputError(f"{sha[:200]!r} is not the id of a commit: those have 7 to 64 hexadecimal digits.")
    return sha.lower()


def check_directory(path: str, what: str = "directory") -> str:
    """A directory inside of a repository."""
    parts = path.replace("\\", "/").split("/")
    if (
        not path.strip("/.")
        or path.startswith(("-", "/", "!"))
        or ".." in parts
        or any(ord(each) < 32 for each in path)
    ):
        raise InputError(f"{path[:200]!r} cannot be a {what} inside of a repository.")
    return path


def without_secrets(text: str, secrets: Sequence[str] = ()) -> str:
    """The text without user names and passwords of addresses, and without these secrets."""
    for secret in secrets:
        for form in {secret, quote(secret, safe="")}:
            if form:
                text = text.replace(form, "****")
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1****@", text)


def git(
    *arguments: str,
    cwd: Path | None = None,
    access: tuple[str, str] | None = None,
    secrets: Sequence[str] = (),
    stdin: str | None = None,
) -> str:
    """Run git and return what it prints. `access` is an address and the same with what opens it; raises GitError.

    The latter is told through the environment, where other users of the machine and the clone's configuration do not see it.
    """
    configuration = dict(_SAFE)
    if access is not None:
        configuration[f"url.{access[1]}.insteadOf"] = access[0]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(len(configuration)), "LC_ALL": "C"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    for number, (key, value) in enumerate(configuration.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env=environment,
            input=stdin or "",
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise GitError("The program git is not installed here (it is looked for on PATH).") from None
    if done.returncode != 0:
        said = without_secrets(done.stderr.strip() or f"exit code {done.returncode}", secrets)
        raise GitError(f"`git {_verb(arguments)}` failed: {said[-2000:]}{_hint(said)}")
    return done.stdout


def _verb(arguments: Sequence[str]) -> str:
    return next((each for each in arguments if not each.startswith("-")), "")


_HINTS: Final = (
    (
        ("could not read username", "authentication failed", "permission denied"),
        "Give it credentials that may read it.",
    ),
    (("could not find remote branch", "couldn't find remote ref"), "Is that the name of a branch or tag there?"),
    (("repository not found", "does not exist", "not found"), "Is the address right, and may this machine see it?"),
    (("could not resolve host", "unable to access", "connection"), "Can this machine reach that host?"),
)


def _hint(said: str) -> str:
    lower = said.lower()
    return next((f"\n{hint}" for marks, hint in _HINTS if any(mark in lower for mark in marks)), "")


def with_access(url: str, user: str | None, token: str) -> str:
    """The address with a name and a token in it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise InputError(f"A token opens addresses that begin with https://; {without_secrets(url)!r} is another one.")
    name = quote(user, safe="") + ":" if user else ""
    return urlunsplit(parts._replace(netloc=f"{name}{quote(token, safe=':')}@{parts.netloc.rpartition('@')[2]}"))
