"""Workers: from the trigger of a deployment to Running, warm and cold; flow runs per second; sleeping runs at once.

The peer's process worker does the same against its own server where `--peer` names one; only the trigger is compared, for it takes
seconds there.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from bench import harness
from bench.harness import SDK, Figure, Options, environment
from bench.servers import Server, server

_FLOWS = """
import time
from {sdk} import flow

@flow
def nothing():
    return None

@flow
def sleep(seconds: float):
    time.sleep(seconds)
"""
_ENDS = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


class _Site:
    """A server with a worker beside it, and the deployments of a file."""

    def __init__(self, sdk: SDK, running: Server, directory: Path) -> None:
        self.sdk, self.directory = sdk, directory
        self.api = httpx.Client(base_url=running.api, timeout=60)
        self.api.post("/work_pools/", json={"name": "bench", "type": "process"})

    def deploy(self, function: str, file: str = "flows.py") -> str:
        (self.directory / file).write_text(_FLOWS.format(sdk=self.sdk))
        flow_id = self.api.post("/flows/", json={"name": function}).json()["id"]
        body = {
            "name": f"{file}-{function}",
            "flow_id": flow_id,
            "entrypoint": f"{file}:{function}",
            "path": str(self.directory),
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(self.directory)}}],
            "work_pool_name": "bench",
        }
        return str(self.api.post("/deployments/", json=body).raise_for_status().json()["id"])

    def trigger(self, deployment: str, **parameters: Any) -> str:
        body = {"parameters": parameters}
        answer = self.api.post(f"/deployments/{deployment}/create_flow_run", json=body)
        return str(answer.raise_for_status().json()["id"])

    def count(self, runs: list[str], *types: str) -> int:
        found = 0
        for start in range(0, len(runs), 200):
            wanted = {"id": {"any_": runs[start : start + 200]}, "state": {"type": {"any_": list(types)}}}
            found += self.api.post("/flow_runs/count", json={"flow_runs": wanted}).json()
        return found

    def wait(self, runs: list[str], *types: str, seconds: float = 300) -> float:
        """Until all have one of the types; the seconds it took."""
        began = time.perf_counter()
        while self.count(runs, *types) < len(runs):
            if time.perf_counter() - began > seconds:
                raise SystemExit(f"only {self.count(runs, *types)} of {len(runs)} runs are {types}")
            time.sleep(0.05)
        return time.perf_counter() - began

    def latency(self, deployment: str) -> float:
        """Seconds from the request that makes a run until it is Running, by the clock of this machine."""
        began = time.time()
        run = self.trigger(deployment)
        self.wait([run], "COMPLETED")
        started = datetime.fromisoformat(self.api.get(f"/flow_runs/{run}").json()["start_time"])
        return started.timestamp() - began

    def rate(self, deployment: str, number: int) -> float:
        """Runs per second of a pool that is opened when all of them wait."""
        self.api.patch("/work_pools/bench", json={"is_paused": True})
        runs = self.triggered(deployment, number)
        self.api.patch("/work_pools/bench", json={"is_paused": False})
        return number / self.wait(runs, *_ENDS)

    def triggered(self, deployment: str, number: int, **parameters: Any) -> list[str]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda _: self.trigger(deployment, **parameters), range(number)))


@contextmanager
def _site(sdk: SDK, options: Options) -> Iterator[_Site]:
    python = sys.executable if sdk == "riverrun" else options.peer
    assert python is not None
    with server(sdk, options) as running, tempfile.TemporaryDirectory(prefix="bench-worker-") as directory:
        site = _Site(sdk, running, Path(directory))
        variables = environment(sdk, directory) | {f"{sdk.upper()}_API_URL": running.api}
        worker = subprocess.Popen(
            [python, "-m", sdk, "worker", "start", "--pool", "bench"],
            env=variables,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield site
        finally:
            site.api.close()
            worker.terminate()
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def figures(options: Options) -> Iterator[Figure]:
    """One worker beside one server, both on this machine."""
    number = 40 if options.quick else 200
    with _site("riverrun", options) as site:
        site.wait([site.trigger(site.deploy("nothing"))], "COMPLETED")
        cold = statistics.median(site.latency(site.deploy("nothing", f"cold{count}.py")) for count in range(5))
        deployment = site.deploy("nothing")
        site.latency(deployment)
        warm = sorted(site.latency(deployment) for _ in range(number))
        rate = site.rate(deployment, number * 3)
        sleeping = site.triggered(site.deploy("sleep"), 200, seconds=60 if options.quick else 120)
        together = site.wait(sleeping, "RUNNING")
        for run in sleeping:
            site.api.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}})
        site.wait(sleeping, *_ENDS)
    peer = None
    if options.peer is not None:
        with _site("prefect", options) as other:
            deployment = other.deploy("nothing")
            other.latency(deployment)
            peer = statistics.median(other.latency(deployment) for _ in range(3)) * 1e3
    yield Figure("trigger -> Running, warm, p50", statistics.median(warm) * 1e3, "ms", budget=50, peer=peer)
    yield Figure("trigger -> Running, warm, p99", warm[int(len(warm) * 0.99)] * 1e3, "ms", budget=250)
    yield Figure("trigger -> Running, first run of new code", cold * 1e3, "ms", budget=1000, peer=peer)
    yield Figure("no-op flow runs through one worker", rate, "/s", budget=50, at_least=True)
    yield Figure("200 sleeping runs, all Running after", together, "s")


if __name__ == "__main__":
    os.environ.setdefault("RIVERRUN_LOGGING_LEVEL", "WARNING")
    harness.main(figures)
