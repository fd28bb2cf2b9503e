"""Variables, blocks, artifacts, limits and events with the peer's client; prints what it found as JSON."""

import json
import threading
import time

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency, rate_limit
from prefect.events import emit_event
from prefect.filesystems import LocalFileSystem
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.variables import Variable

told: dict = {}
lock, now, most = threading.Lock(), 0, 0


def limit(method: str, path: str, **options):
    with get_client(sync_client=True) as client:
        return client.request(method, f"/v2/concurrency_limits/{path}", **options).json()


Variable.set("colour", {"name": "red"}, tags=["a"])
Variable.set("colour", "blue", overwrite=True)
told["variable"] = Variable.get("colour")
Secret(value="hush").save("word", overwrite=True)
Secret(value="hush hush").save("word", overwrite=True)
told["secret"] = Secret.load("word").get()
LocalFileSystem(basepath="/tmp").save("files", overwrite=True)
told["block"] = LocalFileSystem.load("files").basepath

for name, body in (
    ("tag:two", {"limit": 2}),
    ("one", {"limit": 1}),
    ("quick", {"limit": 1, "slot_decay_per_second": 50}),
):
    limit("POST", "", json={"name": name, **body})


@task(tags=["two"])
def limited() -> None:
    global now, most
    with lock:
        now += 1
        most = max(most, now)
    time.sleep(0.1)
    with lock:
        now -= 1


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
def all_of_it() -> None:
    for future in [limited.submit() for _ in range(4)]:
        future.result()
    with concurrency("one", occupy=1):
        told["used"] = limit("GET", "one")["active_slots"]
    for _ in range(3):
        rate_limit("quick")
    create_markdown_artifact("# Well", key="report")
    create_table_artifact([{"a": 1}], key="table")
    emit_event("things.happened", resource={"prefect.resource.id": "things.1"})


all_of_it()
told["most"] = most
told["left"] = limit("GET", "one")["active_slots"]
print(json.dumps(told))
