"""Zero 5xx: schemathesis over the OpenAPI document of a running server, on SQLite and on PostgreSQL.

    python scripts/fuzz.py [--database sqlite|postgres] [--examples N] [--seed N] [--quick]

Every operation gets what the schema says at its borders and beyond them (some hundred requests each), then N random requests.
A server of its own with an empty store is started for each database. Exits 1 when any answer was a 5xx, differed from what the
document says of it, or the server's lists could not be read afterwards.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
#: long polls would make it wait; what is not JSON it cannot make
LEFT_OUT = ("/api/presence", "/api/journal")
BIN = Path(sys.executable).parent


@contextmanager
def server(home: str, database_url: str | None) -> Iterator[str]:
    """The URL of a server over an empty store."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RIVERRUN_", "PREFECT_"))}
    environment["RIVERRUN_HOME"] = home
    if database_url:
        environment["RIVERRUN_API_DATABASE_CONNECTION_URL"] = database_url
    command = [sys.executable, "-m", "riverrun", "server", "start", "--port", "0"]
    with Path(home, "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield process.stdout.readline().removeprefix("riverrun serves ").strip()
    finally:
        process.terminate()
        process.communicate(timeout=30)


def fuzz(name: str, database_url: str | None, options: argparse.Namespace) -> bool:
    """Whether all went well on one database."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home, server(home, database_url) as url:
        phases = "fuzzing" if options.quick else "coverage,fuzzing"
        command = [BIN / "schemathesis", "run", f"{url}/api/openapi.json", "--checks", CHECKS, "--phases", phases]
        command += ["-n", str(options.examples), "--workers", "2", "--mode", "all", "--no-color", "--warnings", "off"]
        command += ["--generation-database", "none", "--request-timeout", "30"]
        command += ["--seed", str(options.seed)] if options.seed is not None else []
        for path in LEFT_OUT:
            command += ["--exclude-path", path]
        done = subprocess.run(
            command, check=False, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        print(done.stdout[-6000:] if done.returncode else done.stdout[-600:])
        statuses = counted(url)
        total = sum(statuses.values())
        broken = {key: number for key, number in statuses.items() if key[-1] >= "5"}
        unread = unreadable(url)
        print(f"{name}: {total:,} requests, 5xx: {broken or 'none'}, unreadable lists: {unread or 'none'}", flush=True)
        if broken:
            print(Path(home, "log").read_text()[-6000:])
        return not broken and not unread and done.returncode == 0


def counted(url: str) -> dict[tuple[str, str, str], int]:
    """The server's own count of its answers."""
    page = urllib.request.urlopen(f"{url}/metrics", timeout=30).read().decode()
    found = re.findall(
        r'^riverrun_requests_total\{method="(.*)",route="(.*)",status="(\d+)"\} (\S+)', page, re.MULTILINE
    )
    return {(method, route, status): int(float(number)) for method, route, status, number in found}


def unreadable(url: str) -> list[str]:
    """The lists that cannot be read: something in them was taken that should have been refused."""
    document = json.load(urllib.request.urlopen(f"{url}/api/openapi.json", timeout=30))
    lists = [path for path in document["paths"] if path.endswith(("/filter", "/paginate")) and "{" not in path]
    broken = []
    for path in lists:
        request = urllib.request.Request(f"{url}{path}", b"{}", {"Content-Type": "application/json"}, method="POST")
        try:
            json.load(urllib.request.urlopen(request, timeout=30))
        except urllib.error.HTTPError as error:
            if error.code != 422:  # it may need a field
                broken.append(f"{path}: {error.code}")
        except ValueError as error:
            broken.append(f"{path}: {error}")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    parser.add_argument("--examples", type=int, default=20, help="random requests per operation")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--quick", action="store_true", help="random requests only")
    options = parser.parse_args()
    well = True
    if options.database != "postgres":
        well &= fuzz("SQLite", None, options)
    if options.database != "sqlite":
        sys.path.insert(0, str(Path(__file__).parent))
        import postgres

        with postgres.cluster() as url:
            well &= fuzz("PostgreSQL", url, options)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
