"""PostgreSQL for tests and benchmarks: a private cluster in a temporary directory, gone when its user is.

  python scripts/postgres.py ensure    install PostgreSQL if there is none (apt-get, through sudo where we are not root)
  python scripts/postgres.py serve [--durable]
                                       start a cluster, print its URL, stop and remove it when standard input ends

`cluster()` does the latter for a `with` block: the serving process sees the end of its input however its parent dies. The
cluster listens on a socket in its own directory only and trusts who can reach it. It never syncs, for it holds nothing of
value; a benchmark asks for a durable one.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 30.0
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "50",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "log_min_messages": "warning",
}


def find() -> Path | None:
    """The directory of PostgreSQL's programs; None where there is none. Debian keeps them out of PATH."""
    candidates = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(4), reverse=True
    )
    on_path = shutil.which("initdb")
    if on_path:
        candidates.insert(0, Path(on_path).resolve().parent)
    for directory in candidates:
        if all((directory / name).exists() for name in ("initdb", "postgres")):
            return directory
    return None


def ensure() -> Path:
    """The directory of PostgreSQL's programs, installed if need be; exits with what to do where that fails."""
    found = find()
    if found is not None:
        return found
    print("postgres: not found, installing it with apt-get", file=sys.stderr)
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "postgresql"]):
        try:
            subprocess.run([*prefix, *command], check=True, env=environment, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"postgres: {' '.join(command)} failed: {error}", file=sys.stderr)
    found = find()
    if found is None:
        sys.exit("postgres: install PostgreSQL 13 or newer (Debian: apt-get install postgresql), or put initdb on PATH")
    return found


def _account() -> pwd.struct_passwd | None:
    """Whom the cluster runs as when we are root, which PostgreSQL refuses to be."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    sys.exit("postgres: running as root, and there is no account postgres or nobody to run the cluster as")


class Cluster:
    """A cluster of its own in a temporary directory. `start()` once, then `stop()`."""

    def __init__(self, durable: bool = False) -> None:
        self.options = OPTIONS if durable else OPTIONS | CARELESS
        self.programs = ensure()
        self.directory = Path(tempfile.mkdtemp(prefix="riverrun-pg-", dir="/tmp"))
        self.data = self.directory / "data"
        self.account = _account()
        self.process: subprocess.Popen[bytes] | None = None
        if self.account is not None:
            os.chown(self.directory, self.account.pw_uid, self.account.pw_gid)
            self.directory.chmod(0o755)

    def url(self, database: str = "postgres") -> str:
        """The URL of one of the cluster's databases."""
        return f"postgresql://riverrun@/{database}?host={self.directory}"

    def start(self) -> None:
        """Make the cluster and wait until it answers."""
        initdb = [self.programs / "initdb", "-D", self.data, "-U", "riverrun", "-A", "trust", "-E", "UTF8"]
        made = self._run([*initdb, "--locale=C", "--no-sync"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = made.communicate()
        if made.returncode:
            sys.exit(f"postgres: initdb failed:\n{output.decode(errors='replace')}")
        self.run()

    def run(self) -> None:
        """Start the server over the data that are there, and wait until it answers."""
        settings = [f"--{name}={value}" for name, value in self.options.items()]
        log = (self.directory / "log").open("ab")
        command = [self.programs / "postgres", "-D", self.data, "-k", self.directory, *settings]
        self.process = self._run(command, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"postgres: it did not start:\n{(self.directory / 'log').read_text(errors='replace')}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        """Whether it takes connections: the last line of its pid file says so, unless a killed one has left it."""
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
            return lines[7].strip() == "ready" and int(lines[0]) == self.process.pid
        except (OSError, IndexError, ValueError):
            return False

    def _run(self, command: list[object], **options: object) -> "subprocess.Popen[bytes]":
        if self.account is not None:
            options |= {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        arguments = [str(part) for part in command]
        return subprocess.Popen(
            arguments, cwd=self.directory, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )

    def stop(self) -> None:
        """End the server by its process id and remove the directory."""
        if self.process is not None:
            self.process.send_signal(3)  # SIGQUIT: an immediate shutdown, nothing here is worth a checkpoint
            self.process.wait(timeout=START_SECONDS)
        shutil.rmtree(self.directory, ignore_errors=True)


def serve(durable: bool = False) -> None:
    """Start a cluster, print its URL, and stop it when standard input ends."""
    running = Cluster(durable)
    try:
        running.start()
        print(running.url(), flush=True)
        sys.stdin.read()
    finally:
        running.stop()


@contextmanager
def cluster(durable: bool = False) -> Iterator[str]:
    """The URL of a fresh cluster's database `postgres`; the cluster is gone after the block."""
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", *(["--durable"] if durable else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        url = server.stdout.readline().strip()
        if not url:
            raise RuntimeError("the PostgreSQL cluster for tests did not start; its reason is on standard error")
        yield url
    finally:
        server.stdin.close()
        server.wait(timeout=START_SECONDS)
        server.stdout.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["ensure"]:
        ensure()
    elif sys.argv[1:2] == ["serve"] and sys.argv[2:] in ([], ["--durable"]):
        serve(durable=len(sys.argv) > 2)
    else:
        sys.exit(__doc__)
