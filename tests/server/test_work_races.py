"""Requests that meet: whoever comes second finds what the first one made."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx

AT_ONCE = 8


def _at_once(api: httpx.Client, method: str, path: str, body: object) -> list[httpx.Response]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: api.request(method, path, json=body), range(AT_ONCE)))


def _statuses(answers: list[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def test_one_pool_is_made(api: httpx.Client) -> None:
    name = f"pool {uuid4()}"
    answers = _at_once(api, "POST", "/work_pools/", {"name": name, "type": "process"})
    assert _statuses(answers) == [201] + [409] * (AT_ONCE - 1)
    assert len(api.post(f"/work_pools/{name}/queues/filter").json()) == 1
    answers = _at_once(api, "POST", f"/work_pools/{name}/queues", {"name": "q"})
    assert _statuses(answers) == [201] + [409] * (AT_ONCE - 1)
    assert _statuses(_at_once(api, "POST", f"/work_pools/{name}/workers/heartbeat", {"name": "w"})) == [204] * AT_ONCE
    assert len(api.post(f"/work_pools/{name}/workers/filter").json()) == 1


def test_queues_made_at_once_have_their_own_priorities(api: httpx.Client) -> None:
    name = f"pool {uuid4()}"
    api.post("/work_pools/", json={"name": name, "type": "process"})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(pool.map(lambda n: api.post(f"/work_pools/{name}/queues", json={"name": f"q{n}"}), range(AT_ONCE)))
    assert _statuses(made) == [201] * AT_ONCE
    found = api.post(f"/work_pools/{name}/queues/filter").json()
    assert [queue["priority"] for queue in found] == list(range(1, AT_ONCE + 2))


def test_one_deployment_is_made(api: httpx.Client) -> None:
    flow = api.post("/flows/", json={"name": f"flow {uuid4()}"}).json()["id"]
    pool = f"pool {uuid4()}"
    api.post("/work_pools/", json={"name": pool, "type": "process"})
    body = {"name": "d", "flow_id": flow, "tags": ["t"], "work_pool_name": pool, "work_queue_name": "made by it"}
    body["schedules"] = [{"schedule": {"interval": 3600}, "slug": "s"}]
    answers = _at_once(api, "POST", "/deployments/", {**body, "concurrency_limit": 2})
    assert _statuses(answers) == [200] * (AT_ONCE - 1) + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    made = answers[0].json()["id"]
    assert len(api.get(f"/deployments/{made}/schedules").json()) == 1
    runs = _at_once(api, "POST", f"/deployments/{made}/create_flow_run", {"idempotency_key": "once"})
    assert _statuses(runs) == [200] * (AT_ONCE - 1) + [201]
    assert len({run.json()["id"] for run in runs}) == 1
    assert _statuses(_at_once(api, "POST", f"/deployments/{made}/schedule", {"min_runs": 20})) == [200] * AT_ONCE
    due = api.post("/deployments/get_scheduled_flow_runs", json={"deployment_ids": [made]}).json()
    times = [run["next_scheduled_start_time"] for run in due if run["auto_scheduled"]]
    assert len(times) == len(set(times)) == 20
    assert _statuses(_at_once(api, "DELETE", f"/deployments/{made}", None)) == [204] + [404] * (AT_ONCE - 1)
