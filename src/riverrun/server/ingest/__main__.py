"""`python -m riverrun.server.ingest`: take the journals of this machine into the store, then end.

Runs at the lowest priority, so that it never competes with flows. On SQLite it holds the database's lock while it works.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from riverrun.base.config import settings
from riverrun.base.errors import RiverrunError, UnavailableError
from riverrun.server.db import schema
from riverrun.server.db.engine import Database, open_database
from riverrun.server.ingest import ingest

_LOCK_SECONDS = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Ingest and end; 0 when everything was taken or somebody else is at it, 1 when something failed (said on stderr)."""
    options = _parser().parse_args(arguments)
    os.nice(19)
    current = settings()
    journal_dir = options.journal_dir or current.journal_dir
    url = options.database_url or current.api_database_connection_url or current.home / "riverrun.db"
    try:
        with open_database(url) as database:
            try:
                return _ingest(database, journal_dir, 0.0 if options.once else _LOCK_SECONDS)
            except database.errors as error:
                raise UnavailableError(str(error)) from error
    except (RiverrunError, OSError) as error:
        _say(f"The journals in {journal_dir} were not ingested: {error}")
        return 1


def _ingest(database: Database, journal_dir: Path, wait: float) -> int:
    lock = database.lock
    if lock is not None and not lock.acquire(wait, "ingesting journals", _say):
        _say(f"The store is held by {lock.holder()}, which ingests the journals itself.")
        return 0
    schema.upgrade(database)
    report = ingest(database, journal_dir)
    for error in report.errors:
        _say(error)
    _say(str(report))
    return 1 if report.errors else 0


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m riverrun.server.ingest", description="Ingest journals into the store.")
    parser.add_argument("--journal-dir", type=Path, help="directory of the journals (default: the setting journal_dir)")
    parser.add_argument("--database-url", help="the store (default: the setting api_database_connection_url)")
    parser.add_argument("--once", action="store_true", help="end at once when another process holds the store's lock")
    return parser


if __name__ == "__main__":
    sys.exit(main())
