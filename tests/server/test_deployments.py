"""Deployments over HTTP: making and changing them, their filters, and the runs made of them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

POOL = {
    "job_configuration": {"cpu": "{{ cpu }}", "image": "{{ image }}"},
    "variables": {
        "type": "object",
        "properties": {"cpu": {"type": "integer", "default": 1}, "image": {"type": "string"}},
        "required": ["image"],
    },
}
X_IS_TEXT = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}


@pytest.fixture
def flow(api: httpx.Client) -> str:
    return api.post("/flows/", json={"name": f"flow {uuid4()}"}).json()["id"]


def _make(api: httpx.Client, flow: str, name: str = "d", status: int = 201, **fields) -> dict:
    answer = api.post("/deployments/", json={"name": name, "flow_id": flow, **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


def _patch(api: httpx.Client, made: dict, status: int = 204, **fields) -> httpx.Response:
    answer = api.patch(f"/deployments/{made['id']}", json=fields)
    assert answer.status_code == status, answer.text
    return answer


def _run(api: httpx.Client, made: dict, status: int = 201, **fields) -> dict:
    answer = api.post(f"/deployments/{made['id']}/create_flow_run", json=fields)
    assert answer.status_code == status, answer.text
    return answer.json()


def _read(api: httpx.Client, made: dict) -> dict:
    return api.get(f"/deployments/{made['id']}").json()


# -- making and changing ----------------------------------------------------------------------------------------------------


def test_all_fields_come_back(api: httpx.Client, flow: str) -> None:
    fields = {
        "version": "1",
        "description": "d",
        "paused": True,
        "tags": ["a", "b"],
        "labels": {"team": "x"},
        "parameters": {"x": 1},
        "parameter_openapi_schema": {"type": "object", "properties": {}},
        "enforce_parameter_schema": False,
        "job_variables": {"cpu": 2},
        "path": "/p",
        "entrypoint": "f.py:f",
        "pull_steps": [{"git_clone": {"url": "u"}}],
        "concurrency_options": {"collision_strategy": "CANCEL_NEW", "grace_period_seconds": 90},
        "version_info": {"type": "git", "version": "abc"},
    }
    made = _make(api, flow, **fields)
    for name in fields.keys() - {"version_info", "labels"}:
        assert made[name] == fields[name], name
    assert made["labels"] == {"prefect.flow.id": flow, "team": "x"}
    assert (made["status"], made["work_queue_name"], made["work_pool_name"]) == ("NOT_READY", None, None)
    assert (made["concurrency_limit"], made["global_concurrency_limit"]) == (None, None)
    assert _read(api, made) == made
    name = api.get(f"/flows/{flow}").json()["name"]
    assert api.get(f"/deployments/name/{name}/d").json() == made
    assert api.get(f"/deployments/name/{name}/e").status_code == 404


def test_the_same_name_is_the_same_deployment(api: httpx.Client, flow: str) -> None:
    first = _make(api, flow, paused=True, tags=["a"], description="kept", schedules=[{"schedule": {"interval": 60}}])
    again = _make(api, flow, status=200, tags=["b"])
    assert again["id"] == first["id"]
    assert (again["paused"], again["tags"], again["description"], again["schedules"]) == (True, ["b"], "kept", [])
    assert [d["id"] for d in _find(api, flow, tags={"all_": ["b"]})] == [first["id"]]
    assert _find(api, flow, tags={"all_": ["a"]}) == []


def test_pools_and_queues(api: httpx.Client, flow: str) -> None:
    pool = api.post(
        "/work_pools/", json={"name": "for deployments", "type": "process", "base_job_template": POOL}
    ).json()
    made = _make(api, flow, "in default", work_pool_name="for deployments")
    assert (made["work_queue_name"], made["work_queue_id"]) == ("default", pool["default_queue_id"])
    other = _make(api, flow, "in new", work_pool_name="for deployments", work_queue_name="new")
    queue = api.get("/work_pools/for deployments/queues/new").json()
    assert (other["work_queue_id"], other["work_pool_name"]) == (queue["id"], "for deployments")
    answer = api.post("/deployments/", json={"name": "x", "flow_id": flow, "work_pool_name": "nobody"})
    assert (answer.status_code, answer.json()["detail"]) == (404, 'Work pool "nobody" not found.')
    _patch(api, other, work_pool_name=None)
    assert _read(api, other)["work_queue_id"] is None
    _patch(api, other, status=404, work_pool_name="nobody")
    alone = _make(api, flow, "without pool", work_queue_name="lonely")
    assert (alone["work_pool_name"], alone["work_queue_name"]) == ("default-agent-pool", "lonely")


def test_job_variables_fit_the_pool(api: httpx.Client, flow: str) -> None:
    api.post("/work_pools/", json={"name": "typed", "type": "process", "base_job_template": POOL})
    refused = _make(api, flow, status=422, work_pool_name="typed", job_variables={"cpu": "many"})
    assert "cpu" in refused["detail"]
    made = _make(api, flow, work_pool_name="typed", job_variables={"cpu": 2})
    _patch(api, made, status=409, work_pool_name="typed", job_variables={"cpu": "x"})
    assert "image" in _run(api, made, status=422)["detail"]  # now everything must be there
    assert _run(api, made, job_variables={"image": "i"})["job_variables"] == {"image": "i"}
    assert (
        "cpu" in _run(api, made, status=422, job_variables={"image": "i", "cpu": None, "x": 1} | {"cpu": []})["detail"]
    )


def test_job_variables_of_a_run_that_waits_can_be_changed(api: httpx.Client, flow: str) -> None:
    api.post("/work_pools/", json={"name": "of waiting", "type": "process", "base_job_template": POOL})
    made = _make(api, flow, work_pool_name="of waiting", job_variables={"image": "i"})
    run = _run(api, made)

    def change(run: dict, **variables) -> httpx.Response:
        return api.patch(f"/flow_runs/{run['id']}", json={"job_variables": variables})

    assert change(run, cpu=3).status_code == 204
    assert api.get(f"/flow_runs/{run['id']}").json()["job_variables"] == {"cpu": 3}
    refused = change(run, cpu="many")
    assert (refused.status_code, "cpu" in refused.json()["detail"]) == (422, True)
    assert change(_run(api, made, state={"type": "PENDING"}), cpu=3).status_code == 400
    direct = api.post("/flow_runs/", json={"flow_id": flow, "state": {"type": "SCHEDULED"}}).json()
    assert change(direct, cpu=3).status_code == 400
    assert change({"id": uuid4()}, cpu=3).status_code == 404


def test_what_is_wrong_is_said(api: httpx.Client, flow: str) -> None:
    assert api.get(f"/deployments/{uuid4()}").status_code == 404
    assert api.patch(f"/deployments/{uuid4()}", json={}).status_code == 404
    assert api.delete(f"/deployments/{uuid4()}").status_code == 404
    _make(api, str(uuid4()), status=409)
    _make(api, flow, status=409, storage_document_id=str(uuid4()))
    _make(api, flow, status=404, global_concurrency_limit_id=str(uuid4()))
    _make(api, flow, status=422, global_concurrency_limit_id=str(uuid4()), concurrency_limit=1)
    _make(api, flow, status=422, concurrency_limit=0)
    _make(api, flow, status=422, colour="red")
    _make(api, flow, status=422, parameters={"x": "x" * 600_000})
    refused = _make(
        api, flow, status=422, enforce_parameter_schema=True, parameter_openapi_schema=X_IS_TEXT, parameters={"x": 1}
    )
    detail = refused["exception_detail"][0]
    assert detail["loc"] == ["body", "parameters"]
    assert "field 'x'. Failure reason: 1 is not of type" in detail["msg"]
    bad_schema = {"type": "object", "properties": {"x": {"type": "blork"}}}
    refused = _make(api, flow, status=422, enforce_parameter_schema=True, parameter_openapi_schema=bad_schema)
    assert "'blork' is not valid under any of the given schemas" in refused["exception_detail"][0]["msg"]
    for filter in ({"limit": 201}, {"offset": -1}, {"sort": "BY_LUCK"}, {"deployments": {"colour": {}}}):
        assert api.post("/deployments/filter", json=filter).status_code == 422


def test_parameters_are_checked_when_they_change(api: httpx.Client, flow: str) -> None:
    made = _make(api, flow, parameter_openapi_schema=X_IS_TEXT, parameters={"x": "a"}, enforce_parameter_schema=True)
    answer = _patch(api, made, status=409, parameters={"x": 1})
    assert "Validation failed for field 'x'. Failure reason: 1 is not of type 'string'" in answer.json()["detail"]
    _patch(api, made, parameters={})
    _patch(api, made, parameters={"x": {"__prefect_kind": "json", "value": '"text"'}})
    assert _read(api, made)["parameters"] == {"x": "text"}
    _patch(api, made, parameters={"x": 1}, enforce_parameter_schema=False)
    _patch(api, made, status=409, enforce_parameter_schema=True)
    _patch(api, made, status=400, parameters={"x": {"__prefect_kind": "json", "value": "{"}})
    _patch(api, made, parameters={"x": {"__prefect_kind": "jinja", "template": "{{ 1 + 2 }}"}})
    assert _read(api, made)["parameters"] == {"x": "3"}


def test_limits(api: httpx.Client, flow: str) -> None:
    made = _make(api, flow, concurrency_limit=3)
    limit = made["global_concurrency_limit"]
    assert (limit["limit"], limit["active"], limit["name"]) == (3, True, f"deployment:{made['id']}")
    assert _make(api, flow, status=200, version="2")["global_concurrency_limit"]["limit"] == 3
    _patch(api, made, concurrency_limit=None)
    assert _read(api, made)["global_concurrency_limit"] is None
    shared = api.post("/v2/concurrency_limits/", json={"name": "shared by deployments", "limit": 5}).json()
    _patch(api, made, global_concurrency_limit_id=shared["id"])
    assert _read(api, made)["global_concurrency_limit"]["id"] == shared["id"]
    assert api.delete(f"/deployments/{made['id']}").status_code == 204
    assert api.get(f"/v2/concurrency_limits/{shared['id']}").status_code == 200


def test_pause_and_resume(api: httpx.Client, flow: str) -> None:
    made = _make(api, flow, schedules=[{"schedule": {"interval": 3600}}])
    api.post(f"/deployments/{made['id']}/schedule")
    own = _run(api, made)
    assert len(_runs(api, made)) == 4
    for _ in range(2):
        assert api.post(f"/deployments/{made['id']}/pause_deployment").status_code == 200
    assert _read(api, made)["paused"] is True
    assert [run["id"] for run in _runs(api, made)] == [own["id"]]
    api.post(f"/deployments/{made['id']}/schedule")  # a paused deployment makes no runs
    assert len(_runs(api, made)) == 1
    assert api.post(f"/deployments/{made['id']}/resume_deployment").status_code == 200
    assert _read(api, made)["paused"] is False
    assert _read(api, made)["schedules"][0]["active"] is True
    for what in ("pause_deployment", "resume_deployment", "schedule"):
        assert api.post(f"/deployments/{uuid4()}/{what}").status_code == 404


def test_deletion_takes_the_runs_that_have_not_begun(api: httpx.Client, flow: str) -> None:
    made = _make(api, flow, schedules=[{"schedule": {"interval": 3600}}], concurrency_limit=1, tags=["t"])
    api.post(f"/deployments/{made['id']}/schedule")
    waiting = _run(api, made, tags=["w"])
    begun = _run(api, made, state={"type": "PENDING"})
    limit = made["global_concurrency_limit"]["id"]
    assert api.delete(f"/deployments/{made['id']}").status_code == 204
    assert api.get(f"/deployments/{made['id']}").status_code == 404
    assert api.get(f"/flow_runs/{waiting['id']}").status_code == 404
    assert api.get(f"/flow_runs/{begun['id']}").status_code == 200
    assert api.get(f"/v2/concurrency_limits/{limit}").status_code == 404
    made = [_make(api, flow, name)["id"] for name in ("bulk 1", "bulk 2", "kept")]
    answer = api.post("/deployments/bulk_delete", json={"deployments": {"id": {"any_": made[:2]}}})
    assert set(answer.json()["deleted"]) == set(made[:2])
    assert api.get(f"/deployments/{made[2]}").status_code == 200
    assert api.post("/deployments/bulk_delete", json={"limit": 51}).status_code == 422


# -- finding ----------------------------------------------------------------------------------------------------------------


def _find(api: httpx.Client, flow: str, **deployments) -> list[dict]:
    body = {"flows": {"id": {"any_": [flow]}}, "deployments": deployments}
    answer = api.post("/deployments/filter", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_filters(api: httpx.Client, flow: str) -> None:
    api.post("/work_pools/", json={"name": "filtered", "type": "process"})
    x = _make(api, flow, "Deployment X", tags=["a", "b"])
    y = _make(api, flow, "Deployment Y", paused=True, work_pool_name="filtered")
    _run(api, y, name="run of y")

    def ids(**deployments):
        return [one["id"] for one in _find(api, flow, **deployments)]

    assert ids() == [x["id"], y["id"]]
    assert ids(name={"like_": "ment y"}) == [y["id"]]
    assert ids(name={"any_": ["Deployment X"]}) == [x["id"]]
    assert ids(paused={"eq_": True}) == [y["id"]]
    assert ids(id={"not_any_": [x["id"]]}) == [y["id"]]
    assert ids(tags={"all_": ["a", "b"]}) == [x["id"]]
    assert ids(tags={"is_null_": True}) == [y["id"]]
    assert ids(work_queue_name={"any_": ["default"]}) == [y["id"]]
    assert ids(operator="or_", paused={"eq_": True}, tags={"all_": ["a"]}) == [x["id"], y["id"]]
    by_pool = api.post("/deployments/filter", json={"work_pools": {"name": {"any_": ["filtered"]}}}).json()
    assert [one["id"] for one in by_pool] == [y["id"]]
    by_run = api.post("/deployments/count", json={"flow_runs": {"name": {"any_": ["run of y"]}}}).json()
    assert by_run == 1
    body = {"flows": {"id": {"any_": [flow]}}, "limit": 1, "page": 2, "sort": "NAME_DESC"}
    paged = api.post("/deployments/paginate", json=body).json()
    assert (paged["count"], paged["pages"], paged["page"], paged["limit"]) == (2, 2, 2, 1)
    assert [one["id"] for one in paged["results"]] == [x["id"]]
    assert api.post("/deployments/count", json={"flows": {"id": {"any_": [flow]}}}).json() == 2


def test_queues_with_a_filter_take_a_deployment(api: httpx.Client, flow: str) -> None:
    api.post("/work_queues/", json={"name": "takes a", "filter": {"tags": ["a"]}})
    api.post("/work_queues/", json={"name": "takes z", "filter": {"tags": ["z"]}})
    made = _make(api, flow, tags=["a", "b"])
    found = api.get(f"/deployments/{made['id']}/work_queue_check").json()
    assert [queue["name"] for queue in found] == ["takes a"]
    assert found[0]["filter"]["tags"] == ["a"]
    assert api.get(f"/deployments/{uuid4()}/work_queue_check").status_code == 404


# -- runs -------------------------------------------------------------------------------------------------------------------


def _runs(api: httpx.Client, made: dict, **body) -> list[dict]:
    answer = api.post("/deployments/get_scheduled_flow_runs", json={"deployment_ids": [made["id"]], **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_run_is_of_its_deployment(api: httpx.Client, flow: str) -> None:
    made = _make(api, flow, version="7", tags=["d"], labels={"team": "x"}, parameters={"a": 1, "b": 2})
    run = _run(api, made, parameters={"b": 3}, tags=["r"], name="mine", context={"c": 1}, labels={"who": "me"})
    assert run["parameters"] == {"a": 1, "b": 3}
    assert sorted(run["tags"]) == ["d", "r"]
    assert (run["name"], run["flow_id"], run["deployment_id"], run["deployment_version"]) == (
        "mine",
        flow,
        made["id"],
        "7",
    )
    assert run["labels"] == {"prefect.flow.id": flow, "prefect.deployment.id": made["id"], "team": "x", "who": "me"}
    assert (run["state_type"], run["state_name"], run["auto_scheduled"]) == ("SCHEDULED", "Scheduled", False)
    assert datetime.now(UTC) - datetime.fromisoformat(run["expected_start_time"]) < timedelta(seconds=30)
    assert _run(api, made, state={"type": "PENDING"})["state_type"] == "PENDING"
    first = _run(api, made, idempotency_key="k")
    assert _run(api, made, status=200, idempotency_key="k")["id"] == first["id"]
    assert api.post(f"/deployments/{uuid4()}/create_flow_run", json={}).status_code == 404
    assert "work pool" in _run(api, made, status=400, work_queue_name="q")["detail"]


def test_the_queue_of_a_run(api: httpx.Client, flow: str) -> None:
    api.post("/work_pools/", json={"name": "queued", "type": "process"})
    made = _make(api, flow, work_pool_name="queued", work_queue_name="one")
    assert _run(api, made)["work_queue_name"] == "one"
    run = _run(api, made, work_queue_name="brand new")
    assert (run["work_queue_name"], run["work_pool_name"]) == ("brand new", "queued")
    assert _read(api, made)["work_queue_name"] == "one"
    due = api.post("/work_pools/queued/get_scheduled_flow_runs").json()
    assert {each["flow_run"]["work_queue_name"] for each in due} == {"one", "brand new"}
    assert _read(api, made)["status"] == "READY"


def test_parameters_of_runs_are_settled(api: httpx.Client, flow: str) -> None:
    api.post("/variables/", json={"name": "my_variable", "value": {"deep": [1, None]}})
    made = _make(api, flow)

    def settled(value, **fields):
        return _run(api, made, parameters={"x": value}, **fields)["parameters"]

    assert settled({"__prefect_kind": "none", "value": 5}) == {"x": 5}
    assert settled({"__prefect_kind": "json", "value": '{"a": [1]}'}) == {"x": {"a": [1]}}
    assert settled({"__prefect_kind": "json"}) == {}
    assert settled([{"__prefect_kind": "jinja", "template": "{{ 1 + 2 }}"}]) == {"x": ["3"]}
    variable = {"__prefect_kind": "workspace_variable", "variable_name": "my_variable"}
    assert settled(variable) == {"x": {"deep": [1, None]}}
    broken = _run(api, made, status=400, parameters={"x": {"__prefect_kind": "json", "value": '{"invalid": json}'}})
    assert "Error hydrating flow run parameters: Invalid JSON: Expecting value:" in broken["detail"]
    missing = {"__prefect_kind": "workspace_variable", "variable_name": "nobody"}
    assert "nobody" in _run(api, made, status=400, parameters={"x": missing})["detail"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ x['__class__'] }}",
        "{{ x|attr('y') }}",
        "{{ 9 ** 99999999 }}",
        "{{ 'a' * 10000000000 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{",
    ],
)
def test_hostile_templates_are_refused_soon(api: httpx.Client, flow: str, template: str) -> None:
    made = _make(api, flow)
    form = {"__prefect_kind": "jinja", "template": template}
    assert "Invalid" in _run(api, made, status=400, parameters={"x": form})["detail"]


def test_the_schema_is_enforced(api: httpx.Client, flow: str) -> None:
    made = _make(api, flow, parameter_openapi_schema=X_IS_TEXT)
    says = _run(api, made, status=409, parameters={"x": 1})["detail"]
    assert "Validation failed for field 'x'. Failure reason: 1 is not of type 'string'" in says
    assert "'x' is a required property" in _run(api, made, status=409)["detail"]
    assert _run(api, made, parameters={"x": 1}, enforce_parameter_schema=False)["parameters"] == {"x": 1}
    assert _run(api, made, parameters={"x": "y"})["parameters"] == {"x": "y"}
    bomb = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
    made = _make(api, flow, "bomb", parameter_openapi_schema=bomb)
    assert "too much memory" in _run(api, made, status=422, parameters={"x": "a" * 40 + "!"})["detail"]
    around = {"type": "object", "properties": {"x": {"$ref": "#/properties/x"}}}
    made = _make(api, flow, "circle", parameter_openapi_schema=around)
    assert "circular" in _run(api, made, status=422, parameters={"x": 1})["detail"]
    elsewhere = {"$ref": "http://127.0.0.1:9/schema.json"}
    made = _make(api, flow, "elsewhere", parameter_openapi_schema=elsewhere)
    assert _run(api, made, status=422)["detail"]


def test_several_runs_at_once(api: httpx.Client, flow: str) -> None:
    made = _make(api, flow, parameter_openapi_schema=X_IS_TEXT)
    path = f"/deployments/{made['id']}/create_flow_run/bulk"
    results = api.post(
        path, json=[{"parameters": {"x": "a"}}, {"parameters": {"x": 1}}, {"parameters": {"x": "b"}}]
    ).json()["results"]
    assert [one["status"] for one in results] == ["CREATED", "FAILED", "CREATED"]
    assert "not of type" in results[1]["error"]
    assert api.get(f"/flow_runs/{results[2]['flow_run_id']}").json()["parameters"] == {"x": "b"}
    assert api.post(path, json=[]).json() == {"results": []}
    assert api.post(path, json=[{}] * 101).status_code == 400
    assert api.post(f"/deployments/{uuid4()}/create_flow_run/bulk", json=[]).status_code == 404


def test_what_is_due_is_given_and_asking_makes_ready(api: httpx.Client, flow: str) -> None:
    made = _make(api, flow)
    for hours in (1, -1, -2):
        time = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        _run(api, made, state={"type": "SCHEDULED", "state_details": {"scheduled_time": time}})
    assert _read(api, made)["last_polled"] is None
    found = _runs(api, made)
    times = [run["next_scheduled_start_time"] for run in found]
    assert len(times) == 3
    assert times == sorted(times)
    assert _read(api, made)["status"] == "READY"
    assert len(_runs(api, made, scheduled_before=datetime.now(UTC).isoformat())) == 2
    assert len(_runs(api, made, limit=1)) == 1
    assert (
        api.post("/deployments/get_scheduled_flow_runs", json={"limit": 9001, "deployment_ids": []}).status_code == 422
    )
    assert api.post("/deployments/get_scheduled_flow_runs", json={}).status_code == 422
