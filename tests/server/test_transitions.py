"""Runs made and moved over HTTP: who may start what, what stays, what mirrors what."""

import concurrent.futures
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest


def make_flow(api: httpx.Client) -> str:
    return api.post("/flows/", json={"name": f"flow-{uuid.uuid4()}"}).json()["id"]


def make_run(api: httpx.Client, **fields: object) -> dict:
    answer = api.post("/flow_runs/", json={"flow_id": make_flow(api), **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def propose(api: httpx.Client, run: dict, type: str, *, kind: str = "flow_runs", force: bool = False, **state: object):
    details = {"transition_id": str(uuid.uuid4()), **state.pop("details", {})}
    body = {"state": {"type": type, "state_details": details, **state}, "force": force}
    return api.post(f"/{kind}/{run['id']}/set_state", json=body)


def names(api: httpx.Client, run: dict) -> list[str]:
    return [state["name"] for state in api.get("/flow_run_states/", params={"flow_run_id": run["id"]}).json()]


def test_the_life_of_a_flow_run(api: httpx.Client) -> None:
    run = make_run(api, parameters={"x": 1}, tags=["a", "b"], labels={"k": 2}, context={"c": 3}, name="mine")
    assert run["state_type"] == "PENDING"
    assert (run["parameters"], run["tags"], run["context"], run["name"]) == ({"x": 1}, ["a", "b"], {"c": 3}, "mine")
    assert run["labels"] == {"k": 2, "prefect.flow.id": run["flow_id"]}
    running = propose(api, run, "RUNNING")
    assert (running.status_code, running.json()["status"]) == (201, "ACCEPT")
    assert running.json()["state"]["name"] == "Running"
    done = propose(api, run, "COMPLETED", message="well", data={"storage_key": "k"})
    assert done.json()["state"]["message"] == "well"
    final = api.get(f"/flow_runs/{run['id']}").json()
    assert final["run_count"] == 1
    assert final["start_time"] is not None and final["end_time"] is not None
    assert final["total_run_time"] > 0
    assert names(api, run) == ["Pending", "Running", "Completed"]
    assert propose(api, run, "COMPLETED").json()["status"] == "REJECT"


def test_an_idempotency_key_makes_one_run(api: httpx.Client) -> None:
    flow = make_flow(api)
    body = {"flow_id": flow, "idempotency_key": "k" * 500}
    first, second = api.post("/flow_runs/", json=body), api.post("/flow_runs/", json=body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]


def test_the_same_transition_twice_is_one(api: httpx.Client) -> None:
    run = make_run(api)
    mark = {"transition_id": str(uuid.uuid4())}
    first, second = (propose(api, run, "RUNNING", details=mark) for _ in range(2))
    assert first.json()["status"] == "ACCEPT"
    assert second.json()["status"] == "REJECT"
    assert second.json()["state"]["id"] == first.json()["state"]["id"]
    assert names(api, run) == ["Pending", "Running"]


@pytest.mark.parametrize("kind", ["PENDING", "RUNNING"])
def test_one_of_many_claims_wins(api: httpx.Client, kind: str) -> None:
    state = {"type": "SCHEDULED"} if kind == "PENDING" else {"type": "PENDING"}
    run = make_run(api, state=state)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: propose(api, run, kind).json()["status"], range(20)))
    assert sorted(answers) == ["ABORT"] * 19 + ["ACCEPT"]


def test_what_has_ended_does_not_start_again(api: httpx.Client) -> None:
    run = make_run(api)
    propose(api, run, "RUNNING")
    propose(api, run, "FAILED")
    answer = propose(api, run, "RUNNING").json()
    assert answer["status"] == "ABORT"
    assert "ended" in answer["details"]["reason"]
    assert answer["state"]["type"] == "FAILED"


def test_retries_are_the_servers_decision(api: httpx.Client) -> None:
    run = make_run(api, empirical_policy={"retries": 1, "retry_delay": 0})
    propose(api, run, "RUNNING")
    answer = propose(api, run, "FAILED", message="no").json()
    assert (answer["status"], answer["state"]["name"]) == ("REJECT", "AwaitingRetry")
    assert propose(api, run, "RUNNING").json()["status"] == "ACCEPT"
    assert propose(api, run, "FAILED").json()["status"] == "ACCEPT"
    assert api.get(f"/flow_runs/{run['id']}").json()["run_count"] == 2


def test_who_comes_too_early_waits(api: httpx.Client) -> None:
    later = (datetime.now(UTC) + timedelta(seconds=90)).isoformat()
    run = make_run(api, state={"type": "SCHEDULED", "state_details": {"scheduled_time": later}})
    assert propose(api, run, "PENDING").json()["status"] == "ACCEPT"
    answer = propose(api, run, "RUNNING")
    assert (answer.status_code, answer.json()["status"]) == (200, "WAIT")
    assert 85 <= answer.json()["details"]["delay_seconds"] <= 90


