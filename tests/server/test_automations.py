"""Automations over HTTP: what is kept, what is refused, who owns them."""

from uuid import uuid4

import httpx
import pytest

TRIGGER = {
    "type": "event",
    "match": {"prefect.resource.name": "howdy!"},
    "match_related": {"prefect.resource.role": "something-cool"},
    "after": ["this.one"],
    "expect": ["surely.this", "but.also.this"],
    "for_each": ["prefect.resource.name"],
    "posture": "Reactive",
    "threshold": 42,
    "within": 120.0,
}
NOTHING = {"type": "do-nothing"}


def _body(name: str = "hello", **fields) -> dict:
    return {"name": name, "trigger": TRIGGER, "actions": [NOTHING], **fields}


def _make(api: httpx.Client, status: int = 201, **fields) -> dict:
    answer = api.post("/automations/", json=_body(**fields))
    assert answer.status_code == status, answer.text
    return answer.json()


def _refused(api: httpx.Client, **fields) -> tuple[list, str]:
    detail = _make(api, status=422, **fields)["exception_detail"][0]
    return detail["loc"], detail["msg"]


def test_an_automation_is_kept_whole(api: httpx.Client) -> None:
    made = _make(api, description="world", tags=["a"], actions_on_trigger=[NOTHING])
    assert {**made["trigger"], "id": None} == {**TRIGGER, "expect": ["but.also.this", "surely.this"], "id": None}
    assert (made["name"], made["description"], made["enabled"], made["tags"]) == ("hello", "world", True, ["a"])
    assert (made["actions"], made["actions_on_trigger"], made["actions_on_resolve"]) == ([NOTHING], [NOTHING], [])
    assert api.get(f"/automations/{made['id']}").json() == made


def test_ids_of_triggers_are_the_servers(api: httpx.Client) -> None:
    inner = {**TRIGGER, "id": str(uuid4())}
    outer = {"type": "compound", "require": "any", "within": 60.0, "triggers": [inner], "id": str(uuid4())}
    made = _make(api, trigger=outer)
    assert made["trigger"]["id"] != outer["id"]
    assert made["trigger"]["triggers"][0]["id"] != inner["id"]


@pytest.mark.parametrize(
    ("trigger", "at"),
    [
        ({"type": "nonsense"}, ["type"]),
        ({"type": "event"}, []),
        ({"posture": "Sideways"}, ["posture"]),
        ({"posture": "Reactive", "within": -0.001}, ["within"]),
        ({"posture": "Reactive", "within": None}, ["within"]),
        ({"posture": "Proactive", "within": 9.999999}, ["within"]),
        ({"posture": "Reactive", "threshold": "many"}, ["threshold"]),
        ({"type": "compound", "require": 2, "within": 1, "triggers": [TRIGGER]}, ["require"]),
        ({"type": "compound", "require": 0, "within": 1, "triggers": [TRIGGER]}, ["require"]),
        ({"type": "sequence", "within": 1, "triggers": [TRIGGER, {"posture": 1}]}, ["triggers", 1, "posture"]),
        ({"type": "sequence", "within": 1, "triggers": ["x"]}, ["triggers", 0]),
        ({"type": "sequence", "within": 1, "triggers": [TRIGGER] * 101}, []),
    ],
)
def test_triggers_are_checked(api: httpx.Client, trigger: dict, at: list) -> None:
    assert _refused(api, trigger=trigger)[0] == ["body", "trigger", *at]


def test_times_of_triggers(api: httpx.Client) -> None:
    assert _make(api, trigger={"posture": "Proactive"})["trigger"]["within"] == 10
    assert _make(api, trigger={"posture": "Proactive", "within": 0})["trigger"]["within"] == 10
    assert _make(api, trigger={"posture": "Reactive"})["trigger"]["within"] == 0


