"""`kill -9` at random moments into running flows: whatever a process had seen done is in the store, once, and nothing runs for ever.

`RIVERRUN_TEST_KILLS` sets how often (500 for a night).
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from riverrun.client.local import LocalStore
from riverrun.server.db import schema
from riverrun.server.db.engine import open_database
from riverrun.server.ingest import ingest
from tests.store.conftest import Databases, cluster, postgres_databases  # noqa: F401 - fixtures

EVERYTHING = 10**6
KILLS = int(os.environ.get("RIVERRUN_TEST_KILLS", "60"))


def start(home: Path, seed: int, kills: int, url: str) -> subprocess.Popen[bytes]:
    home.mkdir()
    command = [sys.executable, "-m", "tests.faults.kills", str(seed), str(kills), str(home / "truth"), url]
    environment = os.environ | {"RIVERRUN_HOME": str(home), "RIVERRUN_LOGGING_LEVEL": "INFO"}
    with (home / "stderr").open("wb") as stderr:
        return subprocess.Popen(command, env=environment, stderr=stderr)


def check(home: Path, url: str) -> Counter[str]:
    """Compare the truth with the store, after the last ingestion."""
    with open_database(url) as database:
        assert database.lock is None or database.lock.acquire(10)
        schema.upgrade(database)
        report = ingest(database, home / "journal")
        assert report.finished and not report.errors and not report.counts.aside, report
        assert not list((home / "journal").glob("[0-9a-f]" * 32)), "a dead spool was not retired"
        store = LocalStore(database, [])
        task_runs = {str(run.id): run for run in store.task_runs(limit=EVERYTHING)}
        flow_runs = {str(run.id): run for run in store.flow_runs(limit=EVERYTHING)}
        logs = Counter(line.message for line in store.logs(limit=EVERYTHING))
        lines = [json.loads(line) for line in (home / "truth").read_text().splitlines()]
        assert lines
        seen = Counter(what for what, _, _ in lines)
        for what, run_id, more in lines:
            runs = flow_runs if what.startswith("flow") else task_runs
            assert run_id in runs, f"{what} {run_id} is lost"
            run = runs[run_id]
            if what == "log":
                assert logs[more] == 1, (more, logs[more])
            elif what.endswith("completed"):
                assert run.state_type == "COMPLETED", (what, run_id, run.state)
            elif what == "attempt":
                assert run.run_count >= more, (run.run_count, more)
        attempts = Counter(run_id for what, run_id, _ in lines if what == "attempt")
        for run_id, number in random.Random(0).sample(sorted(attempts.items()), min(len(attempts), 60)):
            states = [state.type.value for state in store.task_run_states(UUID(run_id))]
            kinds = Counter(states)
            assert number <= kinds["RUNNING"] <= number + 1, states  # killed between the state and the body
            assert states[0] == "PENDING" and kinds["PENDING"] == 1, states
        assert len({(run.flow_run_id, run.task_key, run.dynamic_key) for run in task_runs.values()}) == len(task_runs)
        assert not [run for run in [*task_runs.values(), *flow_runs.values()] if run.state_type is None]
        ends = Counter(str(run.state_type.value) for run in [*task_runs.values(), *flow_runs.values()])
        assert set(ends) <= {"COMPLETED", "CRASHED"}, ends
        crashed = next(run for run in flow_runs.values() if run.state_type == "CRASHED")
        assert "killed" in (crashed.state.message or "")
    return seen + ends


def run(tmp_path: Path, kills: int, homes: int = 2, url: str | None = None) -> None:
    seed = int(os.environ.get("RIVERRUN_TEST_SEED", random.randrange(2**32)))
    print(f"RIVERRUN_TEST_SEED={seed}")
    places = [tmp_path / f"home{number}" for number in range(homes)]
    urls = [url or f"sqlite:///{place / 'riverrun.db'}" for place in places]
    processes = [start(place, seed + n, kills // homes, urls[n]) for n, place in enumerate(places)]
    try:
        codes = [process.wait(600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0] * homes, [(place / "stderr").read_text()[-3000:] for place in places]
    for place, where in zip(places, urls, strict=True):
        print(check(place, where))


@pytest.mark.slow
@pytest.mark.timeout(120 + KILLS)
def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    run(tmp_path, kills=KILLS)


@pytest.mark.postgres
@pytest.mark.timeout(120)
def test_a_killed_process_loses_nothing_on_postgres(tmp_path: Path, postgres_databases: Databases) -> None:  # noqa: F811
    url = postgres_databases.create()
    try:
        run(tmp_path, kills=20, homes=1, url=url)
    finally:
        postgres_databases.drop(url)
