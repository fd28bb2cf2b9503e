"""Settings, catalogues and checks of forms over HTTP."""

from typing import Any

import httpx
import pytest

from riverrun.base.config import temporary_settings

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "items": {"type": "array", "items": {"type": "string"}}},
    "required": ["n"],
}


def test_settings_are_told_without_secrets(api: httpx.Client) -> None:
    with temporary_settings({"server_api_auth_string": "me:hunter2"}):
        answer = api.get("/admin/settings")
    assert answer.status_code == 200
    assert "hunter2" not in answer.text
    told = answer.json()
    assert told["server"]["api"]["port"] == 4200
    assert isinstance(told["home"], str)


def test_types_of_workers_are_listed(api: httpx.Client) -> None:
    process = api.get("/collections/views/aggregate-worker-metadata").json()["prefect"]["process"]
    template = process["default_base_job_configuration"]
    assert process["type"] == "process"
    assert set(template["job_configuration"]) == set(template["variables"]["properties"])
    assert api.get("/collections/views/aggregate-flow-metadata").json() == {}
    assert api.get("/collections/views/invalid").status_code == 404


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ({"n": 1, "items": ["a"]}, []),
        ({"n": "x"}, [{"property": "n"}]),
        ({}, [{"property": "n"}]),
        ({"n": 1, "items": ["a", 2]}, [{"property": "items"}]),
    ],
)
def test_values_of_a_form_are_checked(api: httpx.Client, values: Any, places: Any) -> None:
    answer = api.post("/ui/schemas/validate", json={"schema": SCHEMA, "values": values}).json()
    assert [{"property": error["property"]} for error in answer["errors"]] == places
    assert answer["valid"] is (not places)


def test_a_form_may_name_a_variable(api: httpx.Client) -> None:
    api.post("/variables/", json={"name": "n", "value": 3})
    values = {"n": {"__prefect_kind": "workspace_variable", "variable_name": "n"}}
    assert api.post("/ui/schemas/validate", json={"schema": SCHEMA, "values": values}).json()["valid"] is True


def test_a_form_that_stands_for_nothing_is_said_where_it_stands(api: httpx.Client) -> None:
    values = {"n": {"__prefect_kind": "json", "value": "{"}, "items": 3}
    answer = api.post("/ui/schemas/validate", json={"schema": SCHEMA, "values": values}).json()
    assert [error["property"] for error in answer["errors"]] == ["n", "items"]
    assert answer["valid"] is False


def test_a_schema_that_is_none_is_refused(api: httpx.Client) -> None:
    circle = {"definitions": {"A": {"allOf": [{"$ref": "#/definitions/A"}]}}, "$ref": "#/definitions/A"}
    elsewhere = {"properties": {"n": {"$ref": "http://169.254.169.254/latest/"}}}
    for schema in ({"type": "no type"}, circle, elsewhere):
        answer = api.post("/ui/schemas/validate", json={"schema": schema, "values": {"n": 1}})
        assert answer.status_code == 422, answer.text
    assert api.post("/ui/schemas/validate", json={"schema": {}, "values": {}}).json()["valid"] is True
