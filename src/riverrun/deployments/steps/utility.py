"""Steps that run programs."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from riverrun.base.errors import InputError, RiverrunError


class ProgramFailed(RiverrunError, RuntimeError):
    """A program ended with an error."""

    code = "program_failed"


def run_shell_script(
    script: str,
    directory: str | None = None,
    env: dict[str, str] | None = None,
    stream_output: bool = True,
    expand_env_vars: bool = False,
) -> dict[str, str]:
    """Run the lines of a script one after the other, each a command; what the last ones printed.

    No shell reads them: a line is split into words as a shell would, and run as a program. With `expand_env_vars` names of
    environment variables in it are replaced. Raises ProgramFailed with the first line that fails.
    """
    environment = {**os.environ, **{name: str(value) for name, value in (env or {}).items()}}
    out = err = ""
    for line in script.splitlines():
        text = os.path.expandvars(line) if expand_env_vars else line
        words = shlex.split(text, comments=True)
        if words:
            out, err = _run(words, directory, environment, stream=stream_output)
    return {"stdout": out.strip(), "stderr": err.strip()}


def pip_install_requirements(
    directory: str | None = None, requirements_file: str = "requirements.txt", stream_output: bool = True
) -> dict[str, str]:
    """Install the packages of a requirements file into the environment of this Python."""
    path = Path(directory or ".") / requirements_file
    if not path.is_file():
        raise InputError(f"There is no file {str(path.resolve())!r} of requirements.")
    out, err = _run([*installer(), "-r", requirements_file], directory, dict(os.environ), stream=stream_output)
    return {"stdout": out.strip(), "stderr": err.strip()}


def installer() -> list[str]:
    """The command that installs packages for this Python: pip, or uv where there is none."""
    from importlib.util import find_spec
    from shutil import which

    if find_spec("pip") is None and which("uv"):
        return ["uv", "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install"]


def _run(words: Sequence[str], directory: str | None, env: dict[str, str], *, stream: bool) -> tuple[str, str]:
    try:
        process = subprocess.Popen(
            list(words),
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise ProgramFailed(f"{words[0]!r} could not be started: {error}") from error
    kept: dict[str, list[str]] = {"out": [], "err": []}
    with process:
        readers = [
            threading.Thread(target=_read, args=(pipe, kept[name], target.write if stream else None))
            for name, pipe, target in (("out", process.stdout, sys.stdout), ("err", process.stderr, sys.stderr))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    out, err = "".join(kept["out"]), "".join(kept["err"])
    if process.returncode != 0:
        raise ProgramFailed(
            f"{shlex.join(words)!r} ended with exit code {process.returncode}: {(err or out).strip()[-2000:]}"
        )
    return out, err


def _read(pipe: TextIO | Any, kept: list[str], show: Callable[[str], object] | None) -> None:
    for line in pipe:
        kept.append(line)
        if show is not None:
            show(line)
