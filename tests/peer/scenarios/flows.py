"""Flows of every kind with the peer's client; prints what they gave and the ids of their runs as JSON."""

import asyncio
import json

from prefect import flow, get_run_logger, task
from prefect.cache_policies import INPUTS
from prefect.runtime import flow_run

told: dict = {}
tries = {"task": 0, "flow": 0}


@task
def add(x: int, y: int) -> int:
    get_run_logger().info("adding %s", x)
    return x + y


@task(retries=2, retry_delay_seconds=0)
def flaky() -> str:
    tries["task"] += 1
    if tries["task"] < 3:
        raise ValueError("not yet")
    return "third"


@task(cache_policy=INPUTS, persist_result=True)
def kept(x: int) -> int:
    return x * 2


@flow
def child(x: int) -> int:
    told["child"] = flow_run.id
    return add(x, 1)


@flow(flow_run_name="whole-{number}")
def whole(number: int) -> int:
    told["whole"] = flow_run.id
    sums = add.map(range(number), 1).result()
    assert flaky() == "third"
    assert kept(21) == kept(21) == 42
    return sum(sums) + child(number)


@flow(retries=1)
def second_time() -> str:
    told["second_time"] = flow_run.id
    tries["flow"] += 1
    if tries["flow"] == 1:
        raise ValueError("once")
    return "well"


@task
async def later(x: int) -> int:
    await asyncio.sleep(0.01)
    return x


@flow
async def asynchronous() -> int:
    told["asynchronous"] = flow_run.id
    return sum(await asyncio.gather(*(later(x) for x in range(5))))


@flow
def failing() -> None:
    told["failing"] = flow_run.id
    raise RuntimeError("on purpose")


told["result"] = whole(20)
second_time()
told["async_result"] = asyncio.run(asynchronous())
failing(return_state=True)
print(json.dumps({name: str(value) for name, value in told.items()}))