def test_pause_and_resume_with_input(api: httpx.Client) -> None:
    run = make_run(api)
    propose(api, run, "RUNNING")
    keyset = {"schema": "s", "response": "r"}
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    assert api.post(f"/flow_runs/{run['id']}/input", json={"key": "s", "value": schema}).status_code == 201
    assert (
        propose(api, run, "PAUSED", details={"run_input_keyset": keyset, "pause_key": "1"}).json()["status"] == "ACCEPT"
    )
    wrong = api.post(f"/flow_runs/{run['id']}/resume", json={"run_input": {"n": "x"}})
    assert (wrong.status_code, wrong.json()["status"]) == (200, "REJECT")
    right = api.post(f"/flow_runs/{run['id']}/resume", json={"run_input": {"n": 3}})
    assert (right.status_code, right.json()["state"]["type"]) == (201, "RUNNING")
    assert api.get(f"/flow_runs/{run['id']}/input/r").json() == {"n": 3}
    assert api.get(f"/flow_runs/{run['id']}").json()["run_count"] == 2  # as the peer counts a blocking pause
    assert api.post(f"/flow_runs/{run['id']}/resume", json={}).json()["status"] == "ABORT"
    again = propose(api, run, "PAUSED", details={"pause_key": "1"}).json()
    assert again["status"] == "REJECT"


def test_a_subflow_is_mirrored_on_its_task_run(api: httpx.Client) -> None:
    parent = make_run(api)
    body = {"flow_run_id": parent["id"], "task_key": "sub", "dynamic_key": "0", "state": {"type": "PENDING"}}
    dummy = api.post("/task_runs/", json=body)
    assert dummy.status_code == 201
    assert api.post("/task_runs/", json=body).status_code == 200
    child = make_run(api, parent_task_run_id=dummy.json()["id"])
    propose(api, child, "RUNNING")
    propose(api, child, "COMPLETED", message="done")
    mirrored = api.get(f"/task_runs/{dummy.json()['id']}").json()
    assert (mirrored["state"]["message"], mirrored["state_type"]) == ("done", "COMPLETED")
    assert mirrored["state"]["state_details"]["child_flow_run_id"] == child["id"]


def test_force_leaves_the_rules_out(api: httpx.Client) -> None:
    run = make_run(api)
    propose(api, run, "RUNNING")
    propose(api, run, "FAILED")
    assert propose(api, run, "RUNNING", force=True).json()["status"] == "ACCEPT"


def test_fields_change_and_runs_go(api: httpx.Client) -> None:
    run = make_run(api, tags=["old"])
    change = {"name": "new", "tags": ["x"], "infrastructure_pid": "host:1", "parameters": {"a": 1}}
    assert api.patch(f"/flow_runs/{run['id']}", json=change).status_code == 204
    assert api.patch(f"/flow_runs/{run['id']}/labels", json={"a": "b"}).status_code == 204
    found = api.get(f"/flow_runs/{run['id']}").json()
    assert {name: found[name] for name in change} == change
    assert found["labels"]["a"] == "b"
    assert api.delete(f"/flow_runs/{run['id']}").status_code == 204
    assert api.get(f"/flow_runs/{run['id']}").status_code == 404
    assert api.delete(f"/flow_runs/{run['id']}").status_code == 404
    assert propose(api, run, "RUNNING").status_code == 404


def test_a_task_run_takes_from_the_cache(api: httpx.Client) -> None:
    runs = []
    for number in range(2):
        body = {"flow_run_id": None, "task_key": "t", "dynamic_key": str(uuid.uuid4()), "state": {"type": "PENDING"}}
        runs.append(api.post("/task_runs/", json=body).json())
    key = {"cache_key": f"k-{uuid.uuid4()}"}
    assert propose(api, runs[0], "RUNNING", kind="task_runs", details=key).json()["status"] == "ACCEPT"
    data = {"storage_key": "x"}
    assert propose(api, runs[0], "COMPLETED", kind="task_runs", details=key, data=data).json()["status"] == "ACCEPT"
    answer = propose(api, runs[1], "RUNNING", kind="task_runs", details=key).json()
    assert (answer["status"], answer["state"]["name"], answer["state"]["data"]) == ("REJECT", "Cached", data)


def test_begin_is_for_one_process(api: httpx.Client) -> None:
    run = make_run(api)
    bodies = [{"writer": str(uuid.uuid4()), "transition_id": str(uuid.uuid4())} for _ in range(2)]
    first = api.post(f"/flow_runs/{run['id']}/begin", json=bodies[0]).json()
    assert (first["status"], first["flow_run"]["state_type"]) == ("ACCEPT", "RUNNING")
    assert api.post(f"/flow_runs/{run['id']}/begin", json=bodies[1]).json()["status"] == "ABORT"
    assert api.post(f"/flow_runs/{run['id']}/begin", json=bodies[0]).json()["status"] == "REJECT"
