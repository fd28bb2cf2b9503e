"""Work pools over HTTP: making, names, templates, changes, statuses."""

import httpx
import pytest

TEMPLATE = {
    "job_configuration": {"command": "{{ command }}", "env": {"A": "{{ prefect.variables.a }}"}},
    "variables": {"type": "object", "properties": {"command": {"type": "string", "default": "true"}}, "required": []},
}


def _make(api: httpx.Client, name: str, **fields) -> dict:
    answer = api.post("/work_pools/", json={"name": name, "type": "process", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_pool_has_a_default_queue(api: httpx.Client) -> None:
    pool = _make(api, "with-default", base_job_template=TEMPLATE, concurrency_limit=3, description="d")
    assert pool["base_job_template"] == TEMPLATE
    assert (pool["is_paused"], pool["concurrency_limit"], pool["active_slots"]) == (False, 3, 0)
    assert pool["status"] == "NOT_READY"
    queue = api.get("/work_pools/with-default/queues/default").json()
    assert queue["id"] == pool["default_queue_id"]
    assert (queue["priority"], queue["work_pool_name"], queue["status"]) == (1, "with-default", "NOT_READY")
    assert api.get("/work_pools/with-default").json() == pool


def test_names(api: httpx.Client) -> None:
    _make(api, "taken")
    assert api.post("/work_pools/", json={"name": "taken", "type": "process"}).status_code == 409
    for name in ("prefect", "Prefect Pool", "PREFECT-x"):
        answer = api.post("/work_pools/", json={"name": name})
        assert answer.status_code == 403
        assert "reserved for internal use" in answer.json()["detail"]
    for name in ("hi/there", "hi%there", "a" * 601, "", " ", "''"):
        answer = api.post("/work_pools/", json={"name": name})
        assert answer.status_code == 422, name
        assert answer.json()["exception_detail"][0]["loc"] == ["body", "name"]
    _make(api, "ä" * 500)
    assert api.get("/work_pools/nobody").status_code == 404
    assert api.patch("/work_pools/nobody", json={}).status_code == 404
    assert api.delete("/work_pools/nobody").status_code == 404


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ({"foo": "bar"}, "job_configuration and variables"),
        ({"job_configuration": {}}, "variables is missing"),
        ({"job_configuration": {"a": ["{{ nope }}"]}, "variables": {"properties": {}}}, "nope"),
        ({"job_configuration": {}, "variables": 3}, "JSON schema"),
        ({"job_configuration": {}, "variables": {"properties": {"a": {"type": "integer", "default": "x"}}}}, "a"),
        ({"job_configuration": {}, "variables": {"properties": {"a": {"type": "no such type"}}}}, "schema"),
    ],
)
def test_templates_are_checked(api: httpx.Client, template: dict, says: str) -> None:
    answer = api.post("/work_pools/", json={"name": "checked", "type": "process", "base_job_template": template})
    assert answer.status_code == 422
    detail = answer.json()["exception_detail"][0]
    assert detail["loc"][:2] == ["body", "base_job_template"]
    assert says in detail["msg"]


def test_changes_are_partial(api: httpx.Client) -> None:
    _make(api, "changing", description="old", concurrency_limit=4)
    assert api.patch("/work_pools/changing", json={"is_paused": True, "base_job_template": TEMPLATE}).status_code == 204
    pool = api.get("/work_pools/changing").json()
    assert (pool["is_paused"], pool["status"], pool["description"], pool["concurrency_limit"]) == (
        True,
        "PAUSED",
        "old",
        4,
    )
    assert pool["base_job_template"] == TEMPLATE
    api.patch("/work_pools/changing", json={"concurrency_limit": None, "is_paused": False, "description": None})
    pool = api.get("/work_pools/changing").json()
    assert (pool["status"], pool["description"], pool["concurrency_limit"]) == ("NOT_READY", None, None)
    assert pool["active_slots"] is None
    assert api.patch("/work_pools/changing", json={"concurrency_limit": -1}).status_code == 422
    assert api.patch("/work_pools/changing", json={"base_job_template": {"x": 1}}).status_code == 422
    assert api.patch("/work_pools/changing", json={"name": "other"}).status_code == 422


def test_lists_and_deletion(fresh_api: httpx.Client) -> None:
    for name in ("C", "B", "A"):
        _make(fresh_api, name)

    def names(**body):
        return [pool["name"] for pool in fresh_api.post("/work_pools/filter", json=body).json()]

    assert [pool["name"] for pool in fresh_api.post("/work_pools/filter").json()] == ["A", "B", "C"]
    assert names(limit=2) == ["A", "B"]
    assert names(offset=1) == ["B", "C"]
    assert names(work_pools={"name": {"any_": ["C"]}}) == ["C"]
    assert fresh_api.post("/work_pools/count").json() == 3
    assert fresh_api.post("/work_pools/count", json={"work_pools": {"type": {"any_": ["x"]}}}).json() == 0
    assert fresh_api.post("/work_pools/filter", json={"limit": 201}).status_code == 422
    assert fresh_api.delete("/work_pools/A").status_code == 204
    assert names() == ["B", "C"]
    left = fresh_api.post("/work_queues/filter", json={}).json()
    assert {queue["work_pool_name"] for queue in left} == {"B", "C"}


def test_an_agent_pool_has_no_status(api: httpx.Client) -> None:
    assert _make(api, "agents", type="prefect-agent")["status"] is None
