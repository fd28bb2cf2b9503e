"""Where the API is: the configured server, a server that runs on this machine for this home, or one started now.

A running server holds an exclusive flock on `$RIVERRUN_HOME/server.json` and has written its URL there; the lock is the sign
of life, for it frees itself whatever way the server ends.
"""

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from riverrun.base.config import find, settings
from riverrun.base.errors import UnavailableError
from riverrun.base.setting import PREFIX

START_SECONDS = 60.0
#: how long a server that was started for somebody waits for the next request before it ends
IDLE_SECONDS = 300
_POLL_SECONDS = 0.02


def api_url() -> str | None:
    """The URL of the API (`http://host:port/api`): the setting, else that of this machine's server, else None."""
    configured = settings().api_url
    if configured:
        return configured.rstrip("/")
    found = running_server()
    return f"{found['url'].rstrip('/')}/api" if found else None


def is_claimed() -> bool:
    """Whether this home has a server, though it may not have said yet where it is."""
    try:
        descriptor = os.open(settings().home / "server.json", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_locked(descriptor)
    finally:
        os.close(descriptor)


def running_server(home: Path | None = None) -> dict[str, Any] | None:
    """What the server of this home says of itself (`url`, `pid`, `started`, `version`), or None if none runs."""
    try:
        descriptor = os.open((home or settings().home) / "server.json", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not _is_locked(descriptor):
            return None
        document = os.pread(descriptor, 65_536, 0)
    finally:
        os.close(descriptor)
    return _read(document)


def ensure_api_url() -> str:
    """The URL of the API; starts a server for this home when there is none, and waits until it answers.

    That server ends when nobody has asked it anything for some minutes. Raises UnavailableError when none can be started.
    """
    url = api_url()
    if url is not None:
        return url
    _start_server()
    deadline = time.monotonic() + START_SECONDS
    while True:
        url = api_url()
        if url is not None:
            return url
        if time.monotonic() >= deadline:
            raise UnavailableError(
                f"A server was started for {settings().home} but has not told its address within {START_SECONDS:g} s. "
                "Start one with `riverrun server start`, or set RIVERRUN_API_URL."
            )
        time.sleep(_POLL_SECONDS)


def _start_server() -> None:
    """Run `riverrun server start`, which comes back when the server stands; several may try, one will be it."""
    import subprocess

    command = [sys.executable, "-m", "riverrun", "server", "start", "--background", "--port", "0"]
    command += ["--idle-seconds", str(IDLE_SECONDS)]
    try:
        done = subprocess.run(  # noqa: PLW1510 - what it says is told below
            command, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"This needs a server, and none could be started: {error}. {_ADVICE}") from error
    if done.returncode != 0 and api_url() is None:  # else another process was faster
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")[-2000:]
        raise UnavailableError(f"This needs a server, and none could be started: {said}\n{_ADVICE}")


def _environment() -> dict[str, str]:
    """With the home and the database of the settings, also where these hold for a block of code only."""
    environment = dict(os.environ)
    current = settings()
    for field in ("home", "api_database_connection_url"):
        setting = find(field)
        for name in setting.fields:
            environment.pop(f"{PREFIX}{name.upper()}", None)
        value = getattr(current, field)
        if value is not None:
            environment[setting.name] = str(value)
    return environment


def stop_server(home: Path, seconds: float = 10.0) -> bool:
    """End the server of a home, if one runs; false if it still runs after `seconds`."""
    import signal

    deadline = time.monotonic() + seconds
    found = running_server(home)
    if found is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found["pid"], signal.SIGTERM)
    while running_server(home) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


_ADVICE = "Start one with `riverrun server start`, or set RIVERRUN_API_URL to a server's API."


def _is_locked(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # a system without flock: nothing can be told, so nobody is found
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    return False


def _read(document: bytes) -> dict[str, Any] | None:
    """The document, or None while the server has not written it yet."""
    import msgspec

    try:
        facts = msgspec.json.decode(document, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None
    return facts if isinstance(facts.get("url"), str) else None
