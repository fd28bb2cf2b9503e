"""The peer's unmodified client in an environment of its own: `.venv-peer`, from the hash lock requirements-peer.lock.

  python scripts/peer.py ensure    make it if it is not there, or not what the lock says

`python()` is its Python; the environment variable RIVERRUN_TEST_PEER_PYTHON names another one that has the peer.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-peer"
LOCK = ROOT / "requirements-peer.lock"
MARK = VENV / "lock.sha256"


def python() -> Path | None:
    """The Python that has the peer; None where there is none."""
    given = os.environ.get("RIVERRUN_TEST_PEER_PYTHON")
    if given:
        return Path(given)
    return VENV / "bin" / "python" if MARK.exists() and MARK.read_text() == digest() else None


def digest() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def ensure() -> None:
    """Make the environment; raises CalledProcessError when a package cannot be had."""
    if python() is not None:
        return
    print("peer: installing what requirements-peer.lock names", file=sys.stderr)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)], check=True)
    target = ["--python", str(VENV / "bin" / "python")]
    subprocess.run([*uv, "pip", "sync", "--quiet", *target, "--require-hashes", str(LOCK)], check=True)
    MARK.write_text(digest())


if __name__ == "__main__":
    if sys.argv[1:] != ["ensure"]:
        sys.exit(__doc__)
    ensure()
