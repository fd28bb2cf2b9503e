"""How a running server is found on its machine: an exclusive lock on `$RIVERRUN_HOME/server.json`, and its URL in there.

The lock is the sign of life: it frees itself whatever way the server ends. `client.location` reads it.
"""

import fcntl
import os
import time
from pathlib import Path

import msgspec

from riverrun import __version__
from riverrun.base.clock import now

#: a reader holds a shared lock for a moment; who holds it longer is a server
_PATIENCE_SECONDS = 1.0


class Address:
    """The file of a home. `claim` makes this process the home's server; `tell` says where it is."""

    def __init__(self, home: Path) -> None:
        self.path = home / "server.json"
        self._descriptor: int | None = None

    def claim(self) -> bool:
        """Whether no other server of this home runs; then it is this process until `release` or its end."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self.is_written(descriptor) or time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(0.02)
            else:
                os.ftruncate(descriptor, 0)
                self._descriptor = descriptor
                return True

    @staticmethod
    def is_written(descriptor: int) -> bool:
        """Whether a server has said where it is; the text of a server that has ended may stand there too."""
        return False if os.fstat(descriptor).st_size == 0 else not _can_share(descriptor)

    def tell(self, url: str) -> None:
        """Write where the server is; harmless when the home is another server's."""
        if self._descriptor is not None:
            facts = {"url": url, "pid": os.getpid(), "started": now().isoformat(), "version": __version__}
            os.pwrite(self._descriptor, msgspec.json.encode(facts), 0)

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _can_share(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