@pytest.mark.parametrize(
    ("action", "at"),
    [
        ({"type": "dance"}, ["type"]),
        ({}, ["type"]),
        ("do-nothing", []),
        ({"type": "run-deployment"}, ["deployment_id"]),
        ({"type": "run-deployment", "source": "inferred", "deployment_id": str(uuid4())}, ["deployment_id"]),
        ({"type": "pause-work-pool", "source": "guessed"}, ["source"]),
        ({"type": "pause-work-queue"}, ["work_queue_id"]),
        ({"type": "resume-automation"}, ["automation_id"]),
        ({"type": "change-flow-run-state"}, []),
        ({"type": "send-notification", "block_document_id": str(uuid4()), "body": "{{ oops }"}, ["body"]),
        ({"type": "send-notification", "block_document_id": "x", "body": ""}, ["block_document_id"]),
        ({"type": "call-webhook", "block_document_id": str(uuid4()), "payload": "{{ a.__class__ }}"}, ["payload"]),
    ],
)
def test_actions_are_checked(api: httpx.Client, action: dict, at: list) -> None:
    assert _refused(api, actions=[NOTHING, action])[0] == ["body", "actions", 1, *at]


def test_payloads_may_be_objects(api: httpx.Client) -> None:
    action = {"type": "call-webhook", "block_document_id": str(uuid4()), "payload": {"message": "hi"}}
    assert _make(api, actions=[action])["actions"][0]["payload"] == '{"message":"hi"}'


def test_changes(api: httpx.Client) -> None:
    made = _make(api, tags=["kept"])
    path = f"/automations/{made['id']}"
    assert api.put(path, json=_body("other", trigger={**TRIGGER, "threshold": 3}, enabled=False)).status_code == 204
    found = api.get(path).json()
    assert (found["name"], found["enabled"], found["trigger"]["threshold"], found["tags"]) == (
        "other",
        False,
        3,
        ["kept"],
    )
    assert found["trigger"]["id"] != made["trigger"]["id"]
    assert api.patch(path, json={"enabled": True}).status_code == 204
    assert api.get(path).json()["enabled"] is True
    assert api.put(path, json=_body(id=str(uuid4()))).status_code == 422
    assert api.patch(path, json={"id": str(uuid4())}).status_code == 422
    assert api.delete(path).status_code == 204
    for method, body in (("GET", None), ("DELETE", None), ("PUT", _body()), ("PATCH", {"enabled": False})):
        answer = api.request(method, path, json=body)
        assert answer.status_code == 404
        assert "Automation not found" in answer.text


ENDLESS = {
    "posture": "Reactive",
    "match": {"prefect.resource.id": "prefect.flow-run.*"},
    "expect": ["prefect.flow-run.*"],
}


def test_automations_without_end_are_refused(api: httpx.Client) -> None:
    inferred = {"type": "run-deployment", "source": "inferred"}
    assert "never end" in _refused(api, trigger=ENDLESS, actions=[inferred])[1]
    made = _make(api, trigger=ENDLESS, actions=[inferred], enabled=False)
    answer = api.patch(f"/automations/{made['id']}", json={"enabled": True})
    assert answer.status_code == 422
    assert answer.json()["exception_detail"][0]["loc"] == []
    assert api.get(f"/automations/{made['id']}").json()["enabled"] is False
    selected = {"type": "run-deployment", "deployment_id": str(uuid4())}
    assert "narrow down" in _refused(api, trigger=ENDLESS, actions=[selected])[1]
    narrow = {**ENDLESS, "match_related": {"prefect.resource.id": "prefect.deployment.1"}}
    _make(api, trigger=narrow, actions=[selected])
    _make(api, trigger={**ENDLESS, "expect": ["prefect.flow-run.Failed"]}, actions=[selected])


