"""The server is killed at random moments while flows run, and nothing is lost, nothing is there twice, every end is the right one.

FAULTS_KILLS sets how many times (20 for a night), FAULTS_SEED the moments, CONTRACT_PEER the executable of the
Prefect client that runs flows too.
"""

import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.faults.beside import SDKS, check, end, flows
from tests.faults.lossy import lossy
from tests.server.conftest import cluster, fresh_store_url, postgres_databases, sqlite_template
from tests.server.processes import Server, server

__all__ = ["cluster", "fresh_store_url", "postgres_databases", "sqlite_template"]

KILLS = int(os.environ.get("FAULTS_KILLS", "3"))
SEED = int(os.environ.get("FAULTS_SEED", random.randrange(10**6)))  # noqa: S311 - moments, not secrets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + 30 * KILLS)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.mark.parametrize("sdk", SDKS)
def test_nothing_is_lost_when_the_server_is_killed(sdk: str, fresh_store_url: str, tmp_path: Path) -> None:  # noqa: F811
    print("seed", SEED)
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    port = free_port()

    def serve() -> Server:
        return Server(tmp_path / "home", "--port", str(port), url=fresh_store_url)

    standing = serve()
    try:
        with flows(tmp_path, standing.url, sdk) as started:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.1, 1.5))
                standing.stop(signal.SIGKILL)
                standing.close()
                time.sleep(chance.uniform(0.0, 1.0))
                standing = serve()
            end(tmp_path, started)
            with standing.client() as api:
                for flow in started:
                    check(api, flow)
    finally:
        standing.close()


@pytest.mark.parametrize("sdk", SDKS)
def test_nothing_is_lost_or_twice_when_answers_get_lost(sdk: str, fresh_store_url: str, tmp_path: Path) -> None:  # noqa: F811
    print("seed", SEED)
    with server(tmp_path / "home", url=fresh_store_url) as standing:
        port = int(standing.url.rpartition(":")[2])
        with lossy(port, SEED) as proxy, flows(tmp_path, proxy.url, sdk) as started:
            # the unmodified client waits for seconds after each; a handshake that fails ends its sending of events
            proxy.spares_sockets = sdk == "prefect"
            proxy.loses = 0.3 if sdk == "riverrun" else 0.2
            for flow in started:
                flow.wait_for(150)
            while proxy.lost < 5:
                started[0].wait_for(len(started[0].lines()) + 1)
            end(tmp_path, started)
        with standing.client() as api:
            for flow in started:
                check(api, flow)
