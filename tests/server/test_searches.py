"""Saved searches over HTTP."""

from uuid import uuid4

import httpx

FILTER = {"object": "flow_run", "property": "state", "type": "state", "operation": "any", "value": ["FAILED"]}


def test_a_search_is_saved_under_its_name(api: httpx.Client) -> None:
    name = f"failures {uuid4()}"
    made = api.put("/saved_searches/", json={"name": name, "filters": [FILTER]})
    assert made.status_code == 201
    assert made.json()["filters"] == [FILTER]
    again = api.put("/saved_searches/", json={"name": name})
    assert (again.status_code, again.json()["id"], again.json()["filters"]) == (200, made.json()["id"], [])
    assert api.get(f"/saved_searches/{made.json()['id']}").json() == again.json()
    assert again.json() in api.post("/saved_searches/filter").json()
    assert api.delete(f"/saved_searches/{made.json()['id']}").status_code == 204
    assert {
        api.get(f"/saved_searches/{made.json()['id']}").status_code,
        api.delete(f"/saved_searches/{made.json()['id']}").status_code,
    } == {404}


def test_what_is_wrong_is_said(api: httpx.Client) -> None:
    assert api.put("/saved_searches/", json={"name": "x" * 501}).status_code == 422
    assert api.put("/saved_searches/", json={"name": "x", "filters": [{"object": "flow_run"}]}).status_code == 422
    assert api.post("/saved_searches/filter", json={"limit": 201}).status_code == 422