def test_lists(fresh_api: httpx.Client) -> None:
    api = fresh_api
    for name, tags in (("b", ["x"]), ("a", ["x", "y"]), ("c", [])):
        _make(api, name=name, tags=tags)

    def names(**body):
        answer = api.post("/automations/filter", json=body)
        assert answer.status_code == 200, answer.text
        return [one["name"] for one in answer.json()]

    assert [one["name"] for one in api.post("/automations/filter").json()] == ["a", "b", "c"]
    assert names(sort="UPDATED_DESC", limit=2, offset=1) == ["a", "b"]
    assert names(automations={"name": {"any_": ["a", "c"]}}) == ["a", "c"]
    assert names(automations={"tags": {"all_": ["x", "y"]}}) == ["a"]
    assert names(automations={"tags": {"any_": ["y", "z"]}}) == ["a"]
    assert names(automations={"tags": {"is_null_": True}}) == ["c"]
    assert names(automations={"created": {"before_": "2020-01-01T00:00:00Z"}}) == []
    assert api.post("/automations/count").json() == 3
    assert api.post("/automations/count", json={"automations": {"name": {"any_": ["a"]}}}).json() == 1
    assert api.post("/automations/filter", json={"limit": 201}).status_code == 422


def test_owners(api: httpx.Client) -> None:
    deployment, other = str(uuid4()), str(uuid4())
    runs = [{"type": "run-deployment", "deployment_id": each} for each in (deployment, other)]
    owned = _make(api, name="owned", owner_resource=f"prefect.deployment.{deployment}", actions=runs)
    related = _make(api, name="related", actions=runs[:1])
    _make(api, name="neither")

    def names(resource: str) -> list[str]:
        return [one["name"] for one in api.get(f"/automations/related-to/prefect.deployment.{resource}").json()]

    assert names(deployment) == ["owned", "related"]
    assert names(other) == ["owned"]
    assert names("%") == []
    assert api.delete(f"/automations/owned-by/prefect.deployment.{deployment}").status_code == 202
    assert names(deployment) == ["related"]
    assert api.get(f"/automations/{owned['id']}").status_code == 404
    assert api.get(f"/automations/{related['id']}").status_code == 200


def test_job_variables_fit_the_pool_of_the_deployment(api: httpx.Client) -> None:
    template = {
        "job_configuration": {"one": "{{ this }}"},
        "variables": {"properties": {"this": {"type": "string", "default": "0"}, "maybe": {"type": "string"}}},
    }
    api.post("/work_pools/", json={"name": "of automations", "type": "process", "base_job_template": template})
    flow = api.post("/flows/", json={"name": "of automations"}).json()["id"]
    body = {"name": "d", "flow_id": flow, "work_pool_name": "of automations"}
    deployment = api.post("/deployments/", json=body).json()["id"]

    def action(**variables):
        return {"type": "run-deployment", "deployment_id": deployment, "job_variables": variables}

    made = _make(api, actions=[action(this="text", maybe=None)])
    assert made["actions"][0]["job_variables"] == {"this": "text", "maybe": None}
    refused = _make(api, status=422, actions=[action(this=100)])
    assert "Error creating automation: Validation failed for field 'this'" in refused["detail"]
    assert api.put(f"/automations/{made['id']}", json=_body(actions=[action(this=100)])).status_code == 422
    unknown = {"type": "run-deployment", "deployment_id": str(uuid4()), "job_variables": {}}
    assert _make(api, status=404, actions=[unknown])


@pytest.mark.parametrize("path", ["/templates/validate", "/automations/templates/validate"])
def test_templates_are_validated(api: httpx.Client, path: str) -> None:
    def validate(text: str) -> httpx.Response:
        return api.post(path, content=text, headers={"Content-Type": "text/plain"})

    good = validate("\n  {{ hello }} world!\n")
    assert (good.status_code, good.text) == (204, "")
    template = "1 - {{ hello }} world!\n2 - oops, this {{ ain't } gonna work\n3 - this is fine"
    bad = validate(template)
    assert bad.status_code == 422
    assert bad.json() == {"error": {"line": 2, "message": 'unexpected char "\'" at 44', "source": template}}
    loops = "{% for i in x %}" * 3 + "{% endfor %}" * 3
    assert validate(loops).status_code == 422
    assert validate("{{ a.__class__ }}").json()["error"]["line"] == 1
