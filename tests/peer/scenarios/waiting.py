"""A flow that waits for input, and background tasks, with the peer's client; prints what came as JSON."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from prefect import flow, pause_flow_run, resume_flow_run, task
from prefect.client.orchestration import get_client
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.task_worker import serve

told: dict = {}


class Name(RunInput):
    who: str


@flow
def asking() -> str:
    told["run"] = flow_run.id
    return pause_flow_run(wait_for_input=Name, timeout=60, poll_interval=1).who


@task(persist_result=True, task_run_name="twice")
def twice(x: int) -> int:
    return x * 2


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


if __name__ == "__main__" and sys.argv[1:] == ["serve"]:
    serve(twice)
elif __name__ == "__main__":
    thread = threading.Thread(target=lambda: told.setdefault("answer", asking()))
    thread.start()
    with get_client(sync_client=True) as client:
        wait_for(lambda: "run" in told and client.read_flow_run(told["run"]).state.is_paused())
    resume_flow_run(told["run"], run_input={"who": "ann"})
    thread.join(60)
    sys.path.insert(0, str(Path(__file__).parent))
    import waiting

    first = waiting.twice.delay(1)  # before anybody serves it
    worker = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told["background"] = [first.result(timeout=60), waiting.twice.delay(4).result(timeout=60)]
    finally:
        worker.terminate()
        worker.wait(20)
    print(json.dumps(told))
