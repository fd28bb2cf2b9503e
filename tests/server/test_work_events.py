"""Events about pools, queues, deployments and automations."""

from uuid import uuid4

import httpx


def _events(api: httpx.Client, resource: str) -> list[dict]:
    body = {"filter": {"resource": {"id": [resource]}, "order": "ASC"}}
    answer = api.post("/events/filter", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["events"]


def _names(api: httpx.Client, resource: str) -> list[str]:
    return [event["event"].removeprefix("prefect.") for event in _events(api, resource)]


def test_pools_and_queues(api: httpx.Client) -> None:
    name = f"pool {uuid4()}"
    pool = api.post("/work_pools/", json={"name": name, "type": "process"}).json()
    path = f"/work_pools/{name}"
    for _ in range(2):
        api.post(f"{path}/workers/heartbeat", json={"name": "w"})
        api.patch(path, json={"is_paused": True, "description": "d"})
    api.patch(path, json={"is_paused": False})
    queue = f"prefect.work-queue.{pool['default_queue_id']}"
    for _ in range(2):
        api.post(f"{path}/get_scheduled_flow_runs")
    api.patch(f"{path}/queues/default", json={"is_paused": True, "concurrency_limit": 3})
    api.delete(path)
    told = ["created", "ready", "updated", "paused", "ready", "deleted"]
    assert _names(api, f"prefect.work-pool.{pool['id']}") == [f"work-pool.{what}" for what in told]
    found = _events(api, queue)
    assert [event["event"] for event in found] == [
        f"prefect.work-queue.{what}" for what in ("created", "ready", "updated", "paused")
    ]
    assert found[0]["related"][0]["prefect.resource.id"] == f"prefect.work-pool.{pool['id']}"
    assert found[2]["payload"]["updates"] == {"concurrency_limit": {"from": None, "to": 3}}


def test_deployments(api: httpx.Client) -> None:
    flow = api.post("/flows/", json={"name": f"flow {uuid4()}"}).json()
    pool = api.post("/work_pools/", json={"name": f"pool {uuid4()}", "type": "process"}).json()
    body = {"name": "d", "flow_id": flow["id"], "work_pool_name": pool["name"], "tags": ["t"]}
    made = api.post("/deployments/", json=body).json()["id"]
    api.patch(f"/deployments/{made}", json={"tags": ["t"]})  # changes nothing
    api.patch(f"/deployments/{made}", json={"description": "new"})
    for _ in range(2):
        api.post("/deployments/get_scheduled_flow_runs", json={"deployment_ids": [made]})
    api.delete(f"/deployments/{made}")
    found = _events(api, f"prefect.deployment.{made}")
    assert [event["event"] for event in found] == [
        f"prefect.deployment.{what}" for what in ("created", "updated", "ready", "deleted")
    ]
    related = {each["prefect.resource.role"]: each for each in found[0]["related"]}
    assert related["flow"]["prefect.resource.name"] == flow["name"]
    assert related["work-pool"]["prefect.resource.id"] == f"prefect.work-pool.{pool['id']}"
    updates = {"description": {"from": None, "to": "new"}}
    assert found[1]["payload"] == {"updated_fields": ["description"], "updates": updates}


def test_automations(api: httpx.Client) -> None:
    body = {"name": "a", "trigger": {"posture": "Reactive"}, "actions": []}
    made = api.post("/automations/", json=body).json()["id"]
    api.patch(f"/automations/{made}", json={"enabled": False})
    api.delete(f"/automations/{made}")
    told = [f"automation.{what}" for what in ("created", "updated", "deleted")]
    assert _names(api, f"prefect.automation.{made}") == told
