"""PostgreSQL is killed and comes back under flows and requests: 503 meanwhile, nothing that was acknowledged is lost."""

import importlib.util
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.faults.beside import SDKS, check, end, flows
from tests.server.processes import Server, server

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(150)]


@pytest.fixture
def cluster() -> Iterator[Any]:
    path = Path(__file__).parents[2] / "scripts" / "postgres.py"
    spec = importlib.util.spec_from_file_location("postgres_to_kill", path)
    assert spec is not None and spec.loader is not None
    scripts: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scripts)
    if scripts.find() is None and not os.environ.get("CI"):
        pytest.skip("PostgreSQL is not installed: `python scripts/postgres.py ensure` does it")
    made = scripts.Cluster(durable=True)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def restart(cluster: Any) -> None:
    """Start it again, as soon as what the killed one has left behind has ended."""
    for attempt in range(50):
        try:
            cluster.run()
        except SystemExit:
            if attempt == 49:
                raise
            time.sleep(0.1)
        else:
            return


class Asking(threading.Thread):
    """Makes flow runs all the time; `made` are those that the server said it has."""

    def __init__(self, standing: Server) -> None:
        super().__init__(daemon=True)
        self.made: list[str] = []
        self.answers: Counter[int] = Counter()
        self.stopping = threading.Event()
        self._standing = standing

    def run(self) -> None:
        with self._standing.client() as api:
            flow = api.post("/flows/", json={"name": "asked"}).json()["id"]
            while not self.stopping.wait(0.02):
                answer = api.post("/flow_runs/", json={"flow_id": flow, "state": {"type": "PENDING"}})
                self.answers[answer.status_code] += 1
                if answer.status_code == 201:
                    self.made.append(answer.json()["id"])


@pytest.mark.parametrize("sdk", SDKS)
def test_what_was_acknowledged_outlives_the_database(sdk: str, cluster: Any, tmp_path: Path) -> None:
    with server(tmp_path / "home", url=cluster.url()) as standing:
        asking = Asking(standing)
        asking.start()
        with flows(tmp_path, standing.url, sdk, ["sequential", "threads"]) as started, standing.client() as api:
            cluster.process.send_signal(signal.SIGKILL)
            cluster.process.wait(10)
            known = asking.answers[503]
            while asking.answers[503] < known + 5:
                assert asking.is_alive()
                time.sleep(0.02)
            assert (api.get("/ready").status_code, api.get("/health").status_code) == (503, 200)
            restart(cluster)
            before = len(asking.made)
            while len(asking.made) < before + 5:
                assert asking.is_alive()
                time.sleep(0.02)
            end(tmp_path, started)
            asking.stopping.set()
            asking.join(10)
            for flow in started:
                check(api, flow)
            assert set(asking.answers) == {201, 503}
            assert [run for run in asking.made if api.get(f"/flow_runs/{run}").status_code != 200] == []
