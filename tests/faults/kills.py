"""Run as a process: flows in forked children that are killed at random moments, and ingesters that are killed too.

`python -m tests.faults.kills SEED KILLS TRUTH [DATABASE_URL]`. A child writes to the file TRUTH what it has seen done, each time after the fact,
with one system call: what stands there must be in the store.
"""

import json
import os
import random
import signal
import sys
import time
from typing import Any

from riverrun import flow, task
from riverrun.base.config import settings
from riverrun.client import journal
from riverrun.logging import get_run_logger
from riverrun.runtime import flow_run, task_run
from riverrun.server.db import schema
from riverrun.server.db.engine import open_database
from riverrun.server.ingest import ingest

truth = -1


def seen(what: str, run_id: Any, more: Any = None) -> None:
    os.write(truth, json.dumps([what, str(run_id), more]).encode() + b"\n")


@task
def work(x: int) -> Any:
    seen("running", task_run.id)
    get_run_logger().info("line of %s", task_run.id)
    seen("log", task_run.id, f"line of {task_run.id}")
    return task_run.id


@task(retries=2)
def flaky() -> Any:
    seen("attempt", task_run.id, task_run.run_count)
    if task_run.run_count < 3:
        raise ValueError("not yet")
    return task_run.id


@task
def long(x: int) -> str:
    """A record that does not fit into a segment."""
    get_run_logger().info("long %s %s", task_run.id, "x" * x)
    return str(task_run.id)


@task(retries=1, retry_delay_seconds=0.002)
def late() -> Any:
    seen("attempt", task_run.id, task_run.run_count)
    if task_run.run_count < 2:
        raise ValueError("not yet")
    return task_run.id


@flow
def inner() -> Any:
    seen("completed", work(1))
    return flow_run.id


@flow
def story(round_: int) -> None:
    seen("flow running", flow_run.id)
    while True:
        get_run_logger().info("flow line %s %s", flow_run.id, time.monotonic_ns())
        for x in range(5):
            seen("completed", work(x))
        seen("completed", flaky())
        future = work.submit(1)
        seen("completed", future.result())
        for mapped in work.map(range(4)):
            seen("completed", mapped.result())
        seen("flow completed", inner())
        seen("completed", late())
        seen("completed", long(300_000))


def child(round_: int) -> None:
    try:
        story(round_)
    finally:
        os._exit(9)


def ingester(url: str) -> None:
    try:
        with open_database(url) as database:
            if database.lock is None or database.lock.acquire(5, "test", lambda _text: None):
                schema.upgrade(database)
                ingest(database, settings().journal_dir)
    finally:
        os._exit(0)


def main(seed: int, kills: int, path: str, url: str) -> None:
    global truth
    truth = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    chance = random.Random(seed)
    children: list[int] = []

    def kill() -> None:
        pid = children.pop(chance.randrange(len(children)))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"a child ended by itself: {status}"

    for number in range(kills):
        pid = os.fork()
        if not pid:
            child(number)
        children.append(pid)
        time.sleep(chance.random() ** 2 * 0.12)
        if len(children) > 1:  # so that two processes write at once
            kill()
        if number % 3 == 2:
            pid = os.fork()
            if not pid:
                ingester(url)
            time.sleep(chance.random() * 0.15)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    while children:
        kill()
    assert journal.current_writer() is None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
