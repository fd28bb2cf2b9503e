"""Flows over HTTP."""

import httpx


def test_a_flow_is_made_once(api: httpx.Client) -> None:
    made = api.post("/flows/", json={"name": "nightly", "tags": ["a"], "labels": {"team": "x"}})
    again = api.post("/flows", json={"name": "nightly"})
    assert (made.status_code, again.status_code) == (201, 200)
    assert again.json() == made.json()
    assert made.json()["tags"] == ["a"]
    assert api.get(f"/flows/{made.json()['id']}").json() == made.json()
    assert api.get("/flows/name/nightly").json() == made.json()


def test_what_is_wrong_is_said(api: httpx.Client) -> None:
    assert api.get("/flows/not-a-uuid").status_code == 404
    assert api.get("/flows/name/nobody").status_code == 404
    answer = api.post("/flows/", json={"name": "x", "colour": "red"})
    assert answer.status_code == 422
    assert answer.json()["exception_detail"][0]["loc"] == ["body"]
    assert api.post("/flows/", content=b"{").status_code == 422
    assert api.post("/flows/", json={"name": 3}).json()["exception_detail"][0]["loc"] == ["body", "name"]
    assert api.get("/nothing/here").status_code == 404
    assert api.delete("/flows/name/nightly").status_code == 405
