"""Variables over HTTP."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from riverrun.server.db.engine import open_database
from riverrun.server.db.tables import variable
from riverrun.server.serve import in_thread


def make(api: httpx.Client, value: Any = 1, **fields: Any) -> dict[str, Any]:
    answer = api.post("/variables/", json={"name": f"v-{uuid4().hex}", "value": value, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


VALUES = ["text", '"text"', "12", 123, 12.5, 1.0, True, False, None, {"a": [1, None]}, ["a", {"b": 2}], 2**63 - 1]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(api: httpx.Client, value: Any) -> None:
    made = make(api, value)
    assert (made["value"], type(made["value"])) == (value, type(value))
    other = make(api)
    assert api.patch(f"/variables/name/{other['name']}", json={"value": value}).status_code == 204
    again = api.get(f"/variables/{other['id']}").json()["value"]
    assert (again, type(again)) == (value, type(value))


def test_a_variable_lives_by_id_and_by_name(api: httpx.Client) -> None:
    made = make(api, "x", tags=["b", "a"])
    assert made["tags"] == ["b", "a"]
    assert api.get(f"/variables/{made['id']}").json() == made == api.get(f"/variables/name/{made['name']}").json()
    renamed = f"w-{uuid4().hex}"
    assert api.patch(f"/variables/{made['id']}", json={"name": renamed, "tags": []}).status_code == 204
    changed = api.get(f"/variables/name/{renamed}").json()
    assert (changed["value"], changed["tags"], changed["id"]) == ("x", [], made["id"])
    assert api.get(f"/variables/name/{made['name']}").status_code == 404
    assert api.delete(f"/variables/name/{renamed}").status_code == 204
    assert {api.delete(f"/variables/{made['id']}").status_code, api.get(f"/variables/{made['id']}").status_code} == {
        404
    }


def test_what_is_wrong_is_said(api: httpx.Client) -> None:
    made, other = make(api), make(api)
    assert api.post("/variables/", json={"name": made["name"], "value": 1}).status_code == 409
    assert api.patch(f"/variables/{other['id']}", json={"name": made["name"]}).status_code == 409
    for name in ("BIG", "a b", "!@#", "", "v" * 256, None):
        answer = api.post("/variables/", json={"name": name, "value": 1})
        assert answer.status_code == 422
        assert answer.json()["exception_detail"][0]["loc"] == ["body", "name"]
        assert api.patch(f"/variables/{other['id']}", json={"name": name}).status_code == 422
    assert api.post("/variables/", json={"name": f"v-{uuid4().hex}", "value": "v" * 4999}).status_code == 422
    assert make(api, "v" * 4998)
    assert api.patch(f"/variables/name/none-{uuid4().hex}", json={"value": 1}).status_code == 404


def test_variables_are_found(fresh_api: httpx.Client) -> None:
    for name, tag in (("one", "a"), ("one-b", 'b",c'), ("two", "a"), ("two_b", "b")):
        fresh_api.post("/variables/", json={"name": name, "value": name, "tags": [tag, "all"]})
    fresh_api.post("/variables/", json={"name": "bare", "value": None})

    def found(filter: dict[str, Any] | None, **more: Any) -> list[str]:
        answer = fresh_api.post("/variables/filter", json={"variables": filter, **more})
        count = fresh_api.post("/variables/count", json={"variables": filter})
        names = [one["name"] for one in answer.json()]
        assert more or count.json() == len(names)
        return names

    assert found(None) == ["bare", "one", "one-b", "two", "two_b"]
    assert fresh_api.post("/variables/filter").json() == fresh_api.post("/variables/filter", json={}).json()
    assert found({"name": {"any_": ["two", "none"]}}) == ["two"]
    assert found({"name": {"like_": "ONE%b"}}) == ["one-b"]
    assert found({"name": {"like_": "o\\_b"}}) == ["two_b"]
    assert found({"tags": {"all_": ["a", "all"]}}) == ["one", "two"]
    assert found({"tags": {"all_": ["c"]}}) == []
    assert found({"tags": {"is_null_": True}}) == ["bare"]
    assert found({"operator": "or_", "name": {"any_": ["one"]}, "tags": {"is_null_": True}}) == ["bare", "one"]
    assert found(None, sort="NAME_DESC", limit=2) == ["two_b", "two"]
    assert found(None, sort="CREATED_DESC", limit=1) == ["bare"]
    assert fresh_api.post("/variables/filter", json={"limit": 201}).status_code == 422


def test_values_stand_sealed_in_the_store(fresh_store_url: str) -> None:
    with in_thread(fresh_store_url) as base, httpx.Client(base_url=f"{base}/api", timeout=20) as api:
        made = make(api, "the plain words")
        with open_database(fresh_store_url) as database, database.read() as connection:
            stored = connection.execute(sa.select(variable.c.value)).scalar_one()
        assert b"plain" not in bytes(stored)
    with in_thread(fresh_store_url) as base:
        assert httpx.get(f"{base}/api/variables/{made['id']}", timeout=20).json()["value"] == "the plain words"
