"""`kill -9` of the ingesting process at random moments, again and again: nothing lost, nothing doubled, the lock free."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from riverrun.client.journal import Journal, Options
from riverrun.server.db.engine import Database, open_database
from riverrun.server.ingest import ingest, ingest_records
from riverrun.wire.spool import spools
from tests.store.make import contents, items, make_story

KILLS = 25

#: forks a child that ingests in small units, kills it after a while, and again; a fork costs a millisecond, a start half a second
_DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
from riverrun.server.db.engine import open_database
from riverrun.server.ingest import ingest, spools, units

url, journal_dir, seed, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
units.UNIT_RECORDS = spools.UNIT_RECORDS = 25
if url.startswith("postgres"):
    import psycopg  # once, not in every child
chance = random.Random(seed)
finished = 0
for _ in range(kills):
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        database = open_database(url)
        assert database.lock is None or database.lock.acquire(5)
        os.write(tell, b"!")
        ingest(database, journal_dir)
        os._exit(0)
    os.close(tell)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    time.sleep(chance.random() * 0.02)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    finished += os.WIFEXITED(status)
print(finished)
"""


@pytest.mark.timeout(60)
def test_killing_the_ingestion_loses_and_doubles_nothing(
    database: Database, sqlite_template: Path, tmp_path: Path
) -> None:
    seed = int(os.environ.get("RIVERRUN_TEST_SEED", random.randrange(2**32)))
    print(f"RIVERRUN_TEST_SEED={seed}")
    stories = [make_story(tasks=300, name=f"run-{number}") for number in range(3)]
    journal_dir = tmp_path / "journal"
    journals = []
    for story in stories:
        journal = Journal(Options(journal_dir))
        journal.append_all(story)
        journal.close()
        journals.append(journal.writer)
    url = database.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, url, str(journal_dir), str(seed), str(KILLS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if database.lock is not None:
        assert database.lock.acquire(0), "a killed process still holds the lock"
    report = ingest(database, journal_dir)
    assert report.errors == []
    assert spools(journal_dir) == []
    import shutil

    straight = tmp_path / "straight.db"
    shutil.copy(sqlite_template, straight)
    with open_database(straight) as expected:
        for writer, story in zip(journals, stories, strict=True):
            ingest_records(expected, writer, items(story))
        assert contents(database) == contents(expected)
