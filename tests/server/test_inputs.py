"""Inputs of flow runs over HTTP."""

from uuid import uuid4

import httpx
import pytest


@pytest.fixture
def inputs(api: httpx.Client) -> str:
    flow = api.post("/flows/", json={"name": "listens"}).json()
    run = api.post("/flow_runs/", json={"flow_id": flow["id"]}).json()
    return f"/flow_runs/{run['id']}/input"


def test_an_input_is_read_as_it_was_sent(api: httpx.Client, inputs: str) -> None:
    assert api.post(inputs, json={"key": "a:1.x-y_z", "value": '{"n": 1}', "sender": "me"}).status_code == 201
    assert api.get(f"{inputs}/a:1.x-y_z").text == '{"n": 1}'
    [told] = api.post(f"{inputs}/filter", json={"prefix": "a"}).json()
    assert (told["key"], told["value"], told["sender"]) == ("a:1.x-y_z", '{"n": 1}', "me")
    assert api.post(inputs, json={"key": "a:1.x-y_z", "value": "other"}).status_code == 409
    assert api.delete(f"{inputs}/a:1.x-y_z").status_code == 204
    assert {api.get(f"{inputs}/a:1.x-y_z").status_code, api.delete(f"{inputs}/a:1.x-y_z").status_code} == {404}


def test_inputs_are_given_in_their_order(api: httpx.Client, inputs: str) -> None:
    for key in ("in-2", "in-1", "in-3", "i%-1", "out-1"):
        api.post(inputs, json={"key": key.replace("%", "x"), "value": key})

    def keys(**body: object) -> list[str]:
        return [one["key"] for one in api.post(f"{inputs}/filter", json=body).json()]

    assert keys(prefix="in-", limit=10) == ["in-2", "in-1", "in-3"]
    assert keys(prefix="in-") == ["in-2"]
    assert keys(prefix="in-", limit=10, exclude_keys=["in-2"]) == ["in-1", "in-3"]
    assert keys(prefix="i_", limit=10) == []


def test_what_is_wrong_is_said(api: httpx.Client, inputs: str) -> None:
    assert api.post(f"/flow_runs/{uuid4()}/input", json={"key": "a", "value": "1"}).status_code == 404
    for key in ("a b", "", "ü", "k" * 501):
        assert api.post(inputs, json={"key": key, "value": "1"}).status_code == 422
    assert api.post(f"{inputs}/filter", json={"prefix": "a", "limit": -1}).status_code == 422
    assert api.post(f"{inputs}/filter", json={"prefix": "a", "limit": 500}).json() == []
