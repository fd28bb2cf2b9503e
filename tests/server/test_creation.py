"""Making runs by request: which are the same, what is refused, what a subflow's run tells its parent."""

import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.server.test_transitions import make_flow, make_run, propose


def make_task_run(api: httpx.Client, run: dict | None = None, **fields: object) -> httpx.Response:
    body = {"flow_run_id": run and run["id"], "task_key": f"task-{uuid.uuid4()}", "dynamic_key": "0", **fields}
    return api.post("/task_runs/", json=body)


def test_a_task_run_outside_of_flows_is_made_once(api: httpx.Client) -> None:
    key = f"task-{uuid.uuid4()}"
    first, second = (make_task_run(api, task_key=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]


def test_an_id_is_that_of_one_task_run(api: httpx.Client) -> None:
    run, own, key = make_run(api), str(uuid.uuid4()), f"task-{uuid.uuid4()}"
    made, again, other = (make_task_run(api, run, task_key=key, dynamic_key=dynamic, id=own) for dynamic in "001")
    assert (made.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert own in other.json()["detail"]


@pytest.mark.parametrize(
    "fields",
    [
        {"empirical_policy": {"retry_delay": [1] * 51}},
        {"empirical_policy": {"retry_jitter_factor": -0.1}},
        {"cache_key": "k" * 2001},
    ],
)
def test_what_no_task_run_can_have_is_refused(api: httpx.Client, fields: dict) -> None:
    assert make_task_run(api, **fields).status_code == 422


def test_a_retry_policy_is_told_as_it_was_said(api: httpx.Client) -> None:
    unsaid, said = make_run(api), make_run(api, empirical_policy={"retries": 0, "retry_delay": 0})
    for run, number in ((unsaid, None), (said, 0)):
        for policy in (run["empirical_policy"], api.get(f"/flow_runs/{run['id']}").json()["empirical_policy"]):
            assert (policy["retries"], policy["retry_delay"]) == (number, number)


def test_a_run_keeps_a_name(api: httpx.Client) -> None:
    run = make_run(api, name="mine")
    assert api.patch(f"/flow_runs/{run['id']}", json={"name": ""}).status_code == 204
    assert api.get(f"/flow_runs/{run['id']}").json()["name"]


def test_a_subflow_tells_its_parent_from_the_start(api: httpx.Client) -> None:
    stand_in = make_task_run(api, make_run(api)).json()
    child = make_run(api, parent_task_run_id=stand_in["id"], state={"type": "RUNNING"})
    state = api.get(f"/task_runs/{stand_in['id']}").json()["state"]
    assert (state["type"], state["state_details"]["child_flow_run_id"]) == ("RUNNING", child["id"])
    done = propose(api, child, "COMPLETED").json()["state"]["state_details"]
    assert (done["flow_run_id"], done["task_run_id"]) == (child["id"], stand_in["id"])


def test_a_background_task_is_taken_once(api: httpx.Client) -> None:
    task = make_task_run(api, state={"type": "SCHEDULED", "state_details": {"deferred": True}}).json()
    first, second = (propose(api, task, "PENDING", kind="task_runs", details={"deferred": True}) for _ in range(2))
    assert (first.json()["status"], second.json()["status"]) == ("ACCEPT", "ABORT")
    assert second.json()["state"]["id"] == first.json()["state"]["id"]


def test_answers_to_proposals_name_the_runs(api: httpx.Client) -> None:
    run = make_run(api, state={"type": "RUNNING"})
    details = propose(api, make_task_run(api, run).json(), "RUNNING", kind="task_runs").json()["state"]["state_details"]
    assert details["flow_run_id"] == run["id"]
    runs = [make_run(api)["id"] for _ in range(2)]
    body = {"flow_runs": {"id": {"any_": runs}}, "state": {"type": "CANCELLED"}}
    results = api.post("/flow_runs/bulk_set_state", json=body).json()["results"]
    assert {result["flow_run_id"] for result in results} == set(runs)


def test_a_key_too_long_for_the_cache_does_not_keep_a_task_from_ending(api: httpx.Client) -> None:
    task = make_task_run(api).json()
    answer = propose(api, task, "COMPLETED", kind="task_runs", details={"cache_key": "k" * 2001})
    assert (answer.status_code, answer.json()["status"]) == (201, "REJECT")
    assert api.get(f"/task_runs/{task['id']}").json()["state_type"] == "COMPLETED"


def test_names_of_deployments_are_found_by_patterns(api: httpx.Client) -> None:
    flow, mark = make_flow(api), uuid.uuid4().hex
    for name in (f"{mark}-a-1", f"{mark}-b-2"):
        api.post("/deployments/", json={"name": name, "flow_id": flow})
    body = {"deployments": {"name": {"like_": f"{mark}%1"}}}
    assert [found["name"] for found in api.post("/deployments/filter", json=body).json()] == [f"{mark}-a-1"]


def test_refusals_say_of_what_kind_they_are(api: httpx.Client) -> None:
    for body, kind in (({"name": "n", "nix": 1}, "extra_forbidden"), ({}, "missing"), ({"name": 1}, "value_error")):
        (detail,) = api.post("/flows/", json=body).json()["exception_detail"]
        assert detail["type"] == kind


def test_a_history_lists_states_by_name(api: httpx.Client) -> None:
    flow = make_flow(api)
    for kind in ("SCHEDULED", "RUNNING", "COMPLETED"):
        api.post("/flow_runs/", json={"flow_id": flow, "state": {"type": kind}})
    now = datetime.now(UTC)
    body = {
        "history_start": str(now - timedelta(1)),
        "history_end": str(now + timedelta(1)),
        "history_interval_seconds": 172800,
    }
    (interval,) = api.post("/flow_runs/history", json={"flows": {"id": {"any_": [flow]}}, **body}).json()
    assert [state["state_name"] for state in interval["states"]] == ["Completed", "Running", "Scheduled"]
