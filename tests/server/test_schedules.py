"""Schedules of deployments over HTTP, and the runs that are made of them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

HOURLY, DAILY = {"interval": 3600.0}, {"cron": "0 0 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
def made(api: httpx.Client) -> dict:
    """A deployment without schedules."""
    flow = api.post("/flows/", json={"name": f"flow {uuid4()}"}).json()["id"]
    answer = api.post("/deployments/", json={"name": "d", "flow_id": flow, "tags": ["mine"], "parameters": {"a": 1}})
    return answer.json()


def _add(api: httpx.Client, made: dict, *schedules: dict, status: int = 201) -> list[dict]:
    answer = api.post(f"/deployments/{made['id']}/schedules", json=list(schedules))
    assert answer.status_code == status, answer.text
    return answer.json()


def _read(api: httpx.Client, made: dict) -> list[dict]:
    answer = api.get(f"/deployments/{made['id']}/schedules").json()
    assert answer == api.get(f"/deployments/{made['id']}").json()["schedules"]
    return answer


def test_schedules_are_made_changed_and_removed(api: httpx.Client, made: dict) -> None:
    one, two = _add(
        api, made, {"schedule": HOURLY}, {"schedule": DAILY, "active": False, "slug": "daily", "parameters": {"b": 2}}
    )
    whole = {**HOURLY, "anchor_date": "2020-01-01T00:00:00Z", "timezone": "UTC"}
    assert (one["schedule"], one["active"], one["slug"]) == (whole, True, None)
    assert (two["schedule"], two["active"], two["slug"]) == ({**DAILY, "day_or": True}, False, "daily")
    assert two["parameters"] == {"b": 2}
    assert [each["id"] for each in _read(api, made)] == [two["id"], one["id"]]
    path = f"/deployments/{made['id']}/schedules"
    assert api.patch(f"{path}/{one['id']}", json={"active": False}).status_code == 204
    assert _read(api, made)[0] | {"updated": 0} == one | {
        "active": False,
        "updated": 0,
    }  # what changed last comes first
    assert api.patch(f"{path}/{one['id']}", json={"schedule": {"rrule": "FREQ=DAILY"}, "slug": "r"}).status_code == 204
    assert _read(api, made)[0]["schedule"] == {"rrule": "FREQ=DAILY", "timezone": "UTC"}
    assert api.patch(f"{path}/{one['id']}", json={"slug": "daily"}).status_code == 409
    assert api.delete(f"{path}/{one['id']}").status_code == 204
    assert api.delete(f"{path}/{one['id']}").status_code == 404
    assert api.patch(f"{path}/{uuid4()}", json={}).status_code == 404
    _add(api, made, {"schedule": HOURLY, "slug": "daily"}, status=409)
    for method, address in (("GET", ""), ("DELETE", f"/{two['id']}")):
        assert api.request(method, f"/deployments/{uuid4()}/schedules{address}").status_code == 404


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({"cron": "not cron"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"rrule": "FREQ=OFTEN"}, "rrule"),
        ({"rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, "rrule"),
        ({"cron": "* * * * *", "timezone": "Mars/Olympus"}, "timezone"),
        ({"interval": 60, "anchor_date": "0001-01-01T00:00:00Z"}, "anchor_date"),
        ({"interval": 0}, "interval"),
        ({"interval": 60, "cron": "* * * * *"}, None),
        ({}, None),
        ({"interval": 60, "day_or": True}, None),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(
    api: httpx.Client, made: dict, schedule: dict, field: str | None
) -> None:
    answer = api.post(f"/deployments/{made['id']}/schedules", json=[{"schedule": HOURLY}, {"schedule": schedule}])
    assert answer.status_code == 422
    expected = ["body", 1, "schedule"] if field is None else ["body", 1, "schedule", field]
    assert answer.json()["exception_detail"][0]["loc"] == expected
    body = {"name": "d", "flow_id": made["flow_id"], "schedules": [{"schedule": schedule}]}
    answer = api.post("/deployments/", json=body)
    assert answer.status_code == 422
    assert answer.json()["exception_detail"][0]["loc"][:4] == ["body", "schedules", 0, "schedule"]
    assert _read(api, made) == []


def _patch(api: httpx.Client, made: dict, *schedules: dict, status: int = 204) -> dict[str | None, dict]:
    answer = api.patch(f"/deployments/{made['id']}", json={"schedules": list(schedules)})
    assert answer.status_code == status, answer.text
    return {each["slug"]: each for each in _read(api, made)}


def test_a_change_replaces_schedules_without_slugs(api: httpx.Client, made: dict) -> None:
    (old,) = _add(api, made, {"schedule": HOURLY, "active": False})
    found = _patch(api, made, {"schedule": DAILY})
    assert found[None]["id"] != old["id"]
    assert found[None]["active"] is True
    api.patch(f"/deployments/{made['id']}", json={"description": "other"})
    assert len(_read(api, made)) == 1
    assert _patch(api, made) == {}


def test_a_change_goes_by_slugs(api: httpx.Client, made: dict) -> None:
    one, two = _add(api, made, {"schedule": HOURLY, "slug": "a"}, {"schedule": DAILY, "slug": "b"})
    found = _patch(api, made, {"slug": "a", "active": False}, {"slug": "c", "schedule": DAILY})
    assert {slug: each["active"] for slug, each in found.items()} == {"a": False, "b": True, "c": True}
    assert found["a"]["id"] == one["id"]
    found = _patch(api, made, {"slug": "b", "replaces": "a"}, {"slug": "a", "replaces": "b"})
    assert (found["b"]["id"], found["a"]["id"]) == (one["id"], two["id"])
    _patch(api, made, {"schedule": HOURLY}, status=422)
    _patch(api, made, {"slug": "new"}, status=422)
    _patch(api, made, {"slug": "x", "replaces": "a"}, {"slug": "y", "replaces": "a"}, status=422)
    _patch(api, made, {"slug": "c", "replaces": "a"}, status=422)
    found = _patch(api, made, {"slug": "d", "replaces": "nobody", "schedule": HOURLY})
    assert set(found) == {"a", "b", "c", "d"}


def _scheduled(api: httpx.Client, made: dict, **body) -> list[dict]:
    answer = api.post(f"/deployments/{made['id']}/schedule", json=body)
    assert answer.status_code == 200, answer.text
    found = api.post("/deployments/get_scheduled_flow_runs", json={"deployment_ids": [made["id"]]})
    return found.json()


def test_runs_are_made_of_instants_once(api: httpx.Client, made: dict) -> None:
    (schedule,) = _add(api, made, {"schedule": DAILY, "parameters": {"b": 2}, "slug": "daily"})
    _add(api, made, {"schedule": HOURLY, "active": False})
    runs = _scheduled(api, made)
    assert len(runs) == 3
    assert runs == _scheduled(api, made)
    run = runs[0]
    assert (run["state_type"], run["auto_scheduled"], run["parameters"]) == ("SCHEDULED", True, {"a": 1, "b": 2})
    assert sorted(run["tags"]) == ["auto-scheduled", "mine"]
    assert run["created_by"] == {"id": made["id"], "type": "SCHEDULE", "display_value": "daily"}
    midnight = datetime.fromisoformat(run["next_scheduled_start_time"])
    assert midnight.minute == 0
    assert midnight > datetime.now(UTC)
    assert len(_scheduled(api, made, min_runs=5)) == 5
    api.patch(f"/deployments/{made['id']}/schedules/{schedule['id']}", json={"active": False})
    assert _scheduled(api, made) == []


def test_the_window_holds(api: httpx.Client, made: dict) -> None:
    _add(api, made, {"schedule": {"interval": 86400.0}})
    now = datetime.now(UTC)
    past = _scheduled(
        api, made, start_time=(now - timedelta(days=20)).isoformat(), end_time=now.isoformat(), min_runs=100
    )
    assert len(past) == 20
    more = _scheduled(api, made, end_time=(now + timedelta(days=7)).isoformat(), min_runs=100)
    assert len(more) == 27
    assert len(_scheduled(api, made, min_time=86400.0 * 9)) == 30
    assert len(_scheduled(api, made, min_runs=100, max_runs=10)) == 30
    for body in ({"start_time": "0001-01-01T00:00:00Z"}, {"min_time": 1e300}, {"min_runs": "many"}):
        assert api.post(f"/deployments/{made['id']}/schedule", json=body).status_code == 422


def test_a_change_removes_runs_that_were_made_by_the_old_schedule(api: httpx.Client, made: dict) -> None:
    _add(api, made, {"schedule": HOURLY})
    assert len(_scheduled(api, made)) == 3
    own = api.post(f"/deployments/{made['id']}/create_flow_run", json={}).json()
    api.post(
        "/deployments/",
        json={"name": "d", "flow_id": made["flow_id"], "schedules": [{"schedule": DAILY}], "paused": True},
    )
    left = api.post("/deployments/get_scheduled_flow_runs", json={"deployment_ids": [made["id"]]}).json()
    assert [run["id"] for run in left] == [own["id"]]
