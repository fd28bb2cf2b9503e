"""Schedules over killed servers, as users run them: no instant is missing, none comes twice."""

import random
import shutil
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from riverrun.base.clock import now, to_micros
from tests.server.processes import Server, server
from tests.server.scheduling import SECOND, instants
from tests.store.conftest import cluster, postgres_databases

__all__ = ["cluster", "postgres_databases"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
EPOCH = "1970-01-01T00:00:00Z"


def _deploy(client: httpx.Client) -> str:
    flow = client.post("/flows/", json={"name": f"flow {uuid4()}"}).json()["id"]
    # one run ahead: every stop is an outage
    schedule = {"schedule": {"interval": 1.0, "anchor_date": EPOCH}, "max_scheduled_runs": 1}
    answer = client.post("/deployments/", json={"name": "d", "flow_id": flow, "schedules": [schedule]})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def _starts(client: httpx.Client, deployment: str) -> list[int]:
    """When all runs of the deployment start, in the order of their starts."""
    found: list[int] = []
    while True:
        body = {
            "deployments": {"id": {"any_": [deployment]}},
            "sort": "EXPECTED_START_TIME_ASC",
            "offset": len(found),
            "limit": 200,
        }
        page = client.post("/flow_runs/filter", json=body).json()
        found += [to_micros(datetime.fromisoformat(run["expected_start_time"])) for run in page]
        if len(page) < 200:
            return found


def _caught_up(client: httpx.Client, deployment: str, until: int, seconds: float = 30) -> list[int]:
    """The starts when the runs up to `until` have been made."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = _starts(client, deployment)
        if found and found[-1] >= until:
            return found
        time.sleep(0.1)
    raise AssertionError(f"the last run starts {(until - found[-1]) / SECOND:g} s before that")


def test_a_server_that_is_killed_again_and_again_misses_nothing(tmp_path: Path) -> None:
    pauses = random.Random(3)
    deployment, begin = "", 0
    for _ in range(4):
        with server(tmp_path / "home") as running, running.client() as client:
            if not deployment:
                deployment, begin = _deploy(client), to_micros(now())
                _caught_up(client, deployment, begin)
            time.sleep(pauses.uniform(0.0, 1.5))
            running.stop(9)
        time.sleep(pauses.uniform(0.5, 1.5))
    with server(tmp_path / "home") as running, running.client() as client:
        found = _caught_up(client, deployment, to_micros(now()))
    assert found == instants(1, found[0] - 1, found[-1])
    assert found[0] <= begin + 2 * SECOND


@pytest.mark.postgres
def test_another_replica_takes_over_from_a_killed_one(tmp_path: Path, postgres_databases) -> None:
    url = postgres_databases.create(postgres_databases.template)
    with ExitStack() as stack:
        replicas: list[Server] = []
        for number in range(3):
            home = tmp_path / str(number)
            home.mkdir(mode=0o700)
            if replicas:
                shutil.copy(replicas[0].home / "encryption.key", home)
            replicas.append(stack.enter_context(server(home, url=url)))
        with replicas[0].client() as client:
            deployment = _deploy(client)
            _caught_up(client, deployment, to_micros(now()))
        for replica in replicas[:2]:
            replica.stop(9)
            killed = to_micros(now())
            with replicas[2].client() as client:
                # the lead is free again after ten seconds; what fell due meanwhile is made up for
                _caught_up(client, deployment, killed + 2 * SECOND)
        with replicas[2].client() as client:
            found = _caught_up(client, deployment, to_micros(now()))
        assert found == instants(1, found[0] - 1, found[-1])
    postgres_databases.drop(url)
