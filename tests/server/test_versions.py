"""What deployments were, the way back, and runs that stay on the version that they were made of; what schedules will do."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from riverrun.server.db.engine import Database
from riverrun.server.deployments import logic, queries, versions
from riverrun.server.services.scheduler import Scheduler
from riverrun.server.store import Store
from riverrun.wire.deployments import DeploymentUpdate
from tests.server.scheduling import RUN, deploy, every
from tests.store.conftest import backend, database, store_url

__all__ = ["backend", "database", "store_url"]


@pytest.fixture
def body(api: httpx.Client) -> dict:
    flow = api.post("/flows/", json={"name": f"flow {uuid4()}"}).json()["id"]
    return {
        "name": "d", "flow_id": flow, "version": "one", "entrypoint": "a.py:f", "path": "/code", "parameters": {"a": 1},
        "job_variables": {"env": {"A": "1"}}, "pull_steps": [{"x.y": {}}], "tags": ["t"],
        "schedules": [{"schedule": {"interval": 3600.0}, "slug": "s", "catch_up": "latest", "max_late": 60.0}],
    }  # fmt: skip


def _versions(api: httpx.Client, made: dict) -> list[dict]:
    answer = api.get(f"/deployments/{made['id']}/versions")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_changes_are_kept_and_undone(api: httpx.Client, body: dict) -> None:
    made = api.post("/deployments/", json=body).json()
    (first,) = _versions(api, made)
    assert (first["number"], first["current"], first["version"], first["entrypoint"]) == (1, True, "one", "a.py:f")
    assert first["schedules"][0]["catch_up"] == "latest"
    path = f"/deployments/{made['id']}"
    # the same once more, and what runs are not made of
    assert api.post("/deployments/", json=body).status_code == 200
    api.patch(path, json={"description": "other", "tags": ["u"]})
    assert len(_versions(api, made)) == 1
    api.patch(path, json={"entrypoint": "b.py:f", "version": "two", "pull_steps": None, "parameters": {}})
    schedule = api.get(f"{path}/schedules").json()[0]
    assert (schedule["catch_up"], schedule["max_late"]) == ("latest", 60.0)
    api.patch(f"{path}/schedules/{schedule['id']}", json={"schedule": {"cron": "0 0 * * *"}, "max_late": None})
    api.patch(f"{path}/schedules/{schedule['id']}", json={"active": False})
    api.post(f"{path}/schedules", json=[{"schedule": {"interval": 60.0}, "slug": "z"}])
    told = _versions(api, made)
    assert [one["number"] for one in told] == [4, 3, 2, 1]
    assert [one["current"] for one in told] == [True, False, False, False]
    assert [len(one["schedules"]) for one in told] == [2, 1, 1, 1]
    answer = api.post(f"{path}/rollback", json={"version": 1})
    assert answer.status_code == 200, answer.text
    back = answer.json()
    assert (back["entrypoint"], back["version"], back["parameters"]) == ("a.py:f", "one", {"a": 1})
    assert (back["job_variables"], back["pull_steps"]) == ({"env": {"A": "1"}}, [{"x.y": {}}])
    assert (back["tags"], back["description"]) == (["u"], "other")
    (schedule,) = back["schedules"]
    assert (schedule["slug"], schedule["active"], schedule["max_late"]) == ("s", True, 60.0)
    told = _versions(api, made)
    assert [one["number"] for one in told] == [5, 4, 3, 2, 1]
    assert {**told[0], "number": 1, "current": False, "created": ""} == {**told[4], "created": ""}
    assert len(api.get(f"{path}/versions", params={"limit": 2, "offset": 1}).json()) == 2


def test_what_is_not_there_is_told(api: httpx.Client, body: dict) -> None:
    made = api.post("/deployments/", json=body).json()
    path = f"/deployments/{made['id']}"
    answer = api.post(f"{path}/rollback", json={"version": 7})
    assert answer.status_code == 404
    assert "has no version 7: it has 1 to 1" in answer.text
    for bad in ({}, {"version": 0}, {"version": "x"}, {"version": 1, "other": 1}):
        assert api.post(f"{path}/rollback", json=bad).status_code == 422
    assert api.get(f"/deployments/{uuid4()}/versions").status_code == 404
    assert api.post(f"/deployments/{uuid4()}/rollback", json={"version": 1}).status_code == 404
    assert api.get(f"{path}/versions", params={"limit": 1000}).status_code == 422
    assert api.delete(path).status_code == 204
    assert api.post("/deployments/", json=body).status_code == 201


def test_a_run_stays_on_its_version(database: Database) -> None:
    store = Store(database)
    deployment = deploy(store, every(3600), entrypoint="a.py:f", version="1", path="/one")
    Scheduler().run_once(store, 1_800_000_000_000_000)

    def change(number: int) -> None:
        store.write_now(
            lambda tx: logic.update(tx, deployment, DeploymentUpdate(entrypoint=f"{number}.py:f", path=f"/{number}"))
        )

    def numbers() -> set[int]:
        query = sa.select(RUN.deployment_version_number).where(RUN.deployment_id == deployment)
        return store.read_now(lambda reader: {row[0] for row in reader.rows(query)})

    def as_of(number: int | None) -> tuple[str | None, str | None]:
        def unit(reader):
            present = queries.answer(reader, queries.find(reader, deployment))
            found = versions.as_of(reader, present, number)
            assert found.id == deployment
            return found.entrypoint, found.path

        return store.read_now(unit)

    assert numbers() == {1}
    for number in range(2, 105):
        change(number)
    assert numbers() == set()  # what was to come is made anew
    Scheduler().run_once(store, 1_800_000_000_000_000)
    assert numbers() == {104}
    assert as_of(50) == ("50.py:f", "/50")
    assert as_of(104) == as_of(None) == as_of(1) == ("104.py:f", "/104")
    store.close()


def test_a_client_that_anchors_at_the_present_makes_no_versions(api: httpx.Client, body: dict) -> None:
    for n in range(3):
        anchor = (datetime.now(UTC) + timedelta(seconds=n)).isoformat()
        body["schedules"] = [{"schedule": {"interval": 60.0, "anchor_date": anchor}}]
        made = api.post("/deployments/", json=body).json()
    (only,) = _versions(api, made)
    assert datetime.fromisoformat(only["schedules"][0]["schedule"]["anchor_date"]) == datetime.fromisoformat(anchor)


def test_what_schedules_will_do(api: httpx.Client, body: dict) -> None:
    berlin = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    body["schedules"] = [
        {"schedule": berlin, "slug": "night"},
        {"schedule": {"interval": 86400.0}, "slug": "day", "jitter": 600.0},
        {"schedule": {"interval": 1.0}, "slug": "off", "active": False},
    ]
    made = api.post("/deployments/", json=body).json()
    path = f"/deployments/{made['id']}/next"
    week = api.get(path).json()
    assert (week["paused"], week["more"]) == (False, False)
    assert [one["slug"] for one in week["instants"]].count("day") == 7
    assert [one["slug"] for one in week["instants"]].count("night") == 7
    assert week["instants"] == sorted(week["instants"], key=lambda one: one["instant"])
    for one in week["instants"]:
        moved = datetime.fromisoformat(one["starts"]) - datetime.fromisoformat(one["instant"])
        assert (timedelta(0) < moved < timedelta(minutes=10)) is (one["slug"] == "day")
    until = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    api.patch(f"/deployments/{made['id']}", json={"schedules": [{"slug": "day", "active": False}]})
    pages = api.get(path, params={"until": until, "limit": 200}).json()
    assert pages["more"] is True
    assert len(pages["instants"]) == 200
    body["schedules"] = [
        {"schedule": {"rrule": "DTSTART:20200101T023000\nRRULE:FREQ=DAILY;BYMONTH=3,10", "timezone": "Europe/Berlin"}}
    ]
    api.post("/deployments/", json=body | {"paused": True})
    year = api.get(path, params={"until": until}).json()
    assert year["paused"] is True
    notes = {one["local"]: one["note"] for one in year["instants"] if one["note"]}
    assert len(notes) >= 2
    assert any("02:30 does not exist that day" in note for note in notes.values())
    assert any("02:30 comes twice that day, this is the first time" in note for note in notes.values())
    assert api.get(path, params={"limit": 0}).json()["instants"] == []
    for bad in ({"until": "soon"}, {"until": "0001-01-01T00:00:00Z"}, {"limit": 201}):
        assert api.get(path, params=bad).status_code == 422
    assert api.get(f"/deployments/{uuid4()}/next").status_code == 404
