"""Ctrl-C and SIGTERM at random instants into flows of every kind: every run gets its end, nothing is left behind.

`RIVERRUN_TEST_INTERRUPTIONS` sets how many rounds each kind has (4,000 for a night: more than 10,000 strikes).
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = ["sync", "limited", "async"]
#: how often each kind is struck; 4000 for a night
ROUNDS = int(os.environ.get("RIVERRUN_TEST_INTERRUPTIONS", "800"))


def interrupt(home: Path, kind: str, rounds: int, journal: str) -> None:
    seed = int(os.environ.get("RIVERRUN_TEST_SEED", random.randrange(2**32)))
    print(f"RIVERRUN_TEST_SEED={seed}")
    command = [sys.executable, "-m", "tests.faults.interruptions", str(seed), str(rounds), kind, journal]
    environment = os.environ | {"RIVERRUN_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    report = json.loads(done.stdout)
    print(report)
    assert report["faults"] == []
    assert report["strikes"] > rounds * 0.3


@pytest.mark.slow
@pytest.mark.timeout(120 + ROUNDS // 5)
@pytest.mark.parametrize(("kind", "journal"), [*((kind, "memory") for kind in KINDS), ("sync", "disk")])
def test_every_run_gets_its_end(tmp_path: Path, kind: str, journal: str) -> None:
    interrupt(tmp_path, kind, ROUNDS, journal)
