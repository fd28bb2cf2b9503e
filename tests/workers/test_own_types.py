"""Types of workers that users write, and the runner behind `serve`."""

import signal
import sys
from typing import Any

from tests.with_server.conftest import Place, until
from tests.workers.conftest import Yard

OWN = """
    import asyncio, sys
    from riverrun.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

    class Configuration(BaseJobConfiguration):
        greeting: str = "none"

    class Variables(BaseVariables):
        greeting: str = "hello"

    class Own(BaseWorker):
        type = "own"
        job_configuration = Configuration
        job_configuration_variables = Variables

        async def run(self, flow_run, configuration, task_status=None):
            print("greets", configuration.greeting, configuration.labels["riverrun.io/worker-name"], flush=True)
            command = [sys.executable, "-c", "import time; time.sleep(1000)"] if flow_run.parameters.get("x") == 7 else [
                sys.executable, "-m", "riverrun", "flow-run", "execute", str(flow_run.id)]
            self.process = await asyncio.create_subprocess_exec(*command, cwd=sys.argv[2])
            task_status.started(self.process.pid)
            code = 3 if flow_run.parameters.get("x") == 3 else 0
            return BaseWorkerResult(identifier=str(self.process.pid), status_code=await self.process.wait() or code)

        async def kill_infrastructure(self, infrastructure_pid, configuration, grace_seconds=30):
            assert infrastructure_pid == str(self.process.pid)
            self.process.kill()

    asyncio.run(Own(work_pool_name=sys.argv[1], name="w").start())
"""

FLOWS = """
    from riverrun import flow

    @flow
    def main(x: int = 0):
        return x
"""


def test_a_type_of_ones_own(place: Place, yard: Yard) -> None:
    yard.write(FLOWS)
    worker = place.start(OWN, yard.pool, str(place.path))
    until(lambda: any("started" in line for line in worker.lines))
    pool: dict[str, Any] = place.api.get(f"/work_pools/{yard.pool}").json()
    assert pool["type"] == "own"
    assert pool["base_job_template"]["variables"]["properties"]["greeting"]["default"] == "hello"
    run_id = yard.run("main")
    assert yard.end(run_id)["name"] == "Completed"
    assert "greets hello w" in worker.lines
    cancelled = yard.trigger(yard.deploy("main"), x=7)
    until(lambda: sum(line.startswith("greets") for line in worker.lines) == 2)
    place.api.post(f"/flow_runs/{cancelled}/set_state", json={"state": {"type": "CANCELLING"}})
    assert yard.end(cancelled)["name"] == "Cancelled"
    worker.process.send_signal(signal.SIGTERM)
    assert worker.ended() == 0


SERVED = """
    from riverrun import flow
    from riverrun.runner import Runner

    @flow
    def hi(x: int = 1):
        print("hi", x)

    if __name__ == "__main__":
        runner = Runner(limit=2)
        print(runner.add_flow(hi, "served", interval=3600), flush=True)
        runner.start(printer=lambda text: print(text, flush=True))
"""


def test_a_runner_serves_its_deployments_and_pauses_them(place: Place, yard: Yard) -> None:
    script = place.start(SERVED)
    deployment = script.said()
    until(lambda: any("started" in line for line in script.lines))
    runs = [yard.trigger(deployment, x=number) for number in range(4)]
    for run_id in runs:
        assert yard.end(run_id)["name"] == "Completed"
    assert yard.told(runs[3], "hi ") == "3"
    assert place.api.get(f"/deployments/{deployment}").json()["paused"] is False
    script.process.send_signal(signal.SIGTERM)
    assert script.ended() == 0, sys.stderr
    assert place.api.get(f"/deployments/{deployment}").json()["paused"] is True
